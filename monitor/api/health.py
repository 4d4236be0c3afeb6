"""Is the process alive, is the service ready, and its figures."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from alerts.plain import plain
from monitor.api import shapes
from monitor.api.access import OPEN, needs, refuse_bound
from monitor.api.context import ApiContext
from storage.tokens import Scope

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def health_router(context: ApiContext) -> APIRouter:
    """`/livez`, `/readyz`, `/healthz` and `/metrics`."""
    router = APIRouter(tags=["health"])

    open_to_all = [needs(OPEN)]

    @router.head("/livez", dependencies=open_to_all, include_in_schema=False)
    @router.get("/livez", dependencies=open_to_all, response_model=dict[str, str])
    async def livez() -> dict[str, str]:
        """The process answers. Touches nothing."""
        return {"status": "alive"}

    @router.head("/readyz", dependencies=open_to_all, include_in_schema=False)
    @router.get(
        "/readyz",
        dependencies=open_to_all,
        response_model=shapes.Health,
        responses={503: {"model": shapes.Health, "description": "Something is not ready"}},
    )
    def readyz() -> Response:
        """Whether rows are taken, for load balancers: what is wrong with it, with 503."""
        return _answer("ready", context.ready())

    @router.head("/healthz", dependencies=open_to_all, include_in_schema=False)
    @router.get(
        "/healthz",
        dependencies=open_to_all,
        response_model=shapes.WholeHealth,
        responses={503: {"model": shapes.WholeHealth, "description": "Something needs a person"}},
    )
    def healthz() -> Response:
        """Whether all of it works, checks and deliveries too: what is wrong, with 503."""
        return _answer("healthy", context.healthy())

    @router.get(
        "/metrics",
        dependencies=[needs(Scope.READ)],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def metrics() -> Response:
        """Counters and gauges in Prometheus' text format."""
        refuse_bound("the figures are about every model")
        return Response(context.metrics.render(), headers={"Content-Type": EXPOSITION})

    return router


def _answer(name: str, found: Mapping[str, str]) -> Response:
    """What was looked at, each "ok" or what is wrong with it; 503 unless all is ok."""
    checks = {what: plain(wrong) or "ok" for what, wrong in found.items()}
    fine = all(said == "ok" for said in checks.values())
    return JSONResponse({name: fine, "checks": checks}, 200 if fine else 503)
