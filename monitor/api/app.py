"""The HTTP application, put together from its routes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from monitor.api import problems
from monitor.api.context import ApiContext
from monitor.api.guard import Guard
from monitor.api.health import health_router
from monitor.api.query import query_router
from monitor.api.work import work_router
from monitor.web.pages import pages_router


def create_app(context: ApiContext, *, only_health: bool = False) -> FastAPI:
    """An ASGI application over a running service. It owns nothing and needs no start of its own.

    `only_health` is for a process that takes no rows and shows no pages: a worker.

    There are no interactive docs pages: those load scripts from elsewhere. `/openapi.json` is
    there, and like everything but the two health routes it needs the token where one is set.
    """
    app = FastAPI(
        title="Kedge",
        version=_version(),
        description="Domain-shift monitoring for transferred models.",
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, config=context.config)
    problems.install(app)
    if only_health:
        app.include_router(health_router(context))
        return app
    app.include_router(context.ingest)
    app.include_router(query_router(context))
    app.include_router(work_router(context))
    app.include_router(health_router(context))
    app.include_router(pages_router(context))
    return app


def _version() -> str:
    try:
        return version("kedge")
    except PackageNotFoundError:
        return "0"
