"""Which links may be followed ([SEC-1], [SEC-2], [SEC-3], [SEC-5]). Pure decisions on text.

A link is taken apart once, by rules stricter than any URL library's, and put together again for the one that connects:
so the guard and the connection cannot mean different hosts by the same text. Its path and query stay as they are, byte
for byte, because presigned links carry a signature over them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import quote

from yarl import URL

from kafka_pipeline.common.http.addresses import check_address

_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_LENGTH_LIMIT: Final = 16_384
"""Characters of a link. Presigned links with a session token come to about 2,000."""

_LINK: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?:#.*)?", re.DOTALL
)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]{1,254})(?::(?P<port>[0-9]{0,5}))?")
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_NOT_ON_THE_WIRE: Final = re.compile(r"[^\x21-\x7e]|[\"<>^`{|}]")

METADATA_NAMES: Final = frozenset(
    {
        *("metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "metadata.azure.com"),
        *("instance-data", "instance-data.ec2.internal"),
    }
)
"""Names of services that hand credentials to whoever asks from inside. No setting allows them."""


class Origin(NamedTuple):
    """Scheme, host (lower case, no trailing dot) and port: whom a credential may be told."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Return the origin of a URL. Raises ValueError, without the text, if it is none of http or https."""
        link = parse_link(url)
        if isinstance(link, Refused):
            raise ValueError(  # noqa: TRY004 - the value is wrong, its type is fine
                f"not the URL of a service: {link.reason.value}"
            )
        return link.origin

    @property
    def shown(self) -> str:
        """The origin as every text of ours shows a link to it ([SEC-7])."""
        return f"https://{self.host}/<redacted>"


class Refusal(str, Enum):
    """Why a link is not followed."""

    MALFORMED = "malformed"
    """Not a link, or one that two parsers could read in two ways."""
    SCHEME = "scheme"
    """Not https, and not a pair for which plain HTTP is allowed."""
    USERINFO = "userinfo"
    """A user name or password before the host."""
    HOST = "host"
    """Not on the list."""
    PORT = "port"
    """On the list, but only for port 443."""
    ADDRESS = "address"
    """The host is an address that must not be connected to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A link that is not followed. `host` is for people; None where there is none to tell."""

    reason: Refusal
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link taken apart. Not yet checked against a policy. Its repr shows the host alone."""

    origin: Origin
    url: URL = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """A link that may be followed. `private` says that its address may be a private one."""

    link: Link
    private: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPolicy:
    """What a download may do. Raises ValueError for entries that would never match, or mean more than they say."""

    allowed_hosts: frozenset[str] = frozenset()
    """Exact names; https on port 443 only. Case and a trailing dot make no difference; there are no wildcards."""
    private_hosts: frozenset[str] = frozenset()
    """`host:port` pairs for which plain HTTP, that port and a private or loopback address are allowed (tests, demo)."""
    max_redirects: int = 5
    max_bytes: int = 0
    """Largest file; 0 is unlimited."""
    max_resumes: int = 4
    """How often one attempt goes on after its connection was cut."""
    total_timeout_s: float = 300.0
    """One attempt, redirects and resumes included."""
    read_timeout_s: float = 30.0
    """Longest silence of the server."""
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_hosts", frozenset(map(_host_entry, self.allowed_hosts)))
        object.__setattr__(self, "private_hosts", frozenset(map(_pair_entry, self.private_hosts)))
        if min(self.total_timeout_s, self.read_timeout_s, self.connect_timeout_s) <= 0:
            raise ValueError("time-outs of downloads must be longer than nothing")
        if min(self.max_redirects, self.max_bytes, self.max_resumes) < 0:
            raise ValueError("limits of downloads cannot be negative")

    def is_private_pair(self, host: str, port: int) -> bool:
        """Return whether a setting allows a private address for this host and port."""
        return _pair(_plain_host(host), port) in self.private_hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Headers that only their origin may see ([SEC-5], settled point 19: scheme, host and port)."""

    origin: Origin
    headers: Mapping[str, str] = field(repr=False)

    def headers_for(self, origin: Origin) -> Mapping[str, str]:
        """Return the headers if this is their origin, else none."""
        return self.headers if origin == self.origin else {}


def parse_link(text: str) -> Link | Refused:
    """Take a link apart, without asking whether it may be followed."""
    text = text.strip(" ")
    found = _LINK.fullmatch(text)
    if found is None or len(text) > _LENGTH_LIMIT or _FORBIDDEN.search(text):
        return Refused(reason=Refusal.MALFORMED)
    if "@" in found["authority"]:
        return Refused(reason=Refusal.USERINFO)
    scheme = found["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        return Refused(reason=Refusal.SCHEME)
    try:
        origin = _origin(scheme, found["authority"])
        shown_port = "" if origin.port == _DEFAULT_PORTS[scheme] else f":{origin.port}"
        rest = _NOT_ON_THE_WIRE.sub(_percent_encoded, found["rest"])
        url = URL(f"{scheme}://{_bracketed(origin.host)}{shown_port}{rest}", encoded=True)
    except ValueError:
        return Refused(reason=Refusal.MALFORMED)
    return Link(origin=origin, url=url)


def check_link(link: Link, policy: DownloadPolicy) -> Allowed | Refused:
    """Decide whether a link may be followed. Its resolved address is checked when connecting, not here."""
    scheme, host, port = link.origin
    if host in METADATA_NAMES:
        return Refused(reason=Refusal.HOST, host=host)
    private = policy.is_private_pair(host, port)
    if not private:
        if host not in policy.allowed_hosts:
            return Refused(reason=Refusal.HOST, host=host)
        if scheme != "https":
            return Refused(reason=Refusal.SCHEME, host=host)
        if port != _DEFAULT_PORTS["https"]:
            return Refused(reason=Refusal.PORT, host=host)
    if _is_address(host) and check_address(host, allow_private=private) is not None:
        return Refused(reason=Refusal.ADDRESS, host=host)
    return Allowed(link=link, private=private)


def check_url(url: str, policy: DownloadPolicy) -> Allowed | Refused:
    """Decide on the text of a link: `parse_link`, then `check_link`."""
    link = parse_link(url)
    return link if isinstance(link, Refused) else check_link(link, policy)


def _origin(scheme: str, authority: str) -> Origin:
    found = _AUTHORITY.fullmatch(authority)
    host = _plain_host(found["host"]) if found else ""
    port = int((found and found["port"]) or _DEFAULT_PORTS[scheme])
    if not host or not 0 < port < 65_536:
        raise ValueError("no host, or no port")
    return Origin(scheme, host, port)


def _plain_host(host: str) -> str:
    return host.lower().removesuffix(".").removeprefix("[").removesuffix("]")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _pair(host: str, port: int) -> str:
    return f"{_bracketed(host)}:{port}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _percent_encoded(match: re.Match[str]) -> str:
    return quote(match[0].encode("utf-8", "surrogateescape"), safe="")


def _host_entry(entry: str) -> str:
    found = _AUTHORITY.fullmatch(entry.strip())
    if found is None or found["port"] is not None:
        raise ValueError(f"not the exact name of a host: {entry!r}")
    return _plain_host(found["host"])


def _pair_entry(entry: str) -> str:
    found = _AUTHORITY.fullmatch(entry.strip())
    if found is None or not found["port"] or not 0 < int(found["port"]) < 65_536:
        raise ValueError(f"not a pair host:port: {entry!r}")
    return _pair(_plain_host(found["host"]), int(found["port"]))
