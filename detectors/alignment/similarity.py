"""How alike two embeddings of the same rows are, whatever the coordinates.

Everything is deterministic: unchanged rows and weights give no false alarm. A map that is only
turned keeps CKA 1 and disparity 0 while every consumer pinned to the old coordinates is broken.
"""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray

NEIGHBOURS = 10
ENOUGH_ROWS = 5
"""Rows a dimension below which CKA is biased upwards and the debiased one is taken."""


def linear_cka(a: FloatArray, b: FloatArray) -> float:
    """|B'A|^2 / (|A'A| |B'B|) of centred a (n, p) and b (n, q), the same rows: 0 to 1.

    Kornblith et al. (2019). Below five rows a dimension the debiased estimate of HSIC takes its
    place (Song et al. 2012), which can be a little below 0. NaN where one does not vary.
    """
    n = len(a)
    if len(b) != n:
        msg = f"{n} rows against {len(b)}; both need the same rows in the same order"
        raise ValueError(msg)
    A, B = a - a.mean(axis=0), b - b.mean(axis=0)
    if n < ENOUGH_ROWS * max(a.shape[1], b.shape[1]) and n > 3:
        return _debiased(A @ A.T, B @ B.T)
    between = float(np.square(B.T @ A).sum())
    within = float(np.linalg.norm(A.T @ A) * np.linalg.norm(B.T @ B))
    return between / within if within > 0 else float("nan")


def _debiased(K: FloatArray, L: FloatArray) -> float:
    own = _hsic(K, K) * _hsic(L, L)
    return _hsic(K, L) / float(np.sqrt(own)) if own > 0 else float("nan")


def _hsic(K: FloatArray, L: FloatArray) -> float:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion of two Gram matrices."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    rows_k, rows_l = K.sum(axis=0), L.sum(axis=0)
    trace = float(np.sum(K * L))
    sums = float(rows_k.sum() * rows_l.sum()) / ((n - 1) * (n - 2))
    return (trace + sums - 2 * float(rows_k @ rows_l) / (n - 2)) / (n * (n - 3))


def procrustes_disparity(a: FloatArray, b: FloatArray) -> float:
    """What is left after the best shift, scale and rotation of b (n, q) onto a (n, p): 0 to 1.

    1 - (sum of singular values)^2 of the unit-norm cross product; the smaller width is padded.
    """
    A, B = a - a.mean(axis=0), b - b.mean(axis=0)
    sizes = float(np.linalg.norm(A) * np.linalg.norm(B))
    if sizes == 0:
        return float("nan")
    overlap = float(np.linalg.svd(A.T @ B, compute_uv=False).sum()) / sizes
    return max(0.0, 1.0 - overlap**2)


def neighbour_overlap(a: FloatArray, b: FloatArray, *, k: int = NEIGHBOURS) -> float:
    """Mean share of a row's k nearest rows in a (n, p) that are also nearest in b (n, q).

    Needs more than k rows; unrelated embeddings give about k / (n - 1).
    """
    if len(a) <= k:
        msg = f"{len(a)} rows; {k} neighbours need at least {k + 1}"
        raise ValueError(msg)
    near_a, near_b = _nearest(a, k), _nearest(b, k)
    shared = (near_a[:, :, None] == near_b[:, None, :]).any(axis=2)
    return float(shared.mean())


def _nearest(rows: FloatArray, k: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    square = np.square(rows).sum(axis=1)
    distance = square[:, None] + square[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(distance, np.inf)
    return np.argpartition(distance, k - 1, axis=1)[:, :k]


def participation_ratio(rows: FloatArray) -> float:
    """How many directions are used: (sum of variances)^2 / sum of their squares, principal axes.

    p for a ball of p dimensions, 1 for a line; a fall says that the embedding collapses.
    """
    centred = rows - rows.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    total = float(np.square(variances).sum())
    return float(variances.sum()) ** 2 / total if total > 0 else 0.0
