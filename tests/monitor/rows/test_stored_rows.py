"""Rows for a check: what is held, what is read, and that most checks read nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from detectors.records import DAY_US, HOUR_US, Deployment, Settings
from monitor.rows.stored import ModelRows, StoredRows
from monitor.watching.runner import _spans
from storage.deployments import DeploymentState, list_deployments
from storage.engine import Database, open_database
from storage.migrations import upgrade
from tests.storage.rows import START_US, VERMONT, events, ids, known_model, send


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    upgrade(database)
    identity = known_model(database)
    send(identity, events([0, 10, 20], domain=["VT", "NH", "VT"]), ids(1, 2, 3))
    send(identity, events([30, 40], domain=["NH", "VT"]), ids(4, 5))
    yield database
    database.close()


def asked(database: Database) -> list[str]:
    """The statements sent to the database from now on."""
    statements: list[str] = []

    @event.listens_for(database.reader, "before_cursor_execute")
    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    return statements


def xs(rows: StoredRows, since: int, until: int) -> list[float]:
    found = rows.rows(START_US + since, START_US + until, labels_by_us=None)
    return [x for window in found for x in window.numeric["x"].tolist()]


def test_nothing_is_read_before_a_domain_asks_and_then_once_for_all(database: Database) -> None:
    shared = ModelRows(database, "credit")
    statements = asked(database)
    shared.plan(START_US, START_US + 100)
    assert statements == []
    assert xs(StoredRows(database, VERMONT, shared), 0, 100) == [0, 20, 40]
    read = len(statements)
    assert xs(StoredRows(database, Deployment("credit", "NH"), shared), 5, 35) == [10, 30]
    assert xs(StoredRows(database, Deployment("credit", "ME"), shared), 0, 100) == []
    assert len(statements) == read


@pytest.mark.parametrize("held_rows", [0, 2, 4])
def test_the_same_rows_come_whether_or_not_they_fit_in_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch, held_rows: int
) -> None:
    monkeypatch.setattr("monitor.rows.stored.CACHED_ROWS", held_rows)
    shared = ModelRows(database, "credit")
    shared.plan(START_US, START_US + 30)
    rows = StoredRows(database, VERMONT, shared)
    for _ in range(2):
        assert sorted(xs(rows, 0, 21)) == [0, 20]
        assert sorted(xs(rows, 15, 100)) == [20, 40]


def test_spans_cover_what_is_behind_without_gaps_and_reach_back_for_late_labels(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.read() as session:
        (state,) = (s for s in list_deployments(session, "credit") if s.deployment == VERMONT)
    settings = Settings(tick_us=HOUR_US, label_delay_us=2 * HOUR_US)
    assert _spans([state], settings, START_US + 60) == [(START_US - 3 * HOUR_US, START_US + 60)]
    monkeypatch.setattr("monitor.watching.runner.CACHED_ROWS", 30)
    busy = DeploymentState(
        **{name: getattr(state, name) for name in state.__slots__} | {"rows": 240}
    )
    spans = _spans([busy], settings, START_US + DAY_US)
    assert len(spans) == pytest.approx(240 * 27 / 24 / 30, abs=1)
    assert spans[-1][1] == START_US + DAY_US
    ends = [START_US, *(until for _, until in spans)]
    for (since, until), before in zip(spans, ends, strict=False):
        assert until > before
        assert since <= before - 3 * HOUR_US
