"""`python -m kafka_pipeline`, and the script `kafka-pipeline`."""

from __future__ import annotations

import sys

from kafka_pipeline.cli import app


def main() -> int:
    """Run the program and return its exit code."""
    return app.main()


if __name__ == "__main__":
    sys.exit(main())
