"""What a silence hides, and what cannot be one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerts.records import Incident, Severity
from alerts.silences import Matcher, Silence, SilenceError, expire, make_silence, silenced_by
from detectors.records import Deployment, Mode, Tier
from tests.alerts.build import Story, diagnosis

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def incident() -> Incident:
    """A page of flights/OO, concept shift, severity high, column dep_hour."""
    story = Story()
    story.see(0, diagnosis(columns=("dep_hour", "origin")))
    return story.only


def silence(matcher: Matcher = Matcher(models=("flights",)), **fields: object) -> Silence:  # noqa: B008
    given = {"until": NOW + HOUR, "reason": "migration", "author": "ann", "now": NOW}
    return make_silence(matcher, **(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matcher", "hides"),
    [
        (Matcher(models=("flights",)), True),
        (Matcher(models=("fl*", "credit")), True),
        (Matcher(models=("flight",)), False),
        (Matcher(models=("flights",), domains=("O?",)), True),
        (Matcher(models=("flights",), domains=("VT",)), False),
        (Matcher(modes=(Mode.CONCEPT_SHIFT, Mode.PRIOR_SHIFT)), True),
        (Matcher(modes=(Mode.PRIOR_SHIFT,)), False),
        (Matcher(severities=(Severity.HIGH,)), True),
        (Matcher(severities=(Severity.LOW,)), False),
        (Matcher(tiers=(Tier.TICKET,)), False),
        (Matcher(columns=("dep_*",)), True),
        (Matcher(columns=("arr_*",)), False),
        (Matcher(incidents=(incident().id,)), True),
        (Matcher(incidents=("inc_other",)), False),
    ],
)
def test_every_field_must_fit_and_one_of_its_patterns_is_enough(
    matcher: Matcher, hides: bool
) -> None:
    found = silenced_by(incident(), [silence(matcher)], NOW)
    assert (found is not None) == hides


def test_a_group_is_hidden_only_if_each_of_its_domains_is() -> None:
    group = replace(incident(), deployment=Deployment("flights", ""), domains=("OO", "DL"))
    assert silenced_by(group, [silence(Matcher(domains=("OO",)))], NOW) is None
    assert silenced_by(group, [silence(Matcher(domains=("OO", "D*")))], NOW) is not None


@pytest.mark.parametrize(
    ("at", "active"),
    [(NOW - timedelta(seconds=1), False), (NOW, True), (NOW + HOUR, False)],
)
def test_it_holds_from_its_start_to_just_before_its_end(at: datetime, active: bool) -> None:
    assert silence().is_active(at) == active


def test_of_several_the_one_that_lasts_longest_is_named() -> None:
    short, long = silence(), silence(until=NOW + 2 * HOUR, author="bob")
    assert silenced_by(incident(), [short, long], NOW) == long


def test_ending_one_early_ends_it_then_and_ending_it_again_changes_nothing() -> None:
    ended = expire(silence(), by="bob", now=NOW + HOUR / 2)
    assert (ended.ends_at, ended.expired_by) == (NOW + HOUR / 2, "bob")
    assert not ended.is_active(NOW + HOUR / 2)
    assert expire(ended, by="eve", now=NOW + HOUR) == ended
    assert expire(silence(), by="eve", now=NOW + 2 * HOUR) == silence()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"matcher": Matcher()}, "hide everything"),
        ({"until": NOW}, "ends before it begins"),
        ({"until": NOW + HOUR, "starts_at": NOW + 2 * HOUR}, "ends before it begins"),
        ({"until": NOW + timedelta(days=400)}, "366 days at most"),
        ({"reason": "  "}, "needs a reason"),
    ],
)
def test_one_that_would_hide_nothing_or_everything_is_refused(
    fields: dict[str, object], words: str
) -> None:
    with pytest.raises(SilenceError, match=words):
        silence(**fields)  # type: ignore[arg-type]


def test_words_from_outside_are_made_safe() -> None:
    made = silence(reason="a\x1b[31m\nb", author="ann\u202e")
    assert made.words() == "silenced by ann\ufffd until 2026-01-10 13:00Z: a\ufffd[31m b"
