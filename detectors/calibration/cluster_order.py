"""The clusters of a window of rows, in an order that does not depend on how rows arrived."""

from __future__ import annotations

import hashlib

import numpy as np

from detectors.records import IntArray, Window

ALONE = np.iinfo(np.int64).min
"""Stands for the digest of a row that names no cluster and so is one."""


def clusters_in_order(rows: Window) -> tuple[IntArray, IntArray]:
    """Digest (c,) of each cluster in order of its first row, and the number (n,) of each row's.

    Clusters that begin together are in the order of their names. A row without a cluster is one.
    """
    codes = np.full(rows.rows, -1) if rows.cluster is None else rows.cluster.codes.astype(np.int64)
    alone = codes < 0
    used, numbers = np.unique(codes[~alone], return_inverse=True)
    names = [] if rows.cluster is None else [rows.cluster.values[code] for code in used]
    own = len(used) + np.arange(int(alone.sum()))
    group = np.empty(rows.rows, np.int64)
    group[~alone], group[alone] = numbers, own
    count = len(used) + len(own)
    ts = np.zeros(rows.rows, np.int64) if rows.ts_us is None else rows.ts_us
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, group, ts)
    assert rows.score is not None
    rank = np.empty(count)
    rank[np.argsort(np.array(names, dtype=object), kind="stable")] = np.arange(len(used))
    rank[len(used) :] = len(used) + rows.score[alone]
    order = np.lexsort((rank, first))
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    digests = np.full(count, ALONE, np.int64)
    digests[: len(used)] = [_digest(name) for name in names]
    return digests[order], place[group]


def _digest(name: str) -> int:
    body = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(body, "big", signed=True)
