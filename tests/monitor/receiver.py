"""A receiver on loopback that answers as a script says, and remembers every request."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    answered: str


@dataclass
class Receiver:
    """`script` holds the answers to come, then "200" for ever."""

    port: int
    script: deque[str] = field(default_factory=deque)
    requests: list[Received] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = receiver.script.popleft() if receiver.script else "200"
        receiver.requests.append(Received(self.path, dict(self.headers), body, answer))
        self.close_connection = True
        raw = self.wfile
        match answer.split():
            case ["drip-head"]:
                self._drip(b"HTTP/1.1 200 OK\r\nx-slow: " + b"x" * 100_000)
            case ["drip-body"]:
                self._drip(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", at_once=True)
            case ["silent"]:
                receiver.released.wait(30)
            case ["endless"]:
                raw.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    raw.write(b"x" * 65536)
            case ["endless-head"]:
                raw.write(b"HTTP/1.1 200 OK\r\n")
                while True:
                    raw.write(b"x-more: " + b"x" * 65536 + b"\r\n")
            case ["garbage"]:
                raw.write(b"\x00\xff\x16\x03SSH-2.0-nonsense\r\n\r\n")
            case ["close"]:
                pass
            case ["bomb"]:
                raw.write(
                    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b" + b"\x00" * 99
                )
            case [status, *header]:
                extra = " ".join(header).encode()
                line = extra + b"\r\n" if extra else b""
                raw.write(
                    b"HTTP/1.1 %s X\r\n%scontent-length: 2\r\n\r\nok" % (status.encode(), line)
                )

    def _drip(self, text: bytes, *, at_once: bool = False) -> None:
        assert isinstance(self.server, _Server)
        if at_once:
            self.wfile.write(text)
            text = b"y" * 100_000
        for byte in text:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.receiver.released.wait(0.02):
                return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free loopback port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        port = server.server_address[1]
        server.receiver = Receiver(int(port))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.receiver
        finally:
            server.receiver.released.set()
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """A loopback port nobody listens on."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        return int(server.server_address[1])
