"""The asking routes: models, domains, reports, findings, streams, incidents, references."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime

from alerts.records import IncidentState, RequestStatus
from detectors.records import Deployment, Mode, Tier, to_datetime
from monitor.api import shapes
from monitor.api.access import needs
from monitor.api.context import ApiContext
from monitor.api.errors import RequestRefusedError
from monitor.api.forms import (
    delivery_json,
    domain_json,
    instant,
    reference_json,
    request_json,
)
from monitor.api.look_up import find_domain, find_model, known_models, unknown
from monitor.api.negotiate import HTML, JSON, MARKDOWN, preferred
from monitor.api.problems import CONFLICT, PROBLEMS
from monitor.api.stream_history import stream_history
from monitor.reports.forms import finding_json, incident_json, iso
from monitor.watching.progress import Progress
from monitor.watching.standing import followed_streams, streams_summary
from monitor.web.pages import incident_page, report_page
from storage.checkpoints import load_checkpoint
from storage.deployments import latest_event_us, list_deployments
from storage.findings import list_findings
from storage.incidents import (
    UnknownIncidentError,
    count_open,
    get_incident,
    list_incidents,
    open_arrivals,
)
from storage.mappings import count_waiting
from storage.outbox import (
    dead_count,
    dead_letters,
    list_waiting,
    oldest_unsent_age,
    waiting_count,
)
from storage.references import get_reference, list_references
from storage.retraining import UnknownRequestError, get_request, list_requests, request_history
from storage.tokens import Scope

REPORTS_AT_ONCE = 2
"""Reports take a core each for a second or more; further ones wait without holding a thread."""

STREAM_SPAN = timedelta(days=30)
LARGEST_ID = 2**63 - 1

Text = Annotated[str, Path(max_length=400)]
Limit = Annotated[int, Query(ge=1, le=1_000)]
Days = Annotated[int | None, Query(ge=1, le=3_650, description="Days of event time to look at")]
Filter = Annotated[str | None, Query(max_length=200)]


def query_router(context: ApiContext) -> APIRouter:
    """Routes that change nothing."""
    router = APIRouter(prefix="/v1", responses=PROBLEMS, dependencies=[needs(Scope.READ)])
    _models(router, context)
    _evidence(router, context)
    _reports(router, context)
    _incidents(router, context)
    _requests(router, context)
    _references(router, context)
    _outbox(router, context)
    return router


def _models(router: APIRouter, context: ApiContext) -> None:
    @router.get("/models", response_model=shapes.ModelList, tags=["models"])
    def list_all_models() -> dict[str, Any]:
        """Every model with how many domains and rows it has."""
        config = context.config()
        with context.database.read() as session:
            states = list_deployments(session)
            names = known_models(session, config)
            latest = {name: latest_event_us(session, name) for name in names}
        lines = []
        for name in names:
            own = [state for state in states if state.deployment.model == name]
            configured = config.models.get(name)
            lines.append(
                {
                    "name": name,
                    "task": None if configured is None else configured.task.value,
                    "domains": len(own),
                    "rows": sum(state.rows for state in own),
                    "latest_event": instant(latest[name]),
                }
            )
        return {"models": lines}

    @router.get("/models/{model}/domains", response_model=shapes.DomainList, tags=["models"])
    def list_domains(model: Text) -> dict[str, Any]:
        """Every domain of a model with its state in a word, transfer and open incidents."""
        with context.database.read() as session:
            find_model(session, context.config(), model)
            states = list_deployments(session, model)
            known = count_open(session), count_waiting(session), open_arrivals(session)
        lines = [domain_json(state, *known) for state in states]
        return {"model": model, "domains": lines}


def _evidence(router: APIRouter, context: ApiContext) -> None:
    @router.get(
        "/models/{model}/domains/{domain:path}/findings",
        response_model=shapes.FindingList,
        tags=["models"],
    )
    def findings(
        model: Text,
        domain: Text,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        tier: Tier | None = None,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """What detectors saw with `since <= ts < until` (event time), newest first."""
        with context.database.read() as session:
            deployment, _ = find_domain(session, context.config(), model, domain)
            found = list_findings(
                session, deployment, since=since, until=until, tier=tier, limit=limit
            )
        return {"findings": [finding_json(finding) for finding in found]}

    @router.get(
        "/models/{model}/domains/{domain:path}/streams",
        response_model=shapes.StreamList,
        tags=["models"],
    )
    def streams(model: Text, domain: Text) -> dict[str, Any]:
        """How every stream is followed, why, its evidence, and whether it stands out among all."""
        with context.database.read() as session:
            deployment, _ = find_domain(session, context.config(), model, domain)
            stored = load_checkpoint(session, deployment)
        lines = [] if stored is None else followed_streams(Progress.from_bytes(stored.body))
        return {"model": model, "domain": domain, **streams_summary(lines), "streams": lines}

    @router.get(
        "/models/{model}/domains/{domain:path}/streams/{stream:path}",
        response_model=shapes.StreamHistory,
        responses=CONFLICT,
        tags=["models"],
    )
    def stream(
        model: Text,
        domain: Text,
        stream: Text,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=5_000)] = 1_000,
    ) -> dict[str, Any]:
        """One followed number tick by tick; the last 30 days of event time unless `since` says."""
        config = context.config()
        with context.database.read() as session:
            deployment, state = find_domain(session, config, model, domain)
            if model not in config.models:
                raise unknown("configured model", model, tuple(config.models))
            if since is None and state.evaluated_until_us is not None:
                since = (until or to_datetime(state.evaluated_until_us)) - STREAM_SPAN
            return stream_history(
                session,
                deployment,
                stream,
                config.models[model].settings(),
                since=since,
                until=until,
                limit=limit,
                detectors=(state.status or {}).get("detectors", ()),
            )


def _reports(router: APIRouter, context: ApiContext) -> None:
    reports = CapacityLimiter(REPORTS_AT_ONCE)

    def build(model: str, domain: str, days: int | None, form: str) -> Response:
        report = find_report(context, model, domain, days)
        if form == HTML:
            return report_page(report)
        if form == MARKDOWN:
            from monitor.reports.markdown import render_markdown

            return Response(render_markdown(report), media_type=f"{MARKDOWN}; charset=utf-8")
        return JSONResponse(report)

    @router.get(
        "/models/{model}/domains/{domain:path}/report",
        response_model=shapes.Report,
        responses={200: {"content": {HTML: {}, MARKDOWN: {}}}, **CONFLICT},
        tags=["models"],
    )
    async def report(request: Request, model: Text, domain: Text, days: Days = None) -> Response:
        """The current report as JSON, or by `Accept` as one HTML page or Markdown."""
        form = preferred(request.headers.get("accept", ""), (JSON, HTML, MARKDOWN))
        built = await run_sync(build, model, domain, days, form, limiter=reports)
        built.headers["Vary"] = "Accept"
        return built


def find_report(
    context: ApiContext, model: str, domain: str, days: int | None = None
) -> dict[str, Any]:
    """A deployment's report; RequestRefusedError 404, or a KedgeError where there is none yet."""
    with context.database.read() as session:
        deployment, state = find_domain(session, context.config(), model, domain)
    if not state.rows:
        raise RequestRefusedError(
            409, f"{deployment} has no rows yet", "send events, then ask for the report"
        )
    return context.report_of(deployment, days)


def _incidents(router: APIRouter, context: ApiContext) -> None:
    @router.get("/incidents", response_model=shapes.IncidentList, tags=["incidents"])
    def incidents(
        state: IncidentState | None = None,
        model: Filter = None,
        domain: Filter = None,
        mode: Mode | None = None,
        since: AwareDatetime | None = None,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Incidents, newest first. Without `state` also those that are over."""
        with context.database.read() as session:
            found = list_incidents(
                session,
                model=model,
                domain=domain,
                state=state,
                mode=mode,
                since=since,
                limit=limit,
            )
        return {"incidents": [incident_json(incident) for incident in found]}

    @router.get(
        "/incidents/{incident_id}",
        response_model=shapes.IncidentShape,
        responses={200: {"content": {HTML: {}}}},
        tags=["incidents"],
    )
    def incident(request: Request, incident_id: Text) -> Response:
        """One incident with its whole history; by `Accept` as an HTML page."""
        if preferred(request.headers.get("accept", ""), (JSON, HTML)) == HTML:
            built: Response = incident_page(context, incident_id)
        else:
            built = JSONResponse(find_incident(context, incident_id))
        built.headers["Vary"] = "Accept"
        return built


def find_incident(context: ApiContext, incident_id: str) -> dict[str, Any]:
    """An incident as JSON; RequestRefusedError 404 with the nearest known id."""
    with context.database.read() as session:
        try:
            return incident_json(get_incident(session, incident_id))
        except UnknownIncidentError:
            known = [incident.id for incident in list_incidents(session, limit=500)]
    raise unknown("incident", incident_id, known)


def _requests(router: APIRouter, context: ApiContext) -> None:
    @router.get("/retraining-requests", response_model=shapes.RequestList, tags=["retraining"])
    def requests(
        status: RequestStatus | None = None,
        model: Filter = None,
        domain: Filter = None,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Retraining requests, newest first. `domain` needs `model`."""
        if (model is None) != (domain is None):
            raise RequestRefusedError(
                422, "model and domain belong together", "give both or neither"
            )
        deployment = None if model is None or domain is None else Deployment(model, domain)
        with context.database.read() as session:
            found = list_requests(session, deployment, status=status, limit=limit)
        return {"requests": [request_json(request) for request in found]}

    @router.get(
        "/retraining-requests/{request_id}",
        response_model=shapes.RequestDetail,
        tags=["retraining"],
    )
    def request(request_id: Text) -> dict[str, Any]:
        """One request with every step it took."""
        return find_request(context, request_id)


def find_request(context: ApiContext, request_id: str) -> dict[str, Any]:
    """A request as JSON; RequestRefusedError 404 with the nearest known id."""
    with context.database.read() as session:
        try:
            found = get_request(session, request_id)
        except UnknownRequestError:
            known = [other.id for other in list_requests(session, limit=500)]
            raise unknown("retraining request", request_id, known) from None
        steps = request_history(session, request_id)
    history = [
        {"at": iso(step.at), "status": step.status.value, "by": step.by, "words": step.words}
        for step in steps
    ]
    return {**request_json(found), "history": history}


def _references(router: APIRouter, context: ApiContext) -> None:
    @router.get("/references", response_model=shapes.ReferenceList, tags=["references"])
    def references(model: Filter = None, domain: Filter = None) -> dict[str, Any]:
        """Reference windows without their rows; with `domain` also those for every domain."""
        with context.database.read() as session:
            found = list_references(session, model, domain)
        return {"references": [reference_json(reference) for reference in found]}

    @router.get(
        "/references/{reference_id}", response_model=shapes.ReferenceShape, tags=["references"]
    )
    def reference(reference_id: Annotated[int, Path(ge=1, le=LARGEST_ID)]) -> dict[str, Any]:
        """One reference window without its rows."""
        with context.database.read() as session:
            return reference_json(get_reference(session, reference_id))


def _outbox(router: APIRouter, context: ApiContext) -> None:
    @router.get("/outbox", response_model=shapes.Outbox, tags=["outbox"])
    def outbox() -> dict[str, Any]:
        """What has not been delivered: on its way, and given up."""
        with context.database.read() as session:
            age = oldest_unsent_age(session, context.clock.now())
            return {
                "waiting": waiting_count(session),
                "dead": dead_count(session),
                "oldest_seconds": None if age is None else age.total_seconds(),
                "deliveries": [delivery_json(item) for item in list_waiting(session)],
                "dead_letters": [delivery_json(item) for item in dead_letters(session)],
            }
