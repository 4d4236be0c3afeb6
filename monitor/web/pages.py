"""The pages: fleet, incidents, one incident, a domain's report, and runbooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from alerts.bodies import SERVICE_PAGES
from alerts.feedback import Verdict
from alerts.mappings import MappingStatus
from alerts.records import IncidentState, RequestStatus
from alerts.runbooks import page_of, runbook_link
from monitor.api.access import asking, needs
from monitor.api.forms import domain_json, reference_json, request_json, silence_json
from monitor.reports.forms import incident_json
from monitor.web.render import html_page, html_reply, navigation, new_nonce, page_style
from monitor.web.runbooks import runbook_page
from storage.deployments import list_deployments
from storage.incidents import count_open, list_incidents, open_arrivals
from storage.mappings import count_waiting, list_mappings, mappings_of
from storage.references import list_references
from storage.retraining import list_requests
from storage.silences import list_silences
from storage.tokens import Scope

if TYPE_CHECKING:
    from monitor.api.context import ApiContext

SHOWN_INCIDENTS = 200
SHOWN_MAPPINGS = 500
"""Sorting a fleet: what needs somebody first."""
_ORDER = {"harm": 0, "drift": 1, "watch": 2, "undetermined": 3, "ok": 4}


def pages_router(context: ApiContext) -> APIRouter:
    """HTML routes; not in the OpenAPI, which is for programs."""
    router = APIRouter(
        include_in_schema=False,
        default_response_class=HTMLResponse,
        dependencies=[needs(Scope.READ)],
    )
    reports = CapacityLimiter(1)

    @router.get("/")
    def fleet() -> HTMLResponse:
        with context.database.read() as session:
            known = count_open(session), count_waiting(session), open_arrivals(session)
            lines = [domain_json(state, *known) for state in list_deployments(session)]
        lines.sort(key=lambda line: (_ORDER[line["state"]], line["model"], line["domain"]))
        return html_page(
            "fleet.html",
            title="Fleet",
            here="fleet",
            lead=_lead(lines),
            lines=lines,
            models=[m for m in context.config().models if asking().tenant.has_model(m)],
        )

    @router.get("/incidents")
    def incidents(
        state: Annotated[IncidentState | None, Query()] = None,
        model: Annotated[str | None, Query(max_length=200)] = None,
        domain: Annotated[str | None, Query(max_length=200)] = None,
    ) -> HTMLResponse:
        with context.database.read() as session:
            found = list_incidents(
                session, state=state, model=model, domain=domain, limit=SHOWN_INCIDENTS
            )
        return html_page(
            "incidents.html",
            title="Incidents",
            here="incidents",
            incidents=[incident_json(incident) for incident in found],
            shown_state=None if state is None else state.value,
            states=[choice.value for choice in IncidentState],
            cut=len(found) == SHOWN_INCIDENTS,
        )

    @router.get("/silences")
    def silences(all_: Annotated[bool, Query(alias="all")] = False) -> HTMLResponse:
        now = context.clock.now()
        with context.database.read() as session:
            found = list_silences(session, not_over_at=None if all_ else now, limit=SHOWN_INCIDENTS)
        return html_page(
            "silences.html",
            title="Silences",
            here="silences",
            silences=[silence_json(silence, now) for silence in found],
            all_shown=all_,
        )

    @router.get("/incidents/{incident_id}")
    def incident(incident_id: str) -> HTMLResponse:
        return incident_page(context, incident_id)

    @router.get("/runbooks")
    def runbook_list() -> HTMLResponse:
        return runbook_page()

    @router.get("/runbooks/{name}")
    def runbook(name: str) -> HTMLResponse:
        return runbook_page(name)

    @router.get("/mappings")
    def mappings(
        status: Annotated[MappingStatus | None, Query()] = None,
        model: Annotated[str | None, Query(max_length=200)] = None,
        domain: Annotated[str | None, Query(max_length=200)] = None,
    ) -> HTMLResponse:
        from monitor.api.mappings import mapping_json

        with context.database.read() as session:
            found = list_mappings(session, status=status, model=model, domain=domain)
        return html_page(
            "mappings.html",
            title="Mappings",
            here="mappings",
            mappings=[mapping_json(version) for version in found[:SHOWN_MAPPINGS]],
            total=len(found),
            shown_status=None if status is None else status.value,
            statuses=[choice.value for choice in MappingStatus],
        )

    @router.get("/retraining")
    def retraining(status: Annotated[RequestStatus | None, Query()] = None) -> HTMLResponse:
        with context.database.read() as session:
            found = list_requests(session, status=status, limit=SHOWN_INCIDENTS)
        return html_page(
            "retraining.html",
            title="Retraining",
            here="retraining",
            requests=[request_json(request) for request in found],
            shown_status=None if status is None else status.value,
            statuses=[choice.value for choice in RequestStatus],
            cut=len(found) == SHOWN_INCIDENTS,
        )

    @router.get("/retraining/{request_id}")
    def request(request_id: str) -> HTMLResponse:
        return request_page(context, request_id)

    @router.get("/references")
    def references() -> HTMLResponse:
        with context.database.read() as session:
            found = [reference_json(reference) for reference in list_references(session)]
            known: dict[str, set[str]] = {one["model"]: set() for one in found}
            for state in list_deployments(session):
                known.setdefault(state.deployment.model, set()).add(state.deployment.domain)
        return html_page(
            "references.html", title="References", here="references", references=found, known=known
        )

    @router.get("/mappings/{mapping_id}")
    def mapping(mapping_id: str) -> HTMLResponse:
        return mapping_page(context, mapping_id)

    @router.get("/models/{model}/domains/{domain:path}")
    async def report(
        model: str,
        domain: str,
        days: Annotated[int | None, Query(ge=1, le=3_650)] = None,
    ) -> HTMLResponse:
        from monitor.api.query import find_report

        def build() -> HTMLResponse:
            return report_page(find_report(context, model, domain, days), among_pages=True)

        return await run_sync(build, limiter=reports)

    return router


def _lead(lines: list[dict[str, Any]]) -> str:
    """The fleet in a sentence."""
    if not lines:
        return "No events have come yet"
    ill = sum(line["state"] in {"harm", "drift"} for line in lines)
    fine = sum(line["state"] == "ok" for line in lines)
    some = "deployment" if len(lines) == 1 else "deployments"
    return f"{len(lines):,} {some}: {fine:,} ok, {ill:,} that need somebody"


def incident_page(context: ApiContext, incident_id: str) -> HTMLResponse:
    """One incident; RequestRefusedError 404."""
    from monitor.api.history import find_history
    from monitor.api.query import find_incident

    found = find_incident(context, incident_id)
    around = find_history(context, incident_id)["history"][len(found["history"]) :]
    page = SERVICE_PAGES.get(found["kind"]) or page_of(found["mode"], found["streams"])
    return html_page(
        "incident.html",
        title=f"Incident {found['id']}",
        here="incident",
        incident=found,
        around=around,
        verdicts=[choice.value for choice in Verdict],
        runbook=runbook_link(page, ""),
    )


_STEPS = {
    RequestStatus.REQUESTED: (("approve", "Let it go ahead"), ("reject", "Turn it down")),
    RequestStatus.APPROVED: (("start", "Training runs"), ("complete", "The result serves")),
    RequestStatus.RUNNING: (("complete", "The result serves"),),
}


def request_page(context: ApiContext, request_id: str) -> HTMLResponse:
    """One retraining request with its steps; RequestRefusedError 404."""
    from monitor.api.query import find_request

    found = find_request(context, request_id)
    return html_page(
        "request.html",
        title=f"Request {found['id']}",
        here="request",
        request=found,
        history=found["history"],
        steps=_STEPS.get(RequestStatus(found["status"]), ()),
    )


def mapping_page(context: ApiContext, mapping_id: str) -> HTMLResponse:
    """A mapping with source and domain side by side; RequestRefusedError 404."""
    from monitor.api.mappings import find_mapping, mapping_json
    from monitor.mapping.profiles import side_by_side

    found = find_mapping(context, mapping_id)
    with context.database.read() as session:
        profiles = side_by_side(session, found.deployment, found.entry)
        others = [
            mapping_json(version)
            for version in mappings_of(session, found.deployment)
            if version.entry.key == found.entry.key
        ]
    return html_page(
        "mapping.html",
        title=f"Mapping {found.id}",
        here="mapping",
        mapping=mapping_json(found),
        column=found.entry.column,
        here_column=found.entry.here,
        profiles=profiles,
        versions=others,
    )


def report_page(report: dict[str, Any], *, among_pages: bool = False) -> HTMLResponse:
    """A kedge.report/1 as one page; from `/v1` it stands alone and can be kept as a file."""
    from monitor.reports.html import render_html

    nonce = new_nonce()
    around = {"navigation": navigation("report"), "style": page_style()} if among_pages else {}
    return html_reply(render_html(report, nonce=nonce, **around), nonce)
