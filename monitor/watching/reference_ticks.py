"""Ticks of a reference as evidence reads them, at whatever length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from detectors.profile import Profile
from detectors.records import FloatArray, IntArray, StreamSpec, Window
from detectors.streams import statistics
from detectors.summary import TickSummary, merge_summaries, summarise, summarise_labels
from monitor.watching.watch import Watch, ticks_of

ClockName = Literal["feature", "label"]
Summariser = Callable[..., TickSummary]
SUMMARISE: dict[ClockName, Summariser] = {"feature": summarise, "label": summarise_labels}


def specs_of(watch: Watch, name: ClockName) -> tuple[StreamSpec, ...]:
    """The streams of one clock."""
    return watch.feature_specs if name == "feature" else watch.label_specs


def reference_summaries(
    profile: Profile, name: ClockName, reference: Window | None, tick_us: int
) -> list[TickSummary]:
    """One summary a tick that has rows; none where the reference has no times."""
    if reference is None or reference.ts_us is None or not reference.rows:
        return []
    return [
        SUMMARISE[name](rows, profile, start_us=start, end_us=start + tick_us)
        for start, rows in ticks_of(reference, tick_us)
    ]


def reference_vectors(
    profile: Profile, specs: Sequence[StreamSpec], base: Sequence[TickSummary], tick_us: int
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Base summaries merged to ticks and read as vectors; ticks without rows have v = inf."""
    if not base:
        empty = np.empty((0, len(specs)))
        return np.empty(0, np.int64), empty, empty
    first = base[0].start_us // tick_us * tick_us
    last = base[-1].start_us // tick_us * tick_us
    starts = np.arange(first, last + tick_us, tick_us, dtype=np.int64)
    y = np.zeros((len(starts), len(specs)))
    v = np.full((len(starts), len(specs)), np.inf)
    groups: dict[int, list[TickSummary]] = {}
    for summary in base:
        groups.setdefault((summary.start_us - first) // tick_us, []).append(summary)
    for place, parts in groups.items():
        start = first + place * tick_us
        merged = merge_summaries(parts, start_us=start, end_us=start + tick_us)
        y[place], v[place] = statistics(specs, profile, merged)
    return starts, y, v
