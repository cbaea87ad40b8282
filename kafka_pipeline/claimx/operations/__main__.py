"""Writes what is made from catalogue and settings: `python -m kafka_pipeline.claimx.operations`, or `make docs`."""

from __future__ import annotations

from kafka_pipeline.claimx.operations.files import made_files


def main() -> None:
    """Write `docs/metrics.md`, `docs/configuration.md` and the dashboards."""
    for path, text in made_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
