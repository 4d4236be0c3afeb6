"""What no longer comes: when that is said, once, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.arrival import (
    Arrival,
    ArrivalSettings,
    LabelTicks,
    Waits,
    decide_arrivals,
    note_arrival,
)
from alerts.records import Decision, Incident, IncidentKind, MessageType, Severity
from alerts.settings import AlertSettings
from detectors.records import Deployment, Tier

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
UP = NOW - 30 * DAY
LEARNT = tuple((20_000 + day, 8 * 3600.0) for day in range(7))
OO, DL = Deployment("flights", "OO"), Deployment("flights", "DL")


def silent(hours: float, deployment: Deployment = OO, days: Any = LEARNT) -> Arrival:
    """A deployment whose longest pause so far was 8 h, and whose last row came so long ago."""
    return Arrival(deployment, Waits(NOW - hours * HOUR, days))


def decide(
    *arrivals: Arrival,
    settings: ArrivalSettings = ArrivalSettings(),  # noqa: B008
    known: tuple[Incident, ...] = (),
    up_since: datetime = UP,
    now: datetime = NOW,
) -> Decision:
    return decide_arrivals(
        "flights", arrivals, settings, known, now=now, up_since=up_since, alerts=AlertSettings()
    )


def kinds(decision: Decision) -> list[tuple[str, str, str]]:
    return [(m.type.value, m.deployment.domain, m.tier.value) for m in decision.messages]


@pytest.mark.parametrize(
    ("hours", "settings", "days", "up_hours", "quiet"),
    [
        (15.9, ArrivalSettings(), LEARNT, 720, False),
        (16.1, ArrivalSettings(), LEARNT, 720, True),
        # A week has a weekend: before it is over nothing is learnt.
        (99.0, ArrivalSettings(), LEARNT[:6], 720, False),
        # Rows every second: an hour is still no silence.
        (0.9, ArrivalSettings(), tuple((d, 1.0) for d, _ in LEARNT), 720, False),
        (1.1, ArrivalSettings(), tuple((d, 1.0) for d, _ in LEARNT), 720, True),
        # What is configured needs nothing learnt; zero is never.
        (3.1, ArrivalSettings(quiet_after=3 * HOUR), (), 720, True),
        (2.9, ArrivalSettings(quiet_after=3 * HOUR), (), 720, False),
        (99.0, ArrivalSettings(quiet_after=timedelta(0)), LEARNT, 720, False),
        # The daemon was away itself: only the time since then counts.
        (99.0, ArrivalSettings(), LEARNT, 15.9, False),
        (99.0, ArrivalSettings(), LEARNT, 16.1, True),
    ],
)
def test_when_a_source_is_quiet(
    hours: float, settings: ArrivalSettings, days: Any, up_hours: float, quiet: bool
) -> None:
    said = decide(silent(hours, days=days), settings=settings, up_since=NOW - up_hours * HOUR)
    assert kinds(said) == ([("source.quiet", "OO", "ticket")] if quiet else [])


def test_it_says_so_once_and_is_over_when_a_row_comes_but_not_when_the_daemon_starts_again() -> (
    None
):
    opened = decide(silent(20))
    (incident,) = opened.incidents
    assert incident.headline.startswith("flights/OO: source went quiet — no row has come for 20 h")
    assert opened.messages[0].body["data"]["links"]["runbook"] == "/runbooks/source-quiet"
    assert decide(silent(20), known=(incident,)) == Decision()
    assert decide(silent(20), known=(incident,), up_since=NOW) == Decision()
    later = NOW + HOUR
    back = Arrival(OO, note_arrival(silent(20).waits, later, up_since=UP))
    over = decide(back, known=(incident,), now=later)
    assert kinds(over) == [("incident.resolved", "OO", "ticket")]
    assert "source went quiet resolved — rows come again" in str(over.messages[0].body)


def test_where_every_domain_is_silent_the_model_pages_once_and_a_tiny_fleet_does_not() -> None:
    said = decide(silent(20), silent(30, DL))
    assert kinds(said) == [("source.quiet", "", "page")]
    (incident,) = said.incidents
    assert incident.severity is Severity.HIGH
    assert "flights: source went quiet — none of its 2 domains sends" in incident.headline
    assert kinds(decide(silent(20), silent(1, DL))) == [("source.quiet", "OO", "ticket")]
    # One of them comes back: the other has a ticket of its own, and the page is over.
    later = NOW + HOUR
    back = Arrival(DL, note_arrival(silent(30, DL).waits, later, up_since=UP))
    assert kinds(decide(silent(20), back, known=(incident,), now=later)) == [
        ("source.quiet", "OO", "ticket"),
        ("incident.resolved", "", "page"),
    ]


def labels(*counts: int) -> Arrival:
    """A day's cohort each, so many labels in it."""
    ends = tuple(NOW - (len(counts) - place) * DAY for place in range(len(counts)))
    return Arrival(OO, Waits(NOW), LabelTicks(ends, counts))


@pytest.mark.parametrize(
    ("counts", "settings", "missing"),
    [
        ((9,) * 10, ArrivalSettings(), False),
        ((9,) * 10 + (0, 0), ArrivalSettings(), False),
        ((9,) * 10 + (0, 0, 0), ArrivalSettings(), True),
        # Labels every third day: a gap of six is the limit.
        ((9, 0, 0) * 7 + (0, 0), ArrivalSettings(), False),
        ((9, 0, 0) * 7 + (0, 0, 0, 0, 0), ArrivalSettings(), True),
        ((9,) * 6 + (0,) * 9, ArrivalSettings(), False),
        ((0,) * 20, ArrivalSettings(), False),
        ((9, 0), ArrivalSettings(labels_after=12 * HOUR), True),
        ((9,) * 10 + (0,) * 9, ArrivalSettings(labels_after=timedelta(0)), False),
    ],
)
def test_when_labels_are_missed(
    counts: tuple[int, ...], settings: ArrivalSettings, missing: bool
) -> None:
    said = decide(labels(*counts), settings=settings)
    assert kinds(said) == ([("labels.missing", "OO", "ticket")] if missing else [])


def test_labels_are_not_missed_of_a_daemon_that_has_just_started_or_a_source_that_is_quiet() -> (
    None
):
    gone = labels(*(9,) * 10, 0, 0, 0)
    assert decide(gone, up_since=NOW - HOUR / 2) == Decision()
    both = replace(gone, waits=silent(20).waits)
    assert kinds(decide(both)) == [("source.quiet", "OO", "ticket")]
    (incident,) = decide(gone).incidents
    assert decide(gone, known=(incident,)) == Decision()
    back = labels(*(9,) * 10, 0, 0, 0, 4)
    assert kinds(decide(back, known=(incident,))) == [("incident.resolved", "OO", "ticket")]


@pytest.mark.parametrize(
    ("rows", "opens", "stays"),
    [
        (None, False, True),
        (0, False, True),
        (49, True, True),
        (50, False, True),
        (63, False, False),
    ],
)
def test_too_little_data_is_low_and_needs_a_quarter_more_to_be_over(
    rows: int | None, opens: bool, stays: bool
) -> None:
    """No rows at all is another state, and unknown is no answer."""
    said = decide(Arrival(OO, Waits(NOW), week_rows=rows))
    assert kinds(said) == ([("rows.too_few", "OO", "ticket")] if opens else [])
    (few,) = decide(Arrival(OO, Waits(NOW), week_rows=10)).incidents
    assert (few.severity, few.tier) == (Severity.LOW, Tier.TICKET)
    after = decide(Arrival(OO, Waits(NOW), week_rows=rows), known=(few,))
    assert (after == Decision()) == stays
    never = decide(Arrival(OO, Waits(NOW), week_rows=rows), settings=ArrivalSettings(few_rows=0))
    assert never == Decision()


def test_pauses_are_kept_by_day_for_four_weeks_without_the_daemons_own_absence() -> None:
    waits = note_arrival(None, NOW, up_since=UP)
    for day in range(40):
        at = NOW + day * DAY
        waits = note_arrival(waits, at + HOUR, up_since=UP)
        waits = note_arrival(waits, at + 3 * HOUR, up_since=UP)
    assert len(waits.days) == 28
    assert waits.longest == 22 * HOUR
    assert note_arrival(waits, waits.last_at, up_since=UP) == waits
    away = note_arrival(waits, waits.last_at + 90 * DAY, up_since=waits.last_at + 89 * DAY)
    assert away.longest == DAY


def test_the_messages_say_what_is_wrong_in_the_place_of_a_diagnosis() -> None:
    (message,) = decide(silent(20)).messages
    assert message.type is MessageType.SOURCE_QUIET
    assert message.body["data"]["diagnosis"]["mode"] == IncidentKind.SOURCE_QUIET.value
