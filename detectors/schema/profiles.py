"""What the rows of each category look like in the other columns and the label.

Two names for one thing have the same profile; one name for two things has not. A profile is a
table of counts, field by field; how badly the current rows of one category fit the reference
profile of another is the G statistic, in nats of log likelihood ratio when halved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.records import Categories, FloatArray, IntArray, Schema, Window

TOP_CATEGORIES = 12
PROFILED = 14
MIN_ROWS_REFERENCE = 60
MIN_ROWS_CURRENT = 50


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One column in cells: codes (n,) and (m,) of both windows, -1 where it says nothing."""

    name: str
    cells: int
    reference: IntArray
    current: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """Counts (values, cells) of the frequent values of one column, all fields side by side.

    `starts` is where each field's cells begin.
    """

    reference_values: tuple[str, ...]
    current_values: tuple[str, ...]
    reference: FloatArray
    current: FloatArray
    starts: IntArray

    def misfit(self) -> FloatArray:
        """G statistic (current values, reference values) of current rows under each reference.

        What moved for all values alike, a label rate or the mix of another column, is taken as
        given: the reference's shares move with it.
        """
        moved = (self.current.sum(axis=0) + 0.5) / (self.reference.sum(axis=0) + 0.5)
        expected = (self.reference + 0.5) * moved
        log_expected = np.log(expected / self._totals(expected))
        share = self.current / np.maximum(self._totals(self.current), 1.0)
        own = np.where(self.current > 0, self.current * np.log(np.where(share > 0, share, 1)), 0)
        misfit: FloatArray = 2.0 * (own.sum(axis=1)[:, None] - self.current @ log_expected.T)
        return misfit

    def shares(self) -> tuple[FloatArray, FloatArray]:
        """The profiles as shares that sum to one in each field."""
        before = self.reference / np.maximum(self._totals(self.reference), 1.0)
        now = self.current / np.maximum(self._totals(self.current), 1.0)
        return before, now

    def rows(self) -> tuple[FloatArray, FloatArray]:
        """Rows of each value, in the reference and now, averaged over fields."""
        fields = len(self.starts)
        return self.reference.sum(axis=1) / fields, self.current.sum(axis=1) / fields

    def _totals(self, counts: FloatArray) -> FloatArray:
        """Each field's total, repeated over its cells."""
        widths = np.diff(np.append(self.starts, counts.shape[1]))
        totals: FloatArray = np.repeat(np.add.reduceat(counts, self.starts, axis=1), widths, axis=1)
        return totals


def fields_of(reference: Window, current: Window, schema: Schema) -> tuple[Field, ...]:
    """All columns both windows have, in cells fixed on the reference, and the label."""
    fields = []
    for name in schema.numeric:
        before, now = reference.numeric.get(name), current.numeric.get(name)
        if before is not None and now is not None:
            fields.append(_numeric_field(name, before, now))
    for name in schema.categorical:
        words, words_now = reference.categorical.get(name), current.categorical.get(name)
        if words is not None and words_now is not None:
            fields.append(_categorical_field(name, words, words_now))
    if reference.label is not None and current.label is not None:
        label = _numeric_field("", reference.label, current.label)
        fields.append(
            Field("", label.cells, _without_nulls(label.reference), _without_nulls(label.current))
        )
    return tuple(fields)


def profile(
    name: str,
    reference: Window,
    current: Window,
    fields: Sequence[Field],
    *,
    fewest: int = MIN_ROWS_CURRENT,
) -> Profiles | None:
    """Profiles of the frequent values of a categorical column over all fields but its own.

    `fewest` rows of a value make it frequent in the current window; a likelihood needs fewer than
    shares do.
    """
    others = [field for field in fields if field.name != name]
    if not others:
        return None
    words, words_now = reference.categorical[name], current.categorical[name]
    kept, kept_now = _frequent(words, MIN_ROWS_REFERENCE), _frequent(words_now, fewest)
    return Profiles(
        reference_values=tuple(words.values[code] for code in kept),
        current_values=tuple(words_now.values[code] for code in kept_now),
        reference=_table(words, kept, [field.reference for field in others], others),
        current=_table(words_now, kept_now, [field.current for field in others], others),
        starts=np.concatenate([[0], np.cumsum([field.cells for field in others])[:-1]]).astype(
            np.int64
        ),
    )


def _table(
    column: Categories, kept: IntArray, codes: Sequence[IntArray], fields: Sequence[Field]
) -> FloatArray:
    """Counts (kept, cells) of the kept codes of a column against the cells of all fields."""
    place = np.full(len(column.values) + 1, -1, np.int64)
    place[kept] = np.arange(len(kept))
    row = place[column.codes]
    blocks = []
    for cells, field in zip(codes, fields, strict=True):
        here = (row >= 0) & (cells >= 0)
        joint = row[here] * field.cells + cells[here]
        counts = np.bincount(joint, minlength=len(kept) * field.cells)
        blocks.append(counts.reshape(len(kept), field.cells).astype(float))
    return np.concatenate(blocks, axis=1)


def _numeric_field(name: str, before: FloatArray, now: FloatArray) -> Field:
    """Fifths of the reference, and nulls with the lowest."""
    edges = _between_values(before[np.isfinite(before)])

    def cells(values: FloatArray) -> IntArray:
        codes = np.searchsorted(edges, values, side="right") + 1
        codes[np.isnan(values)] = 0
        return codes.astype(np.int64)

    return Field(name, len(edges) + 2, cells(before), cells(now))


def _between_values(filled: FloatArray) -> FloatArray:
    """Cuts at the fifths of values (n,), each halfway to the value before it.

    Numbers that come in steps (miles of a route, whole years) would lie on a cut at a quantile,
    and a conversion that was rounded would move all rows of a step across it.
    """
    if not len(filled):
        return np.zeros(0)
    values = np.unique(filled)
    at = np.searchsorted(values, np.quantile(filled, [0.2, 0.4, 0.6, 0.8]))
    at = np.unique(at[at > 0])
    return np.asarray(0.5 * (values[at - 1] + values[at]))


def _without_nulls(codes: IntArray) -> IntArray:
    return np.where(codes == 0, -1, codes)


def _categorical_field(name: str, before: Categories, now: Categories) -> Field:
    """The commonest values of the reference, then null, then all the others."""
    counts = np.bincount(before.codes[before.codes >= 0], minlength=len(before.values))
    top = [code for code in np.argsort(-counts, kind="stable")[:TOP_CATEGORIES] if counts[code]]
    place = {before.values[code]: at for at, code in enumerate(top)}
    null, other = len(top), len(top) + 1

    def cells(column: Categories) -> IntArray:
        lookup = np.fromiter(
            (*(place.get(value, other) for value in column.values), null),
            np.int64,
            len(column.values) + 1,
        )
        return lookup[column.codes]

    return Field(name, len(top) + 2, cells(before), cells(now))


def _frequent(column: Categories, least: int) -> IntArray:
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    top = np.argsort(-counts, kind="stable")[:PROFILED]
    return top[counts[top] >= least].astype(np.int64)
