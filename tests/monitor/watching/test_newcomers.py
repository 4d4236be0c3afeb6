"""Slices that the reference did not have: they join, bet a share that others give up, and leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from detectors.newcomers import MOST, SHARE
from detectors.records import (
    DAY_US,
    HOUR_US,
    Categories,
    CodeArray,
    ColumnSpec,
    Deployment,
    Finding,
    Kind,
    Schema,
    Settings,
    Task,
    Tier,
    Window,
)
from monitor.rows.held import FileRows
from monitor.watching.newcomer_words import newcomer_words
from monitor.watching.newcomers import Newcomers
from monitor.watching.pipeline import evaluate, open_progress
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch, open_watch

START_US = 20_454 * DAY_US
SCHEMA = Schema(
    task=Task.BINARY,
    columns=(ColumnSpec("origin", Kind.CATEGORICAL),),
    slices=(("origin",),),
    has_score=True,
    has_label=False,
)
SETTINGS = Settings(tick_us=DAY_US // 2)
JOINS, JUMPS, GOES, LIVE = 5, 33, 45, 80


def rows_of(
    first_day: int,
    days: int,
    *,
    newcomers: Sequence[str] = (),
    jumps: int = JUMPS,
    seed: int = 0,
) -> Window:
    """480 rows a day of "JFK" and "EWR"; from day 5 on 120 of each newcomer, until day 45."""
    rng = np.random.default_rng(seed)
    ts, origin, score = [], [], []
    names = ("EWR", "JFK", *newcomers)
    for day in range(first_day, first_day + days):
        counts = [240, 240, *[120 if JOINS <= day < GOES else 0 for _ in newcomers]]
        codes = np.repeat(np.arange(len(names)), counts)
        ts.append(np.sort(START_US + day * DAY_US + rng.integers(0, DAY_US, len(codes))))
        place = rng.permutation(codes)
        moved = (place >= 2) * (0.15 if day >= jumps else 0.0)
        origin.append(place)
        score.append(np.clip(rng.normal(0.4, 0.1, len(codes)) + moved, 0.0, 1.0))
    drawn: CodeArray = np.concatenate(origin).astype(np.int32)
    return Window(
        rows=len(drawn),
        ts_us=np.concatenate(ts),
        score=np.concatenate(score),
        categorical={"origin": Categories(drawn, names)},
    )


def watched() -> tuple[Watch, Window]:
    reference = rows_of(-30, 30, seed=1)
    return (
        open_watch(Deployment("m", "d"), SCHEMA, SETTINGS, reference=reference, own_reference=True),
        reference,
    )


def followed(
    log: Window, stops: Sequence[int], *, through_bytes: bool = False
) -> tuple[Progress, list[Finding], list[float]]:
    """Progress at the end, all findings, and at each stop what page streams may bet in all."""
    watch, reference = watched()
    progress = open_progress(watch, reference)
    found: list[Finding] = []
    bets = []
    for stop in stops:
        for seen in evaluate(watch, progress, FileRows(log), watermark_us=stop):
            found += seen.findings
        if through_bytes:
            progress = Progress.from_bytes(progress.to_bytes())
        bets.append(page_weight(progress))
    return progress, found, bets


def page_weight(progress: Progress) -> float:
    assert progress.newcomers is not None
    clocks = [progress.feature, progress.label, *progress.newcomers.clocks]
    pages = [
        clock.bank.plan.weight[at]
        for clock in clocks
        for at, spec in enumerate(clock.bank.specs)
        if spec.stream.tier is Tier.PAGE
    ]
    return float(sum(pages))


def end_of(day: int) -> int:
    return START_US + day * DAY_US


@pytest.fixture(scope="module")
def log() -> Window:
    return rows_of(0, LIVE, newcomers=["LGA"], seed=2)


def test_a_new_slice_joins_after_the_day_that_brought_it_and_what_happens_to_it_is_told(
    log: Window,
) -> None:
    days = [end_of(day) for day in range(1, GOES)]
    progress, found, bets = followed(log, days)
    assert progress.newcomers is not None
    (one,) = progress.newcomers.joined
    assert (one.name, one.since_us) == ("origin=LGA", end_of(JOINS + 1))
    assert newcomer_words(progress.newcomers).startswith(
        "1 slice that the reference lacks is followed"
    )
    mine = [finding for finding in found if finding.slice == "origin=LGA"]
    assert mine, "a step of 1.5 sd in the new slice"
    assert mine[0].tier is Tier.PAGE
    assert "a new slice, followed since" in mine[0].detail
    assert JUMPS * DAY_US <= mine[0].ts.timestamp() * 1e6 - START_US <= (JUMPS + 3) * DAY_US
    assert bets == pytest.approx([1.0] * len(bets)), "nobody bets twice, and nothing is lost"
    older = progress.feature.bank
    assert older.plan.weight[0] == pytest.approx((1.0 - SHARE) * older.specs[0].weight)


def test_the_same_slices_join_however_time_moves_and_through_the_checkpoint(log: Window) -> None:
    _, at_once, _ = followed(log, [end_of(GOES)])
    assert at_once
    odd = [*range(START_US, end_of(GOES), 41 * HOUR_US), end_of(GOES)]
    _, in_steps, _ = followed(log, odd, through_bytes=True)
    assert in_steps == at_once


def test_a_slice_that_falls_silent_leaves_and_gives_back_what_it_had(log: Window) -> None:
    watch, reference = watched()
    progress = open_progress(watch, reference)
    for day, joined, left in ((GOES + 27, 1, 0), (GOES + 30, 0, 1)):
        for _ in evaluate(watch, progress, FileRows(log), watermark_us=end_of(day)):
            pass
        assert progress.newcomers is not None
        assert (len(progress.newcomers.joined), progress.newcomers.left) == (joined, left)
        assert page_weight(progress) == pytest.approx(1.0)
    older = progress.feature.bank
    assert older.plan.weight.tolist() == [spec.weight for spec in older.specs]


def test_in_a_young_domain_a_new_slice_pages_no_sooner_than_the_others() -> None:
    """Its elders have not been watched for 14 days themselves, so they lend nothing."""
    log = rows_of(0, 20, newcomers=["LGA"], jumps=9, seed=2)
    watch = open_watch(
        Deployment("m", "d"), SCHEMA, SETTINGS, reference=watched()[1], own_reference=False
    )
    progress = open_progress(watch, None)
    found: list[Finding] = []
    for seen in evaluate(watch, progress, FileRows(log), watermark_us=end_of(20)):
        found += seen.findings
    assert progress.newcomers is not None
    (one,) = progress.newcomers.joined
    assert one.clocks["feature"].bank.prior is None
    early = [finding for finding in found if finding.ts.timestamp() * 1e6 < end_of(14)]
    assert not [finding for finding in early if finding.tier is Tier.PAGE]


def test_no_more_join_than_can_be_followed() -> None:
    names = [f"X{at:02d}" for at in range(MOST + 5)]
    crowd = rows_of(0, 8, newcomers=names, seed=3)
    progress, _, bets = followed(crowd, [end_of(8)])
    assert progress.newcomers is not None
    assert len(progress.newcomers.joined) == MOST
    assert bets == pytest.approx([1.0])


def test_what_an_earlier_build_saved_of_slices_is_read_back(log: Window) -> None:
    """It knew slices alone: no kind, and the day in progress counted another way."""
    progress, _, _ = followed(log, [end_of(JOINS + 3)])
    assert progress.newcomers is not None
    saved = progress.newcomers.extras()
    old = {
        "counts": [[["origin"], ["LGA"], 120]],
        "rows": 600,
        "left": 0,
        "joined": [entry[:4] for entry in saved["joined"]],
    }
    again = Newcomers.restored(progress.newcomers.clocks, old)
    assert [one.key for one in again.joined] == [one.key for one in progress.newcomers.joined]
    assert again.extras()["joined"] == saved["joined"]
