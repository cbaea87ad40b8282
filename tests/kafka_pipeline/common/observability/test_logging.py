"""Every line of the process comes out once, redacted, in one format."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import structlog
from yarl import URL

from kafka_pipeline.common.observability.logging import SUPPRESSED_EVENT, configure_logging, render_exception

CANARY = "Canary4711xyz"
LINK = f"https://files.example.com/{CANARY}?sig={CANARY}"


pytestmark = pytest.mark.usefixtures("logging_as_before")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return what was logged as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logged(**options: Any) -> io.StringIO:
    """Configure logging into a text, and return it."""
    stream = io.StringIO()
    configure_logging(**({"log_format": "json", "level": "DEBUG"} | options), stream=stream)
    return stream


def test_a_line_of_structlog_is_one_json_object() -> None:
    """Facts are fields; time, level, logger and event come first."""
    stream = logged()

    structlog.get_logger("worker").info("batch_done", records=3, partition="t-1")

    (line,) = lines(stream)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert line | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "logger": "worker",
        "event": "batch_done",
        "records": 3,
        "partition": "t-1",
    }


def test_lines_of_libraries_come_out_the_same_way() -> None:
    """The standard library's loggers and warnings, in the same form and redacted too."""
    stream = logged()

    logging.getLogger("aiohttp.client").warning("cannot reach %s", LINK)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"token={CANARY}", stacklevel=1)

    first, second = lines(stream)
    assert (first["logger"], first["event"]) == ("aiohttp.client", "cannot reach https://files.example.com/<redacted>")
    assert second["logger"] == "py.warnings"
    assert CANARY not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_field_of_any_kind_lets_a_secret_through(log_format: str) -> None:
    """Values, nested values, names of fields, objects, bytes and errors; by name and by form."""
    stream = logged(log_format=log_format)

    class Secretive:
        def __repr__(self) -> str:
            return f"Secretive(password={CANARY!r})"

    structlog.get_logger("worker").error(
        f"failed {LINK}",
        url=URL(LINK),
        link=LINK,
        token=CANARY,
        api_key=12345,
        payload={"name": CANARY},
        nested={"a": [{"Authorization": f"x {CANARY}"}, (LINK, {LINK})], LINK: 1},
        raw=CANARY.encode(),
        thing=Secretive(),
        error=ValueError(LINK),
        path=Path(f"sig={CANARY}"),
        **{f"token={CANARY}": 1},
    )

    assert CANARY not in stream.getvalue()
    assert "12345" not in stream.getvalue()
    assert "files.example.com" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_frames_but_neither_values_nor_secrets(log_format: str) -> None:
    """With causes, contexts, groups; local variables are never shown."""
    stream = logged(log_format=log_format)
    local = f"local {CANARY}"

    def fail() -> None:
        try:
            raise ConnectionError(LINK)  # noqa: TRY301 - a frame with a local variable
        except ConnectionError as error:
            raise ExceptionGroup("several", [ValueError(f"password={CANARY}"), KeyError(local and LINK)]) from error

    try:
        fail()
    except ExceptionGroup:
        structlog.get_logger("worker").exception("batch_failed")
        logging.getLogger("asyncio").exception("task failed")

    text = stream.getvalue()
    assert CANARY not in text
    assert text.count("in fail") >= 2
    assert "ConnectionError: https://files.example.com/<redacted>" in text
    assert "The above was the direct cause of" in text
    assert "ValueError: password=<redacted>" in text


def test_a_cycle_of_causes_ends() -> None:
    """Nothing forbids two exceptions that cause each other."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one

    assert render_exception(one).count("ValueError") == 2


def test_uncaught_exceptions_are_logged_instead_of_printed() -> None:
    """The interpreter would print the link as it is; of a thread, too."""
    stream = logged()

    sys.excepthook(ValueError, ValueError(LINK), None)
    thread = threading.Thread(target=lambda: int(f"token={CANARY}"), name="poller")
    thread.start()
    thread.join()

    main, other = lines(stream)
    assert (main["event"], main["level"]) == ("uncaught_exception", "critical")
    assert (other["event"], other["thread"]) == ("uncaught_exception_in_thread", "poller")
    assert CANARY not in stream.getvalue()


def test_a_line_that_cannot_be_formatted_is_lost_without_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """The standard library would print them, with a traceback."""
    stream = logged()

    logging.getLogger().handlers[-1].handle(
        logging.LogRecord("library", logging.ERROR, "", 0, "%d items", (CANARY,), None)
    )

    assert stream.getvalue() == "a log line of library could not be written\n"
    assert capsys.readouterr().err == ""


def test_repeats_become_one_line_with_their_number() -> None:
    """The window ends with the clock, and what is left at the end is told then."""
    now = [0.0]
    stream = logged(repeat_limit=2, repeat_window_s=10, monotonic=lambda: now[0])
    log = structlog.get_logger("worker")

    for number in range(5):
        log.warning("record_failed", offset=number)
    now[0] = 11.0
    log.info("other")
    for number in range(3):
        log.warning("record_failed", offset=number)
    logging.getLogger().handlers[-1].close()

    events = [line["event"] for line in lines(stream)]
    counts = [line["count"] for line in lines(stream) if line["event"] == SUPPRESSED_EVENT]
    assert events == [*["record_failed"] * 2, SUPPRESSED_EVENT, "other", *["record_failed"] * 2, SUPPRESSED_EVENT]
    assert counts == [3, 1]


def test_the_level_holds_for_both_kinds_of_logger() -> None:
    """What is below it costs nothing and is not shown."""
    stream = logged(level="warning")

    structlog.get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    structlog.get_logger("a").warning("loud")

    assert [line["event"] for line in lines(stream)] == ["loud"]
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("json", "LOUD")


def test_auto_is_json_where_no_terminal_is() -> None:
    """A collector reads JSON, a person does not."""
    stream = logged(log_format="auto")

    structlog.get_logger("a").info("event")

    assert lines(stream)[0]["event"] == "event"


def test_configuring_twice_logs_once() -> None:
    """The last call counts."""
    first, second = logged(), logged()

    structlog.get_logger("a").info("event")

    assert (first.getvalue(), len(lines(second))) == ("", 1)


def test_a_long_line_is_cut() -> None:
    """No value makes a line of megabytes, or costs seconds."""
    stream = logged()

    structlog.get_logger("a").info("event", text="word " * 1_000_000, items=list(range(10_000)))

    assert len(stream.getvalue()) < 10_000
