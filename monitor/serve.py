"""One process: the service behind uvicorn, with signals wired."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from monitor.api.app import create_app
from monitor.api.context import ApiContext
from monitor.api.ingest import ingest_router
from monitor.api.limits import IngestLimits
from monitor.clock import SystemClock
from monitor.config import DEFAULT_PATH, Config, load_config
from monitor.daemon import Service
from monitor.errors import InputError, KedgeError
from monitor.telemetry import configure_logging

log = structlog.get_logger()

GRACE_S = 10
"""Open pages may not hold up a shutdown for longer."""


def serve(config_path: str | None, *, port: int | None = None) -> None:
    """Run until a signal says stop.

    Raises:
        KedgeError: the configuration or the database cannot be used.
    """
    if config_path is None and DEFAULT_PATH.is_file():
        config_path = str(DEFAULT_PATH)  # gone at a reload, it is an error and not the defaults
    config = load_config(config_path)
    configure_logging(config.service.log_level)
    service = Service(config, SystemClock())
    app = build_app(service)
    _reload_on_hangup(service, config_path)
    # uvicorn raises the signal again once it has stopped; the service still has to drain then.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
    chosen = config.service.port if port is None else port
    service.start()
    try:
        uvicorn.run(
            app,
            host=config.service.host,
            port=chosen,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    except KeyboardInterrupt:
        log.info("service.interrupted")
    except SystemExit as ended:  # how uvicorn says that it could not bind; its log says why
        msg = f"cannot listen on {config.service.host}:{chosen}; free it or give another --port"
        raise InputError(msg) from ended
    finally:
        service.stop()


def build_app(service: Service) -> FastAPI:
    """The HTTP side of a service."""

    def current() -> Config:
        return service.config

    limits = IngestLimits(future_us=service.config.service.future_limit)
    context = ApiContext(
        database=service.database,
        config=current,
        clock=service.clock,
        ingest=ingest_router(service.ingest, service.schemas, service.clock, limits),
        report_of=lambda deployment, days: service.report(deployment, days=days),
        flush=service.flush,
        ready=service.ready,
        routing=service.routing,
        metrics=service.metrics,
    )
    return create_app(context)


def _reload_on_hangup(service: Service, config_path: str | None) -> None:
    """SIGHUP reloads in a thread of its own, so that a signal never waits for a database."""

    def reload() -> None:
        try:
            service.reload(load_config(config_path))
        except KedgeError as error:
            log.warning("config.refused", reason=str(error))

    def on_hangup(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=reload, name="reload", daemon=True).start()

    signal.signal(signal.SIGHUP, on_hangup)
