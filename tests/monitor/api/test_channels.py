"""How channels fare, who was told, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.records import Attempt, Outcome
from monitor.config import parse_config
from storage.channels import disable_channel, hold_channel
from storage.outbox import claim_next, dead_letters, mark_failed
from tests.monitor.api.asking import World, add_domain, add_incident, add_message, world
from tests.monitor.serving import NOW

CHANNELS = [
    {"name": "ops", "kind": "console", "tiers": ["page"]},
    {"name": "chat", "kind": "slack", "secret_env": "KEDGE_TEST_SLACK"},
]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    config = parse_config({"models": {"credit": {}}, "channels": CHANNELS}, source="test")
    with world(tmp_path, config) as running:
        add_domain(running)
        yield running


def test_channels_are_listed_with_what_waits_and_nothing_secret(
    asked: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDGE_TEST_SLACK", "https://hooks.slack.example/s3cret")
    add_incident(asked)
    add_message(asked)
    reply = asked.get("/v1/channels")
    ops, chat = reply.json()["channels"]
    assert (ops["name"], ops["kind"], ops["tiers"]) == ("ops", "console", ["page"])
    assert (chat["name"], chat["rate"]) == ("chat", "1 s, 1 at once")
    assert ops["waiting"] + ops["dead"] >= 1
    assert "s3cret" not in reply.text


def test_a_disabled_channel_says_so_until_somebody_enables_it(asked: World) -> None:
    with asked.database.write() as session:
        disable_channel(session, "ops", now=NOW, words="its receiver answered 410")
    (ops, _) = asked.get("/v1/channels").json()["channels"]
    assert ops["disabled_at"] == "2026-01-10T00:00:00Z"
    assert "410" in ops["disabled_words"]
    refused = asked.post("/v1/channels/ops/replay", {})
    assert refused.status_code == 409
    assert "enable" in refused.json()["hint"]
    assert asked.post("/v1/channels/ops/enable", {}).json() == {"channel": "ops", "enabled": True}
    assert asked.post("/v1/channels/ops/enable", {}).json()["enabled"] is False
    assert asked.post("/v1/channels/ops/replay", {}).status_code == 200


def test_a_held_channel_says_until_when(asked: World) -> None:
    with asked.database.write() as session:
        hold_channel(session, "ops", until=NOW + timedelta(seconds=30))
    (ops, _) = asked.get("/v1/channels").json()["channels"]
    assert (ops["failures"], ops["held_until"]) == (1, "2026-01-10T00:00:30Z")
    asked.clock.instant += timedelta(minutes=1)
    (ops, _) = asked.get("/v1/channels").json()["channels"]
    assert ops["held_until"] is None


def test_dead_letters_of_a_channel_go_on_their_way_again(asked: World) -> None:
    add_message(asked, dead=True)
    with asked.database.read() as session:
        (letter,) = dead_letters(session)
    done = asked.post(f"/v1/channels/{letter.channel}/replay", {})
    assert done.json() == {"channel": letter.channel, "replayed": 1}
    assert asked.get("/v1/outbox").json()["dead"] == 0


def test_an_incident_says_who_was_told_when_and_with_which_reply(asked: World) -> None:
    incident = add_incident(asked)
    asked.post(f"/v1/incidents/{incident.id}/ack", {"by": "ann"})
    lines = asked.get(f"/v1/incidents/{incident.id}/deliveries").json()["deliveries"]
    assert [(line["type"], line["outcome"]) for line in lines] == [("incident.acknowledged", None)]
    assert lines[0]["words"] == "not tried yet"
    with asked.database.write() as session:
        claimed = claim_next(session, now=NOW, lease=timedelta(minutes=1))
        assert claimed is not None
        again = NOW + timedelta(seconds=5)
        attempt = Attempt(
            claimed.message.id, "ops", 0, NOW, Outcome.RETRY, 503, words="503", next_at=again
        )
        mark_failed(session, claimed, attempt)
    lines = asked.get(f"/v1/incidents/{incident.id}/deliveries").json()["deliveries"]
    (tried,) = [line for line in lines if line["outcome"]]
    assert (tried["outcome"], tried["status"]) == (Outcome.RETRY.value, 503)


@pytest.mark.parametrize("deed", ["test", "enable", "replay"])
def test_a_channel_that_is_not_configured_is_404_with_the_nearest_name(
    asked: World, deed: str
) -> None:
    reply = asked.post(f"/v1/channels/opps/{deed}", {})
    assert reply.status_code == 404
    assert "Did you mean 'ops'" in reply.json()["hint"]


def test_a_test_says_how_it_fared(asked: World) -> None:
    done = asked.post("/v1/channels/ops/test", {}).json()
    assert done == {
        "channel": "ops",
        "delivered": False,
        "status": None,
        "words": "no way out",
        "duration_ms": 0,
    }
