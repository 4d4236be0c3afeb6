"""The guarded HTTP client: the only way out of this process to a URL that somebody configured.

What it holds against: a URL or a DNS answer that points inside (checked on the very address that is
connected to, after resolution, so rebinding has nothing to change); redirects; proxies in the
environment; a receiver that drips bytes (one deadline for the whole exchange, name resolution
included); endless replies (a byte cap). Every request has its own connection.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Self, cast

import httpcore2
import httpx2

from alerts.notifiers import Outgoing
from alerts.plain import plain
from alerts.schedule import Reply
from monitor.clock import Clock
from monitor.outgoing.addresses import Network, parse_address, why_refused

DEADLINE_S = 10.0
REPLY_BYTES = 20_000
WIRE_BYTES = 64_000
URL_CHARACTERS = 2_000
LOOKUPS_AT_ONCE = 16

Resolve = Callable[[str, int], Sequence[str]]


class RefusedError(Exception):
    """This URL must not be called; trying again would change nothing."""


_FAILURES = (
    httpx2.HTTPError,
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    OSError,
)


class GuardedClient:
    """Sends one request at a time; never raises for what a receiver or a URL does.

    `resolve` gives the addresses of (host, port). One client may be used by several threads.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        deadline_s: float = DEADLINE_S,
        reply_bytes: int = REPLY_BYTES,
        resolve: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.clock = clock
        self._deadline_s = deadline_s
        self._reply_bytes = reply_bytes
        self._resolve = resolve or system_resolve
        self._lookups = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)
        self._ssl_context = ssl_context

    def send(self, outgoing: Outgoing, *, allowed: Sequence[Network] = ()) -> Reply:
        """One attempt. A refusal is a permanent error, every other failure may pass.

        `allowed` networks are permitted although the deny table names them.
        """
        started = self.clock.monotonic()
        guard = _Guard(self, started + self._deadline_s, allowed)
        try:
            url = check_url(outgoing.url)
            status, retry_after = self._exchange(outgoing, url, guard)
        except RefusedError as refusal:
            return Reply(error=f"refused: {refusal}", permanent=True)
        except (httpx2.TimeoutException, httpcore2.TimeoutException):
            error = f"no reply within {self._deadline_s:g} s"
            return Reply(error=error, duration_ms=self._since(started))
        except _FAILURES as failure:
            # The system's words without the URL, which may hold a token.
            words = str(failure).replace(outgoing.url, "the URL")
            error = plain(f"{type(failure).__name__}: {words}", 200)
            return Reply(error=error, duration_ms=self._since(started))
        return Reply(status=status, retry_after=retry_after, duration_ms=self._since(started))

    def lookup(self, host: str, port: int, wait_s: float) -> list[str]:
        """The addresses of a host, each once.

        getaddrinfo has no timeout, so it runs beside us and may be left behind; how many can hang
        at once is bounded.
        """
        if not self._lookups.acquire(timeout=wait_s):
            raise httpcore2.ConnectTimeout
        answer: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

        def look() -> None:
            try:
                answer.put(self._resolve(host, port))
            except Exception as error:  # handed to the waiting thread
                answer.put(error)
            finally:
                self._lookups.release()

        threading.Thread(target=look, name="kedge-lookup", daemon=True).start()
        try:
            found = answer.get(timeout=wait_s)
        except queue.Empty:
            raise httpcore2.ConnectTimeout from None
        if isinstance(found, UnicodeError):
            msg = f"{plain(host, 100)} is not a host name"
            raise RefusedError(msg)
        if isinstance(found, Exception) or not found:
            msg = f"{plain(host, 100)} does not resolve"
            raise httpcore2.ConnectError(msg)
        return list(dict.fromkeys(found))

    def _exchange(
        self, outgoing: Outgoing, url: httpx2.URL, guard: _Guard
    ) -> tuple[int, str | None]:
        if self._ssl_context is None:
            self._ssl_context = httpx2.create_ssl_context()
        transport = _Transport(httpcore2.ConnectionPool(self._ssl_context, network_backend=guard))
        headers = {"user-agent": "kedge", "accept-encoding": "identity", **outgoing.headers}
        with httpx2.Client(transport=transport, trust_env=False, follow_redirects=False) as client:
            request = client.build_request(
                outgoing.method, url, content=outgoing.body, headers=headers
            )
            response = client.send(request, stream=True)
            with closing(response):
                self._drain(response)
            return response.status_code, response.headers.get("retry-after")

    def _drain(self, response: httpx2.Response) -> None:
        """Let the receiver finish a short reply. The status has decided; the rest is courtesy."""
        read = 0
        with contextlib.suppress(*_FAILURES):
            for chunk in response.iter_raw():
                read += len(chunk)
                if read > self._reply_bytes:
                    return

    def _since(self, started: float) -> int:
        return round(1000 * (self.clock.monotonic() - started))


def refuse_addresses(host: str, found: Sequence[str], allowed: Sequence[Network]) -> None:
    """RefusedError if one of a host's addresses may not be called."""
    for text in found:
        if why := why_refused(parse_address(text), allowed):
            words = f"{plain(host, 100)} is {text}, {why}"
            msg = f"{words}; add its network to allow_networks of the channel if that is meant"
            raise RefusedError(msg)


def system_resolve(host: str, port: int) -> list[str]:
    """The addresses the operating system gives for a host name, in its order of preference."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in answers]


def check_url(text: str) -> httpx2.URL:
    """Parse a URL that may be called; raises RefusedError for what no receiver needs."""
    if len(text) > URL_CHARACTERS:
        msg = f"the URL has {len(text)} characters, {URL_CHARACTERS} are allowed"
        raise RefusedError(msg)
    if any(character.isspace() or not character.isprintable() for character in text):
        msg = "the URL holds white space or control characters"
        raise RefusedError(msg)
    if "\\" in text:
        msg = "the URL holds a backslash, which programs read in different ways"
        raise RefusedError(msg)
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        msg = "the URL cannot be read"
        raise RefusedError(msg) from None
    if url.scheme not in {"http", "https"}:
        msg = f"the scheme {plain(url.scheme, 20)!r} is not http or https"
        raise RefusedError(msg)
    if not url.host:
        msg = "the URL names no host"
        raise RefusedError(msg)
    if url.userinfo:
        msg = "the URL holds a user name or password; receivers authenticate by the signature"
        raise RefusedError(msg)
    if url.port == 0:
        msg = "port 0 is no port"
        raise RefusedError(msg)
    return url


class _Guard(httpcore2.NetworkBackend):
    """Resolves, checks and connects to the checked address itself; Host and SNI stay the name's."""

    def __init__(self, client: GuardedClient, deadline: float, allowed: Sequence[Network]) -> None:
        self._client = client
        self._deadline = deadline
        self._allowed = allowed
        self._backend = httpcore2.SyncBackend()

    def remaining_s(self) -> float:
        """Seconds left before the deadline of this exchange; raises when there are none."""
        left = self._deadline - self._client.clock.monotonic()
        if left <= 0:
            raise httpcore2.TimeoutException
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError("no address")
        for address in self._addresses(host, port):
            try:
                stream = self._backend.connect_tcp(
                    address, port, self.remaining_s(), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
                continue
            peer = str(stream.get_extra_info("server_addr")[0])
            if why := why_refused(parse_address(peer), self._allowed):
                stream.close()
                msg = f"connected to {peer}, {why}"
                raise RefusedError(msg)
            return _Stream(stream, self)
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all permitted; raises RefusedError if one of them is not.

        A name that points inside with one of its addresses is refused whole: a later attempt must
        not reach what this one avoided.
        """
        found = self._client.lookup(host, port, self.remaining_s())
        refuse_addresses(host, found, self._allowed)
        return found

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        msg = "sockets of this host are not called"
        raise RefusedError(msg)


class _Stream(httpcore2.NetworkStream):
    """A connection whose steps share one deadline, and a cap on what it reads."""

    def __init__(self, stream: httpcore2.NetworkStream, guard: _Guard) -> None:
        self._stream = stream
        self._guard = guard
        self._read = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._read > WIRE_BYTES:
            msg = f"the reply is longer than {WIRE_BYTES} bytes"
            raise httpcore2.RemoteProtocolError(msg)
        data = self._stream.read(max_bytes, self._guard.remaining_s())
        self._read += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces, because the limit below holds for each call to the socket, not for all.
        for start in range(0, len(buffer), 16_384):
            piece = buffer[start : start + 16_384]
            self._stream.write(piece, self._guard.remaining_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._guard.remaining_s()
        secured = self._stream.start_tls(ssl_context, server_hostname, left)
        return _Stream(secured, self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Transport(httpx2.BaseTransport):
    """httpx2 over a pool of our own making; its own transport takes no network backend."""

    def __init__(self, pool: httpcore2.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        reply = self._pool.handle_request(
            httpcore2.Request(
                request.method, url, headers=request.headers.raw, content=request.read()
            )
        )
        stream = cast("Iterable[bytes]", reply.stream)
        return httpx2.Response(reply.status, headers=reply.headers, stream=_Body(stream, reply))

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._pool.close()

    def __enter__(self) -> Self:
        return self


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Iterable[bytes], reply: httpcore2.Response) -> None:
        self._stream = stream
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._reply.close()
