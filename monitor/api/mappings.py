"""Mappings between source and domain: listed, imported, approved or rejected by a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Query, Request

from alerts.mappings import (
    MappingStatus,
    MappingVersion,
    next_versions,
    review_message,
)
from alerts.plain import name, plain
from detectors.records import Deployment, MappingEntry, MappingProposal
from monitor.api.access import asking, needs
from monitor.api.author import author_of
from monitor.api.context import ApiContext
from monitor.api.errors import RequestRefusedError
from monitor.api.forms import moment
from monitor.api.look_up import find_model, unknown
from monitor.api.mapping_shapes import (
    Imported,
    ImportLine,
    Judged,
    MappingImport,
    MappingList,
    MappingShape,
)
from monitor.api.problems import CONFLICT, PROBLEMS
from monitor.errors import InputError, did_you_mean
from monitor.mapping.files import check_entry, check_file, entry_json
from monitor.mapping.profiles import known_names
from monitor.oncall.dispatch import post
from monitor.reports.forms import iso
from storage.deployments import list_deployments
from storage.mappings import (
    UnknownMappingError,
    add_versions,
    decide_mapping,
    get_mapping,
    list_mappings,
    mappings_of,
)
from storage.tokens import Scope

log = structlog.get_logger(__name__)

Id = Annotated[str, Path(max_length=400)]
Filter = Annotated[str | None, Query(max_length=200)]


def mappings_router(context: ApiContext) -> APIRouter:
    """Routes over mappings."""
    router = APIRouter(prefix="/v1", responses={**PROBLEMS, **CONFLICT}, tags=["mappings"])
    reading, deciding = [needs(Scope.READ)], [needs(Scope.OPERATE)]

    @router.get("/mappings", response_model=MappingList, dependencies=reading)
    def mappings(
        model: Filter = None,
        domain: Filter = None,
        status: MappingStatus | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> dict[str, Any]:
        """Every version, by model, domain, column and category."""
        with context.database.read() as session:
            found = list_mappings(session, model=model, domain=domain, status=status, limit=limit)
        return {"mappings": [mapping_json(version) for version in found]}

    @router.post("/mappings", response_model=Imported, dependencies=deciding)
    def import_mappings(request: Request, given: MappingImport) -> dict[str, Any]:
        """Propose mappings: all of them, or none if one cannot be. A person decides on them."""
        return propose(context, given, author_of(request, given.by))

    @router.get("/mappings/{mapping_id}", response_model=MappingShape, dependencies=reading)
    def mapping(mapping_id: Id) -> dict[str, Any]:
        """One version of a mapping."""
        return mapping_json(find_mapping(context, mapping_id))

    @router.post(
        "/mappings/{mapping_id}/approve", response_model=MappingShape, dependencies=deciding
    )
    def approve(request: Request, mapping_id: Id, deed: Judged) -> dict[str, Any]:
        """Stand behind a mapping: rows are read by it from now on, and held to it."""
        return judge_mapping(
            context, mapping_id, MappingStatus.APPROVED, deed.reason, author_of(request, deed.by)
        )

    @router.post(
        "/mappings/{mapping_id}/reject", response_model=MappingShape, dependencies=deciding
    )
    def reject(request: Request, mapping_id: Id, deed: Judged) -> dict[str, Any]:
        """Say that a mapping is not so. The same is not proposed again."""
        return judge_mapping(
            context, mapping_id, MappingStatus.REJECTED, deed.reason, author_of(request, deed.by)
        )

    return router


def propose(context: ApiContext, given: MappingImport, by: str) -> dict[str, Any]:
    """Check every line, then store what is new with one message a domain, in one transaction."""
    now, added = context.clock.now(), 0
    by_domain: dict[str, list[ImportLine]] = {}
    for line in given.mappings:
        by_domain.setdefault(line.domain, []).append(line)
    made: list[MappingVersion] = []
    with context.database.write() as session:
        find_model(session, context.config(), given.model)
        domains = [state.deployment.domain for state in list_deployments(session, given.model)]
        for domain, lines in by_domain.items():
            deployment = Deployment(given.model, domain)
            hint = did_you_mean(domain, domains)
            if not asking().tenant.has(given.model, domain):
                raise unknown(f"domain of model '{name(given.model)}'", domain, domains)
            if domain not in domains and hint:
                raise RequestRefusedError(
                    422, f"no domain '{name(domain)}' of model '{name(given.model)}'", hint.strip()
                )
            entries = [entry_of(line) for line in lines]
            try:
                check_file(entries)
                known = known_names(session, deployment)
                for entry in entries:
                    check_entry(entry, known)
            except InputError as error:
                what, _, rest = str(error).partition("; ")
                raise RequestRefusedError(
                    422, f"{name(domain)}: {what}", rest or "nothing was stored"
                ) from error
            new: list[MappingVersion] = []
            for line, entry in zip(lines, entries, strict=True):
                new += next_versions(
                    deployment,
                    mappings_of(session, deployment),
                    [MappingProposal(entry, f"imported by {name(by)}")],
                    at=now,
                    by=by,
                    since=line.since,
                )
            add_versions(session, new)
            if new:
                message = review_message(new, None, now=now, public_url=context.alerts.public_url)
                post(session, message, context.routing(), now)
            made += new
        added = len(made)
    log.info("mappings.imported", model=given.model, added=added)
    return {
        "added": [mapping_json(version) for version in made],
        "unchanged": len(given.mappings) - added,
    }


def judge_mapping(
    context: ApiContext, mapping_id: str, status: MappingStatus, reason: str, by: str
) -> dict[str, Any]:
    """Decide on a version; 409 with who was faster, and nothing is changed."""
    with context.database.write() as session:
        try:
            decided = decide_mapping(
                session,
                mapping_id,
                status,
                by=by,
                reason=plain(reason, 1_000),
                now=context.clock.now(),
            )
        except UnknownMappingError:
            raise unknown("mapping", mapping_id, _ids(list_mappings(session))) from None
    log.info("mapping.decided", mapping=mapping_id, status=status.value)
    return mapping_json(decided)


def find_mapping(context: ApiContext, mapping_id: str) -> MappingVersion:
    """One version; RequestRefusedError 404 with the nearest known id."""
    with context.database.read() as session:
        try:
            return get_mapping(session, mapping_id)
        except UnknownMappingError:
            known = _ids(list_mappings(session))
    raise unknown("mapping", mapping_id, known)


def entry_of(line: ImportLine) -> MappingEntry:
    """The record of a line; the same column under its own name is no other column."""
    here = "" if line.domain_column == line.column else line.domain_column
    return MappingEntry(
        column=line.column,
        category=line.category,
        domain_column=here,
        domain_category=line.domain_category,
        scale=line.scale,
        offset=line.offset,
        missing=line.missing,
        absent=line.absent,
    )


def mapping_json(version: MappingVersion) -> dict[str, Any]:
    """A version as routes and pages show it."""
    return {
        "id": version.id,
        "model": version.deployment.model,
        "domain": version.deployment.domain,
        "version": version.version,
        "status": version.status.value,
        "words": version.words,
        "entry": entry_json(version.entry),
        "since": moment(version.since),
        "evidence": version.evidence,
        "incident_id": version.incident_id or None,
        "created_at": iso(version.created_at),
        "created_by": version.created_by or None,
        "decided_at": moment(version.decided_at),
        "decided_by": version.decided_by or None,
        "reason": version.reason or None,
    }


def _ids(versions: Sequence[MappingVersion]) -> list[str]:
    return [version.id for version in versions]
