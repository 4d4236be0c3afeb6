"""Named arrays and a small header as bytes, written out by hand so that no pickle is ever read.

Layout: 4 bytes of magic, then zlib of [length of the header, 4 bytes little endian | header,
JSON | arrays, little endian, in the order the header lists them].
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = ("<f8", "<i8", "<u8")


def body_of(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes before compression: the same content gives the same bytes on every machine."""
    parts = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    listed: list[tuple[str, str, list[int]]] = []
    for name, array in parts.items():
        dtype = array.dtype.newbyteorder("<").str
        if dtype not in DTYPES:
            msg = f"array {name!r} has type {array.dtype}; it can be one of {', '.join(DTYPES)}"
            raise TypeError(msg)
        listed.append((name, dtype, list(array.shape)))
    text = json.dumps({"header": header, "arrays": listed}, sort_keys=True, separators=(",", ":"))
    encoded = text.encode()
    raw = [parts[name].astype(dtype, copy=False).tobytes() for name, dtype, _ in listed]
    return b"".join([struct.pack("<I", len(encoded)), encoded, *raw])


def pack(magic: bytes, body: bytes) -> bytes:
    """Compress a body behind its magic. Level 1: summaries are mostly zeros, speed counts more."""
    return magic + zlib.compress(body, 1)


def unpack(magic: bytes, blob: bytes, what: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of what `pack` wrote; ValueError where the bytes are something else."""
    if blob[:4] != magic:
        msg = (
            f"these bytes are not a {what} of this version: they begin {blob[:4]!r}, not {magic!r}"
        )
        raise ValueError(msg)
    try:
        body = zlib.decompress(blob[4:])
        (length,) = struct.unpack_from("<I", body)
        described = json.loads(body[4 : 4 + length])
        arrays, at = {}, 4 + length
        for name, dtype, shape in described["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(
                body, dtype=_allowed(dtype), count=count, offset=at
            ).reshape(shape)
            at += count * 8
    except (zlib.error, struct.error, KeyError, ValueError) as fault:
        msg = f"these bytes are a damaged {what}; rebuild it from the stored rows"
        raise ValueError(msg) from fault
    return described["header"], arrays


def _allowed(dtype: str) -> str:
    """Only plain numbers are read: an object array would be a pickle."""
    if dtype not in DTYPES:
        raise ValueError(dtype)
    return dtype


def digest(body: bytes) -> str:
    """32 hex digits that name a body."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()
