"""Where secrets come from: a variable of the environment, or a file that such a variable names. Nowhere else [SEC-12].

`CLAIMX_API_TOKEN` holds the secret; `CLAIMX_API_TOKEN_FILE` names a file that does, as container platforms mount them.
The file is the better place: a variable is inherited by every child, and shown by whoever may look at the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kafka_pipeline._settings.problems import ConfigError, Problem

FILE_SUFFIX = "_FILE"

LARGEST_BYTES = 65_536
"""A secret has some hundred bytes; what is larger is another file."""


def read_secret(environ: Mapping[str, str], variable: str, field: str) -> str:
    """Return the secret that `variable`, named by the setting `field`, leads to. Raises ConfigError if there is none.

    No text of an error holds anything of it.
    """
    secret, file = environ.get(variable, "").strip(), environ.get(variable + FILE_SUFFIX, "").strip()
    if secret and file:
        raise _wrong(field, f"names {variable}, which is set beside {variable}{FILE_SUFFIX}", "set one of them")
    if file:
        variable += FILE_SUFFIX
        secret = _read(Path(file), variable, field)
    if not secret:
        what = f"names the environment variable {variable}, which is not set"
        if file:
            what = f"names the environment variable {variable}, whose file is empty"
        raise _wrong(field, what, "put the secret there")
    if not secret.isprintable():
        what = f"names the environment variable {variable}, which holds a line break or control character"
        raise _wrong(field, what, "put the secret there on one line")
    return secret


def _read(file: Path, variable: str, field: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
        if len(content) <= LARGEST_BYTES:
            return content.decode("utf-8-sig").strip()
        what = f"is larger than {LARGEST_BYTES} bytes"
    except UnicodeDecodeError:
        what = "is not UTF-8 text"
    except (OSError, ValueError) as error:
        what = f"cannot be read ({getattr(error, 'strerror', None) or 'no path'})"
    raise _wrong(field, f"names the environment variable {variable}, whose file {what}", "name a file with the secret")


def _wrong(field: str, what: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(field=field, what=what, remedy=remedy)])
