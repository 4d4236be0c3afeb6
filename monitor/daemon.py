"""The service: everything that lives as long as the process, and the jobs that move it.

Who runs where: HTTP on uvicorn's event loop, one writer thread for ingest, and APScheduler's
threads as a ticker for checks, deliveries, pull sources and retention. What is due is read
from SQL each time (watermarks, due times, positions), so a job that comes late, twice or
after a crash does no more and no less.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import SQLAlchemyError

from alerts.notifiers import build
from alerts.routing import RoutingTable
from detectors.records import Deployment, Settings
from monitor.addresses import parse_networks
from monitor.clock import Clock
from monitor.config import ChannelConfig, Config, ModelConfig, SourceConfig
from monitor.config_oncall import alerts_of, routing_of
from monitor.delivery import Channel, Channels, deliver_due
from monitor.errors import InputError, KedgeError, NotAllowedError, did_you_mean
from monitor.ingest import Ingest, ModelIngest
from monitor.metrics import Metrics
from monitor.outbound import GuardedClient
from monitor.runner import ChangedMeanwhileError, Runner
from monitor.sampling import Sampling
from monitor.schemas import StoredSchemas
from storage.checkpoints import StaleCheckpointError
from storage.deployments import (
    close_until,
    latest_event_us,
    list_deployments,
    list_models,
    register_model,
)
from storage.engine import Database, open_database, sqlite_version, sqlite_warning
from storage.migrations import current_revision, head_revision, upgrade
from storage.outbox import oldest_unsent_age
from storage.partitions import make_partitions
from storage.retention import Pruned, prune

log = structlog.get_logger()

UNSENT_TOO_OLD = timedelta(minutes=15)
RETENTION_EVERY_S = 3_600
CHECK_TRIES = 3
KEPT_HISTORY = timedelta(days=400)


@dataclass(slots=True, eq=False)
class Service:
    """Opens the database, runs the jobs, answers questions about itself."""

    config: Config
    clock: Clock
    database: Database = field(init=False)
    schemas: StoredSchemas = field(init=False)
    ingest: Ingest = field(init=False)
    runner: Runner = field(init=False)
    reader: Runner = field(init=False)
    channels: Channels = field(init=False)
    scheduler: BackgroundScheduler = field(init=False)
    metrics: Metrics = field(init=False)
    _checking: threading.Lock = field(default_factory=threading.Lock)
    _reading: threading.Lock = field(default_factory=threading.Lock)
    _dirty: set[str] = field(default_factory=set)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        refuse_open_door(self.config)
        self.database = open_database(self.config.service.database)
        upgrade(self.database)
        with self.database.write() as session:
            for model in self.config.models:
                register_model(session, model, self.clock.now())
        self.channels = open_channels(self.config)
        self.schemas = StoredSchemas(self.database, lambda: self.config)
        self.ingest = Ingest(
            self.database, self.clock, self.ingest_settings, after_commit=self._dirty.update
        )
        self.metrics = Metrics(
            self.database, self.clock, lambda: self.config, lambda: self.ingest.stats
        )
        self.runner = self._runner()
        self.reader = self._runner()
        self.scheduler = BackgroundScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin to write, check, deliver and pull."""
        warning = sqlite_warning(sqlite_version(), writing_processes=1)
        if self.database.is_sqlite and warning:
            log.warning("sqlite.version", words=warning)
        with self.database.read() as session:
            self._dirty.update(list_models(session))
        self.ingest.start()
        service = self.config.service
        self._every(service.check_every / 1e6, self.check_due, "check")
        self._every(service.deliver_every / 1e6, self.deliver, "deliver")
        self._every(RETENTION_EVERY_S, self.keep_house, "retention")
        for source in self.config.sources:
            self._every(source.every / 1e6, self._puller(source), f"pull {source.name}")
        self.scheduler.add_listener(self._job_failed, EVENT_JOB_ERROR)
        self.scheduler.start()
        log.info(
            "service.started",
            models=len(self.config.models),
            database=self.database.writer.url.render_as_string(hide_password=True),
            anonymous=service.token is None,
        )

    def stop(self) -> None:
        """Refuse ingest, write what is queued, finish the running jobs, close the database."""
        self._stopping.set()
        drained = self.ingest.stop()
        if self.scheduler.running:
            self.scheduler.shutdown(wait=True)
        self.database.close()
        log.info("service.stopped", drained=drained)

    # ---- jobs

    def check_due(self) -> None:
        """Check the models that got rows since the last look."""
        models = set(self._dirty)
        self._dirty.difference_update(models)
        for model in sorted(models):
            if self._stopping.is_set():
                return
            self.check(model)

    def check(self, model: str, *, flush: bool = False) -> int:
        """Check one model now; work lost to another process or a person is done again."""
        with self._checking:
            started = self.clock.monotonic()
            instants, failed = 0, True
            try:
                instants = self._check(model, flush=flush)
                failed = False
            except KedgeError as error:
                log.warning("check.refused", model=model, reason=str(error))
            except SQLAlchemyError:
                self._dirty.add(model)
                raise
            finally:
                seconds = self.clock.monotonic() - started
                self.metrics.checked(model, seconds=seconds, instants=instants, failed=failed)
            return instants

    def _check(self, model: str, *, flush: bool) -> int:
        for _ in range(CHECK_TRIES):
            try:
                return self.runner.check_model(model, flush=flush)
            except (StaleCheckpointError, ChangedMeanwhileError) as error:
                log.info("check.again", model=model, reason=str(error))
        self._dirty.add(model)
        return 0

    def deliver(self) -> None:
        """Send what is due in the outbox."""
        delivered = deliver_due(
            self.database,
            self.channels,
            client=GuardedClient(self.clock),
            clock=self.clock,
            console=sys.stdout,
            stop=self._stopping.is_set,
        )
        for outcome, attempts in delivered.counts.items():
            if attempts:
                self.metrics.delivered(outcome.value, attempts)

    def keep_house(self) -> None:
        """Make partitions ahead and delete rows older than the retention period."""
        make_partitions(self.database, self.clock.now())
        pruned = prune(
            self.database,
            now=self.clock.now(),
            raw=timedelta(microseconds=self.config.service.retention),
            history=KEPT_HISTORY,
            exact=False,
        )
        if pruned != Pruned():
            self.ingest.forget()
            log.info("retention.done", pruned=str(pruned))

    def _puller(self, source: SourceConfig) -> Callable[[], None]:
        from monitor.sources.base import open_source
        from monitor.sources.pull import pull_once

        opened = open_source(source.kind, **source_options(source))

        def pull() -> None:
            pull_once(
                source.name,
                opened,
                model=source.model,
                labels=source.rows == "labels",
                ingest=self.ingest,
                schemas=self.schemas,
                database=self.database,
                clock=self.clock,
            )

        return pull

    def _job_failed(self, event: JobExecutionEvent) -> None:
        error = event.exception
        self.metrics.job_failed(event.job_id.split()[0])
        log.error("job.failed", job=event.job_id, error=f"{type(error).__name__}: {error}"[:300])

    def _every(self, seconds: float, job: Callable[[], None], name: str) -> None:
        self.scheduler.add_job(
            job, "interval", seconds=seconds, id=name, name=name, next_run_time=self.clock.now()
        )

    # ---- asked from HTTP

    def flush(self, model: str) -> dict[str, int]:
        """Close every tick of a model, as at the end of a log; later events in them are late.

        Raises:
            InputError: if there is no such model.
        """
        known = self.schemas.models()
        if model not in known:
            msg = f"no model '{model}'.{did_you_mean(model, known)}"
            raise InputError(msg)
        with self.database.write() as session:
            latest = latest_event_us(session, model)
            if latest is not None:
                tick_us = self.settings_of(model).tick_us or 3_600_000_000
                close_until(session, model, -(-(latest + 1) // tick_us) * tick_us)
        instants = self.check(model, flush=True)
        return {"instants": instants}

    def report(self, deployment: Deployment, *, days: float | None = None) -> dict[str, Any]:
        """The `kedge.report/1` object of a deployment.

        Raises:
            InputError: if there is no such deployment, or nothing has come for it yet.
        """
        from monitor.reports.live import live_report

        with self._reading:
            return live_report(self.reader, deployment, days=days, now=self.clock.now())

    def ready(self) -> Mapping[str, str]:
        """What must work before traffic makes sense; "" is fine, else what is wrong."""
        answers = {"stopping": "the service is stopping" if self._stopping.is_set() else ""}
        try:
            current = current_revision(self.database)
            head = head_revision()
            answers["database"] = "" if current == head else f"at {current}, needs {head}"
            with self.database.read() as session:
                age = oldest_unsent_age(session, self.clock.now())
            late = age is not None and age > UNSENT_TOO_OLD
            answers["outbox"] = f"the oldest unsent message waits since {age}" if late else ""
        except SQLAlchemyError as error:
            answers["database"] = f"cannot be read: {type(error).__name__}"
        return answers

    def references_changed(self) -> None:
        """Read references again and check every model: somebody added or promoted one."""
        self.schemas.forget()
        with self._checking:
            self.runner.forget()
        with self._reading:
            self.reader.forget()
        with self.database.read() as session:
            self._dirty.update(list_models(session))

    def reload(self, config: Config) -> None:
        """Swap to a checked configuration whole; what cannot change while running is kept.

        Raises:
            KedgeError: the new configuration cannot be used; the old one stays.
        """
        channels = open_channels(config)
        refuse_open_door(config)
        with self.database.write() as session:
            for model in config.models:
                register_model(session, model, self.clock.now())
        self.config, self.channels = config, channels
        self.runner.alerts = self.reader.alerts = alerts_of(config)
        self.references_changed()
        log.info("config.reloaded", models=len(config.models), channels=len(config.channels))

    # ---- settings

    def settings_of(self, model: str) -> Settings:
        """How a model is judged; defaults for one that the configuration does not name."""
        return self.config.models.get(model, ModelConfig()).settings()

    def ingest_settings(self, model: str) -> ModelIngest:
        """Lateness and sampling of a model."""
        section = self.config.models.get(model, ModelConfig())
        sampling = Sampling(
            rate=section.sampling,
            floor_rows=section.slice_floor,
            tick_us=section.settings().tick_us or 3_600_000_000,
            slices=section.slices,
        )
        return ModelIngest(section.lateness, sampling)

    def routing(self) -> RoutingTable:
        """Which channels hear of what, under the configuration in force."""
        return routing_of(self.config)

    def _runner(self) -> Runner:
        return Runner(
            database=self.database,
            settings_of=self.settings_of,
            schema_of=self.schemas.schema_of,
            routing=self.routing,
            clock=self.clock,
            alerts=alerts_of(self.config),
        )


def open_channels(config: Config) -> Channels:
    """Notifiers with their secrets and networks.

    Raises:
        InputError: if a secret is missing or too short, or a network cannot be read.
    """
    opened = {}
    for channel in config.channels:
        try:
            notifier = build(channel.kind, channel.name, _options(channel))
            opened[channel.name] = Channel(notifier, parse_networks(channel.allow_networks))
        except ValueError as error:
            raise InputError(str(error)) from error
    return Channels(opened)


def _options(channel: ChannelConfig) -> dict[str, object]:
    return {"url": channel.url, "secret": channel.secret()} if channel.kind == "webhook" else {}


def source_options(source: SourceConfig) -> dict[str, Any]:
    """What `open_source` takes for a configured source."""
    import os

    options: dict[str, Any] = {
        "columns": source.columns,
        "domain": source.domain,
        "labels": source.rows == "labels",
    }
    if source.kind == "files":
        return {"path": source.path, "pattern": source.pattern, **options}
    url = os.environ.get(source.url_env, "")
    if not url:
        msg = f"source {source.name}: environment variable {source.url_env} holds no database URL"
        raise InputError(msg)
    return {
        "url": url,
        "query": source.query,
        "watermark_column": source.watermark_column,
        **options,
    }


def refuse_open_door(config: Config) -> None:
    """Only this machine may come in without a token.

    Raises:
        NotAllowedError: if the service would be open to others.
    """
    service = config.service
    if not service.is_loopback and service.token is None:
        msg = (
            f"service.host {service.host} is open to other machines and no token is set; put one "
            f"in the environment variable {service.token_env}, or listen on 127.0.0.1"
        )
        raise NotAllowedError(msg)


def deployments_of(database: Database, model: str) -> list[str]:
    """The domains of a model, for error messages."""
    with database.read() as session:
        return [state.deployment.domain for state in list_deployments(session, model)]
