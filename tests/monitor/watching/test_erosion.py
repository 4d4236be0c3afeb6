"""A benefit that goes, and a source that is forgotten: a ticket each, said once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.alignment.forgetting import Forgetting
from detectors.records import DAY_US, Categories, State, Tier, Window, to_datetime
from monitor.rows.held import FileRows
from monitor.watching.alignment import VersionFacts
from monitor.watching.erosion import STREAM, erosion_findings, is_eroded
from monitor.watching.forgotten import forgetting_findings, is_forgotten
from monitor.watching.progress import Progress
from tests.monitor.watching.test_remedy import DAYS, judged_on, watched
from tests.simulate import START_US

SLIDES_FROM = 45


def sliding() -> Window:
    """From day 45 on more and more rows are scored by what the baseline says."""
    _, live = watched()
    assert live.ts_us is not None
    assert live.score is not None
    assert live.baseline_score is not None
    day = (live.ts_us - START_US) / DAY_US
    share = np.clip((day - SLIDES_FROM) / 20.0, 0.0, 1.0)
    lost = np.random.default_rng(3).random(live.rows) < share
    return replace(live, score=np.where(lost, live.baseline_score, live.score))


def told_of(progress: Progress) -> list[int]:
    """Days (from the start of the simulation) that file a ticket, as cohorts close one by one."""
    watch, _ = watched()
    days, found = list(progress.cohort_days), []
    for count in range(1, len(days) + 1):
        progress.cohort_days = days[:count]
        now_us = days[count - 1].end_us
        for finding in erosion_findings(watch, progress, now_us):
            assert (finding.stream, finding.ts) == (STREAM, to_datetime(now_us))
            if finding.tier is Tier.TICKET:
                assert finding.evidence >= 1.0
                assert "the benefit was" in finding.detail
                found.append((now_us - START_US) // DAY_US)
    return found


def test_a_benefit_that_goes_files_a_ticket_and_one_that_stays_files_none() -> None:
    watch, live = watched()
    sliding_away, steady = judged_on(sliding()), judged_on(live)
    days = told_of(sliding_away)
    assert days
    assert SLIDES_FROM < days[0] < SLIDES_FROM + 25
    assert is_eroded(watch, sliding_away)
    assert told_of(steady) == []
    assert is_eroded(watch, steady) is False


def test_no_baseline_has_no_benefit_to_lose() -> None:
    watch, live = watched()
    bare = replace(watch, schema=replace(watch.schema, has_baseline=False))
    assert erosion_findings(bare, judged_on(live), START_US + DAYS * DAY_US) == []
    assert is_eroded(bare, judged_on(live)) is None


FORGOT = Forgetting("1", "7", 2_000, State.DRIFT, "loss on the source probe 0.4 → 0.5", change=0.1)
NOW_US = START_US + 60 * DAY_US


def versions(live: Window, name: str | None) -> FileRows:
    if name is None:
        return FileRows(live)
    return FileRows(replace(live, version=Categories(np.zeros(live.rows, np.int32), (name,))))


@pytest.mark.parametrize(("served", "told"), [("7", True), ("6", False), (None, True)])
def test_a_version_that_forgot_is_told_once_where_it_serves(served: str | None, told: bool) -> None:
    watch, live = watched()
    knowing = replace(watch, versions=VersionFacts(probe=(FORGOT,)))
    progress, rows = judged_on(live), versions(live, served)
    found = forgetting_findings(knowing, progress, rows, NOW_US)
    assert [f.stream for f in found] == (["probe.loss"] if told else [])
    assert all(f.tier is Tier.TICKET and f.detail == FORGOT.words for f in found)
    assert forgetting_findings(knowing, progress, rows, NOW_US + DAY_US) == []
    assert Progress.from_bytes(progress.to_bytes()).forgotten_told == progress.forgotten_told


def test_it_is_over_with_a_version_that_remembers() -> None:
    watch, _ = watched()
    mended = Forgetting("1", "8", 2_000, State.OK, "nothing forgotten")
    assert is_forgotten(replace(watch, versions=VersionFacts(probe=(FORGOT,))))
    assert not is_forgotten(replace(watch, versions=VersionFacts(probe=(FORGOT, mended))))
    assert not is_forgotten(watch)
