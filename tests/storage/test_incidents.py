from dataclasses import replace

import pytest

from alerts.records import Change, Incident, IncidentState, Severity, incident_id
from detectors.records import Action, Deployment, Mode, Tier
from storage.engine import Database
from storage.incidents import (
    UnknownIncidentError,
    add_change,
    count_open,
    get_incident,
    list_changes,
    list_incidents,
    open_incidents,
    save_incidents,
)
from tests.storage.rows import DAY, START, VERMONT

OPENED = Change(START, "opened", words="loss is up ☃ ' \n")
ACTION = Action("recalibrate", "domain", "day", "calibration gap below 1 %")


def incident(domain: str = "VT", day: int = 0, mode: Mode = Mode.CONCEPT_SHIFT) -> Incident:
    deployment = Deployment("credit", domain)
    opened_at = START + day * DAY
    return Incident(
        id=incident_id(deployment, mode, opened_at),
        deployment=deployment,
        mode=mode,
        state=IncidentState.OPEN,
        severity=Severity.HIGH,
        tier=Tier.PAGE,
        headline="credit/VT: <b>loss</b> is up",
        opened_at=opened_at,
        updated_at=opened_at,
        onset=opened_at - DAY,
        action=ACTION,
        confidence=0.1 + 0.2,
        runner_up=Mode.PRIOR_SHIFT,
        evidence=("loss +12 %", "calibration off"),
        columns=("age",),
        peak=float(2**60) + 0.5,
        notified_at=opened_at,
        history=(replace(OPENED, at=opened_at),),
    )


def save(database: Database, *incidents: Incident) -> None:
    with database.write() as session:
        save_incidents(session, incidents)


def test_an_incident_comes_back_as_it_was(database: Database) -> None:
    save(database, incident())
    with database.read() as session:
        assert get_incident(session, incident().id) == incident()
        assert open_incidents(session, VERMONT) == (incident(),)


def test_saving_it_again_changes_it_and_keeps_the_whole_trail(database: Database) -> None:
    before = incident()
    acknowledged = Change(START + DAY, "acknowledged", by="ada")
    after = replace(
        before,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_by="ada",
        acknowledged_at=START + DAY,
        history=(acknowledged,),
    )
    save(database, before)
    save(database, after)
    save(database, after)
    note = Change(START + 2 * DAY, "note", by="bob", words="looking at it")
    with database.write() as session:
        for _ in range(2):
            add_change(session, before.id, note)
    with database.read() as session:
        trail = (*before.history, acknowledged, note)
        assert list_changes(session, before.id) == trail
        assert get_incident(session, before.id) == replace(after, history=trail)


def test_a_resolved_incident_is_no_longer_open(database: Database) -> None:
    resolved = replace(incident(), state=IncidentState.RESOLVED, closed_at=START + DAY)
    save(database, incident(), incident(day=1), incident("NH"), resolved)
    with database.write() as session:
        assert open_incidents(session, VERMONT, lock=True) == (incident(day=1),)


def test_incidents_are_found_by_what_they_are(database: Database) -> None:
    first, second = incident(), incident(day=2)
    other = incident("NH", day=1, mode=Mode.PIPELINE_FAULT)
    save(database, first, second, other)
    with database.read() as session:
        assert list_incidents(session) == (second, other, first)
        assert list_incidents(session, domain="VT", limit=1) == (second,)
        assert list_incidents(session, mode=Mode.PIPELINE_FAULT) == (other,)
        assert list_incidents(session, since=START + DAY) == (second, other)
        assert list_incidents(session, model="fraud") == ()
        assert list_incidents(session, state=IncidentState.RESOLVED) == ()


def test_an_incident_nobody_opened_is_not_found(database: Database) -> None:
    with database.read() as session, pytest.raises(UnknownIncidentError, match="inc_none"):
        get_incident(session, "inc_none")


def test_open_incidents_are_counted_by_deployment_and_tier(database: Database) -> None:
    here = incident()
    ticket = replace(incident(day=1), tier=Tier.TICKET)
    taken = replace(incident("NH"), state=IncidentState.ACKNOWLEDGED)
    over = replace(incident("NH", day=2), state=IncidentState.RESOLVED)
    save(database, here, ticket, taken, over)
    with database.read() as session:
        assert count_open(session) == {
            (VERMONT, Tier.PAGE): 1,
            (VERMONT, Tier.TICKET): 1,
            (Deployment("credit", "NH"), Tier.PAGE): 1,
        }
