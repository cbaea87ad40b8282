"""Measurements side by side with a yardstick, in one run: ratios travel between machines, seconds do not."""
