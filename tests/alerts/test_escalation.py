"""Who is told besides when nobody answers, and acknowledgements that run out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts.closing import acknowledge, resolve_by_person
from alerts.escalation import Told, escalate, wake
from alerts.records import Incident, IncidentState, MessageType
from alerts.routing import Escalation
from alerts.settings import AlertSettings
from tests.alerts.build import Story, at, codes, diagnosis

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
SETTINGS = AlertSettings()
STEPS = (
    Escalation(timedelta(minutes=30), ("second",)),
    Escalation(timedelta(hours=2), ("boss", "chat")),
)


def incident() -> Incident:
    story = Story()
    story.see(0, diagnosis())
    return story.only


@pytest.mark.parametrize(
    ("minutes", "channels"),
    [
        (0, []),
        (29, []),
        (30, [("second",)]),
        (119, [("second",)]),
        (120, [("second",), ("boss", "chat")]),
    ],
)
def test_each_step_is_due_once_its_time_is_over(
    minutes: int, channels: list[tuple[str, ...]]
) -> None:
    told = Told("msg_1", NOW - timedelta(minutes=minutes))
    due = escalate(incident(), told, STEPS, now=NOW, settings=SETTINGS)
    assert [to for _, to in due] == channels


def test_a_step_made_again_is_the_same_message_and_a_new_telling_another() -> None:
    first, again = (
        escalate(
            incident(),
            Told("msg_1", NOW - timedelta(hours=3)),
            STEPS,
            now=NOW + timedelta(minutes=n),
            settings=SETTINGS,
        )
        for n in (0, 5)
    )
    assert [m.id for m, _ in first] == [m.id for m, _ in again]
    assert len({m.id for m, _ in first}) == 2
    later = escalate(
        incident(), Told("msg_2", NOW - timedelta(hours=3)), STEPS, now=NOW, settings=SETTINGS
    )
    assert {m.id for m, _ in later}.isdisjoint({m.id for m, _ in first})
    message, _ = first[0]
    assert message.type is MessageType.UPDATED
    assert message.body["data"]["reason"] == "nobody has acknowledged for 30 min"
    assert message.body["data"]["headline"].startswith("nobody has acknowledged for 30 min — ")


def test_nothing_escalates_that_somebody_has_or_nobody_was_told_of() -> None:
    told = Told("msg_1", NOW - timedelta(days=1))
    (taken,) = acknowledge(incident(), by="ann", now=at(1)).incidents
    (over,) = resolve_by_person(incident(), by="ann", now=at(1)).incidents
    for quiet in (taken, over):
        assert escalate(quiet, told, STEPS, now=NOW, settings=SETTINGS) == ()
    assert escalate(incident(), None, STEPS, now=NOW, settings=SETTINGS) == ()


def test_an_acknowledgement_that_runs_out_opens_the_incident_again_and_says_so() -> None:
    until = NOW + timedelta(hours=2)
    (taken,) = acknowledge(incident(), by="ann", now=at(1), until=until).incidents
    assert taken.snoozed_until == until
    assert taken.history[-1].words == "until 10 Jan 14:00 UTC"
    woken = wake(taken, now=at(5), settings=SETTINGS)
    assert codes(woken) == ["snooze over"]
    (back,) = woken.incidents
    assert (back.state, back.acknowledged_by, back.snoozed_until) == (IncidentState.OPEN, "", None)
    (message,) = woken.messages
    assert message.type is MessageType.OPENED
    assert "by ann has run out" in message.body["data"]["reason"]
    # The incident's own count of messages is that of a replay, which knows no people.
    assert back.sequence == taken.sequence


def test_one_for_good_never_runs_out_and_a_new_end_moves_the_old() -> None:
    (taken,) = acknowledge(incident(), by="ann", now=at(1)).incidents
    assert wake(taken, now=at(9), settings=SETTINGS).incidents == ()
    assert codes(acknowledge(taken, by="bob", now=at(2))) == ["already acknowledged"]
    until = NOW + timedelta(hours=1)
    (moved,) = acknowledge(taken, by="bob", now=at(2), until=until).incidents
    assert (moved.acknowledged_by, moved.snoozed_until) == ("bob", until)
    assert codes(acknowledge(moved, by="eve", now=at(3), until=until)) == ["already acknowledged"]
