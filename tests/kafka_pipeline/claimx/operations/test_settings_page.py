"""The configuration reference is the one that the code gives; `test_metrics_page` checks that it is up to date."""

from __future__ import annotations

import inspect
import re

import pytest

from kafka_pipeline import config
from kafka_pipeline.claimx.operations.settings_page import SECTIONS, settings_markdown
from kafka_pipeline.config import PipelineConfig, Privacy


def rows() -> dict[str, list[str]]:
    """Return the cells behind each setting on the page."""
    lines = [line for line in settings_markdown().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name.strip("`"): rest for name, *rest in cells}


def test_every_setting_stands_on_the_page_once_in_the_order_of_the_code() -> None:
    """With default, what it takes and a meaning."""
    assert list(rows()) == list(PipelineConfig.model_fields)
    assert all(len(cells) == 3 and all(cells) for cells in rows().values())


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("kafka_bootstrap_servers", "unset"),
        ("kafka_group_prefix", "unset"),
        ("cache_max_bytes", "`10737418240`"),
        ("claimx_store_signed_links", "`false`"),
        ("claimx_retry_delays_seconds", "`300`, `600`, `1200`, `2400`"),
        ("allow_private_download_hosts", "none"),
    ],
)
def test_a_default_is_written_as_it_would_be_given(name: str, default: str) -> None:
    """So that it can be copied."""
    assert rows()[name][0] == default


def test_settings_that_are_masked_are_marked() -> None:
    """Who wonders about `***` in `config show` finds the word here."""
    masked = {name for name, field in PipelineConfig.model_fields.items() if Privacy.NEVER_SHOWN in field.metadata}
    assert masked == {name for name, cells in rows().items() if cells[1].endswith("; masked")}


def test_the_sections_are_those_of_the_code() -> None:
    """A setting that moves takes its place on the page along."""
    source = inspect.getsource(config.PipelineConfig)
    comments = re.findall(r"^    # (.+)\n    (\w+):", source, flags=re.MULTILINE)
    assert {first: title.removesuffix(", as TOP-1 names them") for title, first in comments} == SECTIONS
