"""Rows of stored segments as the pipeline reads them: one read of SQL, then slices in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from detectors.records import Deployment, Window
from monitor.rows.held import FileRows
from storage.deployments import get_deployment
from storage.engine import Database
from storage.inbox import count_rows, read_model, read_rows, read_window

CACHED_ROWS = 150_000
"""Above this many rows a span is read in pieces instead of being held whole."""


@dataclass(slots=True)
class ModelRows:
    """All on-time rows of a model in one span of event time, read once for all its domains.

    Nothing is read before a domain asks for rows of the span: most checks find no tick to close.
    """

    database: Database
    model: str
    since_us: int = 0
    until_us: int = 0
    _fits: bool | None = None
    _domains: dict[str, FileRows] | None = None

    def plan(self, since_us: int, until_us: int) -> None:
        """Hold [since, until) from the first time it is asked for; lets go of what was held."""
        self.since_us, self.until_us = since_us, until_us
        self._fits, self._domains = None, None

    def rows(
        self, domain: str, since_us: int, until_us: int, *, labels_by_us: int | None
    ) -> Iterator[Window] | None:
        """As `RowSource.rows` of a domain; None where the span does not hold what is asked."""
        if since_us < self.since_us or until_us > self.until_us:
            return None
        if self._fits is None:
            with self.database.read() as session:
                rows = count_rows(session, self.model, self.since_us, self.until_us)
            self._fits = rows <= CACHED_ROWS
        if not self._fits:
            return None
        if self._domains is None:
            with self.database.read() as session:
                windows = read_model(session, self.model, self.since_us, self.until_us)
            self._domains = {name: FileRows(window) for name, window in windows.items()}
        if domain not in self._domains:
            return iter(())
        return self._domains[domain].rows(since_us, until_us, labels_by_us=labels_by_us)


@dataclass(slots=True)
class StoredRows:
    """A `RowSource` over segments in SQL, by way of the model's shared span where it covers."""

    database: Database
    deployment: Deployment
    shared: ModelRows
    _latest: tuple[int, int, FileRows] | None = None

    def first_us(self) -> int | None:
        with self.database.read() as session:
            state = get_deployment(session, self.deployment)
        return None if state is None else state.first_event_us

    def rows(self, since_us: int, until_us: int, *, labels_by_us: int | None) -> Iterator[Window]:
        domain = self.deployment.domain
        held = self.shared.rows(domain, since_us, until_us, labels_by_us=labels_by_us)
        if held is not None:
            yield from held
            return
        if self._is_large(since_us, until_us):
            with self.database.read() as session:
                yield from read_rows(
                    session, self.deployment, since_us, until_us, labels_known_by_us=labels_by_us
                )
            return
        # Both clocks mostly ask for the same tick, one after the other.
        if self._latest is None or self._latest[:2] != (since_us, until_us):
            with self.database.read() as session:
                window = read_window(session, self.deployment, since_us, until_us)
            self._latest = (since_us, until_us, FileRows(window))
        if self._latest[2].window.rows:
            yield from self._latest[2].rows(since_us, until_us, labels_by_us=labels_by_us)

    def _is_large(self, since_us: int, until_us: int) -> bool:
        with self.database.read() as session:
            state = get_deployment(session, self.deployment)
        if state is None or state.first_event_us is None or state.last_event_us is None:
            return False
        span = max(state.last_event_us - state.first_event_us, 1)
        return state.rows * min(1.0, (until_us - since_us) / span) > CACHED_ROWS
