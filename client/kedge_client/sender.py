"""One batch to the daemon and what that means for it: done, split, or try again."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import quote, urlsplit

MOST_REPLY_BYTES = 1_000_000
HOPELESS = frozenset({400, 405, 406, 410, 411, 415, 422, 431})
"""The same bytes would be refused again. Other refusals (a wrong token, a model that is not
configured yet) can be mended at the daemon, so their rows are kept while there is room."""


class Fate(Enum):
    """What to do with a batch now."""

    DONE = auto()
    HOPELESS = auto()
    SPLIT = auto()
    AGAIN = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """The fate of a batch, the daemon's counts, and how long it asked to wait, in seconds."""

    fate: Fate
    counts: Mapping[str, int] = field(default_factory=dict)
    wait_s: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Dial:
    """Where a daemon is: `path` is what its own paths begin with."""

    host: str
    port: int | None
    path: str
    tls: ssl.SSLContext | None
    timeout_s: float

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is opened by its first request."""
        if self.tls is not None:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=self.timeout_s, context=self.tls
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)


def dial(url: str, timeout_s: float) -> Dial:
    """How to reach an address. ValueError where it cannot be meant."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"url is {url!r}; it should look like http://127.0.0.1:8321"
        raise ValueError(msg)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return Dial(parts.hostname, parts.port, parts.path.rstrip("/"), tls, timeout_s)


class Sender:
    """Keeps one connection open. For one thread at a time."""

    def __init__(self, url: str, *, model: str, token: str | None, timeout_s: float) -> None:
        self._dial = dial(url, timeout_s)
        self._query = f"?model={quote(model, safe='')}"
        self._headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            "User-Agent": "kedge-client",
        }
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    def post(self, kind: str, body: bytes, now_s: float) -> Answer:
        """Send lines of `kind` ("events" or "labels"), already in gzip. Raises nothing."""
        fresh = self._connection is None
        try:
            reply = self._exchange(kind, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # The daemon may have closed an idle connection; that is no failure yet.
            if fresh or isinstance(error, TimeoutError):
                return Answer(Fate.AGAIN, words=f"{type(error).__name__}: {error}"[:200])
            try:
                reply = self._exchange(kind, body)
            except (OSError, http.client.HTTPException) as second:
                self.close()
                return Answer(Fate.AGAIN, words=f"{type(second).__name__}: {second}"[:200])
        return read_answer(*reply, now_s)

    def close(self) -> None:
        """Hang up; the next batch dials again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abort(self) -> None:
        """Make a request that another thread waits for fail now."""
        socket = self._connection.sock if self._connection is not None else None
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.shutdown(SHUT_RDWR)

    def _exchange(self, kind: str, body: bytes) -> tuple[int, str | None, bytes]:
        connection = self._connection or self._dial.connect()
        self._connection = connection
        path = f"{self._dial.path}/v1/{kind}{self._query}"
        connection.request("POST", path, body, self._headers)
        reply = connection.getresponse()
        text = reply.read(MOST_REPLY_BYTES)
        if reply.will_close or not reply.isclosed():
            self.close()
        return reply.status, reply.getheader("Retry-After"), text


def compress(lines: list[bytes]) -> bytes:
    """Lines as one gzip body; the same lines make the same bytes."""
    return gzip.compress(b"".join(lines), compresslevel=1, mtime=0)


def read_answer(status: int, retry_after: str | None, text: bytes, now_s: float) -> Answer:
    """A reply in terms of what to do next."""
    counts = _counts(text)
    if status == 202:
        return Answer(Fate.DONE, counts)
    words = f"{status} {_error(text)}".strip()
    if status == 413:
        return Answer(Fate.SPLIT, words=words)
    if status in HOPELESS:
        return Answer(Fate.HOPELESS, counts, words=words)
    return Answer(Fate.AGAIN, wait_s=wait_asked(retry_after, now_s), words=words)


def wait_asked(header: str | None, now_s: float) -> float | None:
    """Seconds of a Retry-After header, as a number or a date; None where it makes no sense."""
    if header is None:
        return None
    try:
        wait_s = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header)
        except ValueError:
            return None
        wait_s = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now_s
    return max(0.0, wait_s) if wait_s < float("inf") else None


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _counts(text: bytes) -> dict[str, int]:
    found = _json(text)
    names = ("accepted", "duplicate", "sampled_out", "rejected")
    return {name: found[name] for name in names if isinstance(found.get(name), int)}


def read_refusal(text: bytes) -> str:
    """What a refusal says is wrong and what to try, in one line; "" where it says nothing."""
    hint = _json(text).get("hint")
    return "; ".join(filter(None, (_error(text), hint[:200] if isinstance(hint, str) else "")))


def _error(text: bytes) -> str:
    error = _json(text).get("error")
    return error[:200] if isinstance(error, str) else ""
