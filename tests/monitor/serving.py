"""A real database, the real writer and the real routes, for tests of ingest."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from detectors.records import ColumnSpec, Deployment, Kind, Schema, Task, Window
from monitor.api.ingest import ingest_router
from monitor.api.limits import IngestLimits
from monitor.intake.ingest import Ingest, ModelIngest
from storage.deployments import register_model
from storage.engine import Database, open_database
from storage.inbox import read_window
from storage.migrations import upgrade

NOW = datetime(2026, 1, 10, tzinfo=UTC)
SCHEMA = Schema(
    Task.BINARY,
    (ColumnSpec("age", Kind.NUMERIC), ColumnSpec("job", Kind.CATEGORICAL)),
    has_score=True,
    has_baseline=False,
)


@dataclass
class FixedClock:
    """Stands still unless told otherwise."""

    instant: datetime = NOW

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()


@dataclass
class Models:
    """Known models and their schemas, in memory."""

    schemas: dict[str, Schema | None]
    task: Task = Task.BINARY
    kept: list[tuple[str, Schema]] = field(default_factory=list)

    def models(self) -> tuple[str, ...]:
        return tuple(self.schemas)

    def task_of(self, model: str) -> Task | None:
        return self.task if model in self.schemas else None

    def schema_of(self, model: str) -> Schema | None:
        return self.schemas.get(model)

    def learnt(self, model: str, schema: Schema) -> Schema:
        self.kept.append((model, schema))
        self.schemas[model] = self.schemas[model] or schema
        return schema


@dataclass
class Service:
    """What a test talks to."""

    client: TestClient
    ingest: Ingest
    database: Database
    models: Models
    clock: FixedClock

    def post(self, rows: list[Any], *, kind: str = "events", **envelope: Any) -> Any:
        body = {"model": "m", kind: rows, **envelope}
        return self.client.post(f"/v1/{kind}", json=body)

    def stored(self, domain: str = "default", model: str = "m") -> Window:
        """Every row of a domain, in the order of time and id, labels joined."""
        with self.database.read() as session:
            deployment = Deployment(model, domain)
            return read_window(session, deployment, -(2**62), 2**62, include_late=True)

    def on_time(self, domain: str = "default") -> Window:
        """The rows that evidence may see."""
        with self.database.read() as session:
            return read_window(session, Deployment("m", domain), -(2**62), 2**62)


@cache
def _empty_database() -> bytes:
    """A SQLite file with all tables, made once a process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        database = open_database(f"sqlite:///{path}")
        upgrade(database)
        database.close()
        return path.read_bytes()


@contextmanager
def new_database(folder: Path, *models: str) -> Iterator[Database]:
    (folder / "kedge.db").write_bytes(_empty_database())
    database = open_database(f"sqlite:///{folder / 'kedge.db'}")
    with database.write() as session:
        for model in models:
            register_model(session, model, NOW)
    yield database
    database.close()


@contextmanager
def serving(
    folder: Path,
    *,
    settings: ModelIngest | None = None,
    schema: Schema | None = SCHEMA,
    limits: IngestLimits | None = None,
    start: bool = True,
    **options: Any,
) -> Iterator[Service]:
    """The routes over a fresh SQLite database with models `m` and `credit`."""
    models = Models({"m": schema, "credit": SCHEMA}, task=schema.task if schema else Task.BINARY)
    clock = FixedClock()
    with new_database(folder, "m", "credit") as database:
        ingest = Ingest(database, clock, lambda _: settings or ModelIngest(), **options)
        if start:
            ingest.start()
        app = FastAPI()
        app.include_router(ingest_router(ingest, models, clock, limits))
        with TestClient(app) as client:
            yield Service(client, ingest, database, models, clock)
        assert ingest.stop()


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A good event; a change to None of a key given as ... drops it."""
    ts = NOW - timedelta(hours=2) + timedelta(seconds=number)
    row = {
        "id": f"e{number}",
        "ts": ts.isoformat(),
        "features": {"age": 20.0 + number, "job": "nurse"},
        "score": 0.25,
        **changes,
    }
    return {key: value for key, value in row.items() if value is not ...}
