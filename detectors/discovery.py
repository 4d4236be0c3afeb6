"""Which slices nobody declared are the furthest off: values of columns and crosses of two.

A search looks at thousands of slices and finds some that are off by chance, so what it finds is
only a proposal: its evidence must come from rows that had no part in the search. After SliceFinder
(Chung and others 2019) and SliceLine (Sagadeeva and Boehm 2021).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from detectors.calibration.shrinkage import paule_mandel
from detectors.records import BoolArray, Categories, FloatArray, IntArray
from detectors.slices import slice_name

FEWEST_ROWS = 200
MOST_COLUMNS = 30
MOST_SLICES = 20
MOST_VALUES = 1_000
DISTINCT = 0.05
"""A cross must be off by so much more than both of its values (shrunken log odds)."""
SMALLEST_SD = 0.1
SAME_ROWS = 0.9
"""Two slices that share this much of the larger one are one slice by two names."""


@dataclass(frozen=True, slots=True)
class FoundSlice:
    """A slice with its columns and values, rows searched, and effect after shrinkage."""

    name: str
    columns: tuple[str, ...]
    values: tuple[str, ...]
    rows: int
    shrunk: float


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Per slice (m,): rows, Σ residual, Σ information, Σ of positive and of negative residuals."""

    rows: FloatArray
    residual: FloatArray
    information: FloatArray
    up: FloatArray
    down: FloatArray


def discover(
    residual: FloatArray,
    information: FloatArray,
    columns: Mapping[str, Categories],
    *,
    fewest_rows: int = FEWEST_ROWS,
    most: int = MOST_SLICES,
) -> tuple[FoundSlice, ...]:
    """At most `most` slices whose level differs most from all rows', furthest off first.

    residual (n,) is ω(y - r) and information (n,) ω r (1 - r); columns have n codes, of which the
    first 30 with at most 1,000 values are searched. A slice scores |Σ residual| / (Σ information +
    1 / τ²), its shrunken effect, τ² being the variance between single values. A cross is skipped
    where even all surpluses of one sign in its smaller parent could not lift it to the worst that
    is kept.
    """
    total = float(information.sum())
    if not total > 0.0 or len(residual) < 2 * fewest_rows:
        return ()
    names = [name for name, c in columns.items() if 1 < len(c.values) <= MOST_VALUES]
    names = names[:MOST_COLUMNS]
    own = residual - information * (float(residual.sum()) / total)
    parts = (own, information, np.maximum(own, 0.0), np.maximum(-own, 0.0))
    single = {
        name: _sums(columns[name].codes.astype(np.int64), len(columns[name].values), parts)
        for name in names
    }
    prior = _prior(single, fewest_rows)
    least = float(np.quantile(information / np.maximum(information.max(), 1e-12), 0.01))
    floor = fewest_rows * least * float(information.max())
    found: list[tuple[float, tuple[str, ...], tuple[int, ...], int]] = []
    scores: dict[str, FloatArray] = {}
    for name, sums in single.items():
        scores[name] = sums.residual / (sums.information + prior)
        found += [
            (float(scores[name][at]), (name,), (int(at),), int(sums.rows[at]))
            for at in np.flatnonzero(sums.rows >= fewest_rows)
        ]
    for first, second in combinations(names, 2):
        worst = sorted((abs(entry[0]) for entry in found), reverse=True)[: 4 * most]
        bar = worst[-1] if len(worst) == 4 * most else 0.0
        found += _crosses(
            (first, second), columns, single, scores, parts, prior, floor, bar, fewest_rows
        )
    found.sort(key=lambda entry: (-abs(entry[0]), entry[1], entry[2]))
    return _distinct(found, columns, most)


def half_of(rows: int, entity: Categories | None) -> BoolArray:
    """Which of the rows (n,) are searched, the others test: by hash of the entity they belong to.

    Rows of one entity stay together; without one each row, by its place, is its own.
    """
    if entity is None:
        mixed = np.arange(rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray((mixed >> np.uint64(40)) % np.uint64(2) == 0, dtype=np.bool_)
    sides = [zlib.crc32(value.encode()) % 2 == 0 for value in entity.values]
    return np.array([*sides, False], dtype=np.bool_)[entity.codes]


def rows_of(found: FoundSlice, columns: Mapping[str, Categories]) -> BoolArray:
    """The rows (n,) of a slice."""
    inside = np.ones(len(columns[found.columns[0]].codes), dtype=np.bool_)
    for name, value in zip(found.columns, found.values, strict=True):
        column = columns[name]
        code = column.values.index(value) if value in column.values else -2
        inside &= column.codes == code
    return inside


def _sums(codes: IntArray, size: int, parts: tuple[FloatArray, ...]) -> _Candidates:
    inside = codes >= 0
    kept = codes[inside]
    counted = [np.bincount(kept, weights=part[inside], minlength=size) for part in parts]
    rows = np.bincount(kept, minlength=size)
    return _Candidates(*(np.asarray(one, dtype=np.float64) for one in (rows, *counted)))


def _prior(single: Mapping[str, _Candidates], fewest_rows: int) -> float:
    """1 / τ² of single values; of .1 log odds where they do not differ more than by chance."""
    residual, information = [np.empty(0)], [np.empty(0)]
    for sums in single.values():
        kept = (sums.rows >= fewest_rows) & (sums.information > 0.0)
        residual.append(sums.residual[kept])
        information.append(sums.information[kept])
    held = np.concatenate(information)
    between = 0.0
    if len(held) > 1:
        between = paule_mandel(np.concatenate(residual) / held, 1.0 / np.sqrt(held)).between
    return 1.0 / max(between, SMALLEST_SD**2)


def _crosses(
    names: tuple[str, str],
    columns: Mapping[str, Categories],
    single: Mapping[str, _Candidates],
    scores: Mapping[str, FloatArray],
    parts: tuple[FloatArray, ...],
    prior: float,
    floor: float,
    bar: float,
    fewest_rows: int,
) -> Iterator[tuple[float, tuple[str, ...], tuple[int, ...], int]]:
    """Crosses of two columns that are large enough, and further off than both of their values."""
    kept = [
        (single[name].rows >= fewest_rows)
        & (np.maximum(single[name].up, single[name].down) / (floor + prior) >= bar)
        for name in names
    ]
    if not (kept[0].any() and kept[1].any()):
        return
    places = [np.append(np.where(k, np.cumsum(k) - 1, -1), -1) for k in kept]
    first, second = (p[columns[name].codes] for p, name in zip(places, names, strict=True))
    wide = int(kept[1].sum())
    codes = np.where((first >= 0) & (second >= 0), first * wide + second, -1)
    sums = _sums(codes.astype(np.int64), int(kept[0].sum()) * wide, parts)
    score = sums.residual / (sums.information + prior)
    back = [np.flatnonzero(k) for k in kept]
    above = np.maximum(
        np.abs(scores[names[0]][back[0]])[:, None], np.abs(scores[names[1]][back[1]])[None, :]
    ).ravel()
    telling = (sums.rows >= fewest_rows) & (np.abs(score) >= np.maximum(bar, above + DISTINCT))
    for at in np.flatnonzero(telling):
        a, b = divmod(int(at), wide)
        yield float(score[at]), names, (int(back[0][a]), int(back[1][b])), int(sums.rows[at])


def _distinct(
    found: list[tuple[float, tuple[str, ...], tuple[int, ...], int]],
    columns: Mapping[str, Categories],
    most: int,
) -> tuple[FoundSlice, ...]:
    """The first `most` that are not an earlier one by another name."""
    chosen: list[FoundSlice] = []
    masks: list[BoolArray] = []
    for score, names, codes, rows in found:
        if len(chosen) == most:
            break
        mask = np.logical_and.reduce(
            [columns[name].codes == code for name, code in zip(names, codes, strict=True)]
        )
        size = int(mask.sum())
        if any(int((mask & m).sum()) >= SAME_ROWS * max(size, int(m.sum())) for m in masks):
            continue
        values = tuple(columns[name].values[code] for name, code in zip(names, codes, strict=True))
        chosen.append(FoundSlice(slice_name(names, values), names, values, rows, score))
        masks.append(mask)
    return tuple(chosen)
