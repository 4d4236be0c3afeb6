"""Slices an uncorrected look found: a ticket first, and a page only from rows that came later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.records import (
    DAY_US,
    Categories,
    ColumnSpec,
    Deployment,
    Finding,
    Kind,
    Schema,
    Settings,
    Task,
    Tier,
    TransferState,
    Window,
)
from detectors.summary import TickSummary, summarise_labels
from detectors.transfer.slices import slice_verdicts
from detectors.transfer.verdict import transfer_verdict
from monitor.watching.judgement import _verdict_findings, current_verdict
from monitor.watching.pipeline import open_progress
from monitor.watching.progress import Progress
from monitor.watching.suspects import suspect_findings, watched
from monitor.watching.watch import Watch, open_watch
from tests.detectors.transfer.simulate import cohort_days

SCHEMA = Schema(Task.BINARY, (ColumnSpec("plan", Kind.CATEGORICAL),), slices=(("plan",),))
PRO = "plan=pro"


def rows(seed: int, day: int, harm: float, n: int = 400) -> Window:
    """A day of rows; in plan pro the transferred score carries `harm` of noise, elsewhere none."""
    rng = np.random.default_rng([seed, day + 1_000])
    plan = rng.integers(0, 2, n).astype(np.int32)
    logit = rng.normal(0, 1.5, n)
    noise = np.where(plan == 1, harm, 0.0) * rng.normal(size=n)
    return Window(
        rows=n,
        ts_us=np.full(n, day * DAY_US),
        score=1 / (1 + np.exp(-(logit + noise))),
        baseline_score=1 / (1 + np.exp(-(logit + 0.4 * rng.normal(size=n)))),
        label=(rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float),
        categorical={"plan": Categories(plan, ("free", "pro"))},
    )


@pytest.fixture(scope="module")
def watch() -> Watch:
    return open_watch(
        Deployment("m", "d"),
        SCHEMA,
        Settings(tick_us=DAY_US),
        reference=rows(0, 0, 0.0, 2_000),
        own_reference=True,
    )


def cohort(watch: Watch, day: int, harm: float) -> TickSummary:
    start = day * DAY_US
    window = rows(1, day, harm)
    return summarise_labels(window, watch.profile, start_us=start, end_us=start + DAY_US)


def story(watch: Watch, later_harm: float, days: int = 60) -> tuple[Progress, list[Finding]]:
    """A slice is suspected after day 20; what the test on later days finds, day by day."""
    progress = open_progress(watch, None)
    progress.first_live_us = 0
    progress.cohort_days = [cohort(watch, day, 1.0) for day in range(20)]
    found: list[Finding] = []
    for day in range(20, days):
        verdict = current_verdict(watch, progress.cohort_days, ended=False)
        name, part = next((n, p) for n, p in verdict.slices if n == PRO)
        suspected = replace(part, suspect=True, state=TransferState.UNDETERMINED)
        verdict = replace(verdict, slices=((name, suspected),))
        found += suspect_findings(watch, progress, verdict, day * DAY_US)
        progress.cohort_days.append(cohort(watch, day, later_harm))
    return progress, found


def test_a_suspect_files_a_ticket_and_later_rows_confirm_it_with_a_page(watch: Watch) -> None:
    progress, found = story(watch, 1.6)
    assert [(f.tier, f.stream) for f in found] == [
        (Tier.TICKET, f"transfer.suspect@{PRO}"),
        (Tier.PAGE, f"transfer.verdict@{PRO}"),
    ]
    assert "a new test on later rows has begun" in found[0].detail
    assert found[1].detail.startswith("confirmed on ")
    assert (watched(progress), progress.verdict_told) == ([], [PRO])


def test_a_suspect_that_later_rows_refute_is_only_logged_and_not_suspected_again(
    watch: Watch,
) -> None:
    progress, found = story(watch, 0.0)
    assert [f.tier for f in found] == [Tier.TICKET, Tier.LOG]
    assert found[1].detail.startswith("not confirmed on ")
    assert watched(progress) == []
    again = Progress.from_bytes(progress.to_bytes())
    assert again.suspects == {PRO: [-1, 1]}


def test_the_new_test_reads_no_row_of_the_find(watch: Watch) -> None:
    """Twenty days of harm and none after: were they counted, the page would come at once."""
    _, found = story(watch, 0.35, days=34)
    assert [f.tier for f in found] == [Tier.TICKET]


def test_a_slice_is_suspect_between_its_own_level_and_the_corrected_one() -> None:
    overall = transfer_verdict(
        cohort_days(np.random.default_rng(1), 40, 0.0, rows=60),
        task=Task.REGRESSION,
        settings=Settings(),
        ended=False,
    )
    seen = set()
    for seed in range(60):
        sums = {
            f"s{i}": cohort_days(
                np.random.default_rng([seed, i]), 40, 0.06 if i == 0 else 0.0, rows=60
            )
            for i in range(12)
        }
        found = dict(
            slice_verdicts(
                overall,
                sums,
                dict.fromkeys(sums, 100.0),
                task=Task.REGRESSION,
                settings=Settings(),
            )
        )
        part = found["s0"]
        alone = transfer_verdict(sums["s0"], task=Task.REGRESSION, settings=Settings(), ended=False)
        expected = alone.state is TransferState.HURTS and part.state is not TransferState.HURTS
        assert part.suspect is expected
        seen.add((part.suspect, part.state))
    assert (True, TransferState.UNDETERMINED) in seen
    assert (False, TransferState.HURTS) in seen


def test_harm_against_an_unfit_baseline_files_one_ticket_and_no_page(watch: Watch) -> None:
    progress = open_progress(watch, None)
    verdict = current_verdict(watch, [cohort(watch, day, 1.0) for day in range(20)], ended=False)
    doubtful = replace(
        verdict,
        state=TransferState.UNDETERMINED,
        rows_alone=TransferState.HURTS,
        slices=(),
        words="undetermined: baseline 1 is stale",
    )
    (found,) = _verdict_findings(progress, doubtful, DAY_US)
    assert (found.tier, found.detail) == (Tier.TICKET, "undetermined: baseline 1 is stale")
    assert _verdict_findings(progress, doubtful, 2 * DAY_US) == []
