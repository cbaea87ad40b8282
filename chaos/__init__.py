"""Breaks everything on purpose, and looks whether the promises hold: `make chaos` and `make soak`.

Real Kafka, two processes of each worker, a simulated ClaimX behind proxies that fail on demand. A seed decides what
breaks when, and plays it again.
"""
