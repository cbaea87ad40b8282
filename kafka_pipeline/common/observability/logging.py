"""One way out for every log line: structlog's and the standard library's, redacted, bounded, on standard error.

    structlog ──┐                                   ┌─ console (a person looks on)
                ├─▶ repeats limited ─▶ redacted ─▶──┤
    stdlib ─────┘   (aiohttp, asyncio, deltalake)   └─ JSON, a line per event (a collector looks on)

Redaction sits at the sink (I10): no caller, library or exception can get round it. Tracebacks are told without local
variables, and exceptions by `safe_error_text`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kafka_pipeline.common.observability.redaction import REDACTED, is_secret_name, redact, safe_error_text, shortened
from kafka_pipeline.common.observability.repeats import RepeatKey, RepeatLimiter, Suppressed
from kafka_pipeline.common.observability.tracing import add_trace_ids

LogFormat = Literal["console", "json", "auto"]

SUPPRESSED_EVENT: Final = "log_lines_suppressed"
"""Event of the line that stands for repeats: fields `source`, `repeated` (the event) and `count`."""

_LINE_LIMIT: Final = 8_192
"""Characters of one string in a log line."""
_ITEM_LIMIT: Final = 50
"""Items of one collection in a log line."""
_DEPTH_LIMIT: Final = 5
_FRAME_LIMIT: Final = 30
"""Frames shown of one traceback, the innermost ones."""
_CHAIN_LIMIT: Final = 10
"""Exceptions shown of one chain of causes or one group."""

_PERSONAL: Final = frozenset(
    {
        *("email", "email_address", "phone", "phone_number", "first_name", "last_name", "address", "street"),
        *("body", "payload", "raw_data", "file_name", "media_name", "url", "download_url"),
    }
)
"""Field names that are never logged in clear, whatever the value looks like ([SEC-10])."""

_FIRST: Final = ("timestamp", "level", "logger", "event")
"""What every line begins with."""

_QUIET: Final = {
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
    "azure": logging.CRITICAL,  # tells each failed sign-in in the words of Entra ID; `common/azure` tells it in ours
    "msal": logging.CRITICAL,
}
"""Loggers of libraries that would tell about every request or callback."""


def configure_logging(
    log_format: LogFormat = "auto",
    level: str | int = "INFO",
    *,
    stream: TextIO | None = None,
    repeat_limit: int = 50,
    repeat_window_s: float = 10.0,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Send every log line of the process through one handler. May be called again; the last call counts.

    `auto` is the console format where the stream is a terminal, else JSON. Of lines with the same logger and event
    more than `repeat_limit` within `repeat_window_s` seconds become one line with their count. Uncaught exceptions of
    the process and its threads are logged too, because the interpreter would print them as they are.
    Raises ValueError for an unknown level.
    """
    out = stream or sys.stderr
    numeric_level = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if numeric_level is None:
        raise ValueError(f"not a log level: {level}")
    console = log_format == "console" or (log_format == "auto" and out.isatty())
    limiter = RepeatLimiter(limit=repeat_limit, window_s=repeat_window_s)
    handler = _OneWayOut(out, limiter, monotonic)
    handler.setFormatter(_formatter(console=console, colors=console and out.isatty()))

    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _OneWayOut)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(numeric_level)
    for name, quiet_level in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet_level, numeric_level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(numeric_level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # so that a second call counts, and tests can capture
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def render_exception(exc: BaseException) -> str:
    """Tell an exception with its causes and frames, redacted, without local variables."""
    lines = [line for part, heading in _chain(exc) for line in (heading, *_frames(part), _last_line(part)) if line]
    return "\n".join(lines)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: whatever a line holds becomes plain data that is safe to show."""
    raised = _raised(event.pop("exc_info", None))
    first = {name: event[name] for name in _FIRST if name in event}
    safe: EventDict = {
        redact(str(name)): _safe_field(str(name), value, 0) for name, value in {**first, **event}.items()
    }
    if raised is not None:
        safe["exception"] = render_exception(raised)
    return safe


class _OneWayOut(logging.StreamHandler[TextIO]):
    """The handler behind every logger: limits repeats, and stays silent about what it cannot format."""

    def __init__(self, stream: TextIO, limiter: RepeatLimiter, monotonic: Callable[[], float]) -> None:
        super().__init__(stream)
        self._limiter = limiter
        self._monotonic = monotonic

    def emit(self, record: logging.LogRecord) -> None:
        """Show the line, or count it."""
        show, ended = self._limiter.admit(_repeat_key(record), self._monotonic())
        self._tell(ended)
        if show or record.levelno >= logging.CRITICAL:
            super().emit(record)

    def close(self) -> None:
        """Tell what was suppressed to the end, and go."""
        with self.lock or threading.RLock():
            self._tell(self._limiter.drain())
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Say that a line was lost. The inherited way prints the line's arguments as they are."""
        try:
            self.stream.write(f"a log line of {record.name} could not be written\n")
        except (OSError, ValueError):
            return  # the stream itself is gone

    def _tell(self, suppressed: list[Suppressed]) -> None:
        for (source, event), lines in suppressed:
            facts = {"event": SUPPRESSED_EVENT, "source": source, "repeated": event, "count": lines}
            summary = logging.LogRecord(__name__, logging.WARNING, "", 0, SUPPRESSED_EVENT, (), None)
            summary.__dict__["facts"] = facts
            super().emit(summary)


def _repeat_key(record: logging.LogRecord) -> RepeatKey:
    event = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
    return RepeatKey(record.name, str(event)[:200])


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        add_trace_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(*, console: bool, colors: bool) -> logging.Formatter:
    renderer: Processor = _console(colors=colors) if console else _render_json
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_summary_facts, *_shared_processors()],
        processors=[
            _add_logger_name,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_event,
            renderer,
        ],
    )


def _console(*, colors: bool) -> Processor:
    # The exception is text by now; the default formatter would show local variables.
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS, default=_type_name).decode()


def _type_name(value: object) -> str:
    return type(value).__name__


def _summary_facts(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**event, **event["_record"].__dict__.get("facts", {})}


def _add_logger_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.setdefault("logger", event["_record"].name)
    return event


def _safe_field(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if is_secret_name(name) or name.lower() in _PERSONAL:
        return REDACTED
    return _safe(value, depth)


def _safe(value: object, depth: int) -> object:  # noqa: C901, PLR0911 - one line per kind of value
    match value:
        case None | bool() | float():
            return value
        case Enum():
            return _safe(value.value, depth)
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case str():
            return _safe_text(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case datetime() | date():
            return value.isoformat()
        case BaseException():
            return f"{type(value).__name__}: {safe_error_text(value)}"
        case _ if depth >= _DEPTH_LIMIT:
            return f"<{type(value).__name__}>"
        case Mapping():
            items = list(value.items())[:_ITEM_LIMIT]
            return {_safe_text(str(name)): _safe_field(str(name), item, depth + 1) for name, item in items}
        case list() | tuple() | set() | frozenset():
            return [_safe(item, depth + 1) for item in list(value)[:_ITEM_LIMIT]]
        case _:
            return _safe_object(value)


def _safe_text(text: str) -> str:
    # Cut before redaction: a line of megabytes must not cost seconds. The last word goes too, lest half a secret stays.
    cut = text if len(text) <= _LINE_LIMIT else text[:_LINE_LIMIT].rpartition(" ")[0]
    shown = shortened(redact(cut), _LINE_LIMIT)
    return shown if len(cut) == len(text) else f"{shown}…"


def _safe_object(value: object) -> str:
    try:
        return _safe_text(str(value))
    except Exception:  # noqa: BLE001 - a broken __str__ must not break the log line
        return f"<{type(value).__name__}>"


def _raised(exc_info: Any) -> BaseException | None:  # noqa: ANN401 - what callers of a logger hand over
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as exc, _):
            return exc
        case None | False | (None, None, None):
            return None
        case _:
            return sys.exc_info()[1]


def _chain(exc: BaseException) -> list[tuple[BaseException, str]]:
    """Return the exceptions of a chain, oldest first, each with the line that links it to the one before."""
    links: list[tuple[BaseException, str]] = []
    part: BaseException | None = exc
    while part is not None and len(links) < _CHAIN_LIMIT and part not in [known for known, _ in links]:
        if part.__cause__ is not None:
            links.append((part, "The above was the direct cause of:"))
            part = part.__cause__
        elif part.__context__ is not None and not part.__suppress_context__:
            links.append((part, "While that was handled:"))
            part = part.__context__
        else:
            links.append((part, ""))
            part = None
    return links[::-1]


def _frames(exc: BaseException) -> Iterator[str]:
    if exc.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for frame in traceback.extract_tb(exc.__traceback__)[-_FRAME_LIMIT:]:
            yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'


def _last_line(exc: BaseException) -> str:
    kind = type(exc)
    line = f"{kind.__module__}.{kind.__qualname__}: {safe_error_text(exc)}"
    if isinstance(exc, BaseExceptionGroup):
        parts = [render_exception(part) for part in exc.exceptions[:_CHAIN_LIMIT]]
        line += "".join("\n  | " + part.replace("\n", "\n  | ") for part in parts)
    return line


def _log_uncaught(kind: type[BaseException], exc: BaseException, tb: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, tb)
        return
    structlog.get_logger(__name__).critical("uncaught_exception", exc_info=(kind, exc, tb))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    thread = args.thread.name if args.thread else "unknown"
    structlog.get_logger(__name__).critical("uncaught_exception_in_thread", thread=thread, exc_info=args.exc_value)
