"""One process: the service behind uvicorn, with signals and the service manager wired.

A stop takes its time in steps, each of them bounded: not ready, rows refused with 503 while what
was accepted is written, then the port closes, jobs end, leases are let go.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from monitor.api.app import create_app
from monitor.api.context import ApiContext
from monitor.api.ingest import ingest_router
from monitor.api.limits import IngestLimits
from monitor.clock import SystemClock
from monitor.config import DEFAULT_PATH, Config, load_config
from monitor.errors import InputError, KedgeError
from monitor.process.daemon import Service
from monitor.process.process_role import ProcessRole
from monitor.process.systemd import ServiceManager
from monitor.telemetry import configure_logging
from storage.engine import open_database
from storage.one_writer import SecondWriterError, UnusableFileError, only_writer

log = structlog.get_logger()

GRACE_S = 10
"""Open pages may not hold up a shutdown for longer."""


DRAIN_S = 30
"""How long writing what was accepted may take at a stop."""


def serve(
    config_path: str | None, *, port: int | None = None, role: ProcessRole = ProcessRole.ALL
) -> None:
    """Run until a signal says stop.

    Raises:
        KedgeError: the configuration or the database cannot be used.
    """
    if config_path is None and DEFAULT_PATH.is_file():
        config_path = str(DEFAULT_PATH)  # gone at a reload, it is an error and not the defaults
    config = load_config(config_path)
    configure_logging(config.service.log_level)
    try:
        with only_writer(open_database(config.service.database)):
            ended = _serve(config, config_path, port=port, role=role)
    except (SecondWriterError, UnusableFileError) as error:
        raise InputError(str(error)) from error
    if not ended:
        # A job that hangs must not keep the process: what it has not saved, nobody relies on.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _serve(config: Config, config_path: str | None, *, port: int | None, role: ProcessRole) -> bool:
    """Whether every job had ended at the end."""
    clock = SystemClock()
    manager = ServiceManager.of(pid=os.getpid())
    service = Service(config, clock, role=role, alive=manager.alive)
    app = build_app(service)
    _reload_on_hangup(service, config_path, manager)
    # A signal that comes before uvicorn listens to them, or after, must not end the process.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
    chosen = config.service.port if port is None else port
    service.start()
    server = Server(
        uvicorn.Config(
            app,
            host=config.service.host,
            port=chosen,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        ),
        service,
        manager,
    )
    try:
        server.run()
    except KeyboardInterrupt:
        log.info("service.interrupted")
    except SystemExit as ended:  # how uvicorn says that it could not bind; its log says why
        msg = f"cannot listen on {config.service.host}:{chosen}; free it or give another --port"
        raise InputError(msg) from ended
    finally:
        manager.stopping()
        jobs_ended = service.stop()
    return jobs_ended


class Server(uvicorn.Server):
    """Tells when it listens, and goes on answering while what was accepted is written."""

    def __init__(self, config: uvicorn.Config, service: Service, manager: ServiceManager) -> None:
        super().__init__(config)
        self._service = service
        self._manager = manager
        self._leaving = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._manager.ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks for an orderly stop, the second for a quick one."""
        if self._leaving:
            self.should_exit = True
            return
        self._leaving = True
        # In a thread: this interrupts the event loop, which may hold what a stop waits for.
        threading.Thread(target=self._leave, name="stop", daemon=True).start()

    def _leave(self) -> None:
        self._manager.stopping()
        self._service.refuse()
        self._service.ingest.stop(DRAIN_S)
        self.should_exit = True


def build_app(service: Service) -> FastAPI:
    """The HTTP side of a service."""

    def current() -> Config:
        return service.config

    section = service.config.service
    limits = IngestLimits(future_us=section.future_limit, new_columns=section.new_columns)
    context = ApiContext(
        database=service.database,
        config=current,
        clock=service.clock,
        ingest=ingest_router(service.ingest, service.schemas, service.clock, limits),
        report_of=lambda deployment, days: service.report(deployment, days=days),
        flush=service.flush,
        ready=service.ready,
        healthy=service.healthy,
        routing=service.routing,
        metrics=service.metrics,
        send_test=service.send_test,
    )
    return create_app(context, only_health=not service.role.answers)


def _reload_on_hangup(service: Service, config_path: str | None, manager: ServiceManager) -> None:
    """SIGHUP reloads in a thread of its own, so that a signal never waits for a database."""

    def reload() -> None:
        manager.reloading(service.clock.monotonic())
        try:
            service.reload(load_config(config_path))
        except KedgeError as error:
            log.warning("config.refused", reason=str(error))
        except SQLAlchemyError as error:
            log.warning("config.refused", reason=f"the database failed: {type(error).__name__}")
        finally:
            manager.ready()

    def on_hangup(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=reload, name="reload", daemon=True).start()

    signal.signal(signal.SIGHUP, on_hangup)
