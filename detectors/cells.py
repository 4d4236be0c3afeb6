"""The cells of a column: a fixed partition of its values, frozen on the reference.

A numeric column has one cell for null, one for each *spike* (a value that holds at least 1 % of
the rows; 0 always, so that zero-filling is seen), and right-closed bins: 48 of equal mass, cuts
at the outer .1, .3, .7 and 1.5 % of both sides because shifts show first in the tails, and two
open bins beyond everything the reference held. Each spike is also a bin edge, so cells are
ordered and a spike's rank is exact. Infinities fall into the open bins.

A categorical column has cells for null, unseen, other, and its up to 1,000 commonest values.

Counts are (2, cells): Σω and Σω², so that adding counts merges windows and the effective number
of rows stays known. Binning loses what moves inside one bin, at most that bin's share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.kernels import njit
from detectors.records import Categories, FloatArray, IntArray

EQUAL_MASS = 48
TAIL_CUTS = (0.985, 0.993, 0.997, 0.999)
SPIKE_SHARE = 0.01
SPIKE_ROWS = 5
"""A spike needs five tied rows: among 60 distinct values every one has more than 1 %."""
EDGE_SAMPLE = 200_000
"""Edges are fitted on at most this many values: a quantile is then known to .1 %."""
TOP_VALUES = 1_000
KNOWN_VALUES = 100_000
"""Beyond this many distinct values a vocabulary is open: a new value in it is no news."""

NULL = 0
UNSEEN = 1
OTHER = 2
FIRST_VALUE = 3
"""Where the values of a categorical column begin among its cells."""


@dataclass(frozen=True, eq=False)
class NumericCells:
    """Cells [null, spikes (S,), bins (E + 1,)]. `edges` (E,) ascend and contain every spike."""

    edges: FloatArray
    spikes: FloatArray

    @property
    def size(self) -> int:
        return 1 + len(self.spikes) + len(self.edges) + 1

    @cached_property
    def spike_at_edge(self) -> IntArray:
        """For each edge its spike cell, or -1."""
        at = np.full(len(self.edges), -1, dtype=np.int64)
        at[np.searchsorted(self.edges, self.spikes)] = 1 + np.arange(len(self.spikes))
        return at

    @cached_property
    def _lookup(self) -> tuple[FloatArray, IntArray]:
        """Edges padded to a power of two, and the cell at each place (on an edge, off it)."""
        places = 1 << len(self.edges).bit_length()
        padded = np.full(places, np.inf)
        padded[: len(self.edges)] = self.edges
        bins = 1 + len(self.spikes) + np.minimum(np.arange(places), len(self.edges))
        on_edge = bins.copy()
        on_edge[: len(self.edges)][self.spike_at_edge > 0] = self.spike_at_edge[
            self.spike_at_edge > 0
        ]
        return padded, np.stack([on_edge, bins])

    @cached_property
    def order(self) -> IntArray:
        """The cells other than null, from the lowest values to the highest."""
        first_bin = 1 + len(self.spikes)
        bins = first_bin + np.arange(len(self.edges))
        pairs = np.stack([bins, self.spike_at_edge], axis=1).ravel()
        return np.append(pairs[pairs >= 0], first_bin + len(self.edges))

    def ranks(self, counts: FloatArray) -> FloatArray:
        """Mid-rank u = F(below) + half the cell's share, (cells,) in [0, 1]; NaN for null.

        Without any value every rank is one half.
        """
        ranks = np.full(self.size, np.nan)
        mass = counts[0, self.order]
        total = mass.sum()
        if total > 0.0:
            ranks[self.order] = (np.cumsum(mass) - 0.5 * mass) / total
        else:
            ranks[self.order] = 0.5
        return ranks

    def count(self, values: FloatArray, weight: FloatArray | None) -> FloatArray:
        """Counts (2, cells) of values (n,), NaN being null, with weights (n,) or one each."""
        values = np.ascontiguousarray(values, dtype=np.float64)
        if weight is None:
            tally = np.zeros(self.size, dtype=np.int64)
            _tally(values, *self._lookup, tally)
            return np.stack([tally, tally]).astype(np.float64)
        counts = np.zeros((2, self.size))
        weight = np.ascontiguousarray(weight, dtype=np.float64)
        _weigh(values, weight, *self._lookup, counts)
        return counts

    def labels(self) -> tuple[str, ...]:
        """What each cell holds, for people."""
        spikes = [f"= {value:g}" for value in self.spikes]
        bounds = [f"{edge:g}" for edge in self.edges]
        inner = [f"({low}, {high}]" for low, high in pairwise(bounds)]
        return ("null", *spikes, f"≤ {bounds[0]}", *inner, f"> {bounds[-1]}")


@dataclass(frozen=True, eq=False)
class CategoricalCells:
    """Cells [null, unseen, other, values…]; `rest` holds sorted hashes of the values in other.

    `unseen_rate` is the Good-Turing estimate of the share of rows in values not met before. An
    `open` vocabulary had more values than are remembered: what is not a cell counts as other.
    """

    values: tuple[str, ...]
    rest: NDArray[np.uint64]
    open: bool
    unseen_rate: float

    @property
    def size(self) -> int:
        return FIRST_VALUE + len(self.values)

    @cached_property
    def _cell_of(self) -> dict[str, int]:
        return {value: FIRST_VALUE + at for at, value in enumerate(self.values)}

    def cells_of(self, vocabulary: tuple[str, ...]) -> IntArray:
        """The cell of each word (V,) of a window's vocabulary."""
        missing = OTHER if self.open else UNSEEN
        find = self._cell_of.get
        cells = np.fromiter((find(word, missing) for word in vocabulary), np.int64, len(vocabulary))
        if len(self.rest):
            strange = np.flatnonzero(cells == UNSEEN)
            hashes = hashes_of([vocabulary[at] for at in strange])
            spot = np.minimum(np.searchsorted(self.rest, hashes), len(self.rest) - 1)
            cells[strange[self.rest[spot] == hashes]] = OTHER
        return cells

    def unseen(self, column: Categories) -> dict[str, int]:
        """Rows of each value of a column (n,) that the reference did not have."""
        if self.open or self._cell_of.keys() >= set(column.values):
            return {}
        used, rows = np.unique(column.codes[column.codes >= 0], return_counts=True)
        words = tuple(column.values[code] for code in used.tolist())
        strange = np.flatnonzero(self.cells_of(words) == UNSEEN).tolist()
        return {words[at]: int(rows[at]) for at in strange}

    def count(self, column: Categories, weight: FloatArray | None) -> FloatArray:
        """Counts (2, cells) of a column (n,) with weights (n,) or one each."""
        cells = self._mapped(column)
        if weight is None:
            tally = np.bincount(cells, minlength=self.size)
            return np.stack([tally, tally]).astype(np.float64)
        return np.stack(
            [
                np.bincount(cells, weights=weight, minlength=self.size),
                np.bincount(cells, weights=weight * weight, minlength=self.size),
            ]
        )

    def _mapped(self, column: Categories) -> IntArray:
        """The cell of each row (n,). The vocabulary is looked up once, never row by row."""
        words = column.values
        if len(words) <= len(column.codes):
            lookup = np.append(self.cells_of(words), NULL).astype(np.int64)
            return lookup[column.codes]
        used, places = np.unique(column.codes, return_inverse=True)
        lookup = np.full(len(used), NULL, dtype=np.int64)
        known = used >= 0
        lookup[known] = self.cells_of(tuple(words[at] for at in used[known]))
        return lookup[places]

    def labels(self) -> tuple[str, ...]:
        """What each cell holds, for people."""
        return ("null", "unseen", "other", *self.values)


Cells = NumericCells | CategoricalCells


def fit_numeric(values: FloatArray, weight: FloatArray | None) -> NumericCells:
    """Cells for values (n,), NaN being null. Without a finite value: [null, 0, below, above]."""
    keep = np.isfinite(values)
    finite = values[keep]
    if not len(finite):
        return NumericCells(np.zeros(1), np.zeros(1))
    outer = [np.nextafter(finite.min(), np.finfo(np.float64).min), finite.max()]
    mass = np.ones(len(finite)) if weight is None else weight[keep]
    if len(finite) > EDGE_SAMPLE:
        chosen = np.random.default_rng(0).choice(len(finite), EDGE_SAMPLE, replace=False)
        finite, mass = finite[chosen], mass[chosen]
    if weight is None:
        finite = np.sort(finite)
    else:
        ascending = np.argsort(finite, kind="stable")
        finite, mass = finite[ascending], mass[ascending]

    first = np.flatnonzero(np.r_[True, finite[1:] != finite[:-1]])
    distinct, rows = finite[first], np.diff(np.append(first, len(finite)))
    masses = np.add.reduceat(mass, first)
    heavy = (masses >= SPIKE_SHARE * masses.sum()) & (rows >= SPIKE_ROWS)
    spikes = np.union1d(distinct[heavy], [0.0])

    plain, plain_mass = distinct[~heavy], masses[~heavy]
    cuts: FloatArray = np.empty(0)
    if len(plain):
        inner = np.arange(1, EQUAL_MASS) / EQUAL_MASS
        tails = np.array(TAIL_CUTS)
        wanted = np.concatenate([inner, tails, 1.0 - tails])
        reached = np.cumsum(plain_mass)
        spot = np.searchsorted(reached, wanted * reached[-1] * (1.0 - 1e-12))
        cuts = plain[np.minimum(spot, len(plain) - 1)]
    return NumericCells(np.unique(np.concatenate([cuts, spikes, outer])), spikes)


def fit_categorical(column: Categories, weight: FloatArray | None) -> CategoricalCells:
    """Cells for the values of a column (n,), commonest first, ties in vocabulary order."""
    present = column.codes[column.codes >= 0]
    rows = np.bincount(present, minlength=len(column.values))
    kept = None if weight is None else weight[column.codes >= 0]
    mass = np.bincount(present, weights=kept, minlength=len(column.values)).astype(np.float64)
    seen = np.flatnonzero(rows)
    seen = seen[np.argsort(-mass[seen], kind="stable")]
    top, rest = seen[:TOP_VALUES], seen[TOP_VALUES:]
    is_open = len(seen) > KNOWN_VALUES
    hashes = hashes_of([] if is_open else [column.values[at] for at in rest])
    singletons = int((rows == 1).sum())
    return CategoricalCells(
        values=tuple(column.values[at] for at in top),
        rest=np.sort(hashes),
        open=is_open,
        unseen_rate=min(1.0, (singletons + 1) / (len(present) + 1)),
    )


def hashes_of(words: list[str]) -> NDArray[np.uint64]:
    """64-bit hashes (n,) that are the same in every process and on every machine."""
    from xxhash import xxh3_64_intdigest

    hashed = (xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) for word in words)
    return np.fromiter(hashed, np.uint64, len(words))


BLOCK = 256


@njit(cache=True, nogil=True)
def _tally(values: Any, padded: Any, cells: Any, tally: Any) -> None:  # pragma: no cover
    base = np.zeros(BLOCK, np.int32)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        _search(block, padded, base)
        for row in range(len(block)):
            value, at = block[row], base[row]
            cell = cells[0, at] if padded[at] == value else cells[1, at]
            tally[cell if value == value else NULL] += 1


@njit(cache=True, nogil=True)
def _weigh(
    values: Any, weight: Any, padded: Any, cells: Any, counts: Any
) -> None:  # pragma: no cover
    base = np.zeros(BLOCK, np.int32)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        _search(block, padded, base)
        for row in range(len(block)):
            value, at, mass = block[row], base[row], weight[start + row]
            cell = cells[0, at] if padded[at] == value else cells[1, at]
            cell = cell if value == value else NULL
            counts[0, cell] += mass
            counts[1, cell] += mass * mass


@njit(cache=True, nogil=True, inline="always")
def _search(block: Any, padded: Any, base: Any) -> None:  # pragma: no cover
    """How many edges lie below each value; `padded` has 2^k entries, infinite at its end.

    The whole block goes down the binary search level by level, which the compiler turns into
    gathers: four times faster than a search row by row.
    """
    rows = len(block)
    for row in range(rows):
        base[row] = 0
    step = np.int32(len(padded) >> 1)
    while step > 0:
        for row in range(rows):
            base[row] += step if padded[base[row] + step - 1] < block[row] else np.int32(0)
        step = np.int32(step >> 1)
