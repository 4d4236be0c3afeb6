"""The number that decides a request: beside the baseline, by the probe, or nothing in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest

from alerts.records import RequestStatus, RetrainingRequest
from detectors.actions import PROBE, action_for
from detectors.alignment.forgetting import Forgetting
from detectors.records import (
    DAY_US,
    Deployment,
    Mode,
    Settings,
    State,
    Window,
    to_datetime,
    to_us,
)
from detectors.summary import summarise_labels
from monitor.watching.aftermath import HUSHED_US, warming
from monitor.watching.alignment import VersionFacts
from monitor.watching.pipeline import open_progress
from monitor.watching.progress import Progress
from monitor.watching.remedy import deadline_us, test_of, verdict_on
from monitor.watching.watch import Watch, open_watch
from tests.simulate import START_US, Stream, history, table

test_of.__test__ = False  # type: ignore[attr-defined]  # it is no test of pytest's

CHANGED, SERVED, DAYS = 58, 72, 90
SHOP = Deployment("model", "shop")


@cache
def watched() -> tuple[Watch, Window]:
    """Thirty days of reference with a baseline, sixty to be spoilt."""
    stream = Stream(rows_a_day=200, noise=0.0, season=0.0)
    past = table(history(stream, days=30, seed=5))
    live = table(history(stream, days=60, seed=6, first_day=30), like=past).window
    watch = open_watch(
        SHOP,
        past.schema,
        Settings(tick_us=DAY_US, label_delay_us=0),
        reference=replace(past.window, domain=None),
        own_reference=True,
    )
    return watch, replace(live, domain=None)


def judged_on(rows: Window) -> Progress:
    """Progress whose cohorts are these rows, day by day."""
    watch, _ = watched()
    progress = open_progress(watch, None)
    assert rows.ts_us is not None
    for start_us in range(START_US + 30 * DAY_US, START_US + DAYS * DAY_US, DAY_US):
        day = rows.take((rows.ts_us >= start_us) & (rows.ts_us < start_us + DAY_US))
        progress.cohort_days.append(
            summarise_labels(day, watch.profile, start_us=start_us, end_us=start_us + DAY_US)
        )
    return progress


def asked(mode: Mode = Mode.CONCEPT_SHIFT, version: str = "7") -> RetrainingRequest:
    changed = to_datetime(START_US + CHANGED * DAY_US)
    return RetrainingRequest(
        id="ret_1",
        deployment=SHOP,
        incident_id="inc_1",
        mode=mode,
        action=action_for(mode),
        reason="it hurts",
        requested_at=changed + timedelta(days=3),
        since=changed,
        until=changed + timedelta(days=3),
        status=RequestStatus.COMPLETED,
        version=version,
        served_since=to_datetime(START_US + SERVED * DAY_US),
    )


def spoilt(*, mended: bool, share: float = 0.5) -> Window:
    """The served score is turned round from the change on, for a share of the rows, and the labels
    of everybody are noisy until the result serves: then an easy season begins."""
    _, live = watched()
    assert live.ts_us is not None
    assert live.score is not None
    assert live.label is not None
    day = (live.ts_us - START_US) // DAY_US
    ill = (day >= CHANGED) & ((day < SERVED) | (not mended))
    rng = np.random.default_rng(1)
    score = np.where(ill & (rng.random(live.rows) < share), 1.0 - live.score, live.score)
    hard = (day < SERVED) & (rng.random(live.rows) < 0.25)
    return replace(live, score=score, label=np.where(hard, 1.0 - live.label, live.label))


@pytest.mark.parametrize("mended", [True, False])
def test_an_easy_season_verifies_nothing_where_a_baseline_has_it_too(mended: bool) -> None:
    watch, _ = watched()
    progress, request = judged_on(spoilt(mended=mended)), asked()
    ended = verdict_on(watch, progress, request, 16 * DAY_US)
    assert ended is not None
    status, words = ended
    assert status is (RequestStatus.VERIFIED if mended else RequestStatus.REFUTED)
    assert "the baseline's loss on the same rows" in words
    assert words.startswith("loss.mean is back" if mended else "loss.mean is not back")


def test_the_difference_is_that_of_the_rows_by_hand() -> None:
    from detectors.records import Task
    from detectors.scales import difference_scale
    from detectors.transfer.loss import loss_of

    watch, _ = watched()
    rows = spoilt(mended=False)
    test = test_of(watch, judged_on(rows), asked())
    assert test is not None
    assert rows.ts_us is not None
    day = (rows.ts_us - START_US) // DAY_US
    assert rows.score is not None
    assert rows.baseline_score is not None
    assert rows.label is not None
    apart = loss_of(Task.BINARY, rows.score, rows.label)
    apart -= loss_of(Task.BINARY, rows.baseline_score, rows.label)
    scale = difference_scale(watch.profile)
    wanted = apart[day >= SERVED].mean() - apart[(day >= CHANGED - 28) & (day < CHANGED)].mean()
    assert test.remedy.left * scale.sd == pytest.approx(wanted, rel=0.05)


def test_a_fallback_to_the_baseline_worked_where_it_is_no_worse_than_the_baseline() -> None:
    """Not where the benefit of old is back: what serves now is the baseline itself."""
    watch, live = watched()
    rows = spoilt(mended=True, share=1.0)
    assert rows.ts_us is not None
    after = rows.ts_us >= START_US + SERVED * DAY_US
    assert rows.score is not None
    assert live.baseline_score is not None
    served = replace(rows, score=np.where(after, live.baseline_score, rows.score))
    ended = verdict_on(watch, judged_on(served), asked(Mode.NEGATIVE_TRANSFER), 9 * DAY_US)
    assert ended is not None
    assert ended[0] is RequestStatus.VERIFIED


def test_a_request_without_labels_ends_undecided_at_its_deadline_and_not_before() -> None:
    watch, _ = watched()
    rows, request = spoilt(mended=True), asked()
    assert rows.ts_us is not None
    assert rows.label is not None
    unknown = rows.ts_us >= START_US + SERVED * DAY_US
    progress = judged_on(replace(rows, label=np.where(unknown, np.nan, rows.label)))
    limit_us = deadline_us(request)
    assert limit_us == 28 * DAY_US
    assert verdict_on(watch, progress, request, limit_us - 1) is None
    ended = verdict_on(watch, progress, request, limit_us)
    assert ended is not None
    assert ended[0] is RequestStatus.UNDECIDED
    assert "too few labelled days" in ended[1]
    assert "alarms are told again" in ended[1]


def test_no_version_is_hushed_for_ever() -> None:
    request = replace(asked(), status=RequestStatus.VERIFIED)
    assert request.served_since is not None
    served_us = to_us(request.served_since)
    assert warming([request], SHOP, served_us + HUSHED_US) == request
    assert warming([request], SHOP, served_us + HUSHED_US + 1) is None


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.OK, RequestStatus.VERIFIED),
        (State.DRIFT, RequestStatus.REFUTED),
        (State.WATCH, None),
    ],
)
def test_what_a_version_forgot_is_told_by_the_probe_it_scored(
    state: State, status: RequestStatus | None
) -> None:
    watch, live = watched()
    fact = Forgetting("1", "7", 2_000, state, "loss on the source probe 0.4 → 0.41")
    knowing = replace(watch, versions=VersionFacts(probe=(fact,)))
    request = asked(Mode.FORGETTING)
    assert request.action.stream == PROBE
    ended = verdict_on(knowing, judged_on(live), request, DAY_US)
    assert (None if ended is None else ended[0]) is status
    other = asked(Mode.FORGETTING, version="8")
    assert verdict_on(knowing, judged_on(live), other, DAY_US) is None
    late = verdict_on(knowing, judged_on(live), other, 28 * DAY_US)
    assert late is not None
    assert "version 8 has not scored the source probe" in late[1]
