"""Checks of single values. Each takes text and returns it in its one canonical form.

Each raises ValueError with the text `what is wrong; the remedy`, without the value itself: whether a value may be
quoted depends on the field.
"""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_HOST_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_EXTENSION = re.compile(r"[a-z0-9]{1,10}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

LAKE_SCHEMES = ("abfss", "az")
"""OneLake and ADLS; Azure Blob storage and its emulator. A local folder has no scheme."""


LONGEST_PREFIX = 200
"""Characters of a topic's name to which a suffix will be added."""


def location(value: object) -> object:
    """Read text as a path; `~` is the home folder."""
    if isinstance(value, str):
        if not value.strip() or "\0" in value:
            raise ValueError("is empty; give a path")
        try:
            return Path(value.strip()).expanduser()
        except RuntimeError:
            raise ValueError("begins with the home folder of somebody unknown; give the path itself") from None
    return value


def listed(value: object) -> object:
    """Split text at its commas, or read it as a JSON list; wrap a single value. What is a list already stays."""
    if isinstance(value, str):
        text = value.strip()
        if not (text.startswith("[") and text.endswith("]")):
            return [part.strip() for part in text.split(",") if part.strip()]
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError('is not a JSON list; write ["a", "b"], or a,b without brackets') from None
    return [value] if isinstance(value, int | float) else value


def topic_name(value: str) -> str:
    """Accept what Kafka accepts as the name of a topic."""
    if not _TOPIC.fullmatch(value) or value in {".", ".."}:
        raise ValueError("is no name for a topic; use letters, digits, `.`, `_` and `-`, at most 249")
    return value


def topic_prefix(value: str) -> str:
    """Accept the beginning of a topic's name; what is appended to it still has to fit."""
    if len(topic_name(value)) > LONGEST_PREFIX:
        raise ValueError(f"is too long; use at most {LONGEST_PREFIX} characters")
    return value


def group_prefix(value: str) -> str:
    """Accept the beginning of a group's name, or nothing."""
    return value and topic_name(value)


def replicas(value: int) -> int:
    """Accept a number of copies, or Kafka's own -1 for the broker's default."""
    if value == 0:
        raise ValueError("is no number of copies; give 1 or more, or -1 for the broker's default")
    return value


def variable_name(value: str) -> str:
    """Accept the name of an environment variable. A credential put here by mistake does not pass."""
    if not _VARIABLE.fullmatch(value):
        raise ValueError("is no name of an environment variable; give the name in capitals, never the secret itself")
    return value


def host_name(value: str) -> str:
    """Accept one host name or address, exact: no scheme, port, path or wildcard. Case and a final dot do not count."""
    host = value.strip().lower().removesuffix(".")
    if not _is_host(host):
        raise ValueError("is no host name; give names such as files.example.com, without scheme, port or `*`")
    return host


def host_port(value: str) -> str:
    """Accept `host:port`; an IPv6 address stands in brackets."""
    host, colon, port = value.strip().lower().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host.removesuffix(".")
    if not colon or not _is_host(bare) or (":" in bare and bare == host) or not _is_port(port):
        raise ValueError("is not of the form host:port; give pairs such as localhost:8080")
    return f"[{bare}]:{int(port)}" if ":" in bare else f"{bare}:{int(port)}"


def server_list(value: object) -> object:
    """Accept `host:port` pairs, comma-separated or as a list; return them comma-separated."""
    pairs = listed(value)
    if not isinstance(pairs, list | tuple) or not pairs or not all(isinstance(pair, str) for pair in pairs):
        raise ValueError("is not a list of brokers; give pairs such as broker-1.example.com:9092, comma-separated")
    return ",".join(host_port(pair) for pair in pairs)


def file_extension(value: str) -> str:
    """Accept an extension with or without its dot."""
    extension = value.strip().lower().removeprefix(".")
    if not _EXTENSION.fullmatch(extension):
        raise ValueError("is no file extension; give words such as jpg or pdf")
    return extension


def sasl_username(value: str) -> str:
    """Accept a user name. A whole connection string put here by mistake does not pass."""
    if not value.strip() or "sharedaccesskey" in value.lower():
        raise ValueError("is no user name; for Event Hubs it is $ConnectionString, and the string itself the password")
    return value


def base_url(value: str) -> str:
    """Accept an http(s) URL without user, query and fragment [API-1]; return it without a slash at the end."""
    parts = _parsed(value, "give a URL such as https://api.example.com/service/cxedirest")
    if parts.scheme not in {"https", "http"} or not parts.hostname or not _is_host(parts.hostname):
        raise ValueError("is no http or https URL; give a URL such as https://api.example.com/service/cxedirest")
    _refuse_extras(parts, user=True)
    return f"{parts.scheme}://{_authority(parts)}{parts.path.rstrip('/')}"


def lake_url(value: str) -> str:
    """Accept an Azure URL without query and fragment, or a local folder; return it without a slash at the end."""
    text = value.strip()
    example = "give abfss://workspace@onelake.dfs.fabric.microsoft.com/name.Lakehouse, az://container or a folder"
    if not text:
        raise ValueError(f"is empty; {example}")
    if not _SCHEME.match(text):
        return text.rstrip("/") or "/"
    parts = _parsed(text, example)
    if parts.scheme not in LAKE_SCHEMES or not parts.netloc:
        raise ValueError(f"has a scheme that is not known; {example}")
    _refuse_extras(parts, user=parts.scheme != "abfss")
    return text.rstrip("/")


def plain_http_authority(url: str) -> str | None:
    """Return `host:port` of a URL that goes over plain HTTP to another machine; None where the way is safe."""
    parts = urlsplit(url)
    if parts.scheme != "http" or _is_loopback(parts.hostname or ""):
        return None
    host = parts.hostname or ""
    return f"[{host}]:{parts.port or 80}" if ":" in host else f"{host}:{parts.port or 80}"


def _parsed(value: str, remedy: str) -> SplitResult:
    text = value.strip()
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError(f"has a blank or a control character in it; {remedy}")
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where the port is none
    except ValueError:
        raise ValueError(f"is no URL; {remedy}") from None
    return parts


def _refuse_extras(parts: SplitResult, *, user: bool) -> None:
    if parts.password is not None or (user and parts.username is not None):
        raise ValueError("has a user or password in it; remove it, credentials come from the environment")
    if parts.query or parts.fragment:
        raise ValueError("has a query or fragment; remove what follows `?` or `#`")


def _authority(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port}" if parts.port else f"{host}"


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return 0 < len(host) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in host.split("."))
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
