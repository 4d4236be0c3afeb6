"""Silences, feedback and snoozes over HTTP and from the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.outbox import waiting_count
from tests.monitor.api.asking import HOSTILE, World, add_incident, add_message, world
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
