"""`GET /v1/models/{model}/baselines`: what each version of a baseline was trained on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from monitor.api.access import needs
from monitor.api.context import ApiContext
from monitor.api.forms import instant
from monitor.api.look_up import find_model
from monitor.api.problems import PROBLEMS
from monitor.reports.forms import iso
from storage.baselines import Baseline, BaselineSource, list_baselines
from storage.tokens import Scope


class BaselineShape(BaseModel):
    """A version of a from-scratch baseline."""

    id: int
    model: str
    domain: str | None = Field(description="null: for every domain of the model")
    version: int
    source: BaselineSource
    rows: int = Field(description="Rows it was trained on")
    since: datetime | None
    until: datetime | None = Field(description="The last event it was trained on")
    scores_from: datetime | None = Field(description="The first event it scores; null: all")
    curve: list[list[float]] = Field(
        description="Rows trained on, rows judged, mean loss, transferred model's mean loss"
    )
    fine_tuning: list[list[float]] = Field(
        description="Of the transferred model: rows, training loss, validation loss"
    )
    note: str
    created_at: datetime


class BaselineList(BaseModel):
    model: str
    baselines: list[BaselineShape]


def baselines_router(context: ApiContext) -> APIRouter:
    """The registry, to read."""
    router = APIRouter(prefix="/v1", responses=PROBLEMS, dependencies=[needs(Scope.READ)])

    @router.get("/models/{model}/baselines", response_model=BaselineList, tags=["models"])
    def baselines(
        model: Annotated[str, Path(max_length=400)],
        domain: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, Any]:
        """Versions by domain; with `domain` also those for every domain."""
        with context.database.read() as session:
            find_model(session, context.config(), model)
            found = list_baselines(session, model, domain)
        return {"model": model, "baselines": [form_of(one) for one in found]}

    return router


def form_of(one: Baseline) -> dict[str, Any]:
    """A version as plain JSON values."""
    return {
        "id": one.id,
        "model": one.model,
        "domain": one.domain,
        "version": one.version,
        "source": one.source.value,
        "rows": one.rows,
        "since": instant(one.since_us),
        "until": instant(one.until_us),
        "scores_from": instant(one.scores_from_us),
        "curve": [list(point) for point in one.curve],
        "fine_tuning": [list(point) for point in one.fine_tuning],
        "note": one.note,
        "created_at": iso(one.created_at),
    }
