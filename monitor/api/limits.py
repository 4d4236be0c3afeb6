"""How much one request may hold, and reading a body without ever holding more.

Bytes are counted as they stream in, before and after inflation: a declared length may lie,
and gzip inflates a thousandfold.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect

from detectors.records import MOST_KEPT_COLUMNS
from monitor.api.errors import RequestRefusedError

MAX_ID_CHARACTERS = 200
MAX_NAME_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 1_000
MAX_COLUMNS = 2_000
DRAINED_BYTES, DRAIN_S = 32 * 2**20, 60.0
_INFLATE_STEP = 1 << 20
_GZIP_MEMBERS = 1_000


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Bounds of one request, and of all requests that are held at once.

    Of the columns that a model's schema lacks `new_columns` are kept at a time.
    What is held counts until it is committed. Beside it there are the columns made of it, about as
    large, and what the connections themselves have heard: a flood costs some 400 MiB.
    """

    compressed_bytes: int = 32 * 2**20
    inflated_bytes: int = 128 * 2**20
    rows: int = 200_000
    columns: int = MAX_COLUMNS
    new_columns: int = MOST_KEPT_COLUMNS
    read_seconds: float = 60.0
    in_flight_bytes: int = 128 * 2**20
    future_us: int = 3_600_000_000


@dataclass(slots=True)
class InFlight:
    """Bytes of all bodies that are held right now; one event loop, so no lock."""

    limit_bytes: int
    held_bytes: int = 0

    def hold(self, more: int) -> None:
        """Count `more` bytes.

        Raises:
            RequestRefusedError: 503 when all requests together would hold too much.
        """
        self.refuse_unless_room_for(more)
        self.held_bytes += more

    def refuse_unless_room_for(self, more: int) -> None:
        """As `hold`, but nothing is counted: who only declares a length keeps out nobody else."""
        if self.held_bytes + more > self.limit_bytes:
            raise overloaded("too many bytes are being read at once")

    def release(self, fewer: int) -> None:
        """Give back what `hold` counted."""
        self.held_bytes -= fewer


@dataclass(slots=True)
class Body:
    """Bytes of a request as they came, and how they are encoded."""

    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    gzip: bool = False


def overloaded(why: str) -> RequestRefusedError:
    """503: the same request will be welcome a little later."""
    return RequestRefusedError(
        503, f"overloaded: {why}", "send the same batch again after Retry-After", retry_after_s=1
    )


async def read_body(
    stream: AsyncIterator[bytes],
    *,
    encoding: str,
    declared_bytes: int | None,
    limits: IngestLimits,
    in_flight: InFlight,
    body: Body,
) -> None:
    """Collect a body into `body`, counting every byte in `in_flight`.

    The caller releases `body.size` from `in_flight` when the body is no longer needed, also
    after an error.

    Raises:
        RequestRefusedError: 413 too large, 415 unknown encoding, 408 too slow, 503 overload.
    """
    match encoding.strip().lower():
        case "" | "identity":
            limit = limits.inflated_bytes
        case "gzip" | "x-gzip":
            body.gzip = True
            limit = limits.compressed_bytes
        case other:
            raise RequestRefusedError(
                415, f"content encoding '{other[:40]}' is not known", "send gzip or plain bytes"
            )
    if declared_bytes is not None:
        if declared_bytes > limit:
            raise too_large(limit)
        in_flight.refuse_unless_room_for(declared_bytes)
    try:
        async with asyncio.timeout(limits.read_seconds):
            async for chunk in stream:
                if body.size + len(chunk) > limit:
                    raise too_large(limit)
                in_flight.hold(len(chunk))
                body.size += len(chunk)
                body.chunks.append(chunk)
    except TimeoutError:
        raise RequestRefusedError(
            408,
            f"the body did not arrive within {limits.read_seconds:g} s",
            "send smaller batches, or more quickly",
        ) from None


async def drain(stream: AsyncIterator[bytes]) -> None:
    """Hear the rest of a refused body and forget it, up to `DRAINED_BYTES` and `DRAIN_S`.

    Closing a connection on which bytes are still coming resets it, and the refusal is lost on its
    way: the sender would see a broken line instead of when to come again.
    """
    heard = 0
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(DRAIN_S):
            async for chunk in stream:
                heard += len(chunk)
                if heard > DRAINED_BYTES:
                    return


def too_large(limit_bytes: int) -> RequestRefusedError:
    """413 with the limit in words."""
    return RequestRefusedError(
        413, f"the body is larger than {limit_bytes / 2**20:g} MiB", "split the batch"
    )


def inflate(body: Body, limits: IngestLimits) -> bytes:
    """The plain bytes of a body that was read, never more than the inflated limit.

    Raises:
        RequestRefusedError: 413 too large once inflated, 400 damaged or truncated gzip.
    """
    if not body.gzip:
        return b"".join(body.chunks)
    parts: list[bytes] = []
    size = 0
    members = 1
    inflater = zlib.decompressobj(wbits=31)
    try:
        for chunk in [*body.chunks, b""]:  # the empty one fetches what zlib still holds back
            rest = chunk
            while True:
                if inflater.eof and rest:  # gzip may hold several members, one after another
                    members += 1
                    inflater = zlib.decompressobj(wbits=31)
                part = inflater.decompress(rest, _INFLATE_STEP)
                size += len(part)
                if size > limits.inflated_bytes:
                    raise too_large(limits.inflated_bytes)
                if members > _GZIP_MEMBERS:
                    raise _damaged(f"more than {_GZIP_MEMBERS:,} members")
                parts.append(part)
                rest = inflater.unconsumed_tail or inflater.unused_data
                if not rest and len(part) < _INFLATE_STEP:
                    break
    except zlib.error as error:
        raise _damaged(str(error)) from None
    if body.size and not inflater.eof:
        raise RequestRefusedError(
            400, "the gzip body is truncated", "send the whole body, with a right Content-Length"
        )
    return b"".join(parts)


def _damaged(why: str) -> RequestRefusedError:
    return RequestRefusedError(
        400, f"the gzip body is damaged ({why})", "compress and send it again"
    )
