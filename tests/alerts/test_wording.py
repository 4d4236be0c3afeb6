"""Sentences people read at night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts import wording
from detectors.records import Action, Deployment, Mode, Tier
from tests.alerts.build import finding

CHECKED = Action("re-fit the head", "this domain, after the label contract is checked", "days", "")


def test_a_headline_says_where_what_since_when_how_much_and_what_to_do() -> None:
    headline = wording.opened(
        Deployment("flights", "OO"),
        Mode.LABEL_SEMANTICS.value,
        datetime(2013, 11, 12, 6, tzinfo=UTC),
        "loss up 0.08 (0.41 → 0.49)",
        CHECKED,
    )
    assert headline == (
        "flights/OO: conflicting label semantics since 12 Nov 06:00 — loss up 0.08 (0.41 → 0.49); "
        "re-fit the head (this domain, after the label contract is checked)"
    )


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.6, "prior shift"), (0.59, "prior shift or concept shift")],
)
def test_an_unsure_cause_is_told_with_its_runner_up(confidence: float, expected: str) -> None:
    assert wording.candidates(Mode.PRIOR_SHIFT, Mode.CONCEPT_SHIFT, confidence) == expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(0), "0 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=23), "23 h"),
        (timedelta(days=3), "3 d"),
        (timedelta(days=4, hours=3, minutes=59), "4 d 3 h"),
        (timedelta(seconds=-5), "0 min"),
    ],
)
def test_spans(span: timedelta, expected: str) -> None:
    assert wording.length(span) == expected


def test_the_headline_is_about_harm_before_movement_and_pages_before_tickets() -> None:
    moved = finding(stream="prediction.mean", evidence=90.0)
    harm = finding(stream="loss.mean@origin=JFK", evidence=1.1)
    ticket = finding(stream="loss.mean", evidence=99.0, tier=Tier.TICKET)
    assert wording.lead([moved, harm, ticket]) is harm
    assert wording.lead([ticket, moved]) is moved


@pytest.mark.parametrize(
    ("effect", "detail", "expected"),
    [
        (0.083333, "", "loss.mean up by 0.0833"),
        (-2.0, "", "loss.mean down by 2"),
        (None, "", "loss.mean"),
        (0.1, "loss\x07 up 0.08", "loss� up 0.08"),
    ],
)
def test_what_was_seen(effect: float | None, detail: str, expected: str) -> None:
    assert wording.saw(finding(effect=effect, detail=detail)) == expected
