"""Calibration followed cluster by cluster, through the pipeline of the daemon and of replay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alerts.settings import AlertSettings
from detectors.records import (
    DAY_US,
    CalibratedTo,
    Categories,
    Deployment,
    Finding,
    Schema,
    Settings,
    Task,
    Tier,
    Window,
    to_us,
)
from monitor.rows.held import FileRows
from monitor.watching.forecast_watch import ForecastWatch
from monitor.watching.judgement import Ledger, judge
from monitor.watching.pipeline import evaluate, open_progress
from monitor.watching.progress import Progress
from monitor.watching.standing import followed_streams, streams_summary
from monitor.watching.watch import Watch, open_watch

START_US = 20_000 * DAY_US
SCHEMA = Schema(task=Task.BINARY, columns=(), has_baseline=False)
SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DAY_US)
CHANGED = 45


def matches(
    days: range, seed: int, *, shift: float = 0.0, each: int = 6, copies: int = 8
) -> Window:
    """So many matches a day, each forecast `copies` times with the same score and outcome."""
    rng = np.random.default_rng(seed)
    count = len(days) * each
    day = np.repeat(np.array(days), each)
    p = rng.uniform(0.15, 0.85, count)
    moved = np.where(day >= CHANGED, shift, 0.0)
    y = (rng.random(count) < 1 / (1 + (1 - p) / p * np.exp(-moved))).astype(np.float64)
    which = np.repeat(np.arange(count), copies)
    ts = START_US + day * DAY_US + rng.integers(0, DAY_US // 2, count)
    return Window(
        rows=len(which),
        ts_us=ts[which] + np.tile(np.arange(copies), count) * 1_000_000,
        score=p[which],
        label=y[which],
        cluster=Categories(
            which.astype(np.int32), tuple(f"match {days[0]}-{at}" for at in range(count))
        ),
    )


def watched(settings: Settings = SETTINGS, reference: Window | None = None) -> Watch:
    return open_watch(
        Deployment("m", "league"),
        SCHEMA,
        settings,
        reference=matches(range(30), 1) if reference is None else reference,
        own_reference=True,
    )


def findings(watch: Watch, live: Window, *, stops: int = 1) -> tuple[list[Finding], Progress]:
    """All that was found, the checkpoint written and read at each of `stops`."""
    progress, rows, ledger = open_progress(watch, watch.reference), FileRows(live), Ledger()
    assert live.ts_us is not None
    first, last = int(live.ts_us.min()), int(live.ts_us.max()) + 1
    found: list[Finding] = []
    for stop in np.linspace(first, last, stops + 1)[1:].astype(np.int64).tolist():
        for one in evaluate(watch, progress, rows, watermark_us=stop, flush=stop == last):
            step = judge(watch, progress, one, rows, ledger, alerts=AlertSettings())
            found += step.findings
        kept = progress.cohort_days
        progress = Progress.from_bytes(progress.to_bytes())
        progress.cohort_days = kept
    return found, progress


@pytest.fixture(scope="module")
def shifted() -> Window:
    return matches(range(30, 100), 2, shift=-0.9)


def test_a_lasting_shift_pages_by_cluster_with_its_size_and_copies_page_nobody(
    shifted: Window,
) -> None:
    found, _ = findings(watched(), shifted)
    (first, *_) = [f for f in found if f.stream == "calibration.by_cluster"]
    assert first.tier is Tier.PAGE
    assert CHANGED * DAY_US < to_us(first.ts) - START_US <= (CHANGED + 25) * DAY_US
    assert abs((to_us(first.onset) - START_US) / DAY_US - CHANGED) <= 10
    assert first.effect == pytest.approx(-0.9, abs=0.4)
    assert "below the scores" in first.detail
    fair, _ = findings(watched(), matches(range(30, 100), 3))
    assert [f for f in fair if f.stream.startswith("calibration")] == []


def test_evidence_by_cluster_is_described_with_its_tick_and_its_promise() -> None:
    """What is followed without ticks of its own is told, and told again when read back."""
    _, progress = findings(watched(), matches(range(30, 60), 3))
    lines = {line["stream"]: line for line in followed_streams(progress)}
    line = lines["calibration.by_cluster"]
    assert (line["followed"], line["tick"], line["promise"]) == ("cluster", "1 d", "guaranteed")
    assert line["weight"] > 0.0
    assert 0.0 <= line["evidence"] < 1.0
    assert not line["stands_out"]
    assert "cluster by cluster" in streams_summary(list(lines.values()))["words"]
    assert followed_streams(Progress.from_bytes(progress.to_bytes())) == list(lines.values())


def test_the_checkpoint_may_be_taken_anywhere(shifted: Window) -> None:
    watch = watched()
    assert findings(watch, shifted, stops=9)[0] == findings(watch, shifted)[0]


def test_scores_held_to_outcomes_are_told_once_if_they_never_were_right() -> None:
    """A reference that is as wrong hides it from change; outcomes do not."""
    wrong = replace(SETTINGS, calibration=CalibratedTo.OUTCOMES)

    def biased(days: range, seed: int) -> Window:
        rows = matches(days, seed)
        assert rows.score is not None
        odds = rows.score / (1 - rows.score) * np.exp(0.8)
        return replace(rows, score=odds / (1 + odds))

    reference, live = biased(range(30), 1), biased(range(30, 60), 4)
    told, _ = findings(watched(wrong, reference), live)
    (verdict,) = [f for f in told if f.stream == "calibration.verdict"]
    assert verdict.tier is Tier.PAGE
    # The first evidence comes after a run of bad luck, so it is told as larger than it is.
    assert verdict.effect is not None
    assert -1.6 < verdict.effect < -0.5
    quiet, _ = findings(watched(SETTINGS, reference), live)
    assert [f for f in quiet if f.stream.startswith("calibration")] == []


def test_rows_of_a_cluster_that_has_begun_tell_nothing_more() -> None:
    live = matches(range(30, 50), 5)
    assert live.ts_us is not None
    assert live.cluster is not None
    again = replace(live, ts_us=live.ts_us + 2 * DAY_US)
    watch = watched()
    both = Window(
        rows=2 * live.rows,
        ts_us=np.concatenate([live.ts_us, live.ts_us + 2 * DAY_US]),
        score=np.concatenate([live.score, again.score]),
        label=np.concatenate([live.label, again.label]),
        cluster=Categories(np.tile(live.cluster.codes, 2), live.cluster.values),
    )
    states = [findings(watch, rows)[1].forecast_watch for rows in (live, both)]
    once, twice = [state.forecasts for state in states if isinstance(state, ForecastWatch)]
    assert once.clusters == twice.clusters == 120
    assert once.verdict == pytest.approx(twice.verdict)


def test_without_clusters_or_with_few_nothing_is_followed_so() -> None:
    alone = replace(matches(range(30), 1), cluster=None)
    assert watched(reference=alone).forecast_specs == ()
    few = matches(range(30), 1)
    assert few.cluster is not None
    few = replace(few, cluster=Categories(few.cluster.codes % 7, few.cluster.values[:7]))
    assert watched(reference=few).forecast_specs == ()
    weights = [sum(s.weight for s in watched().label_specs), watched().forecast_specs[0].weight]
    assert sum(weights) == pytest.approx(2 / 3)
    assert weights[1] == pytest.approx(1 / 6)
