"""One deployment, tick after tick: rows → summaries → evidence → findings.

The daemon and `kedge replay` call `evaluate`; they differ only in where rows come from and
where findings go. Everything here reads event time alone: a tick is judged at the instant its
end is passed by the watermark, a cohort of labels one label delay later, always in that order
and with the labels known by then. So the same history gives the same alarms however often,
and however late, somebody calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.evidence.backtest import choose_tick
from detectors.evidence.bank import Bank, advance, prime, start_bank
from detectors.evidence.fleet import FleetPrior
from detectors.evidence.young import PROMISED_US
from detectors.records import (
    DAY_US,
    HOUR_US,
    Finding,
    FloatArray,
    IntArray,
    Maturity,
    Window,
)
from detectors.schema.ticks import learn_runs, tick_checks, with_usual
from detectors.streams import statistics
from detectors.summary import TickSummary, merge_summaries
from monitor.rows.base import RowSource
from monitor.watching.alarms import finding_of
from monitor.watching.day_watch import (
    YEAR_US,
    DayWatch,
    close_day,
    open_day_watch,
    step_day_watch,
)
from monitor.watching.first_days import FEWEST_ROWS, gathered, open_first_days
from monitor.watching.forecast_watch import (
    gathering,
    open_forecast_watch,
    search_when_due,
    step_forecast_watch,
)
from monitor.watching.label_watch import open_label_watch, step_label_watch, watching, without_pages
from monitor.watching.named import open_named, step_named
from monitor.watching.newcomers import (
    close_newcomers_day,
    noticing,
    open_newcomers,
    step_newcomers,
)
from monitor.watching.progress import Progress, TickClock, reference_level
from monitor.watching.reference_ticks import (
    SUMMARISE,
    ClockName,
    reference_counts,
    reference_summaries,
    reference_vectors,
    specs_of,
    tick_counts,
)
from monitor.watching.table_skew import table_skew
from monitor.watching.volume_watch import open_volume_watch, step_volume_watch
from monitor.watching.watch import Watch

if TYPE_CHECKING:
    from monitor.watching.fleet import Fleet

CANDIDATE_TICKS_US = (HOUR_US, 6 * HOUR_US, DAY_US)
CLOCKS: tuple[ClockName, ...] = ("feature", "label")
FEWEST_REFERENCE_TICKS = 24
YOUNG_TICK_US = 6 * HOUR_US
Lend = Callable[[ClockName, int], FleetPrior | None]
"""What older domains lend a young clock of a tick length; see `lending.py`."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What one instant of event time brought. `ended`: it is the last of a flushed history."""

    instant_us: int
    summaries: tuple[tuple[ClockName, TickSummary], ...]
    findings: tuple[Finding, ...]
    cohort_day_closed: bool
    ended: bool = False


def open_progress(
    watch: Watch,
    reference: Window | None,
    lend: Lend | None = None,
    fleet: Fleet | None = None,
) -> Progress:
    """Run both clocks through the reference. `reference` None or without times starts young.

    `lend` is asked for a clock whose reference spans less than 14 days; `fleet` are the domains
    that this one may be held against.
    """
    clocks: dict[ClockName, TickClock] = {}
    named: dict[str, Any] = {}
    days: list[DayWatch] = []
    runs: dict[str, Any] = {}
    for name in CLOCKS:
        base = reference_summaries(watch.profile, name, reference, watch.base_tick_us)
        by_day = open_day_watch(watch, name, base, fleet)
        clocks[name], followed = _open_clock(watch, name, base, lend, by_day)
        named |= followed
        days += [] if by_day is None else [by_day]
        if name == "feature":
            runs = dict(learn_runs(watch.profile, base))
    return Progress(
        feature=clocks["feature"],
        label=clocks["label"],
        schema_memory=runs,
        named=named,
        label_watch=open_label_watch(watch, reference, clocks["label"].tick_us),
        forecast_watch=open_forecast_watch(watch),
        days=tuple(days),
        newcomers=open_newcomers(watch),
        first_days=open_first_days(watch),
        volume_watch=open_volume_watch(watch, reference),
    )


def primed_on(watch: Watch, name: ClockName, reference: Window, tick_us: int) -> Bank:
    """One clock's bank that has seen a reference at a tick length, and nothing else."""
    specs = specs_of(watch, name)
    base = reference_summaries(watch.profile, name, reference, tick_us)
    starts, y, v = reference_vectors(watch.profile, specs, base, tick_us)
    bank = start_bank(
        specs, tick_us=tick_us, budget=watch.settings.budget, holidays=watch.settings.holidays
    )
    return prime(bank, starts, y, v)


def _open_clock(
    watch: Watch,
    name: ClockName,
    base: Sequence[TickSummary],
    lend: Lend | None,
    by_day: DayWatch | None,
) -> tuple[TickClock, dict[str, Any]]:
    """A clock primed with reference ticks, its tick chosen by back-test unless it is set.

    With it the states of the named detectors that read its streams. What is followed `by_day`
    takes its part of the streams' weights.
    """
    specs = specs_of(watch, name)
    weighted = specs if by_day is None else by_day.own_specs(specs)
    tick_us, why_not = watch.settings.tick_us, ""
    vectors: dict[int, tuple[IntArray, FloatArray, FloatArray]] = {}
    if tick_us is None:
        for candidate in CANDIDATE_TICKS_US:
            vectors[candidate] = reference_vectors(watch.profile, specs, base, candidate)
        if specs and len(base) >= FEWEST_REFERENCE_TICKS:
            choice = choose_tick(
                vectors, weighted, watch.settings.budget, holidays=watch.settings.holidays
            )
            tick_us, why_not = choice.tick_us, "" if choice.guaranteed else choice.why_not
        else:
            tick_us = DAY_US if name == "label" else YOUNG_TICK_US
    starts, y, v = vectors.get(tick_us) or reference_vectors(watch.profile, specs, base, tick_us)
    span_us = int(starts[-1]) + tick_us - int(starts[0]) if len(starts) else 0
    young = span_us < PROMISED_US
    bank = start_bank(
        weighted,
        tick_us=tick_us,
        budget=watch.settings.budget,
        holidays=watch.settings.holidays,
        row_ticks=watch.settings.tick_rows is not None,
        why_not=why_not,
        prior=lend(name, tick_us) if lend is not None and specs and young else None,
        yearly=span_us >= YEAR_US and watch.settings.tick_rows is None,
    )
    if len(starts):
        bank = prime(bank, starts, y, v, reference_counts(watch, name, base, tick_us))
    clock = TickClock(bank=bank, tick_us=tick_us, level=reference_level(y, v))
    return clock, open_named(watch, specs, starts, y, v, tick_us)


def evaluate(
    watch: Watch,
    progress: Progress,
    rows: RowSource,
    *,
    watermark_us: int,
    flush: bool = False,
    fleet: Fleet | None = None,
) -> Iterator[Evaluation]:
    """Judge every tick and cohort that the watermark has passed, in order; moves `progress`.

    `flush` closes the tick that holds the watermark and every cohort before it, as at the end
    of a file. Yields one Evaluation per instant at which something closed, and after a flush a
    last one without ticks, at which the transfer verdict is final. Where domains are held against
    each other, all move on together: `in_step.py`.
    """
    while next_instant(watch, progress, rows, watermark_us=watermark_us, flush=flush) is not None:
        yield close_next(watch, progress, rows, watermark_us=watermark_us, flush=flush, fleet=fleet)
    if flush:
        yield from close_partials(watch, progress, watermark_us=watermark_us, fleet=fleet)


def next_instant(
    watch: Watch, progress: Progress, rows: RowSource, *, watermark_us: int, flush: bool = False
) -> int | None:
    """The instant at which something closes next; None where the watermark passes nothing."""
    if not _started(watch, progress, rows):
        return None
    due = _due(watch, progress, watermark_us, flush=flush)
    return min((instant for instant, _ in due), default=None)


def close_next(
    watch: Watch,
    progress: Progress,
    rows: RowSource,
    *,
    watermark_us: int,
    flush: bool = False,
    fleet: Fleet | None = None,
) -> Evaluation:
    """Close what closes at the next instant. Only where `next_instant` has named one."""
    due = _due(watch, progress, watermark_us, flush=flush)
    instant_us = min(instant for instant, _ in due)
    names = [name for instant, name in due if instant == instant_us]
    return _close(watch, progress, rows, instant_us, names, fleet)


def close_partials(
    watch: Watch, progress: Progress, *, watermark_us: int, fleet: Fleet | None = None
) -> Iterator[Evaluation]:
    """At the end of a log: longer ticks that have begun, and the verdict that is final."""
    if progress.first_live_us is None:
        return
    closing_us = _up_to_base_tick(watch, watermark_us)
    yield from _close_partials(watch, progress, closing_us, fleet)
    if progress.evaluated_until_us is not None:
        yield Evaluation(progress.evaluated_until_us, (), (), cohort_day_closed=False, ended=True)


def _started(watch: Watch, progress: Progress, rows: RowSource) -> bool:
    """Set both clocks to the first live row; false while there is none."""
    if progress.first_live_us is None:
        progress.first_live_us = rows.first_us()
        if progress.first_live_us is None:
            return False
        if watch.live_since_us is not None:
            progress.first_live_us = max(progress.first_live_us, watch.live_since_us)
    for clock in (progress.feature, progress.label):
        if clock.next_us is None:
            clock.next_us = progress.first_live_us // clock.tick_us * clock.tick_us
            if clock.next_us == clock.bank.last_start_us:
                # The tick in which the reference ends and the live rows begin is the reference's.
                clock.next_us += clock.tick_us
    return True


def _due(
    watch: Watch, progress: Progress, watermark_us: int, *, flush: bool
) -> list[tuple[int, ClockName]]:
    """The base tick each clock stands at, where it may be judged, with the instant of that."""
    closing_us = _up_to_base_tick(watch, watermark_us)
    due: list[tuple[int, ClockName]] = []
    for name, delay_us in _clocks(watch):
        clock = _clock(progress, name)
        assert clock.next_us is not None
        end_us = clock.next_us + watch.base_tick_us
        if end_us <= closing_us if flush else end_us + delay_us <= watermark_us:
            due.append((end_us + delay_us, name))
    return due


def _up_to_base_tick(watch: Watch, instant_us: int) -> int:
    return -(-instant_us // watch.base_tick_us) * watch.base_tick_us


def _clocks(watch: Watch) -> tuple[tuple[ClockName, int], ...]:
    """The clocks that have streams, with how long after a tick's end each may judge it."""
    if not watch.label_specs:
        return (("feature", 0),)
    return (("feature", 0), ("label", watch.label_delay_us))


def _clock(progress: Progress, name: ClockName) -> TickClock:
    return progress.feature if name == "feature" else progress.label


def _close(
    watch: Watch,
    progress: Progress,
    rows: RowSource,
    instant_us: int,
    names: Sequence[ClockName],
    fleet: Fleet | None,
) -> Evaluation:
    """Summarise the base tick each named clock stands at and let its evidence move."""
    base_us = watch.base_tick_us
    summaries: list[tuple[ClockName, TickSummary]] = []
    findings: list[Finding] = []
    day_closed = False
    for name in names:
        clock = _clock(progress, name)
        assert clock.next_us is not None
        start_us, end_us = clock.next_us, clock.next_us + base_us
        pieces = rows.rows(start_us, end_us, labels_by_us=instant_us if name == "label" else None)
        if name == "label":
            pieces = _comparable(progress, pieces, rows, start_us, end_us)
            pieces = watching(pieces, watch, progress.label_watch)
            pieces = gathering(pieces, watch, progress.forecast_watch)
        pieces = noticing(pieces, watch, progress.newcomers, name, start_us, end_us)
        summary = _summary(watch, name, pieces, start_us, end_us)
        summaries.append((name, summary))
        clock.next_us = end_us
        if name == "feature":
            progress.schema_memory, seen = tick_checks(
                watch.profile, summary, progress.schema_memory
            )
            findings += seen
            findings += step_volume_watch(watch, progress.volume_watch, summary, instant_us)
        else:
            findings += _by_cluster(watch, progress, start_us, instant_us)
            day_closed |= add_cohort(progress.cohort_days, summary, cohort_us=watch.cohort_us)
        clock.partial = (
            summary
            if clock.partial is None
            else merge_summaries([clock.partial, summary], clock.partial.start_us, end_us)
        )
        if end_us % clock.tick_us == 0:
            findings += _step(watch, progress, name, instant_us)
        findings += step_day_watch(watch, progress.day_watch(name), summary, instant_us, fleet)
        if name == "label":
            search_when_due(
                watch,
                progress.forecast_watch,
                rows,
                end_us=end_us,
                instant_us=instant_us,
                promised=clock.bank.maturity is Maturity.GUARANTEED,
            )
    _take_first_days(watch, progress, rows, names)
    if "feature" in names:
        assert progress.feature.next_us is not None
        close_newcomers_day(watch, progress, rows, progress.feature.next_us)
    progress.evaluated_until_us = instant_us
    return Evaluation(instant_us, tuple(summaries), tuple(findings), day_closed)


def _take_first_days(
    watch: Watch, progress: Progress, rows: RowSource, names: Sequence[ClockName]
) -> None:
    """Hold evidence against the first days of serving, once there are enough; see `first_days.py`.

    Nothing that was gathered about features before is carried on, so nothing pages by this.
    """
    first = progress.first_days
    if first is None:
        return
    assert progress.first_live_us is not None
    first.begin(progress.first_live_us)
    if "feature" in names:
        assert progress.feature.next_us is not None
        first.note_faults(progress.schema_memory, progress.first_live_us, progress.feature.next_us)
    for name in names:
        clock = _clock(progress, name)
        if not first.is_due(name, clock):
            continue
        assert first.since_us is not None
        assert clock.next_us is not None
        since_us, until_us = first.since_us, clock.next_us
        if name == "feature":
            base = gathered(watch, rows, since_us, until_us)
        else:
            base = [day for day in progress.cohort_days if since_us <= day.start_us < until_us]
        seen = sum(tick.rows if name == "feature" else tick.labelled_rows for tick in base)
        if seen < FEWEST_ROWS:
            continue
        by_day = open_day_watch(watch, name, base, None, span_us=(since_us, until_us))
        if name == "feature":
            progress.feature, named = _open_clock(watch, name, base, None, by_day)
            progress.feature.next_us = until_us
            learnt = learn_runs(watch.profile, base)
            progress.schema_memory = with_usual(progress.schema_memory, learnt)
            if progress.newcomers is not None:
                progress.newcomers.joined = []
        else:
            named = _level_labels(watch, clock)
        progress.named |= named
        progress.days += () if by_day is None else (by_day,)
        first.until_us[name] = until_us


def _level_labels(watch: Watch, clock: TickClock) -> dict[str, Any]:
    """Give the label clock the level of what it has seen; the named detectors of its streams."""
    history = clock.bank.history
    starts, y, v = (
        np.concatenate([getattr(part, name) for part in history])
        for name in ("starts_us", "y", "v")
    )
    clock.level = reference_level(y, v)
    return open_named(watch, watch.label_specs, starts, y, v, clock.tick_us)


def _by_cluster(watch: Watch, progress: Progress, start_us: int, instant_us: int) -> list[Finding]:
    """Evidence on calibration of the base tick's clusters."""
    bank = progress.label.bank
    found = step_forecast_watch(
        watch,
        progress.forecast_watch,
        start_us,
        instant_us,
        age_us=bank.age_us,
        fleet=bank.prior is not None,
    )
    return without_pages(progress.label_watch, found)


def _comparable(
    progress: Progress, pieces: Iterator[Window], rows: RowSource, start_us: int, end_us: int
) -> Iterator[Window]:
    """A cohort's rows with what the transfer verdict compares; counts those left out of it."""
    if progress.scorer is None:
        yield from pieces
        return
    for piece, left_out in progress.scorer.cohort(pieces, rows, start_us, end_us):
        progress.left_out += left_out
        yield piece


def _close_partials(
    watch: Watch, progress: Progress, closing_us: int, fleet: Fleet | None
) -> Iterator[Evaluation]:
    """At the end of a log, judge longer ticks that have begun and not ended."""
    for name, delay_us in _clocks(watch):
        clock, days = _clock(progress, name), progress.day_watch(name)
        by_day = days is not None and days.partial is not None
        if clock.partial is None and not by_day:
            continue
        instant_us = max(closing_us + delay_us, progress.evaluated_until_us or 0)
        findings = [] if clock.partial is None else _step(watch, progress, name, instant_us)
        if days is not None:
            findings += close_day(watch, days, instant_us, fleet)
        clock.next_us = max(clock.next_us or 0, -(-closing_us // clock.tick_us) * clock.tick_us)
        progress.evaluated_until_us = instant_us
        yield Evaluation(instant_us, (), tuple(findings), False)


def _summary(
    watch: Watch, name: ClockName, pieces: Iterator[Window], start_us: int, end_us: int
) -> TickSummary:
    make = SUMMARISE[name]
    parts = [make(rows, watch.profile, start_us=start_us, end_us=end_us) for rows in pieces]
    if not parts:
        return make(Window(rows=0), watch.profile, start_us=start_us, end_us=end_us)
    return parts[0] if len(parts) == 1 else merge_summaries(parts, start_us, end_us)


def add_cohort(days: list[TickSummary], summary: TickSummary, *, cohort_us: int = DAY_US) -> bool:
    """Add a base tick to its cohort, a day unless ticks are row counts; true at a day's end."""
    if days and days[-1].start_us // cohort_us == summary.start_us // cohort_us:
        days[-1] = merge_summaries([days[-1], summary], days[-1].start_us, summary.end_us)
    else:
        days.append(summary)
    return summary.end_us % DAY_US == 0


def _step(watch: Watch, progress: Progress, name: ClockName, instant_us: int) -> list[Finding]:
    """Feed the finished tick to the bank and word its alarms."""
    clock = _clock(progress, name)
    assert clock.partial is not None
    specs = specs_of(watch, name)
    start_us = clock.partial.start_us // clock.tick_us * clock.tick_us
    y, v = statistics(specs, watch.profile, clock.partial)
    counts = tick_counts(watch, name, clock.partial, clock.bank)
    clock.partial = None
    clock.bank, alarms = advance(clock.bank, start_us, y, v, counts)
    clock.remember(start_us, y, v)
    named = step_named(watch, progress.named, specs, y, v, start_us, instant_us)
    seen = [clock.since_onset(alarm.stream, alarm.onset_us) for alarm in alarms]
    found = [
        finding_of(alarm, specs, watch, instant_us, seen=effect)
        for alarm, effect in zip(alarms, seen, strict=True)
    ]
    if name == "feature":
        found += table_skew(watch, progress, instant_us)
    if name == "label":
        beside = step_label_watch(progress.label_watch, start_us, instant_us)
        found = [*beside, *without_pages(progress.label_watch, found)]
    new = step_newcomers(watch, progress.newcomers, name, start_us, instant_us)
    return [*found, *named, *without_pages(progress.label_watch, new)]
