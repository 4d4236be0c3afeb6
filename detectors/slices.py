"""Which rows belong to which slice.

A slice is a value of a column, "origin=JFK", or a cross of columns, "origin=JFK,engine=jet".
Followed are the slices with at least 50 rows and .5 % of the reference, so at most 200 of each
declaration; a smaller one could not be told from noise within a useful time. Two or more that are
too small are followed together, with values that are new, as one slice "origin=(others)", if
together they are large enough and others stand alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detectors.records import BoolArray, Categories, CodeArray, FloatArray, IntArray, Window

if TYPE_CHECKING:
    from detectors.profile import Profile

SLICE_ROWS = 50
SLICE_SHARE = 0.005
TOO_SMALL_NAMES = 50
"""How many slices that are too small are named; the others are only counted."""
OTHERS = "(others)"
"""In place of values: all that are not followed by themselves."""
DISTINCT_NUMBERS = 10_000
"""A numeric column with more distinct values than this makes no slices."""


@dataclass(frozen=True, slots=True)
class SliceRef:
    """A followed slice: where it was declared, its value in each of those columns, its rows."""

    name: str
    columns: tuple[str, ...]
    values: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class FittedSlices:
    """The followed slices, the names of the largest that are too small, and how many those are."""

    slices: tuple[SliceRef, ...]
    too_small: tuple[str, ...]
    too_small_count: int


def slice_name(columns: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(f"{column}={value}" for column, value in zip(columns, values, strict=True))


def fit_slices(reference: Window, declared: Sequence[tuple[str, ...]]) -> FittedSlices:
    """The slices of a reference. A row with a null in a slicing column is in none of its slices."""
    followed: list[SliceRef] = []
    small: list[tuple[int, str]] = []
    small_count = 0
    needed = max(SLICE_ROWS, SLICE_SHARE * reference.rows)
    for columns in dict.fromkeys(declared):
        parts = [categories_of(reference, name) for name in columns]
        keys = _crossed(parts)
        found, counts = np.unique(keys[keys >= 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        taken = int((counts >= needed).sum())
        small_count += len(order) - taken
        for place, at in enumerate(order[: taken + TOO_SMALL_NAMES]):
            values = _values_of(int(found[at]), parts)
            name = slice_name(columns, values)
            if place < taken:
                followed.append(SliceRef(name, columns, values, int(counts[at])))
            else:
                small.append((int(counts[at]), name))
        rest = int(counts[order[taken:]].sum())
        if taken and len(order) > taken + 1 and rest >= needed:
            others = (OTHERS,) * len(columns)
            followed.append(SliceRef(slice_name(columns, others), columns, others, rest))
    small.sort(key=lambda pair: (-pair[0], pair[1]))
    unique = {ref.name: ref for ref in followed}
    names = tuple(name for _, name in small[:TOO_SMALL_NAMES])
    return FittedSlices(tuple(unique.values()), names, small_count)


def slice_counts(
    window: Window, columns: tuple[str, ...], *, most: int
) -> dict[tuple[str, ...], int]:
    """Rows of every value of a declaration; none where it has more than `most` values."""
    parts = [categories_of(window, name) for name in columns]
    keys = _crossed(parts)
    found, counts = np.unique(keys[keys >= 0], return_counts=True)
    if len(found) > most:
        return {}
    return {
        _values_of(int(key), parts): int(count) for key, count in zip(found, counts, strict=True)
    }


def slice_codes(window: Window, slices: Sequence[SliceRef]) -> list[CodeArray]:
    """For each declaration, the place (n,) of every row's slice in `slices`, -1 where none."""
    declarations: dict[tuple[str, ...], list[int]] = {}
    for place, ref in enumerate(slices):
        declarations.setdefault(ref.columns, []).append(place)
    return [
        _codes_of(window, columns, [slices[place].values for place in places], places)
        for columns, places in declarations.items()
    ]


def slice_masks(window: Window, profile: Profile) -> Iterator[tuple[str, BoolArray]]:
    """Name and rows (n,) of every followed slice of the profile; a row can be in several."""
    places = {ref.name: place for place, ref in enumerate(profile.slices)}
    columns_of = {ref.name: ref.columns for ref in profile.slices}
    declared = list(dict.fromkeys(columns_of.values()))
    codes = dict(zip(declared, slice_codes(window, profile.slices), strict=True))
    for name, place in places.items():
        yield name, codes[columns_of[name]] == place


@dataclass(frozen=True, slots=True, eq=False)
class SmallSlices:
    """Slices of one declaration that are not followed by themselves: place (n,) by row, or -1."""

    columns: tuple[str, ...]
    places: IntArray
    keys: IntArray
    parts: tuple[Categories, ...]

    @property
    def count(self) -> int:
        return len(self.keys)

    def name_of(self, place: int) -> str:
        return slice_name(self.columns, _values_of(int(self.keys[place]), self.parts))


def small_slices(
    window: Window, declared: Sequence[tuple[str, ...]], followed: Sequence[SliceRef]
) -> Iterator[SmallSlices]:
    """For each declaration, the slices of a window that are too small to be followed, or new."""
    for columns in dict.fromkeys(declared):
        parts = tuple(categories_of(window, name) for name in columns)
        keys = _crossed(parts)
        others = (OTHERS,) * len(columns)
        alone = [r.values for r in followed if r.columns == columns and r.values != others]
        if alone:
            keys[_codes_of(window, columns, alone, list(range(len(alone)))) >= 0] = -1
        found, places = np.unique(keys, return_inverse=True)
        none = int(len(found) > 0 and found[0] < 0)
        yield SmallSlices(columns, places.astype(np.int64) - none, found[none:], parts)


def categories_of(window: Window, name: str) -> Categories:
    """A slicing column as categories; a numeric one by its distinct values, 2013 as "2013"."""
    if name in window.categorical:
        return window.categorical[name]
    values = window.numeric.get(name)
    nothing = Categories(np.full(window.rows, -1, np.int32), ())
    if values is None:
        return nothing
    distinct, codes = np.unique(values, return_inverse=True)
    known = ~np.isnan(distinct)
    if known.sum() > DISTINCT_NUMBERS:
        return nothing
    places = np.where(np.isnan(values), -1, codes).astype(np.int32)
    return Categories(places, tuple(_number(value) for value in distinct[known]))


def _number(value: float) -> str:
    return str(int(value)) if np.isfinite(value) and value == int(value) else repr(float(value))


def _crossed(parts: Sequence[Categories]) -> IntArray:
    """One key (n,) per combination of values, -1 where any is null."""
    keys = np.zeros(len(parts[0].codes) if parts else 0, dtype=np.int64)
    null = np.zeros(len(keys), dtype=np.bool_)
    for part in parts:
        keys = keys * max(1, len(part.values)) + part.codes
        null |= part.codes < 0
    return np.where(null, -1, keys)


def _values_of(key: int, parts: Sequence[Categories]) -> tuple[str, ...]:
    values = []
    for part in reversed(parts):
        key, code = divmod(key, max(1, len(part.values)))
        values.append(part.values[code])
    return tuple(reversed(values))


def _codes_of(
    window: Window, columns: tuple[str, ...], members: list[tuple[str, ...]], places: list[int]
) -> CodeArray:
    """The place (n,) of each row's slice among `members` of one declaration."""
    others = (OTHERS,) * len(columns)
    if others in members:
        at = members.index(others)
        alone = members[:at] + members[at + 1 :]
        codes = _codes_of(window, columns, alone, places[:at] + places[at + 1 :])
        told = np.logical_and.reduce([_is_told(window, column) for column in columns])
        return np.where((codes < 0) & told, places[at], codes).astype(np.int32)
    keys = np.zeros(window.rows, dtype=np.int64)
    outside = np.zeros(window.rows, dtype=np.bool_)
    member_keys = np.zeros(len(members), dtype=np.int64)
    for at, column in enumerate(columns):
        levels = list(dict.fromkeys(member[at] for member in members))
        level_of = {value: level for level, value in enumerate(levels)}
        row_levels = _levels_of(window, column, level_of)
        outside |= row_levels < 0
        keys = keys * len(levels) + row_levels
        own = np.array([level_of[member[at]] for member in members], dtype=np.int64)
        member_keys = member_keys * len(levels) + own
    keys[outside] = -1
    ascending = np.argsort(member_keys)
    spot = np.searchsorted(member_keys[ascending], keys)
    nearest = ascending[np.minimum(spot, len(members) - 1)]
    matched = member_keys[nearest] == keys
    return np.where(matched, np.array(places)[nearest], -1).astype(np.int32)


def _is_told(window: Window, column: str) -> BoolArray:
    """Rows (n,) that have a value in a slicing column, whatever it is."""
    if column in window.categorical:
        return np.asarray(window.categorical[column].codes >= 0, dtype=np.bool_)
    values = window.numeric.get(column)
    return np.zeros(window.rows, np.bool_) if values is None else ~np.isnan(values)


def _levels_of(window: Window, column: str, level_of: dict[str, int]) -> IntArray:
    """The level (n,) of each row's value, -1 where null or not among the levels."""
    if column in window.categorical:
        part = window.categorical[column]
        codes, words = part.codes, part.values
        if len(words) > len(codes):
            used, places = np.unique(codes, return_inverse=True)
            wanted = [level_of.get(words[at], -1) if at >= 0 else -1 for at in used]
            return np.array(wanted, dtype=np.int64)[places]
        wanted = [level_of.get(word, -1) for word in words]
        return np.array([*wanted, -1], dtype=np.int64)[codes]
    values = window.numeric.get(column)
    if values is None:
        return np.full(window.rows, -1, dtype=np.int64)
    return _nearest_level(values, level_of)


def _nearest_level(values: FloatArray, level_of: dict[str, int]) -> IntArray:
    """Levels of numbers: those whose text the levels were named by."""
    numbers: dict[float, int] = {}
    for text, level in level_of.items():
        try:
            numbers[float(text)] = level
        except ValueError:
            continue
    if not numbers:
        return np.full(len(values), -1, dtype=np.int64)
    ascending = np.array(sorted(numbers))
    levels = np.array([numbers[number] for number in ascending], dtype=np.int64)
    spot = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.where(ascending[spot] == values, levels[spot], -1)
