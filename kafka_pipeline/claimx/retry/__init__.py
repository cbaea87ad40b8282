"""What becomes of records that failed: later, with a fresh link, or set aside."""
