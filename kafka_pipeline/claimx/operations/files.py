"""The files that are made from the catalogue and the settings, as they should stand in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from kafka_pipeline.claimx.operations.dashboards import DASHBOARDS
from kafka_pipeline.claimx.operations.page import metrics_markdown
from kafka_pipeline.claimx.operations.panels import grafana_json
from kafka_pipeline.claimx.operations.sections import all_metrics
from kafka_pipeline.claimx.operations.settings_page import settings_markdown

_ROOT: Final = Path(__file__).parents[3]

PAGE: Final = _ROOT / "docs" / "metrics.md"
SETTINGS_PAGE: Final = _ROOT / "docs" / "configuration.md"
GRAFANA: Final = _ROOT / "deploy" / "grafana"


def made_files() -> dict[Path, str]:
    """Return the text of each file."""
    metrics = all_metrics()
    boards = {
        GRAFANA / f"{board.uid}.json": json.dumps(grafana_json(board, metrics), indent=2) + "\n" for board in DASHBOARDS
    }
    return {PAGE: metrics_markdown(), SETTINGS_PAGE: settings_markdown(), **boards}
