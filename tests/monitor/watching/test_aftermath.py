"""A retraining that worked, one that did not, and one that nobody did: what is told after it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from alerts.records import RequestStatus
from detectors import records
from detectors.records import DAY_US, Deployment, Settings, StreamSpec, Tier, Window, to_us
from monitor.replaying.replay import DomainReplay, replay_domain
from monitor.watching import aftermath
from tests.simulate import START_US, Stream, history, table

SHOP = Stream(rows_a_day=300, noise=0.0, season=0.2)
SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DAY_US)
FAULT_DAY, SERVED_DAY, DAYS = 45, 60, 55
SERVED_US = START_US + SERVED_DAY * DAY_US


def as_served(live: Window, outcome: str) -> Window:
    """Scores a log odd too high from the fault on; what serves from the deed on is right again.

    And it is another model: its scores are spread wider than those of the reference.
    """
    assert live.ts_us is not None
    assert live.score is not None
    log_odds = np.log(live.score / (1.0 - live.score))
    ill = live.ts_us >= START_US + FAULT_DAY * DAY_US
    new = live.ts_us >= SERVED_US
    if outcome == "worked":
        ill &= ~new
        noise = np.random.default_rng(9).normal(0.0, 0.5, live.rows)
        log_odds = np.where(new, log_odds + noise, log_odds)
    log_odds = np.where(ill, log_odds + 1.0, log_odds)
    return replace(live, score=1.0 / (1.0 + np.exp(-log_odds)))


@cache
def story(outcome: str) -> DomainReplay:
    """Thirty days of reference, scores that leave on day 45, a deed on day 60."""
    past = table(history(SHOP, days=30, seed=5))
    arrow = history(SHOP, days=DAYS, seed=6, first_day=30)
    live = replace(table(arrow, like=past).window, domain=None, baseline_score=None)
    schema = replace(past.schema, has_baseline=False)
    reference = replace(past.window, domain=None, baseline_score=None)
    return replay_domain(
        Deployment("model", "shop"),
        schema,
        SETTINGS,
        reference=reference,
        pooled=reference,
        rows=as_served(live, outcome),
        served={} if outcome == "nobody" else {SERVED_US: "7"},
    )


def pages_after(told: DomainReplay, day: int) -> list[str]:
    return [
        f.stream
        for f in told.findings
        if f.tier is Tier.PAGE and to_us(f.ts) > START_US + day * DAY_US
    ]


def test_the_fault_pages_and_asks_for_one_retraining_with_its_test() -> None:
    told = story("nobody")
    assert pages_after(told, FAULT_DAY)
    request = told.requests[0]
    assert (request.action.stream, request.status) == (
        "calibration.in_the_large",
        RequestStatus.REQUESTED,
    )
    assert request.harm is not None
    assert request.harm == pytest.approx(-1.0, abs=0.3)
    assert request.action.layer == "calibration"


def test_a_retraining_that_worked_is_verified_by_the_named_stream_in_the_named_time() -> None:
    (request,) = story("worked").requests
    assert request.status is RequestStatus.VERIFIED
    assert request.judged_at is not None
    days = (to_us(request.judged_at) - SERVED_US) / DAY_US
    assert 3 <= days <= request.action.within_days + 2
    assert "calibration.in_the_large is back inside its margin" in request.outcome
    assert "version 7" in request.outcome


@pytest.mark.parametrize(
    ("signal", "effect", "off"),
    [("loss", -0.3, 0.0), ("loss", 0.3, 0.3), ("calibration", -0.3, 0.3)],
)
def test_only_a_loss_may_be_below_the_reference(signal: str, effect: float, off: float) -> None:
    """An easy season is no failure of a retraining; a label rate may err on both sides."""
    assert (
        aftermath._off(StreamSpec(records.Stream(signal, "mean", Tier.PAGE), 1.0, 0.1), effect)
        == off
    )


def test_a_new_version_predicts_otherwise_and_pages_nobody() -> None:
    """The streams that would have paged are written down; after the re-base they start anew."""
    told = story("worked")
    assert pages_after(told, SERVED_DAY) == []
    hushed = [f for f in told.findings if "warming: version 7" in f.detail]
    assert {f.tier for f in hushed} == {Tier.LOG}
    assert any(f.stream.startswith("prediction") for f in hushed)


def test_two_weeks_of_the_new_version_become_the_reference() -> None:
    told = story("worked")
    (request,) = told.requests
    assert request.rebased_at is not None
    assert told.watch.reference_span_us is not None
    first_us, last_us = told.watch.reference_span_us
    assert SERVED_US <= first_us < SERVED_US + DAY_US
    assert (last_us - first_us) / DAY_US + 0.1 >= 14
    assert told.watch.live_since_us is not None
    assert told.watch.live_since_us > last_us
    assert told.progress.feature.bank.maturity != "warming"
    assert all(not incident.is_open for incident in told.incidents)


def test_one_that_did_not_work_is_refuted_and_harm_is_not_made_the_norm() -> None:
    told = story("failed")
    request = min(told.requests, key=lambda r: r.requested_at)
    assert request.status is RequestStatus.REFUTED
    assert request.judged_at is not None
    days = (to_us(request.judged_at) - SERVED_US) / DAY_US
    assert request.action.within_days <= days <= request.action.within_days + 2
    assert "not back" in request.outcome
    assert request.rebased_at is None
    assert told.watch.live_since_us is None
    incident = next(i for i in told.incidents if i.id == request.incident_id)
    assert incident.is_open
    assert "retraining refuted" in {change.what for change in incident.history}


@pytest.mark.parametrize("outcome", ["worked", "failed"])
def test_told_twice_it_is_the_same_story(outcome: str) -> None:
    once, again = story(outcome), story.__wrapped__(outcome)
    assert once.requests == again.requests
    assert once.findings == again.findings
