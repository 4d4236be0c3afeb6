"""The drill: back up, lose the database, restore, go on. Alarms and report are the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from detectors.records import DAY_US, Deployment
from monitor.process.daemon import Service
from storage.backup import BackupError, backup, restore
from storage.engine import open_database
from storage.incidents import list_incidents
from storage.migrations import current_revision, head_revision
from storage.one_writer import SecondWriterError, only_writer
from tests.end_to_end.histories import START_US, history
from tests.end_to_end.test_daemon_is_replay import MODEL, push
from tests.trust.test_two_daemons import add_reference, daemon, found

FIRST, DAYS = 30, 16
LOG = history(days=DAYS, rows_a_day=60, seed=2, first_day=FIRST, fault_day=FIRST + 5)
HALF = FIRST + 8


@pytest.fixture
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where to keep things: two SQLite files, and two schemas of PostgreSQL if they are asked."""
    found = {f"sqlite {n}": f"sqlite:///{tmp_path / f'{n}.db'}" for n in "ab"}
    if not any("postgres" in name for name in request.node.callspec.params.values()):
        yield found
        return
    url = request.getfixturevalue("postgres_url")
    plain = open_database(url)
    for n in "ab":
        with plain.writer.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA drill_{n}"))
        options = f"-csearch_path%3Ddrill_{n}%20-csynchronous_commit%3Doff"
        found[f"postgres {n}"] = f"{url}?options={options}"
    yield found
    for n in "ab":
        with plain.writer.begin() as connection:
            connection.execute(text(f"DROP SCHEMA drill_{n} CASCADE"))
    plain.close()


def live(running: Service, first: int, last: int) -> None:
    running.notice()
    for day in range(first, last, 4):
        push(running, LOG, START_US + day * DAY_US, START_US + (day + 4) * DAY_US)
        running.check(MODEL)


def outcome(running: Service) -> dict[str, Any]:
    """Alarms, incidents and the reports as people see them, at the end of the history."""
    running.flush(MODEL)
    told: dict[str, Any] = {}
    for domain in ("north", "south"):
        with running.database.read() as session:
            incidents = list_incidents(session, model=MODEL, domain=domain, limit=100)
        report = running.report(Deployment(MODEL, domain))
        report.pop("generated_at", None)
        told[domain] = (found(running, domain), incidents, report)
    return told


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("sqlite a", "sqlite b"),
        pytest.param("postgres a", "postgres b", marks=pytest.mark.postgres),
        pytest.param("sqlite a", "postgres b", marks=pytest.mark.postgres),
        pytest.param("postgres a", "sqlite b", marks=pytest.mark.postgres),
    ],
)
def test_a_restored_database_goes_on_as_if_nothing_had_happened(
    urls: dict[str, str], tmp_path: Path, source: str, target: str
) -> None:
    first = daemon(urls[source])
    add_reference(first)
    first.ingest.start()
    live(first, FIRST, HALF)
    backup(first.database, tmp_path / "copy.kedge")
    live(first, HALF, FIRST + DAYS)
    wanted = outcome(first)
    assert any(tier == "page" for *_, tier in wanted["south"][0])

    empty = open_database(urls[target])
    restore(tmp_path / "copy.kedge", empty)
    assert current_revision(empty) == head_revision()
    empty.close()
    second = daemon(urls[target])
    second.ingest.start()
    live(second, HALF - 4, FIRST + DAYS)  # some rows again: they are known
    assert outcome(second) == wanted
    with pytest.raises(BackupError, match=r"not empty \(\w+ has rows\)"):
        restore(tmp_path / "copy.kedge", second.database)
    first.stop()
    second.stop()
    assert list(tmp_path.glob("*.unfinished")) == []


def test_what_is_no_backup_is_refused_in_one_line(tmp_path: Path) -> None:
    empty = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    with pytest.raises(BackupError, match="no such file"):
        restore(tmp_path / "none", empty)
    (tmp_path / "text").write_text("no database\n" * 100)
    with pytest.raises(BackupError, match="is no backup of Kedge"):
        restore(tmp_path / "text", empty)
    assert not (tmp_path / "kedge.db").exists()


def test_nothing_is_restored_under_a_running_daemon(tmp_path: Path) -> None:
    running = daemon(f"sqlite:///{tmp_path / 'kedge.db'}")
    backup(running.database, tmp_path / "copy.kedge")
    with only_writer(running.database), pytest.raises(SecondWriterError):
        restore(tmp_path / "copy.kedge", running.database)
    running.stop()
