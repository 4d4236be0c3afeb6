"""No channel waits for another, none is served twice at once, and a failed pass is only a pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from alerts.notifiers import Letter, Outgoing, Relayed, build
from alerts.records import Message
from alerts.schedule import Reply
from monitor.config import parse_config
from monitor.metrics import Metrics
from monitor.outgoing import couriers
from monitor.outgoing.addresses import Network
from monitor.outgoing.couriers import Couriers
from monitor.outgoing.delivery import Channel, Channels
from storage.engine import Database, open_database
from storage.migrations import upgrade
from storage.outbox import enqueue, waiting_count
from tests.alerts.build import Story, diagnosis
from tests.monitor.serving import FixedClock

SECRET = "whsec_" + "QUJD" * 8
NOW = datetime(2026, 1, 10, tzinfo=UTC)
PATIENCE_S = 30.0


@dataclass
class Gated:
    """A client: what goes to `slow` waits until it is let through."""

    gate: threading.Event = field(default_factory=threading.Event)
    slow_began: threading.Event = field(default_factory=threading.Event)
    fast_ended: threading.Event = field(default_factory=threading.Event)
    sent: list[str] = field(default_factory=list)

    def send(
        self, prepared: Outgoing | Letter | Relayed, *, allowed: Sequence[Network] = ()
    ) -> Reply:
        assert isinstance(prepared, Outgoing)
        host = prepared.url.split("/")[2]
        if host == "slow":
            self.slow_began.set()
            assert self.gate.wait(PATIENCE_S)
        self.sent.append(host)
        if host == "fast":
            self.fast_ended.set()
        return Reply(200)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    upgrade(opened)
    yield opened
    opened.close()


def couriers_of(database: Database, client: Gated, *names: str) -> Couriers:
    clock, config = FixedClock(NOW), parse_config({}, source="test")
    made = {
        name: Channel(build("webhook", name, {"url": f"http://{name}/", "secret": SECRET}))
        for name in names
    }
    metrics = Metrics(database, clock, lambda: config)
    return Couriers(database, lambda: Channels(made), client, clock, metrics)


def put(database: Database, *to: str, count: int = 1, ago_s: float = 0.0) -> None:
    (first, *_) = Story().see(0, diagnosis()).messages
    with database.write() as session:
        for number in range(count):
            message: Message = replace(first, id=f"msg_{'_'.join(to)}_{number}")
            enqueue(session, message, to, NOW - timedelta(seconds=ago_s))


def test_a_receiver_that_hangs_holds_up_its_own_messages_only(database: Database) -> None:
    client = Gated()
    running = couriers_of(database, client, "slow", "fast")
    put(database, "slow", "fast")
    running.tick()
    assert client.slow_began.wait(PATIENCE_S)
    assert client.fast_ended.wait(PATIENCE_S), "fast waited for slow"
    client.fast_ended.clear()
    put(database, "fast", count=2)  # decided while slow still hangs
    while not client.fast_ended.is_set():
        running.tick()
        client.fast_ended.wait(0.01)
    assert "slow" not in client.sent
    client.gate.set()
    running.wait()
    assert client.sent.count("slow") == 1
    assert running.close(PATIENCE_S)


def test_a_channel_that_is_being_served_is_not_served_twice(database: Database) -> None:
    client = Gated()
    running = couriers_of(database, client, "slow")
    put(database, "slow", count=3)
    for _ in range(5):
        running.tick()
    assert len(running._running) == 1
    client.gate.set()
    running.wait()
    assert client.sent == ["slow"] * 3
    assert running.close(PATIENCE_S)


def test_a_pass_that_fails_is_counted_and_the_next_one_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Gated()
    client.gate.set()
    running = couriers_of(database, client, "fast")
    put(database, "fast")

    def gone(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the server closed the connection"))

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(couriers, "deliver_due", gone)
        running.tick()
        running.wait()
    assert [line["event"] for line in logs] == ["job.failed"]
    assert b'kedge_job_failures_total{job="deliver"} 1.0' in running.metrics.render()
    running.tick()
    running.wait()
    assert client.sent == ["fast"]
    with database.read() as session:
        assert waiting_count(session) == 0
    assert running.close(PATIENCE_S)


def test_the_time_from_decision_to_first_attempt_is_measured(database: Database) -> None:
    client = Gated()
    running = couriers_of(database, client, "fast")
    put(database, "fast", count=2, ago_s=3.0)
    running.tick()
    running.wait()
    text = running.metrics.render().decode()
    assert "kedge_delivery_wait_seconds_count 2.0" in text
    assert "kedge_delivery_wait_seconds_sum 6.0" in text
    assert running.close(PATIENCE_S)


def test_nothing_starts_once_the_service_stops(database: Database) -> None:
    client = Gated()
    running = couriers_of(database, client, "fast")
    running.stopping = lambda: True
    put(database, "fast")
    running.tick()
    running.wait()
    assert client.sent == []
    assert running.close(PATIENCE_S)
