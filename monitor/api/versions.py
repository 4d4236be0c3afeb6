"""`GET /v1/models/{model}/versions`: what each version did to its anchors and its source probe."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from detectors.records import State
from monitor.api.access import needs
from monitor.api.context import ApiContext
from monitor.api.look_up import find_model
from monitor.api.problems import PROBLEMS
from monitor.watching.alignment import facts_json, task_of, version_facts
from storage.tokens import Scope


class GapShape(BaseModel):
    """A paired difference of log losses with its .95 interval."""

    difference: float | None
    ci: list[float | None]


class AnchorShape(BaseModel):
    """A version's embedding of the anchors against that of the version before."""

    before: str
    version: str
    rows: int
    state: State
    words: str
    cka: float | None
    procrustes: float | None
    neighbours_kept: float | None
    cosine: float | None
    directions: list[float | None] = Field(description="Participation ratio before and now")
    information_gap: GapShape | None
    head_gap: GapShape | None


class ProbeShape(BaseModel):
    """The source probe's loss at a version against the first version scored."""

    before: str
    version: str
    rows: int
    state: State
    words: str
    loss_before: float | None
    change: float | None
    lower: float | None
    upper: float | None
    alpha: float | None = Field(description="The error this version may spend")


class VersionsShape(BaseModel):
    model: str
    words: str | None = Field(description="What is missing to say more")
    anchors: list[AnchorShape]
    probe: list[ProbeShape]


def versions_router(context: ApiContext) -> APIRouter:
    """The facts of versions, to read."""
    router = APIRouter(prefix="/v1", responses=PROBLEMS, dependencies=[needs(Scope.READ)])

    @router.get("/models/{model}/versions", response_model=VersionsShape, tags=["models"])
    def versions(model: Annotated[str, Path(max_length=400)]) -> dict[str, Any]:
        """Oldest first; with fewer than two versions on record, what is missing."""
        with context.database.read() as session:
            find_model(session, context.config(), model)
            facts = version_facts(session, model, task_of(session, model))
        return {"model": model, **facts_json(facts)}

    return router
