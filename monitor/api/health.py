"""Is the process alive, is the service ready, and its figures."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from alerts.plain import plain
from monitor.api import shapes
from monitor.api.access import OPEN, needs, refuse_bound
from monitor.api.context import ApiContext
from storage.tokens import Scope

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def health_router(context: ApiContext) -> APIRouter:
    """`/livez`, `/readyz` and `/metrics`."""
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
        """What was looked at, each "ok" or what is wrong with it; 503 unless all is ok."""
        checks = {name: plain(wrong) or "ok" for name, wrong in context.ready().items()}
        ready = all(said == "ok" for said in checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)

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
