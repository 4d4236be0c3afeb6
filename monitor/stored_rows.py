"""Rows of stored segments as the pipeline reads them: one read of SQL, then slices in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from detectors.records import Deployment, Window
from monitor.replay import FileRows
from storage.deployments import get_deployment
from storage.engine import Database
from storage.inbox import read_model, read_rows, read_window

CACHED_ROWS = 400_000
"""Above this many rows a span is read in pieces instead of being held whole."""


@dataclass(slots=True)
class ModelRows:
    """All on-time rows of a model in one span of event time, read once for all its domains."""

    database: Database
    model: str
    since_us: int = 0
    until_us: int = 0
    domains: dict[str, FileRows] = field(default_factory=dict)

    def load(self, since_us: int, until_us: int) -> None:
        """Hold [since, until) in memory."""
        with self.database.read() as session:
            windows = read_model(session, self.model, since_us, until_us)
        self.domains = {name: FileRows(window) for name, window in windows.items()}
        self.since_us, self.until_us = since_us, until_us

    def has(self, since_us: int, until_us: int) -> bool:
        return self.since_us <= since_us and until_us <= self.until_us


@dataclass(slots=True)
class StoredRows:
    """A `RowSource` over segments in SQL, by way of the model's shared span where it covers."""

    database: Database
    deployment: Deployment
    shared: ModelRows

    def first_us(self) -> int | None:
        with self.database.read() as session:
            state = get_deployment(session, self.deployment)
        return None if state is None else state.first_event_us

    def rows(self, since_us: int, until_us: int, *, labels_by_us: int | None) -> Iterator[Window]:
        if self.shared.has(since_us, until_us):
            held = self.shared.domains.get(self.deployment.domain)
            if held is not None:
                yield from held.rows(since_us, until_us, labels_by_us=labels_by_us)
            return
        with self.database.read() as session:
            if self._is_large(since_us, until_us):
                yield from read_rows(
                    session,
                    self.deployment,
                    since_us,
                    until_us,
                    labels_known_by_us=labels_by_us,
                )
                return
            window = read_window(
                session, self.deployment, since_us, until_us, labels_known_by_us=labels_by_us
            )
        if window.rows:
            yield window

    def _is_large(self, since_us: int, until_us: int) -> bool:
        with self.database.read() as session:
            state = get_deployment(session, self.deployment)
        if state is None or state.first_event_us is None or state.last_event_us is None:
            return False
        span = max(state.last_event_us - state.first_event_us, 1)
        return state.rows * min(1.0, (until_us - since_us) / span) > CACHED_ROWS
