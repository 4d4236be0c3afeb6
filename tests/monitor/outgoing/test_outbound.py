"""The guarded client cannot be talked into calling inside, waiting for ever or reading for ever."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alerts.notifiers import Outgoing
from alerts.schedule import Reply
from monitor.clock import SystemClock
from monitor.outgoing.addresses import parse_networks
from monitor.outgoing.outbound import GuardedClient
from tests.monitor.receiver import Receiver, closed_port, receiving

LOOPBACK = parse_networks(["127.0.0.0/8"])
PLAIN_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def client(deadline_s: float = 10.0, **options: object) -> GuardedClient:
    return GuardedClient(
        SystemClock(),
        deadline_s=deadline_s,
        ssl_context=PLAIN_CONTEXT,
        **options,  # type: ignore[arg-type]
    )


def post(url: str) -> Outgoing:
    return Outgoing(url, {"content-type": "application/json"}, b'{"a":1}')


# Every way to write an inside address or an odd URL; none may reach a socket.
FORMS = [
    "http://127.0.0.1/",
    "http://127.0.0.1:80/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0X7F.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0177.0x0.0.1/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://169.254.170.2/",
    "http://168.63.129.16/",
    "http://100.100.100.200/",
    "http://100.64.0.1/",
    "http://192.0.0.192/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://１２７.０.０.１/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://example.com@127.0.0.1/",
    "http://user:password@example.com/",
    "http://@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http:///127.0.0.1/",
    "http://",
    "http:",
    "//example.com/",
    "example.com",
    "",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "dict://127.0.0.1:11211/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "console:",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com:-1/",
    "http://example.com:80a/",
    "http://[::1/",
    "http://[::1]extra/",
    "http://[v1.fe80::a]/",
    "http://exa mple.com/",
    "http://example.com/\r\nX-Injected: 1",
    "http://example.com/\x00",
    "http://example.com/\u2028",
    "http://127.0.0.1\t/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://xn--/",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 200 + "com/",
    "http://example.com/" + "a" * 2000,
]


@pytest.mark.parametrize("url", FORMS)
def test_no_form_of_url_reaches_inside(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names resolve as the system does for numbers and localhost; any other name leads inside."""

    def connected(*_: object, **__: object) -> None:
        pytest.fail("a socket was opened")

    def resolve(host: str, port: int) -> Sequence[str]:
        numeric = socket.AI_NUMERICHOST
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
        except socket.gaierror:
            return ["127.0.0.1"]
        return [str(address[0]) for *_, address in found]

    monkeypatch.setattr(socket, "create_connection", connected)
    reply = client(resolve=resolve).send(post(url))
    assert reply.permanent, reply
    assert reply.status is None
    assert reply.error.startswith("refused: ")
    assert "password" not in reply.error.replace("user name or password", "")


def test_the_form_table_has_enough_forms() -> None:
    assert len(set(FORMS)) >= 60


def test_an_allowed_network_is_called_and_the_exact_bytes_arrive(receiver: Receiver) -> None:
    reply = client().send(post(receiver.url), allowed=LOOPBACK)
    assert (reply.status, reply.error) == (200, "")
    (request,) = receiver.requests
    assert request.body == b'{"a":1}'
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["Content-Length"] == "7"


def test_the_address_checked_is_the_address_called(receiver: Receiver) -> None:
    """A name server that answers differently the second time is not asked a second time."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    url = f"http://rebind.example:{receiver.port}/hook"
    reply = client(resolve=rebinding).send(post(url), allowed=LOOPBACK)
    assert reply.status == 200
    assert asked == ["rebind.example"]
    assert receiver.requests[0].headers["Host"] == f"rebind.example:{receiver.port}"
    second = client(resolve=lambda host, port: rebinding(host, port)).send(
        post(url), allowed=LOOPBACK
    )
    assert second.permanent
    assert "169.254.169.254" in second.error


def test_a_name_with_one_inside_address_is_refused_whole(receiver: Receiver) -> None:
    mixed = client(resolve=lambda *_: ["127.0.0.1", "10.0.0.1"])
    reply = mixed.send(post(f"http://mixed.example:{receiver.port}/"), allowed=LOOPBACK)
    assert reply.permanent
    assert receiver.requests == []


def test_the_next_address_is_tried_when_the_first_does_not_answer(receiver: Receiver) -> None:
    both = client(resolve=lambda *_: ["127.0.0.9", "127.0.0.1"])
    reply = both.send(post(f"http://both.example:{receiver.port}/"), allowed=LOOPBACK)
    assert reply.status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.script.append(f"{status} Location: http://169.254.169.254/")
    reply = client().send(post(receiver.url), allowed=LOOPBACK)
    assert (reply.status, len(receiver.requests)) == (status, 1)


def test_a_proxy_in_the_environment_is_ignored(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setitem(os.environ, name, f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setitem(os.environ, name.lower(), f"http://127.0.0.1:{closed_port()}")
    assert client().send(post(receiver.url), allowed=LOOPBACK).status == 200


@pytest.mark.parametrize("answer", ["drip-head", "silent"])
def test_a_receiver_that_drips_or_hangs_has_one_deadline_in_all(
    receiver: Receiver, answer: str
) -> None:
    receiver.script.append(answer)
    reply = client(deadline_s=0.3).send(post(receiver.url), allowed=LOOPBACK)
    assert (reply.status, reply.error) == (None, "no reply within 0.3 s")
    assert not reply.permanent
    # The drip alone would take 2,000 s; a limit per read would never be reached.
    assert reply.duration_ms < 30_000


def test_a_status_counts_though_its_body_drips(receiver: Receiver) -> None:
    """Retrying what the receiver has accepted would only make duplicates."""
    receiver.script.append("drip-body")
    reply = client(deadline_s=0.3).send(post(receiver.url), allowed=LOOPBACK)
    assert reply.status == 200
    assert reply.duration_ms < 30_000


@pytest.mark.parametrize("answer", ["endless", "bomb"])
def test_an_endless_reply_is_cut_off(receiver: Receiver, answer: str) -> None:
    receiver.script.append(answer)
    reply = client(deadline_s=30.0).send(post(receiver.url), allowed=LOOPBACK)
    assert reply.status == 200
    assert reply.duration_ms < 25_000


@pytest.mark.parametrize("answer", ["garbage", "close", "endless-head"])
def test_what_is_not_http_is_a_failure_that_may_pass(receiver: Receiver, answer: str) -> None:
    receiver.script.append(answer)
    reply = client().send(post(receiver.url), allowed=LOOPBACK)
    assert reply.status is None
    assert reply.error
    assert not reply.permanent


def test_a_closed_port_is_a_failure_that_may_pass() -> None:
    url = f"http://127.0.0.1:{closed_port()}/s3cret-token"
    reply = client().send(post(url), allowed=LOOPBACK)
    assert (reply.status, reply.permanent) == (None, False)
    assert "s3cret" not in reply.error


def test_a_name_that_does_not_resolve_is_a_failure_that_may_pass() -> None:
    def fails(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    reply = client(resolve=fails).send(post("http://nowhere.example/"))
    assert reply == Reply(
        error="ConnectError: nowhere.example does not resolve", duration_ms=reply.duration_ms
    )


def test_a_name_server_that_hangs_counts_against_the_deadline() -> None:
    release = threading.Event()

    def hangs(host: str, port: int) -> Sequence[str]:
        release.wait(30)
        return []

    reply = client(deadline_s=0.2, resolve=hangs).send(post("http://slow.example/"))
    release.set()
    assert reply.error == "no reply within 0.2 s"


def test_tls_checks_the_name_though_an_address_is_called(tmp_path: Path) -> None:
    """The certificate must be the configured host's: SNI and verification see the name."""
    seen: list[str | None] = []
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def note(_: object, name: str | None, __: object) -> int:
        seen.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    server_context.sni_callback = note
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                server_context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        named = client(resolve=lambda *_: ["127.0.0.1"])
        reply = named.send(post(f"https://hooks.example:{port}/"), allowed=LOOPBACK)
        thread.join()
    assert seen == ["hooks.example"]
    assert reply.status is None
    assert not reply.permanent
