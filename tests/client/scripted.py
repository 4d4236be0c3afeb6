"""A daemon on loopback that answers as a script says, and remembers every row it took."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Scripted:
    """`script` holds the answers to come, then 202 for ever.

    An answer is a status with an optional "Name: value" header, or "reset", "silent" or
    "hang up" (answer, then close an idle connection without a word).
    """

    port: int
    script: deque[str] = field(default_factory=deque)
    bodies: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    taken: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"events": [], "labels": []}
    )
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ids(self, kind: str = "events") -> list[str]:
        return [row["id"] for row in self.taken[kind]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    scripted: Scripted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        daemon = self.server.scripted
        body = self.rfile.read(int(self.headers["content-length"]))
        daemon.bodies.append(body)
        daemon.requests.append((self.path, dict(self.headers)))
        answer = daemon.script.popleft() if daemon.script else "202"
        if answer == "reset":
            self.close_connection = True
            self.connection.close()
            return
        if answer == "silent":
            daemon.released.wait(30)
            self.close_connection = True
            return
        rows = [json.loads(line) for line in gzip.decompress(body).splitlines()]
        status, _, header = answer.partition(" ")
        counts: dict[str, Any] = {"error": "as told"}
        if answer in {"202", "hang up"}:
            status = "202"
            daemon.taken[self.path.partition("/v1/")[2].partition("?")[0]] += rows
            counts = {"accepted": len(rows), "duplicate": 0, "sampled_out": 0, "rejected": 0}
        text = json.dumps(counts).encode()
        self.send_response(int(status))
        if header and answer != "hang up":
            self.send_header(*header.split(": ", 1))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = answer == "hang up"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextlib.contextmanager
def scripted(*answers: str) -> Iterator[Scripted]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.scripted = Scripted(int(server.server_address[1]), deque(answers))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.scripted
        finally:
            server.scripted.released.set()
            server.shutdown()
            thread.join()
