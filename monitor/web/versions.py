"""The pages of versions: what each did to its anchors and to what it knew of the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from monitor.api.access import needs
from monitor.api.look_up import find_model, known_models
from monitor.reports.version_plot import VersionPoint, version_curve
from monitor.watching.alignment import VersionFacts, facts_json, task_of, version_facts
from monitor.web.render import html_page
from storage.tokens import Scope
from storage.version_rows import count_versions

if TYPE_CHECKING:
    from monitor.api.context import ApiContext

WARN_CKA, WARN_NEIGHBOURS = 0.9, 0.6


def versions_pages(context: ApiContext) -> APIRouter:
    """HTML routes; not in the OpenAPI, which is for programs."""
    router = APIRouter(
        include_in_schema=False,
        default_response_class=HTMLResponse,
        dependencies=[needs(Scope.READ)],
    )
    one_at_a_time = CapacityLimiter(1)

    @router.get("/versions")
    def versions() -> HTMLResponse:
        with context.database.read() as session:
            counts = count_versions(session)
            models = known_models(session, context.config())
        lines = [{"model": model, "counts": counts.get(model, {})} for model in models]
        return html_page("versions.html", title="Versions", here="versions", lines=lines)

    @router.get("/models/{model}/versions")
    async def versions_of(model: str) -> HTMLResponse:
        def build() -> HTMLResponse:
            with context.database.read() as session:
                find_model(session, context.config(), model)
                facts = version_facts(session, model, task_of(session, model))
            return html_page(
                "model_versions.html",
                title=f"Versions of {model}",
                here="versions",
                model=model,
                facts=facts_json(facts),
                curves=[Markup(curve) for curve in curves_of(facts) if curve],  # noqa: S704  # ours
            )

        return await run_sync(build, limiter=one_at_a_time)

    return router


def curves_of(facts: VersionFacts) -> tuple[str, ...]:
    """Curves over versions: likeness of anchors, what new and served heads lose, the probe."""
    known = [one for one in facts.anchors if one.rows and one.cka == one.cka]
    gaps: list[tuple[str, str, list[VersionPoint]]] = []
    for name, what in (
        ("information", "what a head fitted anew loses against one on the version before"),
        ("head", "what the head in service loses against one fitted anew"),
    ):
        points = [
            VersionPoint(one.now, gap.difference, *gap.ci)
            for one in known
            if (gap := getattr(one, name)) is not None
        ]
        gaps.append((f"{name.capitalize()} gap by version", what, points))
    probe = [
        VersionPoint(one.now, one.change, one.lower, one.upper)
        for one in facts.probe
        if one.change == one.change
    ]
    return (
        _curve(
            "Likeness to the version before (CKA)",
            f"Below {WARN_CKA} something has changed",
            [VersionPoint(one.now, one.cka) for one in known],
            WARN_CKA,
            "cka",
        ),
        _curve(
            "Neighbours kept",
            f"Below {WARN_NEIGHBOURS:.0%} something has changed",
            [VersionPoint(one.now, one.neighbours) for one in known],
            WARN_NEIGHBOURS,
            "kept",
        ),
        *(_curve(*gap, 0.0, f"gap{at}") for at, gap in enumerate(gaps)),
        _curve(
            "Loss on the source probe, change since the first version",
            "Intervals hold at all versions together: each spends its share of the error",
            probe,
            0.0,
            "probe",
        ),
    )


def _curve(title: str, what: str, points: list[VersionPoint], limit: float, uid: str) -> str:
    if not points:
        return ""
    newest = points[-1]
    said = f"{what}. Newest: version {newest.version}, {newest.value:.3g}."
    drawn = version_curve(points, title=title, limit=limit, said=said, uid=uid)
    return f"<figure><figcaption>{title}</figcaption>{drawn}</figure>"
