"""Are the embeddings that rows carry those of the version they name, or old ones?

Two signs, neither of which needs labels. *Served by an old version*: every version has embedded
the same anchors, so each has its map; rows that name one version and lie on the map of an earlier
one were embedded by that. *Frozen*: vectors that used to be made anew now come back bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.alignment.anchors import FEWEST_ANCHORS
from detectors.records import FloatArray, Window

TOLD_APART = 0.9
"""Maps are told apart if nine anchors in ten lie nearest to an anchor of their own version."""

MOST_ANCHORS, MOST_ROWS = 300, 2_000
FEWEST_ROWS = 100
NEAR = 0.99
"""A row is on some map if it lies no farther from an anchor than 99 in 100 anchors from another."""

ON_A_MAP = 0.2
LEAST_SHARE = 0.05
Z = 3.3

MOST_DIGESTS = 50_000
FROZEN_RISE = 0.5
"""Half of the rows repeat an old vector who did not before: new rows of old items do so too."""


@dataclass(frozen=True, slots=True, eq=False)
class VersionMap:
    """Where a version puts the anchors: rows (n, d)."""

    version: str
    rows: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OldMap:
    """Rows that say `named` and lie on the map of `served`; `share` with its one-sided bound."""

    named: str
    served: str
    share: float
    lower: float
    rows: int

    @property
    def words(self) -> str:
        return (
            f"{100 * self.share:.0f} % of {self.rows:,} rows that name version {self.named} carry "
            f"embeddings of version {self.served}: an old version is served, or old vectors are "
            "cached"
        )


def lies_on(rows: NDArray[np.float32], named: VersionMap, earlier: VersionMap) -> OldMap | None:
    """The share of rows (n, d) that are nearer to the anchors of `earlier` than of `named`.

    Corrected by how often the anchors themselves are told apart, each held against all others.
    None where the maps have other widths or too few anchors, are too alike to be told apart,
    where too few rows lie near either, or where nothing speaks for the earlier one.
    """
    widths = {rows.shape[1], named.rows.shape[1], earlier.rows.shape[1]}
    if len(widths) > 1 or min(len(named.rows), len(earlier.rows)) < FEWEST_ANCHORS:
        return None
    new, old = thinned(named.rows, MOST_ANCHORS), thinned(earlier.rows, MOST_ANCHORS)
    spread = np.concatenate([new, old]).std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    new, old = new / scale, old / scale
    seen = thinned(rows[np.isfinite(rows).all(axis=1)], MOST_ROWS) / scale
    own_new, own_old = _nearest(new, new, skip_self=True), _nearest(old, old, skip_self=True)
    mistaken_new = float((_nearest(new, old, skip_self=True) < own_new).mean())
    right_old = float((_nearest(old, new, skip_self=True) > own_old).mean())
    if min(1 - mistaken_new, right_old) < TOLD_APART:
        return None
    to_new, to_old = _nearest(seen, new), _nearest(seen, old)
    on_a_map = np.minimum(to_new, to_old) <= np.quantile(np.concatenate([own_new, own_old]), NEAR)
    kept = int(on_a_map.sum())
    if kept < FEWEST_ROWS or kept < ON_A_MAP * len(seen):
        return None
    nearer = float((to_old < to_new)[on_a_map].mean())
    told = right_old - mistaken_new
    share = (nearer - mistaken_new) / told
    base = max(mistaken_new, 1 / kept)
    error = math.sqrt(max(nearer * (1 - nearer), base * (1 - base)) / kept) / told
    lower = share - Z * error
    if lower <= LEAST_SHARE:
        return None
    return OldMap(named.version, earlier.version, min(share, 1.0), lower, kept)


def served_by_old(
    rows: NDArray[np.float32], versions: Iterable[str | None], maps: Sequence[VersionMap]
) -> OldMap | None:
    """The earlier version whose map most rows of some named version lie on; None where none.

    versions (n,) is what rows name; `maps` the versions' anchors, the oldest first.
    """
    found: list[OldMap] = []
    names = np.array(list(versions), dtype=object)
    for at, named in enumerate(maps):
        mine = rows[names == named.version]
        if len(mine) >= FEWEST_ROWS:
            held = (lies_on(mine, named, earlier) for earlier in maps[:at])
            found += [one for one in held if one is not None]
    return max(found, key=lambda one: (one.share, one.rows), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class KnownVectors:
    """Which vectors of `width` numbers a reference has, as digests (k,), ascending.

    Of a large reference only vectors whose digest is a multiple of `one_in` are kept: which those
    are, the vector alone decides, so that all repeats of one are kept with it. `usual` is the share
    of the later half that repeats the earlier one.
    """

    width: int
    digests: NDArray[np.uint64]
    one_in: int
    usual: float

    def chosen(self, embedding: NDArray[np.float32]) -> NDArray[np.uint64]:
        """The digests of those rows (n, d) that can be looked up."""
        return _chosen(_digests(embedding), self.one_in)


def known_vectors(reference: Window) -> KnownVectors | None:
    """Vectors of a reference with times, at most some 50,000 of them; None where it has none."""
    if reference.embedding is None or reference.ts_us is None or not reference.rows:
        return None
    order = np.argsort(reference.ts_us, kind="stable")
    digests, one_in = _digests(reference.embedding[order]), 1
    while len(digests) > MOST_DIGESTS:
        one_in *= 2
        digests = _chosen(digests, one_in)
    half = len(digests) // 2
    if half < FEWEST_ROWS:
        return None
    usual = float(np.isin(digests[half:], digests[:half]).mean())
    return KnownVectors(reference.embedding.shape[1], np.unique(digests), one_in, usual)


def repeats(known: KnownVectors | None, current: Window) -> str:
    """Why vectors look frozen, in words; "" where they do not, or where it cannot be told.

    Held against how often the second half of the reference repeats its first: where every item
    has one vector for good, repeats are nothing new.
    """
    if known is None or current.embedding is None or current.embedding.shape[1] != known.width:
        return ""
    now = known.chosen(current.embedding)
    if len(now) < FEWEST_ROWS:
        return ""
    share = float(np.isin(now, known.digests).mean())
    if share - known.usual < FROZEN_RISE:
        return ""
    return (
        f"{100 * share:.0f} % of embeddings repeat one of the reference bit for bit; inside the "
        f"reference {100 * known.usual:.2g} % did: vectors are no longer made anew"
    )


def frozen(reference: Window, current: Window) -> str:
    """What `repeats` says of all rows of a reference."""
    return repeats(known_vectors(reference), current)


def other_width(reference: Window, current: Window) -> str:
    """That embeddings have another dimension than the reference's, in words; "" where not."""
    if reference.embedding is None or current.embedding is None:
        return ""
    before, now = reference.embedding.shape[1], current.embedding.shape[1]
    if before == now or not min(reference.rows, current.rows):
        return ""
    return (
        f"embeddings had {before} dimensions and have {now}: heads fitted on the reference cannot "
        "read them"
    )


def _digests(embedding: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A number (n,) for each row (n, d), equal where all bits are; chance alone makes no two."""
    bits = np.ascontiguousarray(embedding, dtype=np.float32).view(np.uint32)
    weights = np.random.default_rng(0).integers(0, 2**64, bits.shape[1], dtype=np.uint64)
    digests: NDArray[np.uint64] = (bits * (weights | np.uint64(1))).sum(axis=1, dtype=np.uint64)
    # The finaliser of MurmurHash3 (Appleby), so that vectors of round numbers keep no pattern.
    digests += np.uint64(0x9E3779B97F4A7C15)
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        digests ^= digests >> np.uint64(33)
        digests *= np.uint64(multiplier)
    mixed: NDArray[np.uint64] = digests ^ (digests >> np.uint64(33))
    return mixed


def _chosen(digests: NDArray[np.uint64], one_in: int) -> NDArray[np.uint64]:
    kept: NDArray[np.uint64] = digests[digests % np.uint64(one_in) == 0]
    return kept


def thinned(rows: NDArray[np.float32], most: int) -> FloatArray:
    """At most so many rows, evenly spaced."""
    if len(rows) <= most:
        return rows.astype(np.float64)
    at = np.linspace(0, len(rows) - 1, most).round().astype(np.int64)
    return rows[at].astype(np.float64)


def _nearest(rows: FloatArray, others: FloatArray, *, skip_self: bool = False) -> FloatArray:
    """Squared distance (n,) of rows to the nearest of others, not counting the row's own twin."""
    square = np.square(rows).sum(1)[:, None] + np.square(others).sum(1)[None, :]
    square -= 2 * rows @ others.T
    if skip_self:
        twins = np.arange(min(square.shape))
        square[twins, twins] = np.inf
    nearest: FloatArray = np.maximum(square.min(axis=1), 0.0)
    return nearest
