"""The HTTP application, put together from its routes."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import JSONResponse

from monitor.api import problems
from monitor.api.access import FencedDatabase, authorise, install_scopes, needs
from monitor.api.baselines import baselines_router
from monitor.api.channels import channels_router
from monitor.api.context import ApiContext
from monitor.api.door import Door
from monitor.api.guard import Guard
from monitor.api.health import health_router
from monitor.api.history import history_router
from monitor.api.mappings import mappings_router
from monitor.api.query import query_router
from monitor.api.retraining import retraining_router
from monitor.api.silences import silences_router
from monitor.api.tokens import tokens_router
from monitor.api.version_rows import version_rows_router
from monitor.api.versions import versions_router
from monitor.api.work import work_router
from monitor.web.deeds import deeds_router
from monitor.web.login import login_router
from monitor.web.pages import pages_router
from monitor.web.versions import versions_pages
from storage.tokens import Scope


def create_app(context: ApiContext, *, only_health: bool = False) -> FastAPI:
    """An ASGI application over a running service. It owns nothing and needs no start of its own.

    `only_health` is for a process that takes no rows and shows no pages: a worker.

    There are no interactive docs pages: those load scripts from elsewhere. `/openapi.json` is
    there, and needs a token as everything does but the two health routes and the login page.
    What the routes find in the database is bounded by who asks (access.py).
    """
    app = FastAPI(
        title="Kedge",
        version=_version(),
        description="Domain-shift monitoring for transferred models.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(authorise)],
    )
    door = Door(context.database, context.config, context.clock)
    context = replace(context, database=FencedDatabase(context.database))
    app.add_middleware(Guard, config=context.config, door=door, clock=context.clock)
    problems.install(app)
    if only_health:
        app.include_router(health_router(context))
        install_scopes(app)
        return app
    app.include_router(context.ingest)
    app.include_router(query_router(context))
    app.include_router(baselines_router(context))
    app.include_router(versions_router(context))
    app.include_router(version_rows_router(context))
    app.include_router(work_router(context))
    app.include_router(retraining_router(context))
    app.include_router(channels_router(context))
    app.include_router(silences_router(context))
    app.include_router(history_router(context))
    app.include_router(mappings_router(context))
    app.include_router(health_router(context))
    app.include_router(tokens_router(context, door))
    app.include_router(versions_pages(context))
    app.include_router(pages_router(context))
    app.include_router(deeds_router(context))
    app.include_router(login_router(context, door))
    app.include_router(_description(app))
    install_scopes(app)
    return app


def _description(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.READ)])

    @router.get("/openapi.json")
    def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    return router


def _version() -> str:
    try:
        return version("kedge")
    except PackageNotFoundError:
        return "0"
