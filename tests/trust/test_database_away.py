"""The database goes away, is locked, or its disk is full: 503, reading goes on, nothing is lost."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from alerts.records import Message, MessageType, Severity
from detectors.records import Deployment, Tier, to_datetime
from monitor.process.daemon import Service
from monitor.process.process_role import ProcessRole
from monitor.process.serve import build_app
from storage import engine
from storage.engine import open_database
from storage.inbox import read_model
from storage.outbox import enqueue
from tests.end_to_end.histories import START_US
from tests.end_to_end.test_daemon_is_replay import MODEL
from tests.trust.test_two_daemons import daemon, url

__all__ = ["url"]


@contextmanager
def serving(database_url: str) -> Iterator[tuple[Service, TestClient]]:
    """A service that takes rows over HTTP, its jobs called by hand."""
    running = daemon(database_url)
    running.ingest.start()
    app = build_app(running)
    with TestClient(app, client=("127.0.0.1", 50000), base_url="http://127.0.0.1") as client:
        yield running, client
    running.stop()


def body(first: int, rows: int = 100, width: int = 1) -> dict[str, Any]:
    ts = to_datetime(START_US).isoformat()
    events = [
        {"id": f"e{n}", "ts": ts, "score": 0.5, "features": {"x": n, "plan": f"{n:0{width}}"}}
        for n in range(first, first + rows)
    ]
    return {"model": MODEL, "events": events}


def stored(running: Service) -> int:
    with running.database.read() as session:
        windows = read_model(session, MODEL, 0, 2**62, include_late=True)
    return sum(window.rows for window in windows.values())


def refused(answer: Any) -> bool:
    """503 with a time to come back; anything else but 202 is a fault."""
    if answer.status_code == 202:
        return False
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    return True


def fill(running: Service, client: TestClient) -> int:
    """Post until the disk is full; rows that were acknowledged."""
    for batch in range(400):
        if refused(client.post("/v1/events", json=body(batch * 100, width=400))):
            assert stored(running) == batch * 100
            assert client.get("/v1/models").status_code == 200
            return batch * 100
    msg = "the disk never was full"
    raise AssertionError(msg)


def test_a_full_disk_refuses_rows_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'kedge.db'}") as (running, client):
        with running.database.write() as session:
            pages = session.scalar(text("PRAGMA page_count"))
            session.execute(text(f"PRAGMA max_page_count = {pages + 40}"))
        taken = fill(running, client)
        running._dirty.add(MODEL)
        running.check_due()
        with running.database.write() as session:
            session.execute(text("PRAGMA max_page_count = 1000000"))
        assert client.post("/v1/events", json=body(taken, width=400)).json()["accepted"] == 100
        assert client.post("/v1/events", json=body(taken, width=400)).json()["duplicate"] == 100
        assert stored(running) == taken + 100


def test_a_service_that_is_stopping_says_so_and_takes_nothing(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'kedge.db'}") as (running, client):
        assert client.post("/v1/events", json=body(0)).status_code == 202
        assert client.get("/readyz").status_code == 200
        running.refuse()
        assert refused(client.post("/v1/events", json=body(100)))
        assert client.get("/readyz").json()["checks"]["stopping"] != "ok"
        assert client.get("/readyz").status_code == 503
        assert client.get("/v1/models").status_code == 200
        assert stored(running) == 100


def test_a_receiver_that_is_away_is_no_reason_to_send_rows_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(f"sqlite:///{tmp_path / 'kedge.db'}") as (running, client):
        assert client.get("/healthz").json()["healthy"] is True
        now = running.clock.now()
        message = Message(
            id="msg_1",
            type=MessageType.OPENED,
            deployment=Deployment(MODEL, "north"),
            incident_id="inc_1",
            tier=Tier.PAGE,
            severity=Severity.HIGH,
            body={},
            created_at=now,
        )
        with running.database.write() as session:
            enqueue(session, message, ["terminal"], now - timedelta(hours=1))
        told = client.get("/healthz")
        assert told.status_code == 503
        assert told.json()["checks"]["outbox"] == "the oldest unsent message waits since 1:00:00"
        assert client.get("/readyz").json() == {
            "ready": True,
            "checks": {"stopping": "ok", "database": "ok"},
        }


@pytest.mark.postgres
def test_a_worker_answers_only_for_itself(url: str) -> None:
    running = daemon(url, ProcessRole.WORKER)
    app = build_app(running)
    with TestClient(app, client=("127.0.0.1", 50000), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").json()["checks"]["checks"] == "ok"
        assert client.get("/metrics").status_code == 200
        assert client.post("/v1/events", json=body(0)).status_code == 404
    running.stop()


def test_a_small_file_system_that_is_full(tmp_path: Path) -> None:
    """Not even the write-ahead log has room, unlike with a limit of pages."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
    try:
        with serving(f"sqlite:///{tmp_path / 'kedge.db'}") as (running, client):
            taken = fill(running, client)
            subprocess.run(["mount", "-o", "remount,size=50m", str(tmp_path)], check=True)
            assert client.post("/v1/events", json=body(taken, width=400)).json()["accepted"] == 100
            assert stored(running) == taken + 100
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_locked_file_refuses_rows_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 20)
    with serving(f"sqlite:///{tmp_path / 'kedge.db'}") as (running, client):
        assert client.post("/v1/events", json=body(0)).status_code == 202
        other = sqlite3.connect(tmp_path / "kedge.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert refused(client.post("/v1/events", json=body(100)))
        assert client.get("/v1/models").status_code == 200
        running.check_due()
        other.execute("ROLLBACK")
        other.close()
        assert client.post("/v1/events", json=body(100)).json()["accepted"] == 100
        assert stored(running) == 200


@pytest.mark.postgres
def test_connections_that_are_cut_lose_nothing_that_was_acknowledged(url: str) -> None:
    """As when PostgreSQL restarts: every backend of the daemon ends, again and again."""
    other = open_database(url)
    cut = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND application_name = 'cut me'"
    )
    taken = 0
    with serving(f"{url}&application_name=cut%20me") as (running, client):
        for batch in range(12):
            if batch % 3 == 1:
                with other.write() as session:
                    assert session.scalar(cut)
            for _ in range(5):
                answer = client.post("/v1/events", json=body(batch * 100))
                if not refused(answer):
                    break
            told = answer.json()
            assert told["accepted"] + told["duplicate"] == 100
            taken += 100
            running.check_due()
        assert client.get("/readyz").json()["checks"]["database"] == "ok"
        assert stored(running) == taken
    other.close()


@pytest.mark.postgres
def test_while_nobody_may_connect_rows_are_refused_and_then_taken(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(url) as (running, client):
        assert client.post("/v1/events", json=body(0)).status_code == 202
        engines = (running.database.writer, running.database.reader)
        genuine = [made.pool._creator for made in engines]

        def away(*_: object) -> None:
            import psycopg

            raise psycopg.OperationalError("connection refused")

        for made in engines:
            made.dispose()
            monkeypatch.setattr(made.pool, "_creator", away)
            monkeypatch.setattr(made.pool, "_invoke_creator", away)
        assert refused(client.post("/v1/events", json=body(100)))
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        monkeypatch.undo()
        assert [made.pool._creator for made in engines] == genuine
        assert client.post("/v1/events", json=body(100)).json()["accepted"] == 100
        assert stored(running) == 200
