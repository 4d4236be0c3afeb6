"""Figures for Prometheus: what the process counted, and what the database says when asked.

Labels are names from the configuration (models), their domains up to a limit, and fixed words:
never a feature, a slice or a category, which anybody who may send events could invent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from detectors.records import Deployment, Tier
from monitor.clock import Clock
from monitor.config import Config
from monitor.intake.ingest import IngestStats, Receipt
from storage.deployments import latest_event_us, list_deployments
from storage.engine import Database
from storage.findings import count_findings, last_finding_id
from storage.incidents import count_open
from storage.outbox import dead_count, oldest_unsent_age, waiting_count
from storage.size import database_bytes

MOST_DOMAINS = 500
"""Domains of a model that get labels of their own; the others are summed as "(other)"."""

OTHER = "(other)"
OUTCOMES = (
    "accepted",
    "duplicate",
    "sampled_out",
    "rejected",
    "late",
    "waiting",
    "correction",
)
WAIT_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters and gauges of one service, in a registry of their own.

    The daemon tells it about checks and deliveries; ingest totals, findings, incidents and the
    outbox are read when somebody asks. A database that does not answer costs those figures and
    sets `kedge_database_up` to 0; the rest is still told.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        config: Callable[[], Config],
        ingest: Callable[[], IngestStats] | None = None,
    ) -> None:
        # It adds a second series beside every counter, which nothing reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._config = config
        self._checks = Counter(
            "kedge_checks", "Checks of a model", ["model", "result"], registry=self.registry
        )
        self._instants = Counter(
            "kedge_instants_judged", "Instants judged", ["model"], registry=self.registry
        )
        self._seconds = Histogram(
            "kedge_check_seconds", "Duration of checks", buckets=BUCKETS, registry=self.registry
        )
        self._last_seconds = Gauge(
            "kedge_last_check_seconds", "Duration of the last check", registry=self.registry
        )
        self._deliveries = Counter(
            "kedge_delivery_attempts", "Attempts to deliver", ["outcome"], registry=self.registry
        )
        self._waits = Histogram(
            "kedge_delivery_wait_seconds",
            "From the decision to tell a channel to the first attempt",
            buckets=WAIT_BUCKETS,
            registry=self.registry,
        )
        self._refreshes = Counter(
            "kedge_channel_refreshes",
            "Times a channel was told again where open incidents stand",
            ["result"],
            registry=self.registry,
        )
        self._jobs = Counter(
            "kedge_job_failures", "Background jobs that failed", ["job"], registry=self.registry
        )
        self.registry.register(_Stored(database, clock, config, ingest))

    def checked(
        self, model: str, *, seconds: float, instants: int = 0, failed: bool = False
    ) -> None:
        """A check of a configured model has ended."""
        if model not in self._config().models:
            return
        self._checks.labels(model, "failed" if failed else "ok").inc()
        self._instants.labels(model).inc(instants)
        self._seconds.observe(seconds)
        self._last_seconds.set(seconds)

    def delivered(self, outcome: str, attempts: int = 1) -> None:
        """Attempts to deliver ended like this: delivered, retry, dead, disabled."""
        self._deliveries.labels(outcome).inc(attempts)

    def first_attempt(self, seconds: float) -> None:
        """A message was first tried on a channel this long after it was decided on."""
        self._waits.observe(seconds)

    def refreshed(self, result: str) -> None:
        """A channel was told again where open incidents stand: ok, failed."""
        self._refreshes.labels(result).inc()

    def job_failed(self, job: str) -> None:
        """A background job (a fixed name, such as "deliver") raised or was missed."""
        self._jobs.labels(job).inc()

    def render(self) -> bytes:
        """Every figure in Prometheus' text format."""
        return generate_latest(self.registry)


class _Stored(Collector):
    """Figures that are read when asked for: ingest totals from memory, the rest from SQL."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        config: Callable[[], Config],
        ingest: Callable[[], IngestStats] | None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._config = config
        self._ingest = ingest
        self._lock = Lock()
        self._counted_until: int | None = None
        self._findings: dict[tuple[Deployment, Tier], int] = {}

    def describe(self) -> Iterator[Metric]:
        """Nothing is read at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every family; those of the database only if it answers."""
        if self._ingest is not None:
            yield from _ingested(self._ingest(), set(self._config().models))
        up = GaugeMetricFamily("kedge_database_up", "1 if the database answers")
        try:
            with self._lock:
                families = self._from_database()
            up.add_metric([], 1.0)
        except (SQLAlchemyError, OSError):
            families = []
            up.add_metric([], 0.0)
        yield up
        yield from families

    def _from_database(self) -> list[Metric]:
        size = GaugeMetricFamily("kedge_database_bytes", "Size of the database on disk")
        size.add_metric([], database_bytes(self._database))
        with self._database.read() as session:
            return [
                size,
                *_outbox(session, self._clock),
                *self._deployments(session),
            ]

    def _deployments(self, session: Session) -> list[Metric]:
        models = self._config().models
        states = [s for s in list_deployments(session) if s.deployment.model in models]
        labels = _domain_labels([state.deployment for state in states])
        newest = GaugeMetricFamily(
            "kedge_last_event_timestamp_seconds", "Latest event time of a model", labels=["model"]
        )
        for model in models:
            latest_us = latest_event_us(session, model)
            if latest_us is not None:
                newest.add_metric([model], latest_us / 1e6)
        evaluated = GaugeMetricFamily(
            "kedge_evaluated_until_timestamp_seconds",
            "Event time up to which every domain of a model is judged",
            labels=["model"],
        )
        for model in models:
            until = [s.evaluated_until_us for s in states if s.deployment.model == model]
            known = [us for us in until if us is not None]
            if known:
                evaluated.add_metric([model], min(known) / 1e6)
        incidents = GaugeMetricFamily(
            "kedge_incidents_open", "Incidents not resolved", labels=["model", "domain", "tier"]
        )
        for key, count in _summed(count_open(session), labels).items():
            incidents.add_metric(list(key), count)
        findings = CounterMetricFamily(
            "kedge_findings", "Findings since the start", labels=["model", "domain", "tier"]
        )
        for key, count in _summed(self._count_findings(session), labels).items():
            findings.add_metric(list(key), count)
        return [newest, evaluated, incidents, findings]

    def _count_findings(self, session: Session) -> dict[tuple[Deployment, Tier], int]:
        """Totals since the first time somebody asked; only new rows are read."""
        if self._counted_until is None:
            self._counted_until = last_finding_id(session)
        self._counted_until, fresh = count_findings(session, self._counted_until)
        for key, count in fresh.items():
            self._findings[key] = self._findings.get(key, 0) + count
        return self._findings


def _ingested(stats: IngestStats, models: set[str]) -> Iterator[Metric]:
    for what, receipts in (("events", stats.events), ("labels", stats.labels)):
        family = CounterMetricFamily(
            f"kedge_ingest_{what}",
            f"{what.capitalize()} by what became of them; accepted includes late",
            labels=["model", "outcome"],
        )
        for model, receipt in sorted(dict(receipts).items()):
            if model in models:
                _add_receipt(family, model, receipt)
        yield family
    groups = CounterMetricFamily(
        "kedge_ingest_commits", "Groups of batches written", labels=["result"]
    )
    groups.add_metric(["ok"], stats.groups - stats.group_failures)
    groups.add_metric(["failed"], stats.group_failures)
    yield groups
    seconds = GaugeMetricFamily("kedge_ingest_last_commit_seconds", "Duration of the last commit")
    seconds.add_metric([], stats.last_commit_seconds)
    yield seconds


def _add_receipt(family: CounterMetricFamily, model: str, receipt: Receipt) -> None:
    for outcome in OUTCOMES:
        family.add_metric([model, outcome], getattr(receipt, outcome))


def _outbox(session: Session, clock: Clock) -> list[Metric]:
    age = oldest_unsent_age(session, clock.now())
    figures = (
        ("kedge_outbox_waiting", "Deliveries on their way", float(waiting_count(session))),
        ("kedge_outbox_dead", "Deliveries given up", float(dead_count(session))),
        (
            "kedge_outbox_oldest_seconds",
            "Age of the oldest unsent message",
            0.0 if age is None else age.total_seconds(),
        ),
    )
    families: list[Metric] = []
    for name, words, value in figures:
        family = GaugeMetricFamily(name, words)
        family.add_metric([], value)
        families.append(family)
    return families


def _domain_labels(deployments: list[Deployment]) -> dict[Deployment, tuple[str, str]]:
    """The labels of each deployment: the first domains of a model by name, then "(other)"."""
    labels: dict[Deployment, tuple[str, str]] = {}
    taken: dict[str, int] = {}
    for deployment in sorted(deployments):
        taken[deployment.model] = taken.get(deployment.model, 0) + 1
        own = taken[deployment.model] <= MOST_DOMAINS
        labels[deployment] = (deployment.model, deployment.domain if own else OTHER)
    return labels


def _summed(
    counts: dict[tuple[Deployment, Tier], int], labels: dict[Deployment, tuple[str, str]]
) -> dict[tuple[str, str, str], float]:
    """Counts by label; a deployment without labels (its model is not configured) is left out."""
    summed: dict[tuple[str, str, str], float] = {}
    for (deployment, tier), count in counts.items():
        if deployment in labels:
            key = (*labels[deployment], tier.value)
            summed[key] = summed.get(key, 0.0) + count
    return summed
