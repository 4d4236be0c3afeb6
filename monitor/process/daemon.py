"""The service: everything that lives as long as the process, and the jobs that move it.

Who runs where: HTTP on uvicorn's event loop, one writer thread for ingest, and APScheduler's
threads as a ticker for checks, deliveries, pull sources and retention. What is due is read
from SQL each time (watermarks, due times, positions), so a job that comes late, twice or
after a crash does no more and no less. On PostgreSQL several processes may do this together:
each job is done by the one that holds its lease.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from alerts.notifiers import build
from alerts.routing import RoutingTable
from detectors.records import Deployment, Settings
from monitor.clock import Clock
from monitor.config import Config, ModelConfig, SourceConfig
from monitor.config.channels import notifier_options, pace_of
from monitor.config.oncall import alerts_of, arrivals_of, routing_of
from monitor.config.schemas import StoredSchemas
from monitor.errors import InputError, KedgeError, NotAllowedError, did_you_mean
from monitor.intake.ingest import Ingest, ModelIngest
from monitor.intake.sampling import Sampling
from monitor.metrics import Metrics
from monitor.oncall.arrivals import look_at_arrivals
from monitor.oncall.desk import tend
from monitor.oncall.grouping import group_model
from monitor.outgoing.addresses import parse_networks
from monitor.outgoing.couriers import Couriers
from monitor.outgoing.delivery import Channel, Channels
from monitor.outgoing.outbound import GuardedClient
from monitor.outgoing.sending import Sender
from monitor.outgoing.trial import Trial, try_channel
from monitor.process import memory
from monitor.process.door import anonymous_words, refuse_open_door, refuse_weak_token
from monitor.process.leases import Held, Leases
from monitor.process.news import Noticed, check_job
from monitor.process.process_role import ProcessRole
from monitor.process.steady import SteadyScheduler
from monitor.watching.runner import ChangedMeanwhileError, Runner
from storage.changes import PRUNED, note_changes, rows_of
from storage.checkpoints import StaleCheckpointError
from storage.deployments import (
    close_until,
    latest_event_us,
    list_deployments,
    list_models,
    register_model,
)
from storage.engine import Database, open_database, sqlite_version, sqlite_warning
from storage.leases import LostLeaseError
from storage.migrations import current_revision, head_revision, upgrade
from storage.outbox import bring_forward, oldest_unsent_age
from storage.partitions import make_partitions
from storage.retention import Pruned, prune
from storage.tokens import any_live_token, any_token

log = structlog.get_logger()

UNSENT_TOO_OLD = timedelta(minutes=15)
RETENTION_EVERY_S = 3_600
DESK_EVERY_S = 5
ARRIVALS_EVERY_S = 300
LOOK = timedelta(seconds=ARRIVALS_EVERY_S)
CHECK_TRIES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 300.0
"""Before a model is checked again whose check failed, twice as long each time. A database that was
away is asked again at once."""

KEPT_HISTORY = timedelta(days=400)
STUCK_AFTER_S = 300.0
"""A check shows a sign of life whenever it saves; a longer silence means that it hangs."""

JOBS_END_S = 20.0
"""How long a stop waits for running jobs. What they have not saved is done again after it."""

FLUSH_WAITS_S = 60.0


@dataclass(frozen=True, slots=True)
class Pause:
    """How long a model rests whose check failed, and until when of the monotonic clock."""

    seconds: float
    until: float


def longer(pause: Pause | None, now: float) -> Pause:
    """The pause after another failure."""
    seconds = FIRST_PAUSE_S if pause is None else min(2 * pause.seconds, LONGEST_PAUSE_S)
    return Pause(seconds, now + seconds)


@dataclass(slots=True, eq=False)
class Service:
    """Opens the database, runs the jobs, answers questions about itself."""

    config: Config
    clock: Clock
    role: ProcessRole = ProcessRole.ALL
    alive: Callable[[], None] = lambda: None
    database: Database = field(init=False)
    schemas: StoredSchemas = field(init=False)
    ingest: Ingest = field(init=False)
    runner: Runner = field(init=False)
    reader: Runner = field(init=False)
    channels: Channels = field(init=False)
    sender: Sender = field(init=False)
    couriers: Couriers = field(init=False)
    scheduler: SteadyScheduler = field(init=False)
    leases: Leases = field(init=False)
    metrics: Metrics = field(init=False)
    _checking: threading.Lock = field(default_factory=threading.Lock)
    _reading: threading.Lock = field(default_factory=threading.Lock)
    _dirty: set[str] = field(default_factory=set)
    _pauses: dict[str, Pause] = field(default_factory=dict)
    _looked: datetime | None = None
    _up_since: datetime | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _noticed: Noticed = field(init=False)
    _epochs: dict[str, int] = field(default_factory=dict)
    _moved_at: float = 0.0

    def __post_init__(self) -> None:
        refuse_weak_token(self.config)
        self.database = open_database(self.config.service.database)
        if self.database.is_sqlite and self.role is not ProcessRole.ALL:
            msg = f"--role {self.role} needs PostgreSQL; on SQLite one process does everything"
            raise InputError(msg)
        upgrade(self.database)
        self.refuse_open_door(self.config)
        self.leases = Leases(self.database, self.clock)
        self._noticed = Noticed(self.database)
        with self.database.write() as session:
            for model in self.config.models:
                register_model(session, model, self.clock.now())
        self.channels = open_channels(self.config)
        self.schemas = StoredSchemas(self.database, lambda: self.config)
        self.ingest = Ingest(
            self.database,
            self.clock,
            self.ingest_settings,
            after_commit=self._dirty.update if self.database.is_sqlite else None,
            within_commit=None if self.database.is_sqlite else _note_rows,
        )
        self.metrics = Metrics(
            self.database, self.clock, lambda: self.config, lambda: self.ingest.stats
        )
        self.sender = Sender(GuardedClient(self.clock))
        self.couriers = Couriers(
            self.database,
            lambda: self.channels,
            self.sender,
            self.clock,
            self.metrics,
            console=sys.stdout,
            stopping=self._stopping.is_set,
        )
        self.runner = self._runner()
        self.runner.moved = self._moves
        self.reader = self._runner()
        self.scheduler = SteadyScheduler(self.clock, self._clock_stepped)

    def start(self) -> None:
        """Begin to write, check, deliver and pull."""
        warning = sqlite_warning(sqlite_version(), writing_processes=1)
        if self.database.is_sqlite and warning:
            log.warning("sqlite.version", words=warning)
        with self.database.read() as session:
            self._dirty.update(list_models(session))
        make_partitions(self.database, self.clock.now())
        self.ingest.start()
        self._moves()
        service = self.config.service
        if self.role.works:
            self._every(service.check_every / 1e6, self.check_due, "check", by_all=True)
            self._every(service.deliver_every / 1e6, self.couriers.tick, "deliver", by_all=True)
            self._every(DESK_EVERY_S, self.tend, "desk")
            self._every(ARRIVALS_EVERY_S, self.look_at_arrivals, "arrivals")
            self._every(RETENTION_EVERY_S, self.keep_house, "retention")
            for source in self.config.sources:
                self._every(source.every / 1e6, self._puller(source), f"pull {source.name}")
        else:
            self._every(service.check_every / 1e6, self.notice, "notice", by_all=True)
        self._every(memory.EVERY_S, memory.give_back, "memory", by_all=True)
        self.scheduler.add_listener(self._job_failed, EVENT_JOB_ERROR)
        self.scheduler.start()
        with self.database.read() as session:
            words = anonymous_words(self.config, tokens=any_token(session))
        if words:
            log.warning("service.anonymous", words=words)
        log.info(
            "service.started",
            models=len(self.config.models),
            database=self.database.writer.url.render_as_string(hide_password=True),
            anonymous=bool(words),
            role=self.role.value,
        )

    def refuse(self) -> None:
        """Not ready any more: rows are answered with 503, jobs end at their next save."""
        self._stopping.set()
        self.ingest.refuse()

    def stop(self) -> bool:
        """Refuse ingest, write what is queued, end the running jobs, let go of their leases.

        False if a job did not end in time; nothing it has not saved is kept.
        """
        self.refuse()
        drained = self.ingest.stop()
        ended = self.scheduler.stop(JOBS_END_S)
        ended = self.couriers.close(JOBS_END_S) and ended
        self.leases.close()
        self.database.close()
        log.info("service.stopped", drained=drained, jobs_ended=ended)
        return ended

    # ---- jobs

    def notice(self) -> None:
        """Hear what other processes and the command line have changed."""
        self._moves()
        news = self._noticed.look()
        if news.references:
            self.references_changed()
        if news.pruned:
            self.ingest.forget()
        self._dirty.update(news.due)

    def check_due(self) -> None:
        """Check the models that got rows since the last look; one that fails stops no other."""
        self.notice()
        failed: Exception | None = None
        now = self.clock.monotonic()
        resting = {model for model, pause in self._pauses.items() if pause.until > now}
        for model in sorted(self._dirty - resting):
            if self._stopping.is_set():
                return
            self._moves()
            self._dirty.discard(model)
            try:
                self.check(model)
                self._pauses.pop(model, None)
            except Exception as error:
                if not isinstance(error, SQLAlchemyError):
                    self._pauses[model] = longer(self._pauses.get(model), self.clock.monotonic())
                log.warning("check.failed", model=model, error=type(error).__name__)
                failed = failed or error
        self._moves()
        if failed is not None:
            raise failed

    def check(self, model: str, *, flush: bool = False) -> int:
        """Check one model now; work lost to another process or a person is done again."""
        return self._check_held(model, flush=flush) or 0

    def _check_held(self, model: str, *, flush: bool = False) -> int | None:
        """The instants judged; None while another process is at it."""
        with self._checking, self.leases.holding(check_job(model)) as held:
            if held is None:
                self._dirty.add(model)
                return None
            started = self.clock.monotonic()
            instants, failed = 0, True
            try:
                instants = self._check(model, held, flush=flush)
                failed = False
            except KedgeError as error:
                log.warning("check.refused", model=model, reason=str(error))
            except Exception:
                self._dirty.add(model)  # whatever it was, its rows are not judged yet
                raise
            finally:
                seconds = self.clock.monotonic() - started
                self.metrics.checked(model, seconds=seconds, instants=instants, failed=failed)
            return instants

    def _check(self, model: str, held: Held, *, flush: bool) -> int:
        if held.lease is not None:
            if self._epochs.get(model) != held.lease.epoch - 1:
                self.runner.forget(model)  # somebody else has moved it on since
            self._epochs[model] = held.lease.epoch
        number = self._noticed.number_of(model)
        self.runner.guard = self._guard(held)
        for _ in range(CHECK_TRIES):
            try:
                instants = self.runner.check_model(model, flush=flush)
            except (StaleCheckpointError, ChangedMeanwhileError) as error:
                log.info("check.again", model=model, reason=str(error))
            except LostLeaseError as error:
                log.warning("check.lost", model=model, reason=str(error))
                break
            else:
                if instants:
                    alerts, now = alerts_of(self.config), self.clock.now()
                    group_model(self.database, model, self.routing(), alerts, now)
                if not self._stopping.is_set():
                    held.done = number
                return instants
        self._dirty.add(model)
        return 0

    def _guard(self, held: Held) -> Callable[[Session], None]:
        """Called in each transaction of a check: only its holder writes, and it is alive."""

        def guard(session: Session) -> None:
            held.guard(session)
            self._moves()

        return guard

    def _moves(self) -> None:
        """The decision loop is alive."""
        self._moved_at = self.clock.monotonic()
        self.alive()

    def deliver(self) -> None:
        """Send what is due in the outbox, and wait until that is done."""
        self.couriers.tick()
        self.couriers.wait()

    def send_test(self, channel: str) -> Trial:
        """Send a test message through a configured channel now."""
        return try_channel(
            self.channels.by_name[channel],
            client=self.sender,
            clock=self.clock,
            console=sys.stdout,
        )

    def tend(self) -> None:
        """Do what the wall clock asks for: silences that end, snoozes, escalation."""
        tended = tend(self.database, self.routing(), alerts_of(self.config), self.clock.now())
        if any(tended.counts.values()):
            log.info("desk.tended", **tended.counts)

    def look_at_arrivals(self) -> None:
        """Say what has stopped to come. Time in which this process was away does not count."""
        now = self.clock.now()
        if self._looked is None or not timedelta(0) <= now - self._looked <= 3 * LOOK:
            self._up_since = now
        self._looked = now
        assert self._up_since is not None
        config = self.config
        with self.database.read() as session:
            models = list_models(session)
        look_at_arrivals(
            self.database,
            models,
            lambda model: arrivals_of(config.models.get(model, ModelConfig())),
            self.routing(),
            alerts_of(config),
            now=now,
            up_since=self._up_since,
        )

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
            with self.database.write() as session:
                note_changes(session, [PRUNED])
            self.ingest.forget()
            log.info("retention.done", pruned=str(pruned))

    def _puller(self, source: SourceConfig) -> Callable[[], None]:
        from monitor.api.limits import IngestLimits
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
                limits=IngestLimits(new_columns=self.config.service.new_columns),
            )

        return pull

    def _job_failed(self, event: JobExecutionEvent) -> None:
        error = event.exception
        self.metrics.job_failed(event.job_id.split()[0])
        log.error("job.failed", job=event.job_id, error=f"{type(error).__name__}: {error}"[:300])

    def _clock_stepped(self, step: timedelta) -> None:
        """The clock was set: what was due after it stood wrong is still due as long after."""
        log.warning("clock.stepped", seconds=step.total_seconds())
        if step < timedelta(0):
            try:
                with self.database.write() as session:
                    bring_forward(session, now=self.clock.now(), by=-step)
            except SQLAlchemyError as error:
                log.warning("clock.outbox_kept", error=type(error).__name__)

    def _every(
        self, seconds: float, job: Callable[[], None], name: str, *, by_all: bool = False
    ) -> None:
        """Run a job now and then: in one process at a time, or `by_all` in each of them."""

        def alone() -> None:
            with self.leases.holding(name) as held:
                if held is not None:
                    job()

        self.scheduler.add_job(
            job if by_all else alone,
            "interval",
            seconds=seconds,
            id=name,
            name=name,
            next_run_time=self.clock.now(),
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
            if not self.database.is_sqlite:
                note_changes(session, [rows_of(model)])
        deadline = self.clock.monotonic() + FLUSH_WAITS_S
        while (instants := self._check_held(model, flush=True)) is None:
            if self.clock.monotonic() > deadline or self._stopping.wait(0.2):
                msg = f"another process is checking '{model}' for long; flush it again later"
                raise KedgeError(msg)
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
        """What must work before rows can be taken; "" is fine, else what is wrong.

        Nothing of what becomes of them later: a load balancer acts on this, and senders must not
        be cut off because a receiver of alerts is away.
        """
        answers = {"stopping": "the service is stopping" if self._stopping.is_set() else ""}
        try:
            current = current_revision(self.database)
            head = head_revision()
            answers["database"] = "" if current == head else f"at {current}, needs {head}"
        except SQLAlchemyError as error:
            answers["database"] = f"cannot be read: {type(error).__name__}"
        return answers

    def healthy(self) -> Mapping[str, str]:
        """What is ready, and whether messages leave and checks move; "" is fine."""
        answers = dict(self.ready())
        if not self.role.works:
            return answers
        still_s = self.clock.monotonic() - self._moved_at
        stuck = self.scheduler.running and still_s > STUCK_AFTER_S
        answers["checks"] = f"nothing has moved for {still_s:.0f} s" if stuck else ""
        try:
            with self.database.read() as session:
                age = oldest_unsent_age(session, self.clock.now())
        except SQLAlchemyError as error:
            answers["outbox"] = f"cannot be read: {type(error).__name__}"
        else:
            late = age is not None and age > UNSENT_TOO_OLD
            answers["outbox"] = f"the oldest unsent message waits since {age}" if late else ""
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
        refuse_weak_token(config)
        self.refuse_open_door(config)
        with self.database.write() as session:
            for model in config.models:
                register_model(session, model, self.clock.now())
        self.config, self.channels = config, channels
        self.runner.alerts = self.reader.alerts = alerts_of(config)
        self.references_changed()
        log.info("config.reloaded", models=len(config.models), channels=len(config.channels))

    def refuse_open_door(self, config: Config) -> None:
        """A service that others can reach needs a token: the shared one, or one it has made.

        Raises:
            NotAllowedError: there is neither; the database is closed.
        """
        with self.database.read() as session:
            live = any_live_token(session, self.clock.now())
        try:
            refuse_open_door(config, tokens=live)
        except NotAllowedError:
            self.database.close()
            raise

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
            stopped=self._stopping.is_set,
        )


def _note_rows(session: Session, models: Iterable[str]) -> None:
    """Tell the processes that check of rows that came, when they are committed."""
    note_changes(session, map(rows_of, models))


def open_channels(config: Config) -> Channels:
    """Notifiers with their secrets and networks.

    Raises:
        InputError: if a secret is missing or too short, or a network cannot be read.
    """
    opened = {}
    for channel in config.channels:
        try:
            options = notifier_options(channel, config.service.base_url)
            notifier = build(channel.kind, channel.name, options)
            networks = parse_networks(channel.allow_networks)
            opened[channel.name] = Channel(notifier, networks, pace_of(channel))
        except ValueError as error:
            raise InputError(str(error)) from error
    return Channels(opened)


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


def deployments_of(database: Database, model: str) -> list[str]:
    """The domains of a model, for error messages."""
    with database.read() as session:
        return [state.deployment.domain for state in list_deployments(session, model)]
