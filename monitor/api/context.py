"""What the HTTP side needs of the service around it. Tests bring their own; so does the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter

from alerts.routing import RoutingTable
from alerts.settings import AlertSettings
from detectors.records import Deployment
from monitor.clock import Clock
from monitor.config import Config
from monitor.config.oncall import alerts_of
from monitor.outgoing.trial import Trial
from storage.engine import Database


class Exposition(Protocol):
    """Figures in Prometheus' text format."""

    def render(self) -> bytes:
        """Every figure as it stands now."""
        ...


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The parts of a service that routes call. All callables may be used from any thread.

    `config` returns the snapshot in force now. `report_of` builds a kedge.report/1 over the last
    `days` of event time (None: the default window) and raises a KedgeError in words where it
    cannot. `flush` closes every tick of a model and says what that brought. `ready` maps what
    rows need to be taken to "" or to what is wrong with it, and `healthy` what the rest of the
    service needs as well. `routing` is the table that
    says who gets a message. `send_test` sends a test message through a configured channel.
    """

    database: Database
    config: Callable[[], Config]
    clock: Clock
    ingest: APIRouter
    report_of: Callable[[Deployment, int | None], dict[str, Any]]
    flush: Callable[[str], Mapping[str, int]]
    ready: Callable[[], Mapping[str, str]]
    healthy: Callable[[], Mapping[str, str]]
    routing: Callable[[], RoutingTable]
    metrics: Exposition
    send_test: Callable[[str], Trial] = lambda channel: Trial(channel, False, "no way out")

    @property
    def alerts(self) -> AlertSettings:
        """How messages about a person's work on an incident are written."""
        return alerts_of(self.config())
