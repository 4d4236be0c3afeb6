"""Two daemons on one PostgreSQL database do what one does: once, and with the same result."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from detectors.records import DAY_US, Deployment
from monitor.config import parse_config
from monitor.errors import InputError
from monitor.files.references import add_reference_table
from monitor.process.daemon import Service
from monitor.process.process_role import ProcessRole
from monitor.replaying.replay import replay
from storage.engine import open_database
from storage.findings import list_findings
from storage.leases import list_leases, take_lease
from storage.references import Role
from storage.tables import AttemptRow, FindingRow, MessageRow
from tests.end_to_end.histories import START_US, as_table, history
from tests.end_to_end.test_daemon_is_replay import MODEL, FixedClock, push, replayed

FIRST, DAYS = 30, 24
REFERENCE = as_table(history(days=30, rows_a_day=60, seed=1))
LOG = history(days=DAYS, rows_a_day=60, seed=2, first_day=FIRST, fault_day=FIRST + 8)


class MovingClock(FixedClock):
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    """A schema of its own in the database of this run."""
    plain = open_database(postgres_url)
    with plain.writer.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS pair CASCADE"))
        connection.execute(text("CREATE SCHEMA pair"))
    yield f"{postgres_url}?options=-csearch_path%3Dpair%20-csynchronous_commit%3Doff"
    with plain.writer.begin() as connection:
        connection.execute(text("DROP SCHEMA pair CASCADE"))
    plain.close()


def daemon(url: str, role: ProcessRole = ProcessRole.ALL, clock: Any = None) -> Service:
    config = parse_config(
        {
            "service": {"database": url},
            "models": {
                MODEL: {
                    "tick": "1d",
                    "label_delay": "2d",
                    "lateness": "0s",
                    "review": f"{DAYS}d",
                    "slices": [["plan"]],
                }
            },
            "channels": [{"name": "terminal", "kind": "console"}],
        },
        source="test",
    )
    return Service(config, clock or FixedClock(), role=role)


def add_reference(running: Service) -> None:
    add_reference_table(
        running.database,
        REFERENCE,
        model=MODEL,
        role=Role.ONBOARDING,
        domain=None,
        slices=(("plan",),),
        now=FixedClock().now(),
    )


def close(*running: Service) -> None:
    for service in running:
        service.stop()


def found(running: Service, domain: str) -> set[tuple[str, str, str, str]]:
    with running.database.read() as session:
        findings = list_findings(session, Deployment(MODEL, domain), limit=10_000)
    return {(f.ts.isoformat(), f.stream, f.kind, f.tier.value) for f in findings}


def at_once(*jobs: Any) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.postgres
def test_two_daemons_find_and_send_what_a_replay_finds_each_thing_once(url: str) -> None:
    """Rows come to both, both look for what is due at once, both deliver."""
    pair = [daemon(url), daemon(url)]
    add_reference(pair[0])
    for running in pair:
        running.notice()
        running.ingest.start()
    step = 4
    for number, day in enumerate(range(FIRST, FIRST + DAYS, step)):
        since_us = START_US + day * DAY_US
        push(pair[number % 2], LOG, since_us, since_us + step * DAY_US)
        at_once(*(running.check_due for running in pair))
        at_once(*(running.deliver for running in pair))
    push(pair[0], LOG, START_US + (FIRST + DAYS) * DAY_US, START_US + 90 * DAY_US)
    at_once(lambda: pair[0].flush(MODEL), lambda: pair[1].flush(MODEL))
    at_once(*(running.deliver for running in pair))

    settings = replace(pair[0].settings_of(MODEL), review_us=DAYS * DAY_US)
    expected = replay(REFERENCE, as_table(LOG, like=REFERENCE), settings, model=MODEL)
    for domain in ("north", "south"):
        assert found(pair[0], domain) == replayed(expected, domain)
    assert any(tier == "page" for *_, tier in found(pair[0], "south"))
    with pair[0].database.read() as session:
        keys = session.execute(
            select(FindingRow.domain, FindingRow.ts, FindingRow.stream, FindingRow.kind)
        ).all()
        sent = Counter(session.scalars(select(AttemptRow.message_id)))
        messages = {
            row.id: (row.incident_id, row.type, row.created_at)
            for row in session.scalars(select(MessageRow))
        }
    assert len(set(keys)) == len(keys)
    assert set(sent.values()) == {1}
    assert len(set(messages.values())) == len(messages)
    close(*pair)


@pytest.mark.postgres
def test_who_slept_through_its_lease_writes_nothing_and_the_other_has_done_it_all(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped just before it saves, for longer than its lease: the other takes the job over."""
    clock = MovingClock()
    sleeper, other = daemon(url, clock=clock), daemon(url, clock=clock)
    add_reference(sleeper)
    for running in (sleeper, other):
        running.notice()
        running.ingest.start()
    push(sleeper, LOG, START_US + FIRST * DAY_US, START_US + (FIRST + 14) * DAY_US)
    genuine = type(sleeper.runner)._save
    written: list[str] = []

    def save(runner: Any, held: Any, steps: Any, rows: Any) -> None:
        if runner is sleeper.runner and "other" not in written:
            clock.ahead += 2 * sleeper.leases.length - timedelta(seconds=1)
            written.append("other")
            other.check_due()
        genuine(runner, held, steps, rows)
        written.append("sleeper" if runner is sleeper.runner else "by other")

    monkeypatch.setattr(type(sleeper.runner), "_save", save)
    sleeper.check(MODEL)

    assert written == ["other", "by other", "by other"]
    with other.database.read() as session:
        (lease,) = (lease for lease in list_leases(session) if lease.job == f"check {MODEL}")
        assert (lease.epoch, lease.held_until) == (2, None)
    close(sleeper, other)


@pytest.mark.postgres
def test_a_reference_that_one_process_adds_is_used_by_the_other(url: str) -> None:
    first, other = daemon(url), daemon(url)
    add_reference(first)
    other.check_due()
    schema = other.schemas.schema_of(MODEL)
    add_reference_table(
        first.database,
        as_table(history(days=3, rows_a_day=60, seed=9).drop_columns(["spend"])),
        model=MODEL,
        role=Role.SOURCE,
        domain=None,
        now=FixedClock().now(),
    )
    assert other.schemas.schema_of(MODEL) == schema
    other.check_due()
    assert other.schemas.schema_of(MODEL) != schema
    close(first, other)


@pytest.mark.postgres
def test_a_model_is_checked_by_a_worker_when_rows_came_elsewhere_and_only_then(url: str) -> None:
    api, one, two = daemon(url, ProcessRole.API), *(daemon(url) for _ in range(2))
    add_reference(api)
    api.ingest.start()
    for running in (one, two):
        running.check_due()
    push(api, LOG, START_US + FIRST * DAY_US, START_US + (FIRST + 5) * DAY_US)
    assert one._noticed.look().due == two._noticed.look().due == {MODEL}
    one.check_due()
    assert two._noticed.look().due == frozenset()
    with one.database.read() as session:
        assert found(one, "south") == found(two, "south")
        epochs = {lease.job: lease.epoch for lease in list_leases(session)}
    two.check_due()
    with one.database.read() as session:
        assert {lease.job: lease.epoch for lease in list_leases(session)} == epochs
    close(api, one, two)


@pytest.mark.postgres
def test_a_flush_waits_its_turn(url: str) -> None:
    clock = MovingClock()
    api = daemon(url, ProcessRole.API, clock)
    add_reference(api)
    api.ingest.start()
    push(api, LOG, START_US + FIRST * DAY_US, START_US + (FIRST + 5) * DAY_US)
    with api.database.write() as session:
        lease = take_lease(
            session, f"check {MODEL}", "other", now=clock.now(), length=api.leases.length
        )
    assert lease is not None
    assert api._check_held(MODEL, flush=True) is None
    answer: list[dict[str, int]] = []
    waiting = threading.Thread(target=lambda: answer.append(api.flush(MODEL)))
    waiting.start()
    clock.ahead = 2 * api.leases.length
    waiting.join(30)
    assert answer[0]["instants"] > 0
    close(api)


def test_on_sqlite_one_process_does_everything(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="--role worker needs PostgreSQL"):
        daemon(f"sqlite:///{tmp_path / 'kedge.db'}", ProcessRole.WORKER)
