"""Ticks in, findings out: the same history gives the same evidence however it is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from alerts.settings import AlertSettings
from detectors.evidence.bank import Alarm
from detectors.records import (
    DAY_US,
    HOUR_US,
    Deployment,
    Settings,
    Tier,
    Window,
)
from monitor.rows.base import RowSource
from monitor.rows.held import FileRows
from monitor.watching.alarms import finding_of
from monitor.watching.judgement import Ledger, judge
from monitor.watching.pipeline import add_cohort, evaluate, open_progress
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch, open_watch, weekly_rows
from tests.simulate import START_US, Stream, history, table

SHOP = Stream(rows_a_day=60)
DELAY = 2 * DAY_US
SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DELAY, review_us=30 * DAY_US)
LOG_START_US = START_US + 30 * DAY_US


@dataclass(frozen=True, slots=True)
class Bench:
    """A watch with its reference and log, ready to be evaluated in any way."""

    watch: Watch
    reference: Window
    log: Window

    def open(self) -> Progress:
        return open_progress(self.watch, self.reference)


def bench(settings: Settings = SETTINGS, *, days: int = 25, fault: str = "label_rule") -> Bench:
    past = table(history(SHOP, days=30, seed=5))
    live = table(
        history(SHOP, days=days, seed=5, first_day=30, fault=fault, fault_day=38), like=past
    )
    watch = open_watch(
        Deployment("model", "shop"),
        past.schema,
        settings,
        reference=replace(past.window, domain=None),
        own_reference=True,
    )
    return Bench(watch, replace(past.window, domain=None), replace(live.window, domain=None))


@pytest.fixture(scope="module")
def labelled() -> Bench:
    return bench()


def told(
    bench: Bench,
    watermarks: Iterator[int] | list[int],
    *,
    rows: RowSource | None = None,
    through_bytes: bool = False,
    flush: bool = True,
) -> list[tuple[object, ...]]:
    """Everything evaluations and judgements say when the watermark stops at each of these."""
    progress, ledger = bench.open(), Ledger()
    said: list[tuple[object, ...]] = []
    source = FileRows(bench.log) if rows is None else rows
    stops = list(watermarks)
    for stop in stops:
        last = flush and stop == stops[-1]
        for found in evaluate(bench.watch, progress, source, watermark_us=stop, flush=last):
            step = judge(bench.watch, progress, found, source, ledger, alerts=AlertSettings())
            said += [(found.instant_us, finding) for finding in step.findings]
            said += [(found.instant_us, i.id, i.mode, i.state, i.alarms) for i in step.incidents]
        if through_bytes:
            kept = progress.cohort_days
            progress = Progress.from_bytes(progress.to_bytes())
            progress.cohort_days = kept
    return said


def end_of(window: Window) -> int:
    assert window.ts_us is not None
    return int(window.ts_us[-1]) + 1


def test_the_watermark_may_move_in_any_steps(labelled: Bench) -> None:
    """All at once, day by day, by odd spans, and through the checkpoint's bytes every time."""
    end = end_of(labelled.log)
    at_once = told(labelled, [end])
    assert at_once
    days = [*range(LOG_START_US, end, DAY_US), end]
    odd = [*range(LOG_START_US, end, 37 * HOUR_US), end]
    assert told(labelled, days) == at_once
    assert told(labelled, odd) == at_once
    assert told(labelled, days, through_bytes=True) == at_once


def test_hourly_rows_make_daily_ticks_however_they_come() -> None:
    """With the tick left to the back-test, a day's tick is built up from hours."""
    auto = bench(replace(SETTINGS, tick_us=None, label_delay_us=DAY_US), days=12, fault="none")
    end = end_of(auto.log)
    steps = [*range(LOG_START_US, end, 5 * HOUR_US), end]
    assert told(auto, steps, through_bytes=True) == told(auto, [end])


def test_evidence_does_not_depend_on_the_order_of_rows_inside_a_tick(labelled: Bench) -> None:
    log = labelled.log
    assert log.ts_us is not None
    rng = np.random.default_rng(0)
    order = np.lexsort([rng.random(log.rows), log.ts_us // DAY_US])
    mixed = log.take(order)
    assert mixed.ts_us is not None
    moved = replace(mixed, ts_us=np.sort(mixed.ts_us))
    end = end_of(log)

    def drift(rows: Window) -> list[tuple[object, ...]]:
        progress = labelled.open()
        return [
            (f.ts, f.stream, f.tier, round(f.evidence, 6))
            for found in evaluate(
                labelled.watch, progress, FileRows(rows), watermark_us=end, flush=True
            )
            for f in found.findings
        ]

    straight = drift(log)
    assert straight
    assert drift(moved) == straight


@dataclass(frozen=True, slots=True)
class LateLabels:
    """A file whose labels all became known at one instant."""

    window: Window
    known_us: int

    def first_us(self) -> int | None:
        return FileRows(self.window).first_us()

    def rows(self, since_us: int, until_us: int, *, labels_by_us: int | None) -> Iterator[Window]:
        late = replace(self.window, label_ts_us=np.full(self.window.rows, self.known_us))
        yield from FileRows(late).rows(since_us, until_us, labels_by_us=labels_by_us)


def test_labels_that_come_after_their_cohort_was_due_change_no_evidence(labelled: Bench) -> None:
    """They are as good as absent: the same findings as a log that never had any."""
    end = end_of(labelled.log)
    far = LateLabels(labelled.log, end + 300 * DAY_US)
    never = replace(labelled.log, label=np.full(labelled.log.rows, np.nan))
    late = told(labelled, [end], rows=far)
    assert late == told(labelled, [end], rows=FileRows(never))
    assert late != told(labelled, [end])


def test_a_cohort_is_judged_one_label_delay_after_its_tick(labelled: Bench) -> None:
    progress = labelled.open()
    rows = FileRows(labelled.log)
    watermark = LOG_START_US + 5 * DAY_US
    list(evaluate(labelled.watch, progress, rows, watermark_us=watermark))
    assert progress.feature.next_us == watermark
    assert progress.label.next_us == watermark - DELAY


def test_a_flush_closes_the_open_tick_and_every_cohort(labelled: Bench) -> None:
    progress = labelled.open()
    rows = FileRows(labelled.log)
    watermark = LOG_START_US + 5 * DAY_US + HOUR_US
    found = list(evaluate(labelled.watch, progress, rows, watermark_us=watermark, flush=True))
    assert progress.feature.next_us == progress.label.next_us == LOG_START_US + 6 * DAY_US
    assert [evaluation.ended for evaluation in found] == [False] * (len(found) - 1) + [True]
    assert labelled.log.ts_us is not None
    judged = int((labelled.log.ts_us < LOG_START_US + 6 * DAY_US).sum())
    assert sum(day.labelled_rows for day in progress.cohort_days) == judged


def test_days_without_rows_are_ticks_that_say_nothing(labelled: Bench) -> None:
    """A hole of a week changes no finding before it and raises none of its own."""
    log = labelled.log
    assert log.ts_us is not None
    day = (log.ts_us - LOG_START_US) // DAY_US
    holed = log.take((day < 3) | (day >= 6))
    progress = labelled.open()
    until = LOG_START_US + 7 * DAY_US
    found = list(evaluate(labelled.watch, progress, FileRows(holed), watermark_us=until))
    ticks = [s for e in found for name, s in e.summaries if name == "feature"]
    counts = np.bincount(day[(day < 3) | (day == 6)], minlength=7)
    assert [tick.rows for tick in ticks] == counts.tolist()
    assert not counts[3:6].any()
    assert not [f for e in found for f in e.findings]


def test_a_source_without_rows_yields_nothing(labelled: Bench) -> None:
    empty = FileRows(labelled.log.take(slice(0, 0)))
    assert not list(evaluate(labelled.watch, labelled.open(), empty, watermark_us=0, flush=True))


def test_a_tick_that_the_reference_has_filled_is_not_judged_again(labelled: Bench) -> None:
    """The reference ends at noon; the rows of that afternoon enter no evidence."""
    assert labelled.reference.ts_us is not None
    noon = LOG_START_US - DAY_US // 2
    before = labelled.reference.take(labelled.reference.ts_us < noon)
    after = labelled.reference.take(labelled.reference.ts_us >= noon)
    progress = open_progress(labelled.watch, before)
    rows = FileRows(after)
    found = evaluate(labelled.watch, progress, rows, watermark_us=LOG_START_US + DAY_US)
    first = next(iter(found))
    assert first.summaries[0][1].start_us == LOG_START_US


def finding(bench: Bench, stream: str, effect: float, seen: float | None) -> Tier:
    specs = (*bench.watch.feature_specs, *bench.watch.label_specs)
    place = next(i for i, spec in enumerate(specs) if spec.stream.id == stream)
    alarm = Alarm(place, 2.0, LOG_START_US, effect, specs[place].stream.tier)
    return finding_of(alarm, specs, bench.watch, LOG_START_US + DAY_US, seen=seen).tier


@pytest.mark.parametrize(
    ("stream", "effect", "seen", "tier"),
    [
        ("loss.mean", 0.5, 0.4, Tier.PAGE),
        ("loss.mean", -0.5, -0.4, Tier.TICKET),
        ("transfer.difference", -0.5, None, Tier.TICKET),
        ("calibration.in_the_large", -0.5, -0.4, Tier.PAGE),
        ("column.location:age", -0.5, -0.4, Tier.TICKET),
        ("column.location:age", -0.5, 0.01, Tier.LOG),
        ("loss.mean", 0.5, 0.0001, Tier.LOG),
    ],
)
def test_who_is_told_follows_from_what_was_seen(
    labelled: Bench, stream: str, effect: float, seen: float | None, tier: Tier
) -> None:
    """Harm pages, a gain files a ticket, and a return to the reference is only kept."""
    assert finding(labelled, stream, effect, seen) is tier


def test_ticks_of_rows_are_cohorts_of_their_own(labelled: Bench) -> None:
    progress = labelled.open()
    found = evaluate(
        labelled.watch,
        progress,
        FileRows(labelled.log),
        watermark_us=LOG_START_US + 4 * DAY_US,
        flush=True,
    )
    summaries = [s for e in found for name, s in e.summaries if name == "label"]
    hourly = [
        replace(s, start_us=LOG_START_US + i * HOUR_US, end_us=LOG_START_US + (i + 1) * HOUR_US)
        for i, s in enumerate(summaries)
    ]
    by_day: list[object] = []
    by_tick: list[object] = []
    for summary in hourly:
        add_cohort(by_day, summary)  # type: ignore[arg-type]  # list[TickSummary] of one test
        add_cohort(by_tick, summary, cohort_us=HOUR_US)  # type: ignore[arg-type]
    assert (len(by_day), len(by_tick)) == (1, 4)


def test_usual_volume_is_that_of_whole_weeks() -> None:
    """Three weeks of 7, 14 and 70 rows: 1 to 10 rows a day."""
    weeks = [np.linspace(0, 7 * DAY_US, rows, endpoint=False) for rows in (7, 14, 70)]
    ts_us = np.concatenate([start + 7 * DAY_US * week for week, start in enumerate(weeks)])
    ts_us = np.append(ts_us, 21 * DAY_US).astype(np.int64)
    assert weekly_rows(ts_us) == (1.0, 10.0)
