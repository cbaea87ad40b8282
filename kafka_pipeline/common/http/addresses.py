"""Which addresses a download may connect to ([SEC-4]). Pure.

`ipaddress.is_global` is not enough: Python 3.11 calls 64:ff9b::a9fe:a9fe (NAT64 of the metadata address),
2002:a9fe:a9fe:: (6to4 of it), fec0::1 (site-local) and 224.0.0.1 (multicast) global. So the lists stand here. Of IPv6
only 2000::/3 is handed out to the world; everything else is refused without being listed, but for the two forms that
carry an IPv4 address on purpose (mapped, and NAT64's well-known prefix): they are judged by the address they carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from types import MappingProxyType
from typing import Final


class AddressKind(str, Enum):
    """What an address is for."""

    PUBLIC = "public"
    """A host on the internet."""
    LOOPBACK = "loopback"
    """This machine."""
    PRIVATE = "private"
    """A private network: RFC 1918, carrier-grade NAT, unique local, site-local."""
    LINK_LOCAL = "link_local"
    """The wire itself; clouds put their metadata service there."""
    METADATA = "metadata"
    """A cloud's own service at an address that looks public."""
    UNSPECIFIED = "unspecified"
    """No address; most systems connect it to this machine."""
    MULTICAST = "multicast"
    """Many hosts."""
    TRANSITION = "transition"
    """A tunnel (6to4, Teredo, translation of a site): where it ends is not for us to know."""
    RESERVED = "reserved"
    """Documentation, benchmarks, the future."""
    INVALID = "invalid"
    """Not an address."""


_V4: Final[Mapping[IPv4Network, AddressKind]] = MappingProxyType(
    {
        IPv4Network(network): kind
        for network, kind in (
            ("168.63.129.16/32", AddressKind.METADATA),  # Azure's platform address, the same in every region
            ("0.0.0.0/32", AddressKind.UNSPECIFIED),
            ("0.0.0.0/8", AddressKind.RESERVED),
            ("10.0.0.0/8", AddressKind.PRIVATE),
            ("100.64.0.0/10", AddressKind.PRIVATE),
            ("127.0.0.0/8", AddressKind.LOOPBACK),
            ("169.254.0.0/16", AddressKind.LINK_LOCAL),
            ("172.16.0.0/12", AddressKind.PRIVATE),
            ("192.0.0.0/24", AddressKind.RESERVED),
            ("192.0.2.0/24", AddressKind.RESERVED),
            ("192.88.99.0/24", AddressKind.TRANSITION),
            ("192.168.0.0/16", AddressKind.PRIVATE),
            ("198.18.0.0/15", AddressKind.RESERVED),
            ("198.51.100.0/24", AddressKind.RESERVED),
            ("203.0.113.0/24", AddressKind.RESERVED),
            ("224.0.0.0/4", AddressKind.MULTICAST),
            ("240.0.0.0/4", AddressKind.RESERVED),
        )
    }
)

_V6: Final[Mapping[IPv6Network, AddressKind]] = MappingProxyType(
    {
        IPv6Network(network): kind
        for network, kind in (
            ("::/128", AddressKind.UNSPECIFIED),
            ("::1/128", AddressKind.LOOPBACK),
            ("64:ff9b:1::/48", AddressKind.TRANSITION),
            ("2001::/32", AddressKind.TRANSITION),  # Teredo
            ("2001::/23", AddressKind.RESERVED),
            ("2001:db8::/32", AddressKind.RESERVED),
            ("2002::/16", AddressKind.TRANSITION),  # 6to4
            ("3fff::/20", AddressKind.RESERVED),
            ("fc00::/7", AddressKind.PRIVATE),
            ("fe80::/10", AddressKind.LINK_LOCAL),
            ("fec0::/10", AddressKind.PRIVATE),
            ("ff00::/8", AddressKind.MULTICAST),
        )
    }
)

_V6_METADATA: Final = frozenset({IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254")})
_V6_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_V6_NAT64: Final = IPv6Network("64:ff9b::/96")
_V6_WORLD: Final = IPv6Network("2000::/3")
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
"""Upper half of an interface identifier whose lower half is an IPv4 address."""

_OWN_NETWORK: Final = frozenset({AddressKind.LOOPBACK, AddressKind.PRIVATE})
"""What a setting can allow. The metadata services stay refused whatever a setting says."""


def address_kind(text: str) -> AddressKind:
    """Return what the address is for; a zone (`%eth0`) makes it link-local, text that is no address is INVALID."""
    try:
        address = ip_address(text)
    except ValueError:
        return AddressKind.INVALID
    return _v4_kind(address) if isinstance(address, IPv4Address) else _v6_kind(address)


def check_address(text: str, *, allow_private: bool = False) -> AddressKind | None:
    """Return None if a download may connect there, else the kind that forbids it.

    `allow_private` admits loopback and private networks, nothing more.
    """
    kind = address_kind(text)
    if kind is AddressKind.PUBLIC or (allow_private and kind in _OWN_NETWORK):
        return None
    return kind


def _v4_kind(address: IPv4Address) -> AddressKind:
    return next((kind for network, kind in _V4.items() if address in network), AddressKind.PUBLIC)


def _v6_kind(address: IPv6Address) -> AddressKind:
    if address.scope_id is not None:
        return AddressKind.LINK_LOCAL
    if address in _V6_METADATA:
        return AddressKind.METADATA
    carried = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _V6_MAPPED or address in _V6_NAT64:
        return _v4_kind(carried)
    tunnel = (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
    world = AddressKind.TRANSITION if tunnel else AddressKind.PUBLIC
    rest = world if address in _V6_WORLD else AddressKind.RESERVED
    return next((kind for network, kind in _V6.items() if address in network), rest)
