"""The guarded way out for e-mail: SMTP with the same table of refused addresses as HTTP.

One deadline for the whole exchange: when it passes, the connection is shut from outside, whatever
the server was dripping. Replies are cut off. The name in the certificate is checked, and a
password is never sent before the connection is encrypted.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpcore2

from alerts.notifiers import Letter
from alerts.plain import plain
from alerts.schedule import Reply
from monitor.outgoing.addresses import Network, parse_address, why_refused
from monitor.outgoing.outbound import GuardedClient, RefusedError, refuse_addresses

MAIL_DEADLINE_S = 20.0
"""A conversation of a dozen turns, of which any may wait for a spam filter."""

REPLY_BYTES = 20_000


class _TooLongError(OSError):
    """The server's reply does not end."""


def send_letter(
    letter: Letter,
    *,
    client: GuardedClient,
    allowed: Sequence[Network] = (),
    deadline_s: float = MAIL_DEADLINE_S,
    ssl_context: ssl.SSLContext | None = None,
) -> Reply:
    """One attempt; never raises for what a server does.

    A server that refuses for good (5xx to a sender, a recipient or the text) makes a permanent
    error: it will not think otherwise in an hour. A refused login may be mended, and is retried.
    """
    clock = client.clock
    started = clock.monotonic()

    def since() -> int:
        return round(1000 * (clock.monotonic() - started))

    try:
        refused = _converse(letter, client, allowed, started + deadline_s, ssl_context)
    except RefusedError as refusal:
        return Reply(error=f"refused: {refusal}", permanent=True)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        return _refused(code, said, since(), "every recipient was refused: ")
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        return _refused(error.smtp_code, error.smtp_error, since())
    except smtplib.SMTPResponseException as error:
        words = f"{error.smtp_code} {_decoded(error.smtp_error)}"
        return Reply(error=plain(words, 200), duration_ms=since())
    except (OSError, smtplib.SMTPException, httpcore2.ConnectError) as error:
        if clock.monotonic() - started >= deadline_s:
            return Reply(error=f"not sent within {deadline_s:g} s", duration_ms=since())
        return Reply(error=plain(f"{type(error).__name__}: {error}", 200), duration_ms=since())
    except (httpcore2.TimeoutException, ValueError) as error:
        words = "no reply in time" if isinstance(error, httpcore2.TimeoutException) else "garbage"
        return Reply(error=f"{type(error).__name__}: {words}", duration_ms=since())
    words = f"; {len(refused)} of {len(letter.recipients)} recipients refused" if refused else ""
    return Reply(status=250, error=words.strip("; "), duration_ms=since())


def _refused(code: int, words: bytes | str, duration_ms: int, before: str = "") -> Reply:
    said = plain(f"{before}{code} {_decoded(words)}", 200)
    return Reply(error=said, permanent=500 <= code < 600, duration_ms=duration_ms)


def _decoded(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)


def _converse(
    letter: Letter,
    client: GuardedClient,
    allowed: Sequence[Network],
    until: float,
    ssl_context: ssl.SSLContext | None,
) -> dict[str, Any]:
    """The whole conversation; the recipients that were refused while others were not."""
    context = ssl_context or ssl.create_default_context()
    left = until - client.clock.monotonic()
    found = client.lookup(letter.host, letter.port, left)
    refuse_addresses(letter.host, found, allowed)
    connection = _connect(found, letter.port, allowed, until, client)
    with connection, _shut_at(connection, until - client.clock.monotonic()):
        smtp = _Smtp(letter.host, connection, context if letter.tls == "tls" else None)
        try:
            if letter.tls == "starttls":
                smtp.starttls(context=context)
            if letter.username:
                smtp.login(letter.username, letter.password)
            refused = smtp.sendmail(letter.sender, letter.recipients, letter.body)
            with contextlib.suppress(smtplib.SMTPException, OSError):
                smtp.quit()
            return refused
        finally:
            smtp.close()


def _connect(
    found: Sequence[str],
    port: int,
    allowed: Sequence[Network],
    until: float,
    client: GuardedClient,
) -> socket.socket:
    """A connection to the first address that answers; the peer is checked once more."""
    failure: OSError = OSError("no address")
    for address in found:
        left = until - client.clock.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            connection = socket.create_connection((address, port), timeout=left)
        except OSError as error:
            failure = error
            continue
        peer = str(connection.getpeername()[0])
        if why := why_refused(parse_address(peer), allowed):
            connection.close()
            msg = f"connected to {peer}, {why}"
            raise RefusedError(msg)
        return connection
    raise failure


@contextlib.contextmanager
def _shut_at(connection: socket.socket, left_s: float) -> Iterator[None]:
    """Shut the connection after `left_s`; limits per read alone let a server drip for ever.

    The timer holds a descriptor of its own: TLS takes the other one away.
    """
    held = connection.dup()

    def shut() -> None:
        with contextlib.suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, left_s), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        held.close()


class _Smtp(smtplib.SMTP):
    """SMTP over a connection that is already there, with an end to what it reads."""

    def __init__(self, host: str, connection: socket.socket, wrap: ssl.SSLContext | None) -> None:
        # An address as RFC 5321 allows it: looking up the own name could take for ever.
        super().__init__(local_hostname=f"[{connection.getsockname()[0]}]")
        # What starttls checks the certificate against.
        self._host = host
        self.sock = (
            connection if wrap is None else wrap.wrap_socket(connection, server_hostname=host)
        )
        code, words = self.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Capped(self.sock.makefile("rb"))
        return super().getreply()


class _Capped:
    """A file that stops being one after too many bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._read = 0

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._file.readline(limit)
        self._read += len(line)
        if self._read > REPLY_BYTES:
            msg = f"the server has said more than {REPLY_BYTES} bytes"
            raise _TooLongError(msg)
        return line

    def close(self) -> None:
        self._file.close()
