"""Ticks of a reference as evidence reads them, at whatever length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from detectors.counts import counts_of
from detectors.evidence.bank import Bank
from detectors.evidence.counted import CountRules, Counts
from detectors.profile import Profile
from detectors.records import FloatArray, IntArray, StreamSpec, Window
from detectors.streams import statistics_of
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
    ticks = _merged(base, tick_us)
    starts = np.array([tick.start_us for tick in ticks], np.int64)
    return starts, *statistics_of(specs, profile, ticks)


def reference_counts(
    watch: Watch, name: ClockName, base: Sequence[TickSummary], tick_us: int
) -> Counts | None:
    """What of the reference's ticks is counted."""
    rules = _rules(watch, name)
    if rules is None:
        return None
    return counts_of(specs_of(watch, name), watch.profile, rules, _merged(base, tick_us))


def tick_counts(watch: Watch, name: ClockName, tick: TickSummary, bank: Bank) -> Counts | None:
    """What of one tick is counted, cells of the streams that `bank` follows row by row."""
    rules = _rules(watch, name)
    if rules is None:
        return None
    rows = bank.counted.rows.tolist()
    return counts_of(specs_of(watch, name), watch.profile, rules, [tick], rows=rows)


def _rules(watch: Watch, name: ClockName) -> CountRules | None:
    return watch.feature_rules if name == "feature" else watch.label_rules


def _merged(base: Sequence[TickSummary], tick_us: int) -> list[TickSummary]:
    """Base summaries merged to consecutive ticks; those without rows are empty."""
    first = base[0].start_us // tick_us
    last = base[-1].start_us // tick_us
    groups: list[list[TickSummary]] = [[] for _ in range(first, last + 1)]
    for summary in base:
        groups[summary.start_us // tick_us - first].append(summary)
    return [
        merge_summaries(parts, start_us=at * tick_us, end_us=(at + 1) * tick_us)
        for at, parts in enumerate(groups, start=first)
    ]
