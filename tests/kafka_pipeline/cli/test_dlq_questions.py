"""`claimx-dlq` asks before it sends or deletes, and takes no for an answer."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from kafka_pipeline.claimx.broker import new_topics, open_broker
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.config import PipelineConfig

Inside = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    """Somebody who sits there, and has typed that already."""

    def isatty(self) -> bool:
        """Yes."""
        return True


class Impatient(Terminal):
    """Somebody who hits Ctrl-C."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # as io.StringIO has it
        """Give no answer."""
        raise KeyboardInterrupt


@pytest.fixture
def letters(tmp_path: Path) -> dict[str, str]:
    """Write two dead letters on an embedded broker, and return the variables that lead there."""
    config = PipelineConfig(data_dir=tmp_path / "data")

    async def fill() -> None:
        broker, topics = open_broker(config, {}), Topics.from_config(config)
        await broker.admin().create_topics(new_topics(topics, config))
        letter = Message(
            topic=topics.dead_letters(DeadLetterKind.EVENTS), value=b"x", headers=(("dlq-reason", b"auth"),)
        )
        await broker.producer().send([letter, letter])
        await broker.close()

    asyncio.run(fill())
    return {"DATA_DIR": str(config.data_dir)}


@pytest.mark.parametrize(
    ("command", "question"),
    [(("replay", "--all"), "Send 2 dead letters back to work?"), (("purge",), "Delete 2 dead letters for good?")],
    ids=["replay", "purge"],
)
def test_it_shows_what_it_would_do_and_does_it_only_after_a_yes(
    inside: Inside, letters: dict[str, str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], question: str
) -> None:
    """No: exit code 1, nothing was done. Ctrl-C: 130, the same. Yes: done. What is asked is not among the data."""
    for terminal, code in ((Terminal("n\n"), 1), (Impatient(), 130)):
        monkeypatch.setattr("sys.stdin", terminal)
        ended, out, err = inside("claimx-dlq", *command, "--json", **letters)
        assert (ended, out) == (code, "")
        assert question in err
        assert "events" in err
        assert '"count": 2' in inside("claimx-dlq", "list", "--json", **letters)[1]
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    ended, out, err = inside("claimx-dlq", *command, "--json", **letters)
    assert ended == 0, err
    assert out.startswith("[")
    assert inside("claimx-dlq", "list", "--json", **letters)[1] == "[]\n"


def test_nothing_to_do_is_no_question(inside: Inside, letters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that fits nothing ends well, and asks nobody."""
    monkeypatch.setattr("sys.stdin", Impatient())
    ended, out, err = inside("claimx-dlq", "replay", "--reason", "other", **letters)
    assert (ended, out, err) == (0, "nothing was sent\n", "")
