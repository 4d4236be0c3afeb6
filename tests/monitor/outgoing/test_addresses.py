"""The deny table, address by address: what the standard library would let through included."""

from __future__ import annotations

import ipaddress

import pytest

from monitor.outgoing.addresses import DENIED, parse_address, parse_networks, why_refused

REFUSED = {
    "0.0.0.0": "this host",
    "0.1.2.3": "this host",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "carrier-grade",
    "100.100.100.200": "carrier-grade",
    "100.127.255.255": "carrier-grade",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "metadata",
    "169.254.0.1": "link-local",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "protocols",
    "192.0.0.192": "protocols",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "this host",
    "::1": "loopback",
    "::7f00:1": "not a global",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:7f00:1": "loopback",
    "::ffff:169.254.169.254": "metadata",
    "::ffff:10.0.0.1": "private",
    "::ffff:0:127.0.0.1": "not a global",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::169.254.169.254": "metadata",
    "64:ff9b::10.1.2.3": "private",
    "64:ff9b:1::7f00:1": "not a global",
    "100::1": "not a global",
    "2001::1": "Teredo",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
    "2001:10::1": "protocols",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "2002:a9fe:a9fe::1": "6to4",
    "3fff::1": "documentation",
    "5f00::1": "not a global",
    "fc00::1": "unique local",
    "fd00:ec2::254": "unique local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fec0::1": "not a global",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
    "4000::1": "not a global",
}

PERMITTED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "168.63.129.17",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
]


@pytest.mark.parametrize(("text", "why"), REFUSED.items())
def test_refused(text: str, why: str) -> None:
    assert why in why_refused(parse_address(text))


@pytest.mark.parametrize("text", PERMITTED)
def test_permitted(text: str) -> None:
    assert why_refused(parse_address(text)) == ""


@pytest.mark.parametrize("network", [network for network, _ in DENIED], ids=str)
def test_every_denied_network_is_denied_to_its_edges(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    assert why_refused(network[0])
    assert why_refused(network[-1])


def test_nothing_the_standard_library_calls_private_is_permitted() -> None:
    """Sixteen addresses of every /8, and 2**12 of every leading IPv6 byte pair's corners."""
    for first in range(256):
        for step in range(16):
            address = ipaddress.IPv4Address((first << 24) + step * 0x0F0F0F)
            if not address.is_global or address.is_multicast:
                assert why_refused(address), address
    for lead in range(0, 0x10000, 16):
        address6 = ipaddress.IPv6Address(lead << 112 | 1)
        if not address6.is_global or address6.is_multicast:
            assert why_refused(address6), address6


@pytest.mark.parametrize(
    ("text", "networks", "permitted"),
    [
        ("127.0.0.1", ["127.0.0.1/32"], True),
        ("127.0.0.2", ["127.0.0.1/32"], False),
        ("::ffff:127.0.0.1", ["127.0.0.0/8"], True),
        ("64:ff9b::10.1.2.3", ["10.1.0.0/16"], True),
        ("64:ff9b::7f00:1", ["64:ff9b::/96"], False),
        ("::1", ["127.0.0.0/8"], False),
        ("::1", ["::1/128"], True),
        ("10.1.2.3", ["10.0.0.0/16", "10.1.0.0/16"], True),
        ("169.254.169.254", ["10.0.0.0/8"], False),
    ],
)
def test_allowed_networks_are_exceptions_and_no_more(
    text: str, networks: list[str], permitted: bool
) -> None:
    assert (why_refused(parse_address(text), parse_networks(networks)) == "") == permitted


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "", "10.0.0.0/33", "::/129"])
def test_what_is_not_a_network_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        parse_networks([text])
