"""The lake as ClaimX uses it: its tables, and what is written to them and asked of them."""
