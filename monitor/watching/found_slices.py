"""Slices that nobody declared, searched for every week and followed from the next tick on.

At most 20 are followed at once, each in a slot of the evidence by cluster. They share a tenth of
the page budget. What a slice meant in the reference is its null, drawn to that of all rows, at a
price for having been learnt from few rows. One without evidence for 28 days is let go, and not
proposed again for as long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors.calibration.in_the_large import in_the_large
from detectors.calibration.over_time import (
    NEVER,
    Forecasts,
    ForecastTick,
    Null,
    estimated_null_cost,
    read_tick,
)
from detectors.calibration.rows import log_odds, sigmoid
from detectors.discovery import MOST_SLICES, FoundSlice, rows_of
from detectors.records import DAY_US, Categories, FloatArray, IntArray, Window, concat_windows
from detectors.slice_search import moved_slices, searched_columns
from monitor.rows.base import RowSource
from monitor.watching.watch import Watch

SEARCH_EVERY_US = 7 * DAY_US
SEARCHED_US = 28 * DAY_US
SEARCHED_ROWS = 20_000
EVICTED_US = 28 * DAY_US
SOME_EVIDENCE = 0.1
"""Of what an alarm takes: a slice that reached this much in the last 28 days is kept."""
PRIOR_ROWS = 500.0
"""A slice's own level in the reference is drawn to that of all rows as if by so many rows."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A followed slice: since when, when it last had some evidence, its level in the reference.

    `level` is in log odds against the null of all rows, `rows` of the reference told it.
    """

    name: str
    columns: tuple[str, ...]
    values: tuple[str, ...]
    born_us: int
    shown_us: int
    level: float
    rows: int

    def inside(self, rows: Window) -> IntArray:
        """Its rows in a window, as an index."""
        nothing = Categories(np.full(rows.rows, -1, np.int32), ())
        columns = {name: rows.categorical.get(name, nothing) for name in self.columns}
        found = FoundSlice(self.name, self.columns, self.values, 0, 0.0)
        return np.flatnonzero(rows_of(found, columns))

    def to_list(self) -> list[Any]:
        return [
            self.name,
            list(self.columns),
            list(self.values),
            self.born_us,
            self.shown_us,
            self.level,
            self.rows,
        ]

    @classmethod
    def of(cls, stored: list[Any]) -> Slot:
        name, columns, values, *rest = stored
        return cls(name, tuple(columns), tuple(values), *rest)


Slots = tuple[Slot | None, ...]
NO_SLOTS: Slots = (None,) * MOST_SLICES


def can_search(watch: Watch) -> bool:
    """Whether there is a column to search, and a reference of the domain's own to hold it to."""
    return bool(searched_columns(watch.schema)) and watch.own_reference


def with_found(
    tick: ForecastTick, slots: Slots, rows: Window, cluster: IntArray, p: FloatArray, null: Null
) -> ForecastTick:
    """A tick's reading with what it says of the slices in slots, after all declared places."""
    assert rows.label is not None
    first = len(tick.clusters) - len(slots)
    log_e, clusters, sums = tick.log_e.copy(), tick.clusters.copy(), tick.sums.copy()
    for at, slot in enumerate(slots):
        inside = np.empty(0, np.int64) if slot is None else slot.inside(rows)
        if slot is None or not len(inside):
            continue
        own = sigmoid(log_odds(p[inside]) + slot.level)
        numbers = np.unique(cluster[inside], return_inverse=True)[1].astype(np.int64)
        cost = estimated_null_cost(own, null.centre, PRIOR_ROWS + slot.rows)
        read = read_tick(
            own,
            rows.label[inside],
            numbers,
            [],
            places=0,
            centre=null.centre,
            cost=cost,
            discount=null.discount,
        )
        log_e[first + at], clusters[first + at] = read.log_e[0], read.clusters[0]
        sums[:, first + at] = read.sums[:, 0]
    return replace(tick, log_e=log_e, clusters=clusters, sums=sums)


def noted(slots: Slots, evidence: FloatArray, instant_us: int) -> Slots:
    """Slots with the instant noted where there is some evidence, M / A (20,)."""
    return tuple(
        replace(slot, shown_us=instant_us)
        if slot is not None and evidence[at] >= SOME_EVIDENCE
        else slot
        for at, slot in enumerate(slots)
    )


def evicted(slots: Slots, instant_us: int) -> tuple[Slots, list[str]]:
    """Slots without those that showed nothing for 28 days, and the names of these."""
    old = [s for s in slots if s is not None and s.shown_us <= instant_us - EVICTED_US]
    kept = tuple(None if slot in old else slot for slot in slots)
    return kept, [slot.name for slot in old]


def proposed(
    watch: Watch,
    null: Null,
    rows: RowSource,
    slots: Slots,
    shelved: frozenset[str],
    *,
    end_us: int,
    instant_us: int,
) -> list[Slot]:
    """New slices for the free slots, from rows judged so far; they are judged on later ones."""
    room = sum(slot is None for slot in slots)
    followed = {slot.name for slot in slots if slot is not None}
    declared = {ref.name for ref in watch.profile.slices}
    if not room:
        return []
    moved = moved_slices(
        _recent(rows, end_us, instant_us),
        watch.reference,
        watch.profile,
        known=frozenset({*followed, *declared}) | shelved,
        most=room,
    )
    return [_born(watch, null, one, end_us) for one in moved]


def cleared(forecasts: Forecasts, place: int) -> Forecasts:
    """A place as if nothing had ever been staked there, for another slice."""
    wealth, run = forecasts.wealth.copy(), forecasts.run.copy()
    onset, muted = forecasts.onset_us.copy(), forecasts.muted_until_us.copy()
    last = forecasts.last_us.copy()
    wealth[place], run[place], onset[place] = -np.inf, 0.0, 0
    muted[place] = last[place] = NEVER
    return replace(
        forecasts, wealth=wealth, run=run, onset_us=onset, muted_until_us=muted, last_us=last
    )


def _born(watch: Watch, null: Null, found: FoundSlice, end_us: int) -> Slot:
    slot = Slot(found.name, found.columns, found.values, end_us, end_us, 0.0, 0)
    reference = watch.reference
    if null.curve is None or reference.score is None or reference.label is None:
        return slot  # held to outcomes, as all rows are
    inside = slot.inside(reference)
    score, label = reference.score[inside], reference.label[inside]
    known = np.isfinite(score) & np.isfinite(label)
    large = in_the_large(null.probability(score[known]), label[known]) if known.any() else None
    if large is None:
        return slot
    rows = int(known.sum())
    share = rows / (rows + PRIOR_ROWS)
    return replace(slot, level=share * float(np.clip(large.intercept, -3.0, 3.0)), rows=rows)


def _recent(rows: RowSource, end_us: int, instant_us: int) -> Window:
    """The last 28 days of judged rows, or so many of the latest days as hold 20,000."""
    days: list[Window] = []
    for back in range(SEARCHED_US // DAY_US):
        until_us = end_us - back * DAY_US
        days += rows.rows(until_us - DAY_US, until_us, labels_by_us=instant_us)
        if sum(day.rows for day in days) >= SEARCHED_ROWS:
            break
    window = concat_windows(days)
    if window.ts_us is None or window.score is None:
        return window
    # sums of floats depend on their order, and rows may have come in any
    return window.take(np.lexsort((window.score, window.ts_us)))
