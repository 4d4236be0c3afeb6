"""The demo's on-call engineer: an HTTP server that believes only signed webhooks."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from alerts.signature import Key, SignatureError, verify
from monitor.clock import Clock

LARGEST_BODY = 20_000
REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """One request as it came: headers and bytes are kept so that anybody can verify them again."""

    id: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def type(self) -> str:
        return str(self.message["type"])


@dataclass(slots=True, eq=False)
class Receiver:
    """What has come so far. Genuine messages are kept, others only counted.

    The same id twice is one message: a sender that got no answer sends again.
    """

    key: Key
    clock: Clock
    port: int = 0
    accepted: list[Webhook] = field(default_factory=list)
    repeated: int = 0
    refused: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks/kedge"

    @property
    def types(self) -> Counter[str]:
        """How many messages of each type."""
        return Counter(webhook.type for webhook in list(self.accepted))

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Look at one request and return the HTTP status of the answer."""
        try:
            message_id = verify([self.key], headers, body, now=self.clock.now())
            webhook = Webhook(message_id, headers, body)
            webhook.type  # noqa: B018  # a body without a type is refused like a bad signature
        except (SignatureError, ValueError, KeyError, TypeError) as error:
            with self._lock:
                self.refused.append(f"{type(error).__name__}: {error}")
            return 401 if isinstance(error, SignatureError) else 400
        with self._lock:
            if any(message_id == known.id for known in self.accepted):
                self.repeated += 1
            else:
                self.accepted.append(webhook)
        return 204


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > LARGEST_BODY:
            status = 413
            self.close_connection = True
        else:
            body = self.rfile.read(int(length))
            status = self.server.receiver.take(dict(self.headers.items()), body)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Requests are counted, not printed."""


@contextlib.contextmanager
def receiving(key: Key, clock: Clock) -> Iterator[Receiver]:
    """A receiver on a free loopback port until the block ends."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        receiver = Receiver(key, clock, port=int(server.server_address[1]))
        server.receiver = receiver
        thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="webhook-receiver",
            daemon=True,
        )
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
