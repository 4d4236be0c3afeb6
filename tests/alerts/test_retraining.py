"""A retraining request is one intervention, made once, on sound data."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.records import RequestStatus
from alerts.settings import AlertSettings, RetrainingSettings, Scope
from detectors.records import Action, Mode, Tier
from tests.alerts.build import REFIT, Story, at, codes, diagnosis, kinds

BOTH = ["incident.opened", "retraining.requested"]


def test_a_page_with_a_confident_cause_asks_for_one_action_with_its_test() -> None:
    story = Story()
    decision = story.see(0, diagnosis())
    assert kinds(decision) == BOTH
    (request,) = decision.retraining
    body = decision.messages[1].body
    assert request.action == REFIT
    assert (request.since, request.until) == (at(-2), at(0))
    assert body["data"]["id"] == request.id
    assert body["data"]["action"] == {
        "kind": "re-fit head",
        "scope": "this domain",
        "cadence": "days",
        "falsified_by": "loss back at 0.41 within 3 d",
        "layer": None,
        "retraining": True,
    }
    assert body["data"]["window"] == {
        "since": "2013-11-12T04:00:00Z",
        "until": "2013-11-12T06:00:00Z",
        "rows": None,
    }


@pytest.mark.parametrize(
    ("mode", "confidence", "tier", "why"),
    [
        (Mode.CONCEPT_SHIFT, 0.59, Tier.PAGE, "confidence 0.59"),
        (Mode.CONCEPT_SHIFT, 0.9, Tier.TICKET, "movement without harm"),
        (Mode.PIPELINE_FAULT, 0.9, Tier.PAGE, "would learn the fault"),
        (Mode.SCHEMA_MISMATCH, 0.9, Tier.PAGE, "would learn the fault"),
        (Mode.LABEL_SEMANTICS, 0.9, Tier.PAGE, "would learn the fault"),
    ],
)
def test_it_is_held_with_a_reason(mode: Mode, confidence: float, tier: Tier, why: str) -> None:
    decision = Story().see(0, diagnosis(mode, confidence=confidence), tier=tier)
    assert decision.retraining == ()
    assert codes(decision)[-1] == "retraining held"
    assert why in decision.reasons[-1].words


def test_a_pipeline_fault_of_the_same_domain_holds_every_retraining() -> None:
    story = Story()
    story.see(0, diagnosis(Mode.PIPELINE_FAULT))
    decision = story.see(200, diagnosis(), onset=at(199), stream="prediction.mean")
    assert len(story.incidents) == 2
    assert codes(decision) == ["opened", "retraining held"]


def test_what_was_held_goes_out_when_the_cause_is_sure() -> None:
    story = Story()
    story.see(0, diagnosis(confidence=0.4))
    assert kinds(story.see(1, diagnosis(confidence=0.7))) == ["retraining.requested"]


def test_one_request_of_a_kind_is_open_and_the_next_waits_a_week() -> None:
    story = Story()
    story.see(0, diagnosis())
    assert "is requested" in story.see(300, diagnosis()).reasons[-1].words
    (key,) = story.requests
    story.requests[key] = replace(story.requests[key], status=RequestStatus.COMPLETED)
    assert "the cooldown is 7 d" in story.see(24 * 7 - 0.1, diagnosis()).reasons[-1].words
    assert "retraining.requested" in kinds(story.see(24 * 7, diagnosis()))
    assert len(story.requests) == 2


def test_the_same_is_not_asked_for_while_its_result_is_being_judged() -> None:
    """Seven days of test from serving on, although the cooldown of a week is over."""
    story = Story()
    story.see(0, diagnosis(action=replace(REFIT, within_days=7)))
    (key,) = story.requests
    done = replace(story.requests[key], status=RequestStatus.COMPLETED, served_since=at(24 * 6))
    story.requests[key] = done
    assert "is being judged" in story.see(24 * 12, diagnosis()).reasons[-1].words
    assert "retraining.requested" in kinds(story.see(24 * 13 + 1, diagnosis()))


def test_another_kind_of_action_is_another_request() -> None:
    story = Story()
    story.see(0, diagnosis())
    recalibrate = Action("recalibrate", "this domain", "hours", "intercept CI holds 0", True)
    found = diagnosis(Mode.MISCALIBRATION, action=recalibrate)
    assert kinds(story.see(1, found)) == ["incident.updated", "retraining.requested"]


def test_requests_of_a_scope_have_a_budget_and_rejected_ones_cost_nothing() -> None:
    """Two in thirty days, whatever the action; a third waits until the first is out of it."""
    day = timedelta(days=1)
    retraining = RetrainingSettings(
        cooldowns=dict.fromkeys(Scope, day),
        budgets=dict.fromkeys(Scope, (2, 30 * day)),
    )
    story = Story(settings=AlertSettings(retraining=retraining))
    for number, hours in enumerate((0, 48, 96)):
        action = replace(REFIT, kind=f"action {number}")
        story.see(hours, diagnosis(action=action), onset=at(hours - 1))
    assert len(story.requests) == 2
    held = story.see(97, diagnosis(action=replace(REFIT, kind="action 2"))).reasons[-1]
    assert held.words == "2 requests of scope domain within 30 d, the budget is 2"
    first = min(story.requests.values(), key=lambda r: r.requested_at)
    story.requests[first.id] = replace(first, status=RequestStatus.REJECTED)
    story.see(98, diagnosis(action=replace(REFIT, kind="action 2")))
    assert len(story.requests) == 3


def test_cooldowns_are_those_of_the_scope() -> None:
    assert [Scope.of(words) for words in ("slice a=b", "this domain", "all domains")] == [
        Scope.SLICE,
        Scope.DOMAIN,
        Scope.ALL,
    ]
    story = Story()
    everywhere = replace(REFIT, scope="all domains")
    story.see(0, diagnosis(action=everywhere))
    (key,) = story.requests
    story.requests[key] = replace(story.requests[key], status=RequestStatus.COMPLETED)
    assert (
        "the cooldown is 30 d" in story.see(24 * 20, diagnosis(action=everywhere)).reasons[-1].words
    )


def test_where_no_person_has_to_agree_the_request_is_approved_at_once() -> None:
    settings = AlertSettings(retraining=RetrainingSettings(approve_at_once=True))
    decision = Story(settings=settings).see(0, diagnosis())
    assert kinds(decision) == [*BOTH, "retraining.approved"]
    (request,) = decision.retraining
    assert request.status is RequestStatus.APPROVED
    data = decision.messages[2].body["data"]
    assert (data["id"], data["approved_by"]) == (request.id, None)
