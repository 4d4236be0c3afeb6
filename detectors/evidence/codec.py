"""Arrays as bytes: type, shape and raw little-endian memory. Nothing here can run code."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

KINDS = frozenset({"<f8", "<f4", "<i8", "|b1"})


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """One array: NumPy type string, shape, bytes in C order."""

    kind: str
    shape: tuple[int, ...]
    data: bytes


def pack(array: NDArray[Any]) -> Packed:
    """Raises TypeError for a type of array that has no place in a checkpoint."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if plain.dtype.str not in KINDS:
        msg = f"an array of {array.dtype} cannot be saved; use one of {sorted(KINDS)}"
        raise TypeError(msg)
    return Packed(plain.dtype.str, plain.shape, plain.tobytes())


def unpack(packed: Packed) -> NDArray[Any]:
    """A fresh, writable array. Raises ValueError where type, shape and bytes disagree."""
    if packed.kind not in KINDS:
        msg = f"unknown array type {packed.kind!r}; known are {sorted(KINDS)}"
        raise ValueError(msg)
    dtype = np.dtype(packed.kind)
    expected = int(np.prod(packed.shape, dtype=np.int64)) * dtype.itemsize
    if min(packed.shape, default=0) < 0 or expected != len(packed.data):
        msg = f"an array of shape {packed.shape} needs {expected} bytes, found {len(packed.data)}"
        raise ValueError(msg)
    return np.frombuffer(packed.data, dtype=dtype).reshape(packed.shape).copy()
