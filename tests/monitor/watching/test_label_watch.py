"""Label delays and the gap in the pipeline: tickets of their own, and pages that become tickets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import DAY_US, HOUR_US, Finding, Settings, Tier, to_datetime, to_us
from monitor.replaying.replay import Replay, replay
from monitor.watching.judgement import delay_ratio_of
from monitor.watching.label_watch import LabelWatch, past_gaps, without_pages
from monitor.watching.progress import Progress
from tests.end_to_end.histories import START_US, as_table, history

SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DAY_US)
CHANGED_DAY = 40


def late(table: pa.Table, *, from_day: int, hours: float) -> pa.Table:
    """The same labels, from a day on so many hours later; a day at most."""
    ts = table.column("ts").cast(pa.int64()).to_numpy()
    known = table.column("label_ts").cast(pa.int64()).to_numpy()
    day = (ts - START_US) // DAY_US
    rng = np.random.default_rng(0)
    slow = ts + (DAY_US - rng.integers(0, round((24 - hours) * HOUR_US), len(ts)))
    moved = pa.array(np.where(day >= from_day, slow, known), pa.timestamp("us", tz="UTC"))
    return table.set_column(table.schema.get_field_index("label_ts"), "label_ts", moved)


def run(*, hours: float | None = None, fault_day: int | None = None, seed: int = 2) -> Replay:
    reference = as_table(history(days=30, rows_a_day=120, seed=1))
    log = history(days=25, rows_a_day=120, seed=seed, first_day=30, fault_day=fault_day)
    if hours is not None:
        log = late(log, from_day=CHANGED_DAY, hours=hours)
    return replay(reference, as_table(log, like=reference), SETTINGS, model="m")


def of(result: Replay, stream: str) -> list[Finding]:
    return [f for d in result.domains for f in d.findings if f.stream == stream]


@pytest.fixture(scope="module")
def slow() -> Replay:
    return run(hours=18, fault_day=CHANGED_DAY)


def test_labels_that_come_later_are_a_ticket_of_their_own(slow: Replay) -> None:
    found = of(slow, "labels.delay")
    assert found
    assert {f.tier for f in found} == {Tier.TICKET}
    struck = START_US + CHANGED_DAY * DAY_US
    assert 0 < to_us(found[0].ts) - struck <= 5 * DAY_US
    assert found[0].effect is not None
    # By hand: delays were uniform over 1..24 h and are now over 18..24 h; at 18 h F falls by .74.
    # What the filter makes of the first ticks is less.
    assert 0.3 < found[0].effect < 0.85
    assert "labels come at other times" in found[0].detail


def test_while_delays_have_moved_alarms_on_labels_page_nobody_and_say_why(slow: Replay) -> None:
    south = next(d for d in slow.domains if d.deployment.domain == "south")
    told = [
        f
        for f in south.findings
        if f.stream.startswith(("loss", "calibration")) and f.kind == "drift"
    ]
    since = to_us(of(slow, "labels.delay")[0].ts)
    after = [f for f in told if to_us(f.ts) >= since]
    assert after
    assert all(f.tier is not Tier.PAGE for f in after)
    assert any("not paged: label delays have moved since" in f.detail for f in after)


def test_the_same_fault_with_usual_delays_pages_and_moves_the_gap() -> None:
    result = run(fault_day=CHANGED_DAY)
    south = next(d for d in result.domains if d.deployment.domain == "south")
    assert any(f.tier is Tier.PAGE and f.stream == "loss.mean" for f in south.findings)
    assert of(result, "labels.delay") == []
    (gap, *_) = of(result, "estimate.gap")
    assert gap.tier is Tier.TICKET
    assert gap.effect is not None
    assert gap.effect > 0
    assert 0 < to_us(gap.ts) - (START_US + CHANGED_DAY * DAY_US) <= 5 * DAY_US


def test_a_history_without_change_files_neither() -> None:
    result = run(seed=3)
    assert of(result, "labels.delay") == []
    assert of(result, "estimate.gap") == []


def test_how_much_longer_labels_take_is_told_to_the_diagnosis_only_once_delays_have_moved(
    slow: Replay,
) -> None:
    """Labels were uniform over 1..24 h; four times as late, half of them have come by 50 h."""
    watch, progress = slow.domains[0].watch, slow.domains[0].progress
    watched, rows = progress.label_watch, watch.reference
    assert watched is not None
    assert watched.moved_us is not None
    assert rows.ts_us is not None
    assert rows.label_ts_us is not None
    late_us = rows.ts_us + 4 * (rows.label_ts_us - rows.ts_us)
    now_us = int(late_us.max())
    told = delay_ratio_of(watch, progress, replace(rows, label_ts_us=late_us), now_us)
    assert told == pytest.approx(4.0, rel=0.05)
    progress.label_watch = LabelWatch(watched.clock, watched.ruler)
    assert delay_ratio_of(watch, progress, rows, now_us) is None
    progress.label_watch = watched


def test_what_is_watched_survives_a_restart(slow: Replay) -> None:
    progress = slow.domains[0].progress
    watched = progress.label_watch
    assert watched is not None
    again = Progress.from_bytes(progress.to_bytes()).label_watch
    assert again is not None
    assert (again.ruler, again.facts, again.moved_us) == (
        watched.ruler,
        watched.facts,
        watched.moved_us,
    )
    assert again.clock.bank.to_bytes() == watched.clock.bank.to_bytes()
    assert again.clock.level.tolist() == watched.clock.level.tolist()


def test_pages_of_inputs_and_verdicts_are_left_alone(slow: Replay) -> None:
    watched = slow.domains[0].progress.label_watch
    assert watched is not None
    moved = LabelWatch(watched.clock, watched.ruler, moved_us=START_US)
    now = to_datetime(START_US)

    def page(stream: str) -> Finding:
        return Finding("drift", now, now, stream, Tier.PAGE)

    told = without_pages(moved, [page("prediction.mean"), page("loss.mean")])
    assert [f.tier for f in told] == [Tier.PAGE, Tier.TICKET]
    usual = LabelWatch(watched.clock, watched.ruler)
    assert without_pages(usual, [page("loss.mean")]) == [page("loss.mean")]


def test_past_misses_are_one_a_labelled_day() -> None:
    reference = as_table(history(days=30, rows_a_day=120, seed=1))
    domain = reference.window.domain
    assert domain is not None
    south = reference.window.take(domain.codes == domain.values.index("south"))
    result = replay(
        reference,
        as_table(history(days=3, rows_a_day=20, seed=2, first_day=30), like=reference),
        SETTINGS,
        model="m",
    )
    watch = next(d.watch for d in result.domains if d.deployment.domain == "south")
    gaps = past_gaps(watch, south)
    assert len(gaps) == 30
    assert abs(float(gaps.mean())) < 0.02
