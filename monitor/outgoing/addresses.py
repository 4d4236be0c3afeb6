"""Which addresses the service may connect to on its own: a written-out table, not a guess.

`ipaddress.is_private` and `is_global` disagree with what must be refused here: they pass carrier-
grade NAT, cloud metadata on public addresses and IPv6 that embeds IPv4. So every network is named,
after the IANA special-purpose registries (RFC 6890) and the metadata addresses of cloud vendors.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("168.63.129.16/32", "a cloud platform's metadata address"),
        ("169.254.0.0/16", "link-local, where cloud metadata lives"),
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "this host (loopback)"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved or broadcast"),
        ("::1/128", "this host (loopback)"),
        ("::/128", "this host"),
        ("fe80::/10", "link-local"),
        ("fc00::/7", "a private network (unique local)"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved for protocols, Teredo among them"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "6to4, which embeds an IPv4 address"),
        ("3fff::/20", "reserved for documentation"),
    )
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def effective(address: Address) -> Address:
    """The address a packet ends up at: IPv4-mapped and NAT64 (RFC 6052) addresses unwrapped."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def why_refused(address: Address, allowed: Sequence[Network] = ()) -> str:
    """Why a connection to `address` is refused, or "" if it is permitted.

    `allowed` networks are permitted whatever the table says; that is for receivers on premises.
    """
    target = effective(address)
    if any(target.version == network.version and target in network for network in allowed):
        return ""
    for network, why in DENIED:
        if target.version == network.version and target in network:
            return why
    if isinstance(target, IPv6Address) and target not in _GLOBAL_UNICAST:
        return "not a global unicast address"
    return ""


def parse_address(text: str) -> Address:
    """An address as the resolver gives it; the zone of a link-local one is put aside."""
    return ip_address(text.split("%", 1)[0])


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks from configuration; raises ValueError naming the one that is not a network."""
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            msg = f"{text!r} is not a network such as 10.1.0.0/16 or ::1/128: {error}"
            raise ValueError(msg) from None
    return tuple(networks)
