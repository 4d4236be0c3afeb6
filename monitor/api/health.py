"""Is the process alive, is the service ready, and its figures."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from alerts.plain import plain
from monitor.api import shapes
from monitor.api.context import ApiContext

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def health_router(context: ApiContext) -> APIRouter:
    """`/livez`, `/readyz` and `/metrics`."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", response_model=dict[str, str])
    async def livez() -> dict[str, str]:
        """The process answers. Touches nothing."""
        return {"status": "alive"}

    @router.get(
        "/readyz",
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
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def metrics() -> Response:
        """Counters and gauges in Prometheus' text format."""
        return Response(context.metrics.render(), headers={"Content-Type": EXPOSITION})

    return router
