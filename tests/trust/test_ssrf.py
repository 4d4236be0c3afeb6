"""Every way to write an inside address as a URL, and none of them reaches a socket.

The table is made: each target in each notation. That a notation means its target is asked of the
C library (`inet_aton`) and of `ipaddress`, not of our own code. Names resolve as an attacker's
name server would have it: inside.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from alerts.notifiers import Outgoing
from monitor.clock import SystemClock
from monitor.outgoing.addresses import parse_networks, why_refused
from monitor.outgoing.outbound import GuardedClient

PLAIN_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
INSIDE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.5",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.9",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.251",
    "255.255.255.255",
]
"""Loopback, private networks, carrier-grade NAT and the metadata addresses of five clouds."""
OUTSIDE = "93.184.216.34"

IPV4: dict[str, Callable[[IPv4Address], str]] = {
    "dotted": str,
    "decimal": lambda a: f"{int(a)}",
    "hex": lambda a: f"0x{int(a):x}",
    "HEX": lambda a: f"0X{int(a):08X}",
    "octal": lambda a: f"0{int(a):o}",
    "dotted hex": lambda a: ".".join(f"0x{b:x}" for b in a.packed),
    "dotted octal": lambda a: ".".join(f"0{b:03o}" for b in a.packed),
    "two parts": lambda a: f"{a.packed[0]}.{int(a) & 0xFFFFFF}",
    "three parts": lambda a: f"{a.packed[0]}.{a.packed[1]}.{int(a) & 0xFFFF}",
    "mixed": lambda a: f"0x{a.packed[0]:x}.{a.packed[1]}.0{int(a) & 0xFFFF:o}",
}
"""Notations that `inet_aton`, and so `getaddrinfo`, takes for an address."""
IPV6: dict[str, Callable[[IPv4Address], str]] = {
    "mapped": lambda a: f"::ffff:{a}",
    "mapped hex": lambda a: f"::ffff:{int(a) >> 16:x}:{int(a) & 0xFFFF:x}",
    "mapped long": lambda a: f"0:0:0:0:0:FFFF:{int(a) >> 16:04X}:{int(a) & 0xFFFF:04X}",
    "compatible": lambda a: f"::{int(a) >> 16:x}:{int(a) & 0xFFFF:x}",
    "translated": lambda a: f"::ffff:0:{a}",
    "NAT64": lambda a: f"64:ff9b::{int(a) >> 16:x}:{int(a) & 0xFFFF:x}",
    "NAT64 dotted": lambda a: f"64:ff9b::{a}",
    "local NAT64": lambda a: f"64:ff9b:1::{a}",
    "6to4": lambda a: f"2002:{int(a) >> 16:x}:{int(a) & 0xFFFF:x}::1",
    "Teredo": lambda a: (
        f"2001:0:4136:e378:8000:63bf:{(~int(a) >> 16) & 0xFFFF:x}:{~int(a) & 0xFFFF:x}"
    ),
}
DISGUISE: dict[str, Callable[[IPv4Address], str]] = {
    "trailing dot": lambda a: f"{a}.",
    "percent": lambda a: "".join(f"%{ord(c):02x}" for c in str(a)),
    "percent dots": lambda a: str(a).replace(".", "%2e"),
    "fullwidth": lambda a: "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in str(a)),
    "ideographic dots": lambda a: str(a).replace(".", "。"),
    "circled": lambda a: str(a).translate({ord("1"): "①", ord("2"): "②", ord("0"): "⓪"}),
    "padded": lambda a: ".".join(f"{b:03d}" for b in a.packed),
    "user": lambda a: f"example.com@{a}",
    "user with port": lambda a: f"example.com:80@{a}",
    "user with hash": lambda a: f"example.com%23@{a}",
    "backslash": lambda a: f"{a}\\@example.com",
    "nip name": lambda a: f"{a}.nip.example",
    "tab": lambda a: f"{a}\t",
    "newline": lambda a: f"{str(a)[:2]}\n{str(a)[2:]}",
    "soft hyphen": lambda a: f"{str(a)[:1]}\u00ad{str(a)[1:]}",
    "wide space": lambda a: f"{a}\u3000",
    "right to left": lambda a: f"\u202e{str(a)[::-1]}",
}
OTHERS = [
    "http://localhost/",
    "http://LocalHost./",
    "http://localhost.localdomain/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://ｌｏｃａｌｈｏｓｔ/",
    "http://localhost%00.example.com/",
    "http://ip6-localhost/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata/",
    "http://instance-data/latest/",
    "http://[::1]/",
    "http://[::1%25lo]/",
    "http://[::]/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fd20:ce::254]/",
    "http://[fc00::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
    "http://[::ffff:0:0]/",
    "http://[v1.127.0.0.1]/",
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http://::1/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1:٨٠/",
    "http://0/",
    "http://0x0/",
    "http://00000000000/",
    "http://127.0.0.1.example@localhost/",
    "http://a@b@localhost/",
    "http://a:b@localhost:c@localhost/",
    "http://localhost;example.com/",
    "http://localhost,example.com/",
    "http:localhost/",
    "http:/localhost/",
    "http:\\\\localhost/",
    "http://\\localhost/",
    "https:///localhost/",
    "hTTp://localhost/",
    "file://localhost/etc/passwd",
    "gopher://localhost:6379/_FLUSHALL",
    "ftp://localhost/",
    "ws://localhost/",
    "unix:/run/kedge.sock",
    "http+unix://%2Frun%2Fdocker.sock/containers",
    "jar:http://localhost!/",
    "netdoc:///etc/passwd",
    "ldap://localhost:389/",
    "data:text/html,x",
    "javascript:alert(1)",
    "//localhost/",
    "localhost",
    "http://xn--/",
    "http://xn--localhost-/",
    "http://ⅼocalhost/",
    "http://\u2460\u2461\u2466.1/",
    "http://localhost/\r\nHost: x",
    "http://localhost\r\n/",
    "http://local\u200bhost/",
    "http://l\u00f6calhost/",
]


def table() -> Iterator[str]:
    for text in INSIDE:
        target = IPv4Address(text)
        for write in (*IPV4.values(), *DISGUISE.values()):
            yield f"http://{write(target)}/"
        for write in IPV6.values():
            yield f"http://[{write(target)}]/hook"
    yield from OTHERS


FORMS = tuple(dict.fromkeys(table()))


def hostile_names(host: str, port: int) -> Sequence[str]:
    """Numbers as the system reads them; every name leads to the metadata service."""
    with contextlib.suppress(socket.gaierror, UnicodeError):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(address[0]) for *_, address in found]
    return ["169.254.169.254"]


def post(url: str) -> Outgoing:
    return Outgoing(url, {}, b"{}")


def client(resolve: Callable[[str, int], Sequence[str]] = hostile_names) -> GuardedClient:
    return GuardedClient(SystemClock(), resolve=resolve, ssl_context=PLAIN_CONTEXT)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where a socket was opened to. Nothing leaves."""
    seen: list[str] = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> None:
        seen.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    return seen


def test_the_table_has_more_than_300_forms() -> None:
    assert len(FORMS) > 300
    assert len({form.partition("//")[2] for form in FORMS}) > 300


@pytest.mark.parametrize("name", IPV4)
def test_each_notation_means_its_target(name: str) -> None:
    """By the C library, which is what `getaddrinfo` asks."""
    for text in INSIDE:
        assert socket.inet_aton(IPV4[name](IPv4Address(text))) == IPv4Address(text).packed


@pytest.mark.parametrize("name", IPV6)
def test_each_ipv6_notation_holds_its_target(name: str) -> None:
    for text in INSIDE:
        address, target = IPv6Address(IPV6[name](IPv4Address(text))), IPv4Address(text)
        embedded = {
            address.ipv4_mapped,
            address.sixtofour,
            None if address.teredo is None else address.teredo[1],
            IPv4Address(int(address) & 0xFFFF_FFFF),
        }
        assert target in embedded


def test_no_form_reaches_a_socket(connected: list[str]) -> None:
    let_through = {}
    for url in FORMS:
        reply = client().send(post(url))
        if not (reply.permanent and reply.status is None and reply.error.startswith("refused: ")):
            let_through[url] = reply
    assert let_through == {}
    assert connected == []


def test_the_same_notations_of_an_outside_address_do_reach_it(connected: list[str]) -> None:
    """Else the table would only show that everything is refused."""
    outside = IPv4Address(OUTSIDE)
    replies = {
        name: client().send(post(f"http://{write(outside)}/")) for name, write in IPV4.items()
    }
    reached = [name for name, reply in replies.items() if not reply.permanent]
    assert {"dotted", "decimal", "hex", "octal", "two parts", "dotted hex"} <= set(reached)
    assert connected == [OUTSIDE] * len(reached)


@pytest.mark.parametrize("text", INSIDE)
def test_no_answer_of_a_name_server_leads_inside(text: str, connected: list[str]) -> None:
    """An inside address first, last, among many, or in the clothes of IPv6."""
    target = IPv4Address(text)
    dressed = [IPV6[name](target) for name in ("mapped", "NAT64", "6to4", "compatible")]
    for answer in (
        [text],
        [OUTSIDE, text],
        [text, OUTSIDE],
        [OUTSIDE] * 30 + [text],
        *([one] for one in dressed),
        *([OUTSIDE, one] for one in dressed),
    ):
        reply = client(lambda *_, answer=answer: answer).send(post("http://hooks.example/"))
        assert reply.permanent, answer
    assert connected == []


def test_a_name_that_is_rebound_between_check_and_connect_is_not_asked_again(
    connected: list[str],
) -> None:
    answers = iter([[OUTSIDE], ["127.0.0.1"]])
    reply = client(lambda *_: next(answers)).send(post("http://rebind.example/"))
    assert connected == [OUTSIDE]
    assert not reply.permanent
    assert list(answers) == [["127.0.0.1"]]


def test_a_connection_that_ended_up_inside_is_dropped_before_a_byte_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a packet filter or a route may do after the check: the peer is looked at once more."""
    with socket.create_server(("127.0.0.1", 0)) as inside:
        genuine = socket.create_connection
        monkeypatch.setattr(
            socket,
            "create_connection",
            lambda _address, *rest, **more: genuine(inside.getsockname(), *rest, **more),
        )
        reply = client(lambda *_: [OUTSIDE]).send(post("http://hooks.example/"))
        taken, _ = inside.accept()
        with taken:
            taken.settimeout(5)
            assert taken.recv(100) == b""
    assert reply.permanent
    assert "127.0.0.1" in reply.error


def test_no_variable_of_the_environment_makes_a_detour(
    connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY", "NO_PROXY"):
        for spelled in (name, name.lower()):
            monkeypatch.setitem(os.environ, spelled, "http://127.0.0.1:3128")
    client().send(post(f"http://{OUTSIDE}/"))
    assert connected == [OUTSIDE]


def test_an_allowed_network_opens_itself_and_nothing_beside_it(connected: list[str]) -> None:
    allowed = parse_networks(["10.0.0.0/29"])
    for host, refused in (
        ("10.0.0.5", False),
        ("0xa000005", False),
        ("[::ffff:10.0.0.5]", False),
        ("10.0.0.8", True),
        ("[2002:a00:5::1]", True),
        ("127.0.0.1", True),
        ("169.254.169.254", True),
    ):
        reply = client().send(post(f"http://{host}/"), allowed=allowed)
        assert reply.permanent == refused, host
    assert {str(ip_address(one)) for one in connected} <= {"10.0.0.5", "::ffff:a00:5"}


def test_refusals_never_repeat_what_may_be_secret(connected: list[str]) -> None:
    secret = "s3cr3t-in-the-url"
    for url in (
        f"http://user:{secret}@127.0.0.1/",
        f"http://{secret}@127.0.0.1/",
        f"http://127.0.0.1/{secret}?token={secret}#{secret}",
        f"ftp://x/{secret}",
        f"http://127.0.0.1:99999/{secret}",
        f"http://{OUTSIDE}/{secret}?key={secret}",
        f"http://exa mple/{secret}",
        f"http://[::1/{secret}",
    ):
        assert secret not in client().send(post(url)).error, url


def test_the_deny_table_knows_every_target() -> None:
    assert [text for text in INSIDE if not why_refused(ip_address(text))] == []
    assert why_refused(ip_address(OUTSIDE)) == ""
