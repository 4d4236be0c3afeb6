"""Bodies too long, too deep, too wide, too slow, or that swell: a 4xx, and little memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from monitor.api import guard
from monitor.api.limits import DRAINED_BYTES, IngestLimits
from tests.monitor.api.asking import World, world
from tests.monitor.serving import serving

MIB = 2**20


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("KEDGE_TOKEN", raising=False)
        with world(tmp_path_factory.mktemp("limits")) as running:
            yield running


def call(
    app: Callable[..., Awaitable[None]],
    path: str,
    chunks: Iterator[bytes],
    *,
    encoding: str = "",
    wait_s: float = 0.0,
) -> tuple[int, Any, int]:
    """POST a body piece by piece, as a server hands it over: status, answer, pieces taken."""
    taken = 0
    sent: list[dict[str, Any]] = []
    headers = [(b"host", b"127.0.0.1:8321"), (b"content-type", b"application/json")]
    if encoding:
        headers.append((b"content-encoding", encoding.encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8321),
    }

    async def receive() -> dict[str, Any]:
        nonlocal taken
        await asyncio.sleep(wait_s)
        piece = next(chunks, None)
        taken += piece is not None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def exchange() -> None:
        await app(scope, receive, send)

    asyncio.run(exchange())
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body), taken


def pieces(count: int) -> Iterator[bytes]:
    """So many MiB that begin like events; each piece is memory of its own."""
    yield b'{"model":"credit","events":["'
    for _ in range(count):
        yield b"x" * MIB


def zipped(count: int) -> Iterator[bytes]:
    """So many MiB of spaces, a thousandth of that on the wire."""
    squeeze = zlib.compressobj(9, wbits=31)
    for _ in range(count):
        yield squeeze.compress(b" " * MIB)
    yield squeeze.flush()


@pytest.mark.parametrize(
    ("path", "encoding", "limit_mib"),
    [
        ("/v1/events", "", 128),
        ("/v1/labels", "", 128),
        ("/v1/events", "gzip", 32),
        ("/v1/flush", "", 0),
        ("/v1/tokens", "", 0),
        ("/v1/incidents/x/ack", "", 0),
    ],
)
def test_300_mb_are_refused_when_the_limit_is_passed_and_not_kept(
    asked: World, path: str, encoding: str, limit_mib: int
) -> None:
    tracemalloc.start()
    try:
        status, answer, taken = call(asked.app, path, pieces(300), encoding=encoding)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert status == 413
    assert set(answer) == {"error", "hint"}
    assert taken <= limit_mib + 2
    assert peak < (limit_mib + 8) * MIB


def test_300_mb_that_came_as_300_kb_are_refused_and_not_kept(asked: World) -> None:
    body = list(zipped(300))
    assert sum(map(len, body)) < MIB
    tracemalloc.start()
    try:
        status, answer, _ = call(asked.app, "/v1/events", iter(body), encoding="gzip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (status, answer["error"]) == (413, "the body is larger than 128 MiB")
    assert peak < 140 * MIB


def test_many_bodies_at_once_are_bounded_together(tmp_path: Path) -> None:
    """Each is within its limit; all of them are not, and the rest are told to come back."""
    limits = IngestLimits(in_flight_bytes=4 * MIB)
    with serving(tmp_path, limits=limits) as service:
        tracemalloc.start()
        try:
            status, answer, taken = call(service.client.app, "/v1/events", pieces(100))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert status == 503
    assert "too many bytes" in answer["error"]
    assert taken == 5 + DRAINED_BYTES // MIB + 1
    assert peak < 12 * MIB


def test_what_is_refused_at_its_last_piece_is_refused_in_words(tmp_path: Path) -> None:
    limits = IngestLimits(in_flight_bytes=4 * MIB)
    with serving(tmp_path, limits=limits) as service:
        status, answer, taken = call(service.client.app, "/v1/events", pieces(4))
    assert (status, taken) == (503, 5)
    assert "too many bytes" in answer["error"]


def test_who_is_refused_while_still_sending_hears_why(tmp_path: Path) -> None:
    """Over a real connection that ends with the answer: no reset in its place."""
    limits = IngestLimits(in_flight_bytes=MIB)
    size = 6 * MIB
    with serving(tmp_path, limits=limits) as service, listening(service.client.app) as port:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                head = "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                kind = "Content-Type: application/json\r\n"
                connection.sendall(f"{head}{kind}Content-Length: {size}\r\n\r\n".encode())
                connection.sendall(bytes(size))
                heard = b""
                while part := connection.recv(65_536):
                    heard += part
            assert heard.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1" in heard.lower()


def test_who_asks_first_is_refused_before_the_body_is_sent(tmp_path: Path) -> None:
    """`Expect: 100-continue`, as curl does: no `100 Continue`, and nothing is waited for."""
    limits = IngestLimits(in_flight_bytes=MIB)
    with serving(tmp_path, limits=limits) as service, listening(service.client.app) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(
                b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n"
            )
            heard = connection.recv(65_536)
        assert heard.startswith(b"HTTP/1.1 503 ")


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """The application behind uvicorn on a port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join()


DEEP = 100_000


@pytest.mark.parametrize("path", ["/v1/events", "/v1/labels", "/v1/flush", "/v1/tokens"])
@pytest.mark.parametrize(
    "body",
    [
        "[" * DEEP,
        "[" * DEEP + "]" * DEEP,
        '{"a":' * DEEP,
        '{"model":"credit","events":' + "[" * DEEP,
        '{"model":"credit","events":[{"id":"a","ts":"2026-01-01T00:00:00Z","features":{"age":'
        + "[" * DEEP
        + "]" * DEEP
        + "}}]}",
        '{"model":' + "[" * 9_000 + "]" * 9_000 + "}",
    ],
    ids=["open", "closed", "objects", "events", "a feature", "short enough"],
)
def test_json_100_k_deep_is_a_4xx(asked: World, path: str, body: str) -> None:
    headers = {"content-type": "application/json"}
    reply = asked.client.post(path, content=body, headers=headers)
    assert 400 <= reply.status_code < 500
    assert set(reply.json()) >= {"error", "hint"}
    assert len(reply.text) < 2_000


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    row = {"id": f"e{number}", "ts": "2026-01-09T22:00:00Z", "features": {"age": 1}, "score": 0.5}
    return {**row, **changes}


def sent(running: World, model: str, *rows: Any) -> Any:
    return running.post("/v1/events", {"model": model, "events": list(rows)})


def test_2001_columns_are_one_too_many(tmp_path: Path) -> None:
    with world(tmp_path, None, credit=None, fraud=None) as running:
        features = {f"f{number}": 1 for number in range(2_001)}
        reply = sent(running, "credit", event(features=features))
        assert 400 <= reply.status_code < 500
        assert "2,000" in reply.text
        del features["f0"]
        assert sent(running, "fraud", event(features=features)).status_code == 202


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "i" * 201}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a\x00"}, "id"),
        ({"id": 7}, "id"),
        ({"domain": "d" * 201}, "domain"),
        ({"domain": "a\nb"}, "domain"),
        ({"version": "v" * 201}, "version"),
        ({"features": {"job": "j" * 1_001}}, "job"),
        ({"features": {"job": "a\x00b"}}, "job"),
        ({"score": "Infinity"}, "score"),
        ({"score": True}, "score"),
    ],
)
def test_texts_and_ids_beyond_their_limits_are_refused(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    with serving(tmp_path) as service:
        reply = service.post([event(**changes)])
        assert reply.status_code == 422
        assert field in reply.text
        assert len(reply.text) < 2_000


@pytest.mark.parametrize(
    ("content_type", "encoding", "status"),
    [
        ("text/csv", "", 415),
        ("", "", 415),
        ("application/json", "br", 415),
        ("application/json", "gzip, gzip", 415),
        ("application/json", "gzip", 400),
        ("application/json; charset=utf-16", "", 400),
    ],
)
def test_unknown_forms_are_named(
    asked: World, content_type: str, encoding: str, status: int
) -> None:
    headers = {"content-type": content_type, "content-encoding": encoding}
    reply = asked.client.post("/v1/events", content=b"\xff\xfe{}", headers=headers)
    assert reply.status_code == status


def test_a_damaged_or_cut_gzip_body_is_400(asked: World) -> None:
    whole = gzip.compress(b'{"model":"credit","events":[]}')
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    for body in (whole[:-1], whole[:10], whole[:20] + b"\x00" + whole[21:], whole + b"\x1f\x8b"):
        reply = asked.client.post("/v1/events", content=body, headers=headers)
        assert reply.status_code == 400, body


def test_a_dripping_body_has_one_deadline(asked: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes quickly; together they would take 300 s."""
    monkeypatch.setattr(guard, "BODY_S", 0.05)
    drip = iter([b" "] * 30_000)
    status, answer, taken = call(asked.app, "/v1/flush", drip, wait_s=0.01)
    assert (status, taken < 30) == (408, True)
    assert answer["hint"] == "send it more quickly"


def test_a_dripping_batch_has_one_deadline(tmp_path: Path) -> None:
    with serving(tmp_path, limits=IngestLimits(read_seconds=0.05)) as service:
        drip = iter([b" "] * 30_000)
        status, _, taken = call(service.client.app, "/v1/events", drip, wait_s=0.01)
    assert (status, taken < 30) == (408, True)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health_answers_head(asked: World, path: str) -> None:
    reply = asked.client.head(path)
    assert (reply.status_code, reply.content) == (200, b"")
