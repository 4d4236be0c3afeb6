"""`POST /v1/models/{model}/anchors`, `…/probe` and `…/probe/scores`: what files give, over HTTP.

The twins of `kedge anchors add`, `kedge probe add` and `kedge probe score`, for a training
pipeline that reaches the daemon and not its database. A version is stored once: the same rows
again change nothing and are answered 200, other rows 409.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError

from detectors.records import FloatArray
from monitor.api.access import asking, needs
from monitor.api.context import ApiContext
from monitor.api.decode_arrow import read_stream
from monitor.api.errors import RequestRefusedError, refusal_response
from monitor.api.ingest import ARROW, JSON, Problem
from monitor.api.limits import Body, InFlight, IngestLimits, inflate, overloaded, read_body
from monitor.api.look_up import find_model
from monitor.api.problems import CONFLICT, PROBLEMS
from monitor.errors import InputError
from monitor.files.version_rows import (
    MOST_DIMENSIONS,
    NO_ROWS,
    GivenRows,
    read_rows,
    store_rows,
)
from monitor.watching.alignment import task_of
from storage.tokens import Scope
from storage.version_rows import (
    MOST_ROWS,
    VersionKind,
    VersionRowsError,
    VersionStoredError,
)

LIMITS = IngestLimits(rows=MOST_ROWS, columns=4)
"""Of one body; 20,000 anchors of 512 numbers fit as Arrow, and 5,000 as JSON."""

AT_ONCE_BYTES = LIMITS.inflated_bytes
ROLES = {role: role for role in ("id", "embedding", "label", "score")}


class _Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    embedding: list[float] | None = None
    label: float | None = None
    score: float | None = None


class _Rows(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    rows: list[_Row]


class VersionStored(BaseModel):
    """What became of the rows."""

    model: str
    kind: VersionKind
    version: str = Field(description='"" for a probe, which belongs to all versions')
    rows: int
    duplicate: bool = Field(description="These very rows were there already; nothing changed")


_ID = {"type": "string", "minLength": 1, "maxLength": 200}
_NUMBER = {"type": ["number", "null"]}
_VECTOR = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 1,
    "maxItems": MOST_DIMENSIONS,
    "description": "As long in every row",
}


def _body(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    row = {
        "type": "object",
        "required": ["id", *required],
        "additionalProperties": False,
        "properties": {"id": _ID, **properties},
    }
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": MOST_ROWS}
    envelope = {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {"rows": rows},
    }
    arrow = {
        "type": "string",
        "format": "binary",
        "description": "An Arrow IPC stream of columns with the same names",
    }
    content = {JSON: {"schema": envelope}, ARROW: {"schema": arrow}}
    return {"requestBody": {"required": True, "content": content}}


_Model = Annotated[str, Path(max_length=400)]
_Version = Annotated[str, Query(min_length=1, max_length=200)]


def version_rows_router(context: ApiContext) -> APIRouter:
    """The three routes that take rows of versions."""
    router = APIRouter(
        prefix="/v1/models/{model}",
        responses={
            200: {"model": VersionStored, "description": "These very rows were there already"},
            **PROBLEMS,
            **CONFLICT,
            **{status: {"model": Problem, "description": why} for status, why in _WHY.items()},
        },
        dependencies=[needs(Scope.INGEST)],
        tags=["models"],
    )
    in_flight = InFlight(AT_ONCE_BYTES)

    async def take(request: Request, model: str, kind: VersionKind, version: str) -> Response:
        return await _take(context, in_flight, request, model, kind, version)

    @router.post(
        "/anchors",
        status_code=201,
        response_model=VersionStored,
        openapi_extra=_body(
            ["embedding"], {"embedding": _VECTOR, "label": _NUMBER, "score": _NUMBER}
        ),
    )
    async def post_anchors(request: Request, model: _Model, version: _Version) -> Response:
        """Keep the embeddings that a version gives to the anchors, once for a version."""
        return await take(request, model, VersionKind.ANCHORS, version)

    @router.post(
        "/probe",
        status_code=201,
        response_model=VersionStored,
        openapi_extra=_body(["label"], {"label": _NUMBER}),
    )
    async def post_probe(request: Request, model: _Model) -> Response:
        """Keep the labelled rows of the source that every version scores, once for a model."""
        return await take(request, model, VersionKind.PROBE, "")

    @router.post(
        "/probe/scores",
        status_code=201,
        response_model=VersionStored,
        openapi_extra=_body(["score"], {"score": _NUMBER}),
    )
    async def post_probe_scores(request: Request, model: _Model, version: _Version) -> Response:
        """Keep the scores that a version gives to the probe's rows, once for a version."""
        return await take(request, model, VersionKind.PROBE_SCORES, version)

    return router


_WHY = {
    400: "The body as a whole cannot be read",
    408: "The body came too slowly",
    413: "Too many bytes or rows",
    415: "Unknown content type or encoding",
    503: "Other bodies are being read: see Retry-After",
}


async def _take(
    context: ApiContext,
    in_flight: InFlight,
    request: Request,
    model: str,
    kind: VersionKind,
    version: str,
) -> Response:
    declared = request.headers.get("content-length", "")
    body = Body()
    try:
        form = _form(request.headers.get("content-type", ""))
        await read_body(
            request.stream(),
            encoding=request.headers.get("content-encoding", ""),
            declared_bytes=int(declared) if declared.isascii() and declared.isdigit() else None,
            limits=LIMITS,
            in_flight=in_flight,
            body=body,
        )
        return await asyncio.to_thread(_store, context, body, form, model, kind, version)
    except RequestRefusedError as refused:
        return refusal_response(refused)
    except DBAPIError:
        return refusal_response(overloaded("the database does not take the rows"))
    finally:
        in_flight.release(body.size)


def _form(content_type: str) -> str:
    form = content_type.partition(";")[0].strip().lower()
    if form not in (JSON, ARROW):
        hint = f"send {JSON} or {ARROW}"
        raise RequestRefusedError(415, f"content type '{form[:80]}' is not known", hint)
    return form


def _store(
    context: ApiContext,
    body: Body,
    form: str,
    model: str,
    kind: VersionKind,
    version: str,
) -> Response:
    plain = inflate(body, LIMITS)
    try:
        given = _from_json(plain, kind) if form == JSON else _from_arrow(plain, kind)
        with context.database.write() as session:
            find_model(session, context.config(), model)
            if asking().tenant.domains:
                what = "anchors and probes are of a whole model; this token is bound to domains"
                raise RequestRefusedError(403, what, "use a token for the whole model")
            task, now = task_of(session, model), context.clock.now()
            try:
                rows = store_rows(session, model, kind, version, given, task=task, now=now)
                duplicate = False
            except VersionStoredError as error:
                if not error.same:
                    hint = "give the new rows a version of their own"
                    raise RequestRefusedError(409, str(error), hint) from error
                rows, duplicate = len(given.ids), True
    except (InputError, VersionRowsError) as error:
        what, _, rest = str(error).partition("; ")
        raise RequestRefusedError(422, what, rest or "nothing was stored") from error
    told = VersionStored(model=model, kind=kind, version=version, rows=rows, duplicate=duplicate)
    return JSONResponse(told.model_dump(mode="json"), status_code=200 if duplicate else 201)


def _from_arrow(body: bytes, kind: VersionKind) -> GivenRows:
    table = read_stream(body, LIMITS)
    kinds = [pa.types.is_string, pa.types.is_large_string, pa.types.is_integer]
    if "id" in table.column_names and not any(is_(table.field("id").type) for is_ in kinds):
        msg = f"id holds {table.field('id').type}; text or whole numbers would do"
        raise InputError(msg)
    return read_rows(table, kind, ROLES, source="the body")


def _from_json(body: bytes, kind: VersionKind) -> GivenRows:
    try:
        rows = msgspec.json.decode(body, type=_Rows).rows
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = 'send {"rows": [{"id": "a1", …}, …]}'
        raise RequestRefusedError(400, f"the body cannot be read: {error}", hint) from error
    if not rows:
        raise InputError(NO_ROWS)
    if len(rows) > LIMITS.rows:
        raise RequestRefusedError(413, f"more than {LIMITS.rows:,} rows", "send fewer anchors")
    anchors = kind is VersionKind.ANCHORS
    return GivenRows(
        ids=[row.id for row in rows],
        embedding=_vectors([row.embedding for row in rows]) if anchors else None,
        label=_numbers([row.label for row in rows], needed=kind is VersionKind.PROBE),
        score=_numbers([row.score for row in rows], needed=kind is VersionKind.PROBE_SCORES),
    )


def _numbers(values: list[float | None], *, needed: bool) -> FloatArray | None:
    if not needed and all(value is None for value in values):
        return None
    found: FloatArray = np.array(values, dtype=np.float64)
    return found


def _vectors(values: list[list[float] | None]) -> NDArray[np.float32]:
    widths = {0 if value is None else len(value) for value in values}
    if len(widths) > 1 or 0 in widths:
        has = ", ".join(str(width) for width in sorted(widths)[:3])
        msg = f"embeddings of {has} numbers; every row needs one, all of one length"
        raise InputError(msg)
    with np.errstate(over="ignore"):  # what is too large for 32 bits is told as not finite
        found: NDArray[np.float32] = np.array(values, dtype=np.float32)
    return found
