"""What can be done: once, twice, too late, and to nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.records import Change, IncidentState, MessageType
from storage.incidents import save_incidents
from storage.outbox import list_messages, waiting_count
from tests.monitor.api.asking import (
    EVALUATED,
    HOSTILE,
    World,
    add_domain,
    add_incident,
    add_message,
    add_retraining,
    world,
)
from tests.monitor.serving import NOW


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One application for questions that change nothing."""
    with world(tmp_path_factory.mktemp("quiet")) as running:
        add_domain(running)
        yield running


def test_an_acknowledged_incident_remembers_who_and_when_on_both_clocks(asked: World) -> None:
    """The line stands in event time, where the next check goes on; its words hold wall time."""
    add_domain(asked, tick_us=1)
    incident = add_incident(asked)
    done = asked.post(f"/v1/incidents/{incident.id}/ack", {"by": "ann", "note": "on it"}).json()
    assert (done["outcome"], done["state"]) == ("acknowledged", "acknowledged")
    assert done["acknowledged_by"] == "ann"
    stored = asked.incident(incident.id)
    assert stored.history[-1] == Change(
        EVALUATED, "acknowledged", by="ann", words="on it [2026-01-10T00:00:00Z]"
    )
    with asked.database.read() as session:
        (message,) = list_messages(session, incident.id)
        assert waiting_count(session) == 1
    assert message.type is MessageType.ACKNOWLEDGED
    assert message.body["data"]["headline"].endswith("taken by ann")


def test_acknowledging_twice_changes_nothing_and_says_whose_it_is(asked: World) -> None:
    incident = add_incident(asked)
    asked.post(f"/v1/incidents/{incident.id}/ack", {"by": "ann"})
    before = asked.incident(incident.id)
    again = asked.post(f"/v1/incidents/{incident.id}/ack", {"by": "bob"})
    assert again.status_code == 200
    assert again.json()["outcome"] == "already acknowledged"
    assert again.json()["acknowledged_by"] == "ann"
    assert asked.incident(incident.id) == before


def test_two_people_who_acknowledge_at_once_make_one_line(asked: World) -> None:
    incident = add_incident(asked)
    outcomes: list[str] = []

    def take(by: str) -> None:
        reply = asked.post(f"/v1/incidents/{incident.id}/ack", {"by": by})
        outcomes.append(reply.json()["outcome"])

    people = [threading.Thread(target=take, args=(f"p{n}",)) for n in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(outcomes) == ["acknowledged", *["already acknowledged"] * 3]
    assert len(asked.incident(incident.id).history) == 2


def test_resolving_closes_and_tells_the_channels_in_the_same_transaction(asked: World) -> None:
    incident = add_incident(asked)
    done = asked.post(f"/v1/incidents/{incident.id}/resolve", {"by": "ann", "note": "fixed"}).json()
    assert (done["outcome"], done["state"]) == ("resolved", "resolved")
    assert "closed by ann: fixed" in done["history"][-1]["words"]
    with asked.database.read() as session:
        (message,) = list_messages(session, incident.id)
        assert waiting_count(session) == 1
    assert message.type is MessageType.RESOLVED
    assert message.body["data"]["links"]["incident"].startswith("http://127.0.0.1:8321/")


@pytest.mark.parametrize("deed", ["ack", "resolve"])
def test_work_on_a_resolved_incident_is_a_conflict(asked: World, deed: str) -> None:
    incident = add_incident(asked)
    asked.post(f"/v1/incidents/{incident.id}/resolve", {"by": "ann"})
    before = asked.incident(incident.id)
    late = asked.post(f"/v1/incidents/{incident.id}/{deed}", {"by": "bob"})
    assert late.status_code == 409
    assert "it was resolved by ann" in late.json()["error"]
    assert asked.incident(incident.id) == before


def test_feedback_is_kept_each_time_also_when_all_is_over(asked: World) -> None:
    incident = add_incident(asked)
    path = f"/v1/incidents/{incident.id}"
    asked.post(f"{path}/resolve", {"by": "ann"})
    for note in ("a deploy", "no, a holiday"):
        reply = asked.post(
            f"{path}/feedback", {"by": "ann", "note": note, "verdict": "false alarm"}
        )
        assert reply.json()["outcome"] == "noted"
    stored = asked.incident(incident.id)
    assert stored.state is IncidentState.RESOLVED
    lines = [change.words for change in stored.history if change.what == "feedback"]
    assert [words.partition(" [")[0] for words in lines] == [
        "false alarm: a deploy",
        "false alarm: no, a holiday",
    ]
    assert asked.post(f"{path}/feedback", {"by": "ann"}).status_code == 422


def test_a_deed_stands_between_what_was_judged_and_what_will_be(asked: World) -> None:
    """Were it later than the next check, the stored trail would not begin as the check's does."""
    add_domain(asked, tick_us=1)
    incident = add_incident(asked)
    asked.post(f"/v1/incidents/{incident.id}/ack", {"by": "ann"})
    asked.post(f"/v1/incidents/{incident.id}/feedback", {"by": "ann", "note": "looking"})
    loaded = asked.incident(incident.id)
    seen = Change(EVALUATED + timedelta(hours=1), "updated", words="still up")
    with asked.database.write() as session:
        save_incidents(session, [replace(loaded, history=(*loaded.history, seen))])
    assert asked.incident(incident.id).history == (*loaded.history, seen)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"by": ""},
        {"by": "   "},
        {"by": "x" * 121},
        {"by": 7},
        {"by": "ann", "note": "x" * 1001},
        {"by": "ann", "nte": "typo"},
    ],
)
def test_a_deed_without_a_proper_name_or_note_is_refused(
    asked: World, body: dict[str, object]
) -> None:
    incident = add_incident(asked)
    reply = asked.post(f"/v1/incidents/{incident.id}/ack", body)
    assert reply.status_code == 422
    assert set(reply.json()) == {"error", "hint"}
    assert asked.incident(incident.id) == incident


def test_names_and_notes_are_made_plain_before_they_are_kept(asked: World) -> None:
    incident, request = add_incident(asked), add_retraining(asked)
    by, note = "a\x00b\u202e", "x\x00\ny"
    asked.post(f"/v1/incidents/{incident.id}/ack", {"by": by, "note": note})
    asked.post(f"/v1/retraining-requests/{request.id}/approve", {"by": by, "note": note})
    kept = [
        asked.incident(incident.id).acknowledged_by,
        asked.get(f"/v1/retraining-requests/{request.id}").json()["decided_by"],
    ]
    assert kept == ["a\ufffdb\ufffd"] * 2


def test_a_body_that_is_too_long_or_no_json_is_refused(asked: World) -> None:
    incident = add_incident(asked)
    path = f"/v1/incidents/{incident.id}/ack"
    assert asked.post(path, {"by": "x" * 100_000}).status_code == 413
    headers = {"content-type": "application/json"}
    assert asked.client.post(path, content=b'{"by": "an', headers=headers).status_code == 422
    assert asked.client.post(path, content=b"\xff\xfe", headers=headers).status_code in {400, 422}
    assert asked.incident(incident.id) == incident


@pytest.mark.parametrize(
    ("steps", "statuses"),
    [
        (["approve", "complete"], [200, 200]),
        (["approve", "approve"], [200, 200]),
        (["reject", "approve"], [200, 409]),
        (["complete", "reject"], [200, 409]),
    ],
)
def test_a_retraining_request_goes_only_where_its_status_lets_it(
    asked: World, steps: list[str], statuses: list[int]
) -> None:
    request = add_retraining(asked)
    path = f"/v1/retraining-requests/{request.id}"
    replies = [asked.post(f"{path}/{step}", {"by": "ann", "note": "so"}) for step in steps]
    assert [reply.status_code for reply in replies] == statuses
    history = asked.get(path).json()["history"]
    assert len(history) == 1 + len(
        {s for s, code in zip(steps, statuses, strict=True) if code < 300}
    )
    assert (history[1]["by"], history[1]["words"]) == ("ann", "so")


def test_a_dead_letter_goes_out_again_under_its_id(asked: World) -> None:
    message = add_message(asked, dead=True)
    path = f"/v1/outbox/{message.id}/replay"
    assert asked.client.post(path).json() == {"id": message.id, "replayed": 1}
    told = asked.get("/v1/outbox").json()
    assert (told["dead"], [line["id"] for line in told["deliveries"]]) == (0, [message.id])
    assert asked.client.post(path).status_code == 409
    assert asked.client.post("/v1/outbox/msg_nope/replay").status_code == 404


def test_only_the_named_channel_is_replayed(asked: World) -> None:
    message = add_message(asked, dead=True)
    path = f"/v1/outbox/{message.id}/replay"
    assert asked.client.post(f"{path}?channel=other").status_code == 409
    assert asked.client.post(f"{path}?channel=ops").json()["replayed"] == 1


def test_flush_closes_the_ticks_of_a_known_model(asked: World) -> None:
    assert asked.post("/v1/flush", {"model": "credit"}).json() == {
        "model": "credit",
        "counts": {"instants": 3},
    }
    wrong = asked.post("/v1/flush", {"model": "credt"})
    assert wrong.status_code == 404
    assert "Did you mean 'credit'?" in wrong.json()["hint"]
    assert asked.flushed == ["credit"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/incidents/inc_nope/ack",
        "/v1/incidents/inc_nope/resolve",
        "/v1/incidents/inc_nope/feedback",
        "/v1/retraining-requests/ret_nope/approve",
        "/v1/retraining-requests/ret_nope/reject",
        "/v1/retraining-requests/ret_nope/complete",
    ],
)
def test_work_on_nothing_is_a_404(quiet: World, path: str) -> None:
    reply = quiet.post(path, {"by": "ann", "note": HOSTILE[:100]})
    assert reply.status_code == 404
    assert set(reply.json()) == {"error", "hint"}


def test_a_deed_dated_without_any_evaluation_stands_on_the_wall_clock(asked: World) -> None:
    incident = add_incident(asked)
    asked.post(f"/v1/incidents/{incident.id}/ack", {"by": "ann"})
    assert asked.incident(incident.id).history[-1].at == NOW
