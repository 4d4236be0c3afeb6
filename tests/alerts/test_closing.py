"""Incidents end by the data, with hysteresis, or by a person; never twice."""

from __future__ import annotations

from datetime import datetime

import pytest

from alerts.closing import (
    IncidentClosedError,
    IncidentOpenError,
    acknowledge,
    note_margin,
    reopen_by_person,
    resolve_by_person,
    resolve_if_recovered,
)
from alerts.records import Incident, IncidentState, MessageType
from tests.alerts.build import Story, at, codes, diagnosis, kinds


@pytest.fixture
def incident() -> Incident:
    story = Story()
    story.see(0, diagnosis())
    return story.only


@pytest.mark.parametrize(
    ("since", "code", "types"),
    [
        (None, "not recovered", []),
        (at(100 - 71.9), "recovering", []),
        (at(100 - 72), "resolved", ["incident.resolved"]),
    ],
)
def test_three_days_inside_the_margin_resolve(
    incident: Incident, since: datetime | None, code: str, types: list[str]
) -> None:
    decision = resolve_if_recovered(incident, inside_margin_since=since, now=at(100))
    assert codes(decision) == [code]
    assert kinds(decision) == types
    if types:
        (closed,) = decision.incidents
        assert closed.state is IncidentState.RESOLVED
        assert closed.closed_at == at(100)
        (message,) = decision.messages
        assert message.body["data"]["headline"] == (
            "flights/OO: concept shift resolved — back inside the practical margin since "
            "13 Nov 10:00; open for 4 d 4 h"
        )


def test_one_tick_outside_the_margin_starts_the_days_again(incident: Incident) -> None:
    noted = note_margin(incident, inside=True, now=at(1))
    assert note_margin(noted, inside=True, now=at(50)).recovering_since == at(1)
    broken = note_margin(noted, inside=False, now=at(60))
    assert broken.recovering_since is None
    assert note_margin(broken, inside=True, now=at(61)).recovering_since == at(61)


def test_a_resolved_incident_is_not_resolved_again(incident: Incident) -> None:
    (closed,) = resolve_if_recovered(incident, inside_margin_since=at(1), now=at(100)).incidents
    again = resolve_if_recovered(closed, inside_margin_since=at(1), now=at(101))
    assert (again.incidents, again.messages) == ((), ())
    with pytest.raises(IncidentClosedError, match="cannot resolve"):
        resolve_by_person(closed, by="ann", now=at(101))
    with pytest.raises(IncidentClosedError, match="cannot acknowledge"):
        acknowledge(closed, by="ann", now=at(101))


def test_an_acknowledgement_is_kept_with_its_author_and_its_channels_are_told(
    incident: Incident,
) -> None:
    decision = acknowledge(incident, by="ann\n\x1b[31m", now=at(1))
    (taken,) = decision.incidents
    (message,) = decision.messages
    assert message.type is MessageType.ACKNOWLEDGED
    assert message.body["data"]["headline"].endswith("taken by ann �[31m")
    assert message.body["data"]["state"] == "acknowledged"
    assert (taken.state, taken.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "ann �[31m")
    assert taken.is_open
    assert codes(acknowledge(taken, by="bob", now=at(2))) == ["already acknowledged"]


def test_a_person_resolves_and_reopens_under_the_same_id(incident: Incident) -> None:
    decision = resolve_by_person(incident, by="ann", now=at(5), note="re-baselined")
    (closed,) = decision.incidents
    assert (closed.closed_by, closed.state) == ("ann", IncidentState.RESOLVED)
    assert "closed by ann: re-baselined" in decision.messages[0].body["data"]["headline"]
    with pytest.raises(IncidentOpenError, match="only a resolved one"):
        reopen_by_person(incident, by="ann", now=at(5))
    (back,) = reopen_by_person(closed, by="bob", now=at(6)).incidents
    assert (back.id, back.state, back.closed_at) == (incident.id, IncidentState.OPEN, None)
    assert [(change.what, change.by) for change in back.history] == [
        ("opened", ""),
        ("resolved", "ann"),
        ("reopened", "bob"),
    ]
