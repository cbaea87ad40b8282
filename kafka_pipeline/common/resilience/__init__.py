"""What a pipeline does about failures: when to try again, when to wait, when to stop."""
