"""Silences, feedback and snoozes over HTTP and from the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.history import add_message as add_to_history
from alerts.records import Incident, IncidentKind, Message, MessageType
from alerts.settings import AlertSettings
from detectors.records import Deployment, Mode
from monitor.oncall.dispatch import post
from storage.outbox import waiting_count
from tests.monitor.api.asking import (
    HOSTILE,
    World,
    add_domain,
    add_incident,
    add_message,
    world,
)
from tests.monitor.serving import NOW


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        yield running


GOOD = {"by": "ann", "reason": "migration", "for": "2h", "models": ["credit"]}


def test_a_silence_says_who_until_when_why_and_what_it_hides(asked: World) -> None:
    made = asked.post("/v1/silences", {**GOOD, "tiers": ["page"], "modes": ["concept shift"]})
    assert made.status_code == 200, made.text
    said = made.json()
    assert said["active"]
    assert said["author"] == "ann"
    assert said["until"] == "2026-01-10T02:00:00Z"
    assert said["matches"] == {
        "models": ["credit"],
        "modes": ["concept shift"],
        "tiers": ["page"],
    }
    assert asked.get("/v1/silences").json()["silences"] == [
        {key: value for key, value in said.items() if key != "hushed"}
    ]
    assert asked.get(f"/v1/silences/{said['id']}").json()["reason"] == "migration"


def test_ending_one_keeps_it_with_who_ended_it(asked: World) -> None:
    id_ = asked.post("/v1/silences", GOOD).json()["id"]
    ended = asked.post(f"/v1/silences/{id_}/expire", {"by": "bob"}).json()
    assert (ended["active"], ended["expired_by"]) == (False, "bob")
    again = asked.post(f"/v1/silences/{id_}/expire", {"by": "eve"}).json()
    assert again["expired_by"] == "bob"
    assert asked.get("/v1/silences").json()["silences"] == []
    assert len(asked.get("/v1/silences?all=true").json()["silences"]) == 1


def test_one_incident_can_be_silenced_by_its_id(asked: World) -> None:
    incident = add_incident(asked)
    path = f"/v1/incidents/{incident.id}/silence"
    made = asked.post(path, {"by": "ann", "reason": "known", "for": "1d"}).json()
    assert made["matches"] == {"incidents": [incident.id]}
    asked.post(f"/v1/incidents/{incident.id}/resolve", {"by": "ann"})
    with asked.database.read() as session:
        assert waiting_count(session) == 0


def test_what_waits_untried_is_taken_back(asked: World) -> None:
    incident = add_incident(asked)
    add_message(asked)  # of another incident, which is not stored
    assert asked.post("/v1/silences", GOOD).json()["hushed"] == 0
    assert incident.id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": []}, "would hide everything"),
        ({"models": [""]}, "at least 1 character"),
        ({"reason": "  "}, "reason"),
        ({"for": None}, "until when?"),
        ({"until": "2026-01-11T00:00:00Z"}, "until when?"),
        ({"for": None, "until": "2026-01-09T00:00:00Z"}, "ends before it begins"),
        ({"for": None, "until": "2026-01-11T00:00:00"}, "timezone"),
        ({"for": "2 hours"}, "is no duration"),
        ({"for": "900d"}, "366 days at most"),
        ({"for": "999999999999999d"}, ""),
        ({"modes": ["bad mode"]}, "modes.0"),
        ({"model": ["x"]}, "extra inputs"),
    ],
)
def test_a_silence_that_cannot_be_is_refused_in_words(
    asked: World, change: dict[str, Any], words: str
) -> None:
    refused = asked.post("/v1/silences", {**GOOD, **change})
    assert refused.status_code == 422, refused.text
    assert words in refused.json()["error"]
    assert asked.get("/v1/silences?all=true").json()["silences"] == []


def test_a_silence_or_incident_that_is_not_there_is_404(asked: World) -> None:
    assert asked.get("/v1/silences/sil_x").status_code == 404
    assert asked.post("/v1/silences/sil_x/expire", {"by": "ann"}).status_code == 404
    body = {"by": "ann", "reason": "x", "for": "1h"}
    assert asked.post("/v1/incidents/inc_x/silence", body).status_code == 404


def test_hostile_words_come_back_harmless(asked: World) -> None:
    made = asked.post("/v1/silences", {**GOOD, "by": HOSTILE, "reason": HOSTILE, "models": ["x"]})
    assert "\u202e" not in made.json()["author"] + made.json()["reason"]


def test_an_acknowledgement_may_end_by_itself(asked: World) -> None:
    incident = add_incident(asked)
    path = f"/v1/incidents/{incident.id}/ack"
    late = asked.post(path, {"by": "ann", "until": (NOW - timedelta(hours=1)).isoformat()})
    assert late.status_code == 422
    until = NOW + timedelta(hours=2)
    done = asked.post(path, {"by": "ann", "note": "on it", "until": until.isoformat()}).json()
    assert done["snoozed_until"] == "2026-01-10T02:00:00Z"
    assert done["history"][-1]["words"].startswith("until 10 Jan 02:00 UTC: on it [")


def test_a_verdict_stands_on_the_incident_with_its_author(asked: World) -> None:
    incident = add_incident(asked)
    path = f"/v1/incidents/{incident.id}/feedback"
    done = asked.post(path, {"by": "ann", "verdict": "false alarm", "note": "holiday"}).json()
    assert (done["verdict"], done["verdict_by"]) == ("false alarm", "ann")
    noted = asked.post(path, {"by": "bob", "note": "hm"}).json()
    assert (noted["verdict"], noted["verdict_by"]) == ("false alarm", "ann")


def test_the_history_tells_who_did_what_and_what_was_held_and_why(asked: World) -> None:
    silence = asked.post("/v1/silences", {**GOOD, "models": ["credit"]}).json()
    incident = add_incident(asked)
    with asked.database.write() as session:
        message = replace(opened_message(incident), id="msg_held", incident_id=incident.id)
        post(session, message, asked.context.routing(), NOW)
    asked.post(f"/v1/incidents/{incident.id}/ack", {"by": "bob", "note": "on it"})
    asked.post(f"/v1/silences/{silence['id']}/expire", {"by": "eve"})
    asked.post(f"/v1/incidents/{incident.id}/feedback", {"by": "bob", "verdict": "false alarm"})
    said = asked.get(f"/v1/incidents/{incident.id}/history").json()
    lines = [(line["clock"], line["what"], line["by"]) for line in said["history"]]
    assert lines[:3] == [
        ("event", "opened", ""),
        ("event", "acknowledged", "bob"),
        ("event", "feedback", "bob"),
    ]
    assert {("wall", "silenced", "ann"), ("wall", "silence ended", "eve")} <= set(lines)
    (held,) = [line for line in said["history"] if line["id"] == "msg_held"]
    assert held["what"] == "held"
    assert held["words"] == ("incident.opened: silenced by ann until 2026-01-10 02:00Z: migration")
    assert asked.get("/v1/incidents/inc_x/history").status_code == 404
    page = asked.get(f"/incidents/{incident.id}").text
    for words in ("false alarm, says bob", "silenced by ann until", "acknowledged by bob"):
        assert words in page


def test_the_page_of_silences_shows_them_and_escapes_what_people_wrote(asked: World) -> None:
    assert "None." in asked.get("/silences").text
    made = asked.post("/v1/silences", {**GOOD, "reason": HOSTILE, "by": HOSTILE}).json()
    page = asked.get("/silences").text
    assert "<script>" not in page
    assert "models credit" in page
    asked.post(f"/v1/silences/{made['id']}/expire", {"by": "eve"})
    assert made["id"] not in asked.get("/silences").text
    assert "by eve" in asked.get("/silences?all=true").text


def test_pages_show_groups_and_alerts_about_what_arrives(asked: World) -> None:
    add_domain(asked)
    group = add_incident(
        asked, Deployment("credit", ""), kind=IncidentKind.GROUP, domains=("VT", "NH")
    )
    quiet = add_incident(asked, mode=Mode.UNDETERMINED, kind=IncidentKind.SOURCE_QUIET)
    listed = asked.get("/incidents").text
    assert "credit, 2 domains" in listed
    assert "source went quiet" in listed
    page = asked.get(f"/incidents/{group.id}").text
    assert 'href="/models/credit/domains/NH"' in page
    assert 'href="/runbooks/source-quiet"' in asked.get(f"/incidents/{quiet.id}").text


def opened_message(incident: Incident) -> Message:
    _, message = add_to_history(incident, MessageType.OPENED, NOW, AlertSettings())
    return message
