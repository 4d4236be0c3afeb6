"""Which slices that nobody declared have moved most since the reference, for a test still to come.

A search of thousands of slices finds some that are off by chance. What it proposes from rows up to
an instant may be bet on from the next tick on without any correction: the bet cannot know those
rows. Ranked is how far a slice's level has moved from its own in the reference, both shrunken, so
that a slice that was always off does not come first for ever.
"""

from __future__ import annotations

import numpy as np

from detectors.discovery import MOST_SLICES, SMALLEST_SD, FoundSlice, discover, rows_of
from detectors.profile import Profile
from detectors.records import BoolArray, Categories, FloatArray, Schema, Window
from detectors.sums import calibration_of_rows

SMALLEST_MOVE = 0.05
"""A slice must have moved by the practical effect, after shrinkage, to be worth a bet."""
PRIOR = 1.0 / SMALLEST_SD**2
CANDIDATES = 3 * MOST_SLICES


def searched_columns(schema: Schema) -> tuple[str, ...]:
    """Categorical columns of which single values are not followed anyway."""
    declared = {names[0] for names in schema.slices if len(names) == 1}
    return tuple(name for name in schema.categorical if name not in declared)


def moved_slices(
    recent: Window,
    reference: Window,
    profile: Profile,
    *,
    known: frozenset[str],
    most: int = MOST_SLICES,
) -> tuple[FoundSlice, ...]:
    """At most `most` slices by how far they moved, `known` ones left out; effects are the moves.

    Both windows have labels where they have come. A slice has at least 200 labelled rows now.
    """
    names = searched_columns(profile.schema)
    now, before = _judged(recent, names, profile), _judged(reference, names, profile)
    if now is None or before is None:
        return ()
    residual, information, columns = now
    proposed = discover(residual, information, columns, most=CANDIDATES)
    moved = []
    for one in proposed:
        if one.name in known:
            continue
        move = _level(rows_of(one, columns), residual, information) - _level(
            rows_of(one, before[2]), before[0], before[1]
        )
        if abs(move) >= SMALLEST_MOVE:
            moved.append(FoundSlice(one.name, one.columns, one.values, one.rows, move))
    moved.sort(key=lambda one: (-abs(one.shrunk), one.name))
    return tuple(moved[:most])


def _judged(
    window: Window, names: tuple[str, ...], profile: Profile
) -> tuple[FloatArray, FloatArray, dict[str, Categories]] | None:
    """ω(y - r) and ω r (1 - r) (n,) of labelled rows, and their columns (n,)."""
    if window.score is None or window.label is None:
        return None
    usable = np.isfinite(window.score) & np.isfinite(window.label)
    rows = window.take(usable)
    assert rows.score is not None
    assert rows.label is not None
    residual, information = calibration_of_rows(profile.ruler, rows.score, rows.label)
    weight = rows.weights()
    columns = {
        name: rows.categorical.get(name, Categories(np.full(rows.rows, -1, np.int32), ()))
        for name in names
    }
    return weight * residual, weight * information, columns


def _level(inside: BoolArray, residual: FloatArray, information: FloatArray) -> float:
    """The level of a slice, drawn to 0 as if by rows of sd .1."""
    return float(residual[inside].sum() / (information[inside].sum() + PRIOR))
