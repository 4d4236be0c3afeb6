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
from typing import Any, Literal

import numpy as np

from detectors.evidence.backtest import choose_tick
from detectors.evidence.bank import Alarm, Bank, advance, prime, start_bank
from detectors.evidence.fleet import FleetPrior
from detectors.evidence.young import PROMISED_US
from detectors.records import (
    DAY_US,
    HOUR_US,
    Finding,
    FloatArray,
    IntArray,
    StreamSpec,
    Tier,
    Window,
    to_datetime,
)
from detectors.schema.ticks import learn_runs, tick_checks
from detectors.streams import effect_words, statistics
from detectors.summary import TickSummary, merge_summaries, summarise, summarise_labels
from monitor.rows.base import RowSource
from monitor.watching.forecast_watch import (
    gathering,
    open_forecast_watch,
    step_forecast_watch,
)
from monitor.watching.label_watch import open_label_watch, step_label_watch, watching, without_pages
from monitor.watching.named import open_named, step_named
from monitor.watching.progress import Progress, TickClock, reference_level
from monitor.watching.watch import Watch, ticks_of

CANDIDATE_TICKS_US = (HOUR_US, 6 * HOUR_US, DAY_US)
FEWEST_REFERENCE_TICKS = 24
YOUNG_TICK_US = 6 * HOUR_US
LOSSES = frozenset({"loss", "transfer"})
ClockName = Literal["feature", "label"]
Lend = Callable[[ClockName, int], FleetPrior | None]
"""What older domains lend a young clock of a tick length; see `lending.py`."""
Summariser = Callable[..., TickSummary]
SUMMARISE: dict[ClockName, Summariser] = {"feature": summarise, "label": summarise_labels}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What one instant of event time brought. `ended`: it is the last of a flushed history."""

    instant_us: int
    summaries: tuple[tuple[ClockName, TickSummary], ...]
    findings: tuple[Finding, ...]
    cohort_day_closed: bool
    ended: bool = False


def open_progress(watch: Watch, reference: Window | None, lend: Lend | None = None) -> Progress:
    """Run both clocks through the reference. `reference` None or without times starts young.

    `lend` is asked for a clock whose reference spans less than 14 days.
    """
    features = _summaries(watch, "feature", reference, watch.base_tick_us)
    labels = _summaries(watch, "label", reference, watch.base_tick_us)
    feature, named = _open_clock(watch, "feature", features, lend)
    label, named_on_labels = _open_clock(watch, "label", labels, lend)
    return Progress(
        feature=feature,
        label=label,
        schema_memory=learn_runs(watch.profile, features),
        named=named | named_on_labels,
        label_watch=open_label_watch(watch, reference, label.tick_us),
        forecast_watch=open_forecast_watch(watch),
    )


def primed_on(watch: Watch, name: ClockName, reference: Window, tick_us: int) -> Bank:
    """One clock's bank that has seen a reference at a tick length, and nothing else."""
    specs = _specs(watch, name)
    starts, y, v = _vectors(watch, specs, _summaries(watch, name, reference, tick_us), tick_us)
    bank = start_bank(
        specs, tick_us=tick_us, budget=watch.settings.budget, holidays=watch.settings.holidays
    )
    return prime(bank, starts, y, v)


def _specs(watch: Watch, name: ClockName) -> tuple[StreamSpec, ...]:
    return watch.feature_specs if name == "feature" else watch.label_specs


def _open_clock(
    watch: Watch, name: ClockName, base: Sequence[TickSummary], lend: Lend | None
) -> tuple[TickClock, dict[str, Any]]:
    """A clock primed with reference ticks, its tick chosen by back-test unless it is set.

    With it the states of the named detectors that read its streams.
    """
    specs = _specs(watch, name)
    tick_us, why_not = watch.settings.tick_us, ""
    vectors: dict[int, tuple[IntArray, FloatArray, FloatArray]] = {}
    if tick_us is None:
        for candidate in CANDIDATE_TICKS_US:
            vectors[candidate] = _vectors(watch, specs, base, candidate)
        if specs and len(base) >= FEWEST_REFERENCE_TICKS:
            choice = choose_tick(
                vectors, specs, watch.settings.budget, holidays=watch.settings.holidays
            )
            tick_us, why_not = choice.tick_us, "" if choice.guaranteed else choice.why_not
        else:
            tick_us = DAY_US if name == "label" else YOUNG_TICK_US
    starts, y, v = vectors.get(tick_us) or _vectors(watch, specs, base, tick_us)
    young = not len(starts) or starts[-1] + tick_us - starts[0] < PROMISED_US
    bank = start_bank(
        specs,
        tick_us=tick_us,
        budget=watch.settings.budget,
        holidays=watch.settings.holidays,
        row_ticks=watch.settings.tick_rows is not None,
        why_not=why_not,
        prior=lend(name, tick_us) if lend is not None and specs and young else None,
    )
    if len(starts):
        bank = prime(bank, starts, y, v)
    clock = TickClock(bank=bank, tick_us=tick_us, level=reference_level(y, v))
    return clock, open_named(watch, specs, starts, y, v, tick_us)


def _summaries(
    watch: Watch, name: ClockName, reference: Window | None, tick_us: int
) -> list[TickSummary]:
    if reference is None or reference.ts_us is None or not reference.rows:
        return []
    return [
        SUMMARISE[name](rows, watch.profile, start_us=start, end_us=start + tick_us)
        for start, rows in ticks_of(reference, tick_us)
    ]


def _vectors(
    watch: Watch, specs: Sequence[StreamSpec], base: Sequence[TickSummary], tick_us: int
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
        y[place], v[place] = statistics(specs, watch.profile, merged)
    return starts, y, v


def evaluate(
    watch: Watch, progress: Progress, rows: RowSource, *, watermark_us: int, flush: bool = False
) -> Iterator[Evaluation]:
    """Judge every tick and cohort that the watermark has passed, in order; moves `progress`.

    `flush` closes the tick that holds the watermark and every cohort before it, as at the end
    of a file. Yields one Evaluation per instant at which something closed, and after a flush a
    last one without ticks, at which the transfer verdict is final.
    """
    if progress.first_live_us is None:
        progress.first_live_us = rows.first_us()
        if progress.first_live_us is None:
            return
        if watch.live_since_us is not None:
            progress.first_live_us = max(progress.first_live_us, watch.live_since_us)
    base_us = watch.base_tick_us
    for clock in (progress.feature, progress.label):
        if clock.next_us is None:
            clock.next_us = progress.first_live_us // clock.tick_us * clock.tick_us
            if clock.next_us == clock.bank.last_start_us:
                # The tick in which the reference ends and the live rows begin is the reference's.
                clock.next_us += clock.tick_us
    closing_us = watermark_us if not flush else -(-watermark_us // base_us) * base_us
    while True:
        due: list[tuple[int, ClockName]] = []
        for name, delay_us in _clocks(watch):
            clock = _clock(progress, name)
            assert clock.next_us is not None
            end_us = clock.next_us + base_us
            if end_us <= closing_us if flush else end_us + delay_us <= watermark_us:
                due.append((end_us + delay_us, name))
        if not due:
            break
        instant_us = min(instant for instant, _ in due)
        names = [name for instant, name in due if instant == instant_us]
        yield _close(watch, progress, rows, instant_us, names)
    if flush:
        yield from _close_partials(watch, progress, closing_us)
        if progress.evaluated_until_us is not None:
            yield Evaluation(
                progress.evaluated_until_us, (), (), cohort_day_closed=False, ended=True
            )


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
        summary = _summary(watch, name, pieces, start_us, end_us)
        summaries.append((name, summary))
        clock.next_us = end_us
        if name == "feature":
            progress.schema_memory, seen = tick_checks(
                watch.profile, summary, progress.schema_memory
            )
            findings += seen
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
    progress.evaluated_until_us = instant_us
    return Evaluation(instant_us, tuple(summaries), tuple(findings), day_closed)


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


def _close_partials(watch: Watch, progress: Progress, closing_us: int) -> Iterator[Evaluation]:
    """At the end of a log, judge longer ticks that have begun and not ended."""
    for name, delay_us in _clocks(watch):
        clock = _clock(progress, name)
        if clock.partial is not None:
            instant_us = max(closing_us + delay_us, progress.evaluated_until_us or 0)
            findings = _step(watch, progress, name, instant_us)
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
    specs = _specs(watch, name)
    start_us = clock.partial.start_us // clock.tick_us * clock.tick_us
    y, v = statistics(specs, watch.profile, clock.partial)
    clock.partial = None
    clock.bank, alarms = advance(clock.bank, start_us, y, v)
    clock.remember(start_us, y, v)
    named = step_named(watch, progress.named, specs, y, v, start_us, instant_us)
    seen = [clock.since_onset(alarm.stream, alarm.onset_us) for alarm in alarms]
    found = [
        finding_of(alarm, specs, watch, instant_us, seen=effect)
        for alarm, effect in zip(alarms, seen, strict=True)
    ]
    if name == "label":
        beside = step_label_watch(progress.label_watch, start_us, instant_us)
        found = [*beside, *without_pages(progress.label_watch, found)]
    return [*found, *named]


def finding_of(
    alarm: Alarm,
    specs: Sequence[StreamSpec],
    watch: Watch,
    instant_us: int,
    *,
    seen: float | None = None,
) -> Finding:
    """An alarm of the bank as a record people and rules can read.

    A lower loss wakes nobody, and a stream that is back where its reference was is only logged.
    `seen` is how far the stream has been from its reference since the onset. It is the effect
    that is told where it has the alarm's sign: the alarm's own is an estimate of the step, large
    where ticks remember each other.
    """
    spec = specs[alarm.stream]
    effect = alarm.effect if seen is None or seen * alarm.effect <= 0.0 else seen
    tier = alarm.tier
    if tier is Tier.PAGE and spec.stream.signal in LOSSES and alarm.effect < 0.0:
        tier = Tier.TICKET
    if seen is not None and abs(seen) <= spec.delta_min:
        tier = Tier.LOG
    return Finding(
        kind="drift",
        ts=to_datetime(instant_us),
        onset=to_datetime(min(alarm.onset_us, instant_us)),
        stream=spec.stream.id,
        tier=tier,
        column=spec.stream.column,
        slice=spec.stream.slice,
        evidence=alarm.evidence,
        effect=effect,
        detail=effect_words(spec, effect, watch.profile),
    )
