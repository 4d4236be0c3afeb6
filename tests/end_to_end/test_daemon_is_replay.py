"""One history through the daemon's tables and jobs, and through `kedge replay`: the same alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import DAY_US, Deployment, Task, to_datetime, to_us
from monitor.api.decode_arrow import decode_arrow_events, decode_arrow_labels
from monitor.api.limits import IngestLimits
from monitor.config import Config, parse_config
from monitor.files.references import add_reference_table
from monitor.files.tables import Table
from monitor.process.daemon import Service
from monitor.replaying.replay import Replay, replay
from monitor.rows.stored import CACHED_ROWS
from storage.findings import list_findings
from storage.incidents import list_incidents
from storage.references import Role
from tests.end_to_end.histories import START_US, as_table, history, part

MODEL = "churn"
LIVE_DAYS = 40


class FixedClock:
    """A clock that stands after the end of the history."""

    def now(self) -> datetime:
        return to_datetime(START_US + 400 * DAY_US).astimezone(UTC)

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture(scope="module")
def reference() -> Table:
    return as_table(history(days=30, rows_a_day=120, seed=1))


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return history(days=LIVE_DAYS, rows_a_day=120, seed=2, first_day=30, fault_day=50)


@pytest.fixture(scope="module")
def result(reference: Table, log: pa.Table) -> Replay:
    settings = configuration("sqlite://").models[MODEL].settings()
    settings = replace(settings, review_us=LIVE_DAYS * DAY_US)
    return replay(reference, as_table(log, like=reference), settings, model=MODEL)


def configuration(url: str) -> Config:
    return parse_config(
        {
            "service": {"database": url},
            "models": {
                MODEL: {
                    "tick": "1d",
                    "label_delay": "2d",
                    "lateness": "0s",
                    "review": f"{LIVE_DAYS}d",
                    "slices": [["plan"]],
                }
            },
        },
        source="test",
    )


def service(url: str) -> Service:
    return Service(configuration(url), FixedClock())


def push(running: Service, log: pa.Table, since_us: int, until_us: int) -> None:
    """Send the events of a span, and the labels that had become known by its end."""
    schema = running.schemas.schema_of(MODEL)
    assert schema is not None
    events = part(log, since_us=since_us, until_us=until_us)
    batch = decode_arrow_events(
        events.drop_columns(["label", "label_ts"]),
        model=MODEL,
        schema=schema,
        now_us=to_us(FixedClock().now()),
        limits=IngestLimits(),
    )
    assert running.ingest.submit_events(batch).result().rejected == 0
    known = log.filter(
        pa.array(
            (log.column("label_ts").cast(pa.int64()).to_numpy() < until_us)
            & (log.column("label_ts").cast(pa.int64()).to_numpy() >= since_us)
        )
    )
    labels = pa.table(
        {"id": known.column("id"), "label": known.column("label"), "ts": known.column("label_ts")}
    )
    sent = decode_arrow_labels(
        labels,
        model=MODEL,
        task=Task.BINARY,
        now_us=to_us(FixedClock().now()),
        limits=IngestLimits(),
    )
    running.ingest.submit_labels(sent).result()


def alarms_of(running: Service, domain: str) -> set[tuple[str, str, str, str]]:
    with running.database.read() as session:
        found = list_findings(session, Deployment(MODEL, domain), limit=10_000)
    return {(f.ts.isoformat(), f.stream, f.kind, f.tier.value) for f in found}


def replayed(result: Replay, domain: str) -> set[tuple[str, str, str, str]]:
    chosen = next(d for d in result.domains if d.deployment.domain == domain)
    return {(f.ts.isoformat(), f.stream, f.kind, f.tier.value) for f in chosen.findings}


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'kedge.db'}"


@pytest.mark.parametrize(
    ("store", "step_days", "held_rows"),
    [
        ("sqlite_url", 1, CACHED_ROWS),
        ("sqlite_url", 7, CACHED_ROWS),
        ("sqlite_url", 20, 900),
        pytest.param("postgres_url", 7, CACHED_ROWS, marks=pytest.mark.postgres),
    ],
)
def test_daemon_and_replay_find_the_same_alarms_and_incidents(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    reference: Table,
    log: pa.Table,
    result: Replay,
    store: str,
    step_days: int,
    held_rows: int,
) -> None:
    """However many days come between two checks, across a restart, whatever stores the rows.

    Nor does it matter whether the rows between two checks fit in memory (`held_rows`).
    """
    monkeypatch.setattr("monitor.rows.stored.CACHED_ROWS", held_rows)
    monkeypatch.setattr("monitor.watching.runner.CACHED_ROWS", held_rows)
    url: str = request.getfixturevalue(store)
    running = service(url)
    add_reference_table(
        running.database,
        reference,
        model=MODEL,
        role=Role.ONBOARDING,
        domain=None,
        slices=(("plan",),),
        now=FixedClock().now(),
    )
    running.ingest.start()
    days = range(30, 30 + LIVE_DAYS, step_days)
    for day in days:
        since_us = START_US + day * DAY_US
        push(running, log, since_us, min(since_us + step_days * DAY_US, START_US + 70 * DAY_US))
        running.check(MODEL)
        if day == days[len(days) // 2]:
            running.ingest.stop()
            running.database.close()
            running = service(url)
            running.ingest.start()
    push(running, log, START_US + 70 * DAY_US, START_US + 90 * DAY_US)
    running.flush(MODEL)

    with running.database.read() as session:
        incidents = list_incidents(session, model=MODEL, limit=1000)
    running.ingest.stop()
    for domain in ("north", "south"):
        assert alarms_of(running, domain) == replayed(result, domain)
        expected = next(d for d in result.domains if d.deployment.domain == domain).incidents
        stored = [i for i in incidents if i.deployment.domain == domain]
        assert {(i.id, i.mode, i.state, i.alarms) for i in stored} == {
            (i.id, i.mode, i.state, i.alarms) for i in expected
        }
    south = replayed(result, "south")
    assert any(tier == "page" for _, _, _, tier in south)
    assert not np.any([tier == "page" for _, _, _, tier in replayed(result, "north")])
    running.database.close()
