"""Event identity: a 128-bit hash of (model, id), the same on every machine and after every restart.

XXH3-128 seeded by the model's name. It spreads ids evenly, which sampling relies on, and 10^12
ids of one model collide with probability below 10^-14. It is no cryptographic hash: whoever may
post events of a model could construct two ids that collide, and would only spoil their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import numpy as np
import xxhash
from numpy.typing import NDArray

HashArray = NDArray[np.uint64]


def model_seed(model: str) -> int:
    """The 64-bit seed that keeps equal ids of two models apart."""
    return int(xxhash.xxh3_64_intdigest(model.encode()))


def hash_ids(model: str, ids: Iterable[bytes]) -> tuple[HashArray, HashArray]:
    """High and low halves (n,) of the hash of every UTF-8 id, in order."""
    digests = b"".join(map(xxhash.xxh3_128_digest, ids, repeat(model_seed(model))))
    halves = np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def hash_texts(model: str, ids: Iterable[str]) -> tuple[HashArray, HashArray]:
    """`hash_ids` for text."""
    return hash_ids(model, map(str.encode, ids))
