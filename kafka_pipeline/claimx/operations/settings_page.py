"""The page `docs/configuration.md`, from the settings as `config.py` declares them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic.fields import FieldInfo

from kafka_pipeline._settings.problems import expectation, in_words
from kafka_pipeline.config import PipelineConfig, Privacy

SECTIONS: Final = {
    "kafka_bootstrap_servers": "Kafka",
    "data_dir": "Places",
    "azure_auth": "Azure, for a lake on OneLake or Blob storage",
    "worker_batch_records": "Worker loop",
    "claimx_events_topic": "Topics",
    "claimx_api_url": "ClaimX API",
    "transfer_mode": "Files",
    "log_format": "Operation",
}
"""The first setting of each section, and its title; a test compares it with the comments in `config.py`."""

_HEAD: Final = """\
# Configuration

Generated from the code by `make docs`; do not edit. Every setting has a default. To begin, give `claimx_api_url`,
`claimx_api_sender_username`, `kafka_bootstrap_servers`, `lake_url`, and the token in `CLAIMX_API_TOKEN`.

Of four places the later one wins:

1. the default below,
2. a YAML file: `kafka-pipeline --config settings.yaml COMMAND`, with `setting: value` on each line,
3. the environment: the setting's name in capitals, `LAKE_URL` for `lake_url`,
4. the command line: `kafka-pipeline --set lake_url=/srv/lake COMMAND`.

```console
$ kafka-pipeline config show     # every setting, its value and where it comes from
$ kafka-pipeline config check    # all that is wrong at once; ends with 2 if anything is
```

Lists are given comma-separated or as JSON. An unknown name or a bad value stops the start.

**Secrets are no settings.** A setting that ends in `_env` names the environment variable that holds the secret; the
same variable with `_FILE` behind it, such as `CLAIMX_API_TOKEN_FILE`, names a file that does. It is never printed;
neither are the settings marked *masked*.
"""


def settings_markdown() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_lines()])


def _lines() -> Iterator[str]:
    for name, field in PipelineConfig.model_fields.items():
        if name in SECTIONS:
            if name != next(iter(SECTIONS)):
                yield ""
            yield from (f"## {SECTIONS[name]}", "", "| setting | default | takes | meaning |", "|---|---|---|---|")
        yield f"| `{name}` | {_default(field)} | {_takes(field)} | {field.description} |"
    yield ""


def _default(field: FieldInfo) -> str:
    """Write the default as it would be given; a list in pieces, so that the table may break it."""
    match field.get_default(call_default_factory=True):
        case None | "":
            return "unset"
        case tuple() as several:
            return ", ".join(f"`{item}`" for item in several) or "none"
        case value:
            return f"`{in_words(value) if isinstance(value, bool) else value}`"


def _takes(field: FieldInfo) -> str:
    words = expectation(field)
    return f"{words}; masked" if Privacy.NEVER_SHOWN in field.metadata else words
