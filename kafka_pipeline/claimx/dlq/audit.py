"""Who did what to the dead letters: one log line each, on the terminal and wherever logs are gathered."""

from __future__ import annotations

import os
import pwd

import structlog

_log = structlog.get_logger(__name__)


def audit(action: str, **told: object) -> None:
    """Write the line. It is a warning, so that no usual log level hides it. `told` holds no value of a letter."""
    _log.warning(action, audit=True, user=_user(), **told)


def _user() -> str:
    """Return the user of this process as the system knows it; variables of the environment could say anything."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run under a number without a name
        return str(number)
