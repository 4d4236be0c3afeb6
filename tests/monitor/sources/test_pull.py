"""Pull sources over a real database: each row once, in step with the stored position."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detectors.records import ColumnSpec, Kind, Schema, Task
from monitor.errors import UsageError
from monitor.sources import files as files_module
from monitor.sources import sql as sql_module
from monitor.sources.base import Source, SourceError, open_source
from monitor.sources.files import FilesSource
from monitor.sources.pull import Pulled, pull_once
from monitor.sources.sql import SqlSource
from storage.sources import load_position
from tests.monitor.serving import NOW, Service, event, serving

Pull = Callable[..., Pulled]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    folder = tmp_path / "database"
    folder.mkdir()
    with serving(folder) as running:
        yield running


def pull(service: Service, source: Source, *, labels: bool = False) -> Pulled:
    return pull_once(
        "log",
        source,
        model="m",
        labels=labels,
        ingest=service.ingest,
        schemas=service.models,
        database=service.database,
        clock=service.clock,
    )


def flat(numbers: range, **changes: Any) -> pa.Table:
    rows = [event(i) for i in numbers]
    columns = {
        "id": [row["id"] for row in rows],
        "ts": [row["ts"] for row in rows],
        "age": [row["features"]["age"] for row in rows],
        "job": [row["features"]["job"] for row in rows],
        "score": [row["score"] for row in rows],
    }
    return pa.table(columns | changes)


def write(path: Path, table: pa.Table, *, age_s: float = 60.0) -> None:
    """A file that was last changed `age_s` before now."""
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path)
        case ".csv":
            from pyarrow import csv

            csv.write_csv(table, path)
        case _:
            import json

            path.write_text("\n".join(json.dumps(row, default=str) for row in table.to_pylist()))
    changed = (NOW - timedelta(seconds=age_s)).timestamp()
    os.utime(path, (changed, changed))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".ndjson"])
def test_every_kind_of_file_gives_the_rows_it_holds(
    service: Service, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"log{ending}"
    write(path, flat(range(5)))
    pulled = pull(service, FilesSource(str(path), domain="VT"))

    assert (pulled.accepted, pulled.rejected, pulled.errors) == (5, 0, ())
    window = service.stored("VT")
    assert window.numeric["age"].tolist() == [20.0, 21.0, 22.0, 23.0, 24.0]
    assert window.categorical["job"].strings().tolist() == ["nurse"] * 5
    assert window.score is not None
    assert window.score.tolist() == [0.25] * 5


def test_a_directory_is_watched_and_each_file_read_once(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source = FilesSource(str(folder), pattern="*.parquet")
    write(folder / "a.parquet", flat(range(3)))
    write(folder / "ignored.txt", flat(range(90, 93)))

    assert pull(service, source).accepted == 3
    assert pull(service, source).receipts == ()
    write(folder / "b.parquet", flat(range(3, 5)))
    assert pull(service, source).accepted == 2
    assert pull(service, replace(source)).receipts == (), "the position outlives the source"
    assert service.stored().rows == 5


def test_a_file_still_being_written_waits(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source = FilesSource(str(folder))
    write(folder / "young.parquet", flat(range(3)), age_s=0.5)
    write(folder / "copy.parquet.tmp", flat(range(9)))
    write(folder / ".hidden.parquet", flat(range(9)))
    assert pull(service, source).receipts == ()

    service.clock.instant = NOW + timedelta(seconds=5)
    assert pull(service, source).accepted == 3


def test_a_truncated_file_is_named_and_the_others_go_on(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.parquet", flat(range(100)), age_s=100)
    whole = (folder / "a.parquet").read_bytes()
    for name, body in (("a.parquet", whole[:-50]), ("b.csv", b""), ("c.parquet", b"PAR1")):
        (folder / name).write_bytes(body)
        os.utime(folder / name, (NOW.timestamp() - 90,) * 2)
    write(folder / "good.parquet", flat(range(2)))
    source = FilesSource(str(folder))

    pulled = pull(service, source)
    assert pulled.accepted == 2
    assert len(pulled.errors) == 3
    assert "a.parquet" in pulled.errors[0]
    assert pull(service, source).errors == (), "said once"
    (folder / "a.parquet").write_bytes(whole)
    os.utime(folder / "a.parquet", (NOW.timestamp() - 50,) * 2)
    assert pull(service, source).accepted == 98, "tried again once it changed"


def test_a_bad_value_in_a_file_refuses_its_row_alone(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines = ["id,ts,age,job,score", "007,2026-01-09T00:00:00Z,41,nurse,0.5"]
    lines += ["008,2026-01-09T00:00:00Z,forty,nurse,0.5", "009,2026-01-09 01:00:00,,,0.5"]
    path.write_text("\n".join(lines))
    os.utime(path, (NOW.timestamp() - 60,) * 2)
    pulled = pull(service, FilesSource(str(path)))

    assert (pulled.accepted, pulled.rejected) == (2, 1)
    (rejection,) = pulled.receipts[0].refused.shown
    assert (rejection.id, rejection.field, rejection.value) == ("008", "age", "forty")
    service.post([{"id": "007", "label": 1}], kind="labels")
    label = service.stored().label
    assert label is not None
    assert label[0] == 1.0, "an id of digits keeps its zeros"


def test_a_large_file_goes_on_in_the_middle_after_a_crash(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "PORTION_ROWS", 10)
    path = tmp_path / "log.parquet"
    write(path, flat(range(35)))
    source = FilesSource(str(path))
    portions = source.read(None, NOW)
    next(portions)
    second = next(portions)

    rest = [portion.table.num_rows for portion in source.read(second.position, NOW)]
    assert rest == [10, 5]
    assert [r.accepted for r in pull(service, source).receipts] == [10, 10, 10, 5]


def test_a_file_without_the_columns_it_needs_is_passed_over(
    service: Service, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.parquet", pa.table({"x": [1]}), age_s=90)
    write(folder / "b.parquet", flat(range(2)))
    source = FilesSource(str(folder))
    pulled = pull(service, source)

    assert pulled.accepted == 2
    assert "column 'id' is missing" in pulled.errors[0]
    assert pull(service, source).errors == ()


def test_labels_and_renamed_columns(service: Service, tmp_path: Path) -> None:
    service.post([event(1), event(2)])
    path = tmp_path / "labels.parquet"
    write(path, pa.table({"order": ["e1", "e2"], "outcome": [1, 0], "known": [NOW, NOW]}))
    source = FilesSource(
        str(path), labels=True, columns={"id": "order", "label": "outcome", "ts": "known"}
    )

    assert pull(service, source, labels=True).accepted == 2
    label = service.stored().label
    assert label is not None
    assert label.tolist() == [1.0, 0.0]


def test_a_column_that_is_not_there_is_named(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write(path, flat(range(2)))
    pulled = pull(service, FilesSource(str(path), columns={"score": "scor"}))

    assert "no column 'scor'" in pulled.errors[0]
    assert "Did you mean 'score'?" in pulled.errors[0]


def test_a_directory_that_is_not_there_is_an_error(service: Service, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or directory"):
        pull(service, FilesSource(str(tmp_path / "nowhere")))


# ---- SQL


@pytest.fixture
def log(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    connection.execute("CREATE TABLE log (id TEXT, ts TEXT, age REAL, job TEXT, score REAL, n INT)")
    yield connection
    connection.close()


def insert(log: sqlite3.Connection, numbers: range, n: Callable[[int], int]) -> None:
    rows = [
        (f"e{i}", f"2026-01-09 00:{i // 60:02d}:{i % 60:02d}", i, "nurse", 0.5, n(i))
        for i in numbers
    ]
    log.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", rows)


def sql_source(tmp_path: Path, query: str = "SELECT * FROM log", **options: Any) -> SqlSource:
    return SqlSource(f"sqlite:///{tmp_path / 'log.db'}", query, "n", **options)


OWN_FILTER = "SELECT * FROM log WHERE n >= :watermark"


@pytest.mark.parametrize("query", ["SELECT * FROM log", OWN_FILTER])
def test_a_log_is_read_on_from_where_it_stopped(
    service: Service, tmp_path: Path, log: sqlite3.Connection, query: str
) -> None:
    source = sql_source(tmp_path, query, start=0)
    insert(log, range(10), n=lambda i: i)
    assert pull(service, source).accepted == 10
    insert(log, range(10, 14), n=lambda i: i)
    assert pull(service, sql_source(tmp_path, query, start=0)).accepted == 4
    assert pull(service, source).accepted == 0
    window = service.stored()
    assert window.rows == 14
    assert sorted(window.numeric["age"].tolist()) == list(range(14))


def test_rows_that_share_the_last_watermark_are_not_lost(
    service: Service, tmp_path: Path, log: sqlite3.Connection
) -> None:
    source = sql_source(tmp_path)
    insert(log, range(5), n=lambda _: 7)
    assert pull(service, source).accepted == 5
    insert(log, range(5, 8), n=lambda _: 7)
    assert pull(service, source).accepted == 3


STRICT_FILTER = "SELECT * FROM log WHERE n > :watermark"


@pytest.mark.parametrize(
    ("same", "query"),
    [(1, "SELECT * FROM log"), (3, STRICT_FILTER), (12, "SELECT * FROM log")],
)
def test_stopping_after_any_portion_loses_and_doubles_nothing(
    service: Service,
    tmp_path: Path,
    log: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    same: int,
    query: str,
) -> None:
    """`same` rows share a watermark, in portions of 4; reading stops after one portion a time."""
    monkeypatch.setattr(sql_module, "PORTION_ROWS", 4)
    insert(log, range(30), n=lambda i: i // same)

    class OnePortion(SqlSource):
        def read(self, position: Any, now: Any) -> Iterator[Any]:
            yield from islice(super().read(position, now), 1)

    url = f"sqlite:///{tmp_path / 'log.db'}"
    for _ in range(12):
        pull(service, OnePortion(url, query, "n", start=-1))
    pull(service, sql_source(tmp_path, query, start=-1))

    assert sorted(service.stored().numeric["age"].tolist()) == list(range(30))


def test_rows_and_position_are_stored_together_or_not_at_all(
    service: Service, tmp_path: Path, log: sqlite3.Connection
) -> None:
    insert(log, range(5), n=lambda i: i)
    source = sql_source(tmp_path)

    class Overtaken:
        def read(self, position: Any, now: Any) -> Iterator[Any]:
            for portion in source.read(position, now):
                pull(service, source)  # another process reads the same log first
                yield portion

    from storage.sources import StalePositionError

    with pytest.raises(StalePositionError):
        pull(service, Overtaken())
    assert service.stored().rows == 5
    with service.database.read() as session:
        position = load_position(session, "log")
    assert position is not None
    assert (position.epoch, position.value) == (1, {"watermark": 4})


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("SELECT * FROM lug", "no such table"),
        ("SELECT id FROM log", "no such column"),
        ("SELECT FROM", "syntax"),
    ],
)
def test_a_query_that_fails_is_one_line(
    service: Service, tmp_path: Path, log: sqlite3.Connection, query: str, word: str
) -> None:
    with pytest.raises(SourceError, match=word) as error:
        pull(service, sql_source(tmp_path, query))
    assert "\n" not in str(error.value)


def test_a_password_in_the_url_is_not_shown(service: Service, tmp_path: Path) -> None:
    source = SqlSource("postgresql+psycopg://u:secret@127.0.0.1:1/x", "SELECT 1 AS n", "n")
    with pytest.raises(SourceError) as error:
        pull(service, source)
    assert "secret" not in str(error.value)


def test_a_schema_is_learnt_from_a_log(tmp_path: Path, log: sqlite3.Connection) -> None:
    folder = tmp_path / "database"
    folder.mkdir()
    insert(log, range(3), n=lambda i: i)
    with serving(folder, schema=None) as service:
        assert pull(service, sql_source(tmp_path)).accepted == 3
        ((_, learnt),) = service.models.kept
    columns = (ColumnSpec("age", Kind.NUMERIC), ColumnSpec("job", Kind.CATEGORICAL))
    assert learnt == Schema(Task.BINARY, columns, has_baseline=False)


def test_an_unknown_kind_of_source_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Did you mean 'files'"):
        open_source("file")
    assert isinstance(open_source("files", path="."), FilesSource)


def test_nan_in_a_log_is_missing_and_infinity_is_refused(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write(path, flat(range(3), age=pa.array([1.0, float("nan"), float("inf")])))
    pulled = pull(service, FilesSource(str(path)))

    assert (pulled.accepted, pulled.rejected) == (2, 1)
    np.testing.assert_array_equal(service.stored().numeric["age"], [1.0, np.nan])
