"""`claimx-dlq`: dead letters looked at, sent again, edited, deleted."""
