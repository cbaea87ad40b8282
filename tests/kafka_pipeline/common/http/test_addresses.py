"""Only addresses of the world are connected to [SEC-4]."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.http.addresses import AddressKind, address_kind, check_address

INSIDE = [
    ("127.0.0.1", AddressKind.LOOPBACK),
    ("127.255.255.254", AddressKind.LOOPBACK),
    ("10.1.2.3", AddressKind.PRIVATE),
    ("172.16.0.1", AddressKind.PRIVATE),
    ("172.31.255.255", AddressKind.PRIVATE),
    ("192.168.1.1", AddressKind.PRIVATE),
    ("100.64.0.1", AddressKind.PRIVATE),
    ("100.100.100.200", AddressKind.PRIVATE),
    ("169.254.169.254", AddressKind.LINK_LOCAL),
    ("168.63.129.16", AddressKind.METADATA),
    ("0.0.0.0", AddressKind.UNSPECIFIED),  # noqa: S104 - the address is the subject
    ("0.1.2.3", AddressKind.RESERVED),
    ("192.0.2.1", AddressKind.RESERVED),
    ("198.18.0.1", AddressKind.RESERVED),
    ("224.0.0.1", AddressKind.MULTICAST),
    ("239.255.255.250", AddressKind.MULTICAST),
    ("240.0.0.1", AddressKind.RESERVED),
    ("255.255.255.255", AddressKind.RESERVED),
    ("::", AddressKind.UNSPECIFIED),
    ("::1", AddressKind.LOOPBACK),
    ("::127.0.0.1", AddressKind.RESERVED),
    ("::ffff:127.0.0.1", AddressKind.LOOPBACK),
    ("::ffff:169.254.169.254", AddressKind.LINK_LOCAL),
    ("::ffff:0:10.0.0.1", AddressKind.RESERVED),
    ("64:ff9b::a9fe:a9fe", AddressKind.LINK_LOCAL),
    ("64:ff9b::10.0.0.1", AddressKind.PRIVATE),
    ("64:ff9b:1::1", AddressKind.TRANSITION),
    ("2002:a9fe:a9fe::", AddressKind.TRANSITION),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", AddressKind.TRANSITION),
    ("2600::5efe:10.0.0.1", AddressKind.TRANSITION),
    ("2001:db8::1", AddressKind.RESERVED),
    ("2001:20::1", AddressKind.RESERVED),
    ("3fff::1", AddressKind.RESERVED),
    ("100::1", AddressKind.RESERVED),
    ("5f00::1", AddressKind.RESERVED),
    ("fc00::1", AddressKind.PRIVATE),
    ("fd00:ec2::254", AddressKind.METADATA),
    ("fe80::1", AddressKind.LINK_LOCAL),
    ("fe80::1%eth0", AddressKind.LINK_LOCAL),
    ("2600::1%eth0", AddressKind.LINK_LOCAL),
    ("fec0::1", AddressKind.PRIVATE),
    ("ff02::1", AddressKind.MULTICAST),
    ("4000::1", AddressKind.RESERVED),
    ("localhost", AddressKind.INVALID),
    ("127.1", AddressKind.INVALID),
    ("0x7f000001", AddressKind.INVALID),
    ("", AddressKind.INVALID),
]


@pytest.mark.parametrize(("address", "kind"), INSIDE)
def test_addresses_that_are_not_of_the_world_are_refused(address: str, kind: AddressKind) -> None:
    """Each with the kind that forbids it; several of them Python calls global."""
    assert check_address(address) is kind


@pytest.mark.parametrize("address", ["52.216.1.1", "8.8.8.8", "2600:1f18::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_world_are_allowed(address: str) -> None:
    """Also where IPv6 carries a public IPv4 address on purpose, as in networks without IPv4."""
    assert check_address(address) is None


@pytest.mark.parametrize(("address", "kind"), INSIDE)
def test_a_setting_admits_loopback_and_private_networks_alone(address: str, kind: AddressKind) -> None:
    """The metadata services stay refused whatever a setting says."""
    expected = None if kind in {AddressKind.LOOPBACK, AddressKind.PRIVATE} else kind

    assert check_address(address, allow_private=True) is expected


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1))
def test_nothing_python_calls_private_gets_through(number: int) -> None:
    """Ours is the stricter list: whatever Python itself would refuse is refused in every form that carries it."""
    address = IPv4Address(number)
    forms = [str(address), f"::ffff:{address}", str(IPv6Address((0x64_FF9B << 96) | number))]

    if not address.is_global or address.is_multicast:
        assert all(check_address(form) is not None for form in forms)
    assert len({address_kind(form) for form in forms}) == 1


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**128 - 1))
def test_nothing_python_calls_private_gets_through_in_ipv6(number: int) -> None:
    """The same for IPv6, and of 2000::/3 alone."""
    address = IPv6Address(number)

    if check_address(str(address)) is None:
        assert address.is_global
        assert number >> 125 == 1


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30))
def test_any_text_is_judged(text: str) -> None:
    """What is no address is refused, never an error."""
    assert check_address(text) in {*AddressKind, None}
