"""A retraining request is one intervention, made once, on sound data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.records import RequestStatus
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
    decision = story.see(200, diagnosis(), onset=at(199))
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


def test_another_kind_of_action_is_another_request() -> None:
    story = Story()
    story.see(0, diagnosis())
    recalibrate = Action("recalibrate", "this domain", "hours", "intercept CI holds 0", True)
    found = diagnosis(Mode.MISCALIBRATION, action=recalibrate)
    assert kinds(story.see(1, found)) == ["incident.updated", "retraining.requested"]
