"""`POST /v1/events` and `POST /v1/labels`: raw bodies in, counts out after the commit.

Bodies are read as they stream, decoded on a worker thread, and answered when the ingest writer
has committed them, so the event loop never does the work of a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError

from detectors.records import Schema, Task, to_us
from monitor.api.access import asking, needs
from monitor.api.decode_arrow import decode_arrow_events, decode_arrow_labels, read_stream
from monitor.api.decode_json import decode_json_events, decode_json_labels, learn_json_schema
from monitor.api.errors import RequestRefusedError, refusal_response
from monitor.api.json_rows import model_of
from monitor.api.learn_schema import learn_arrow_schema
from monitor.api.limits import Body, InFlight, IngestLimits, drain, inflate, overloaded, read_body
from monitor.clock import Clock
from monitor.errors import did_you_mean, shortened
from monitor.intake.batches import EventBatch, LabelBatch, cut
from monitor.intake.ingest import Ingest, OverloadedError, Receipt, StoppingError
from storage.deployments import UnknownModelError
from storage.tenancy import Tenant
from storage.tokens import Scope

log = structlog.get_logger(__name__)
R = TypeVar("R")

JSON, NDJSON, ARROW = (
    "application/json",
    "application/x-ndjson",
    "application/vnd.apache.arrow.stream",
)
_FORMS = {
    JSON: JSON,
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    "application/jsonlines": NDJSON,
    "application/x-jsonlines": NDJSON,
    ARROW: ARROW,
}
_HEAVY_BYTES = 16 * 2**20


class ModelSchemas(Protocol):
    """What ingest asks about models. Called from worker threads."""

    def models(self) -> Sequence[str]:
        """The names of all known models."""
        ...

    def task_of(self, model: str) -> Task | None:
        """What a model predicts, None for an unknown model."""
        ...

    def schema_of(self, model: str) -> Schema | None:
        """A model's schema from its reference or as learnt, None where neither is there yet."""
        ...

    def learnt(self, model: str, schema: Schema) -> Schema:
        """Keep a provisional schema, unless another was kept first; the one that holds."""
        ...


class RefusedRow(BaseModel):
    """One row that was not kept."""

    index: int = Field(description="Position in the body as sent, from 0")
    id: str
    field: str
    value: str = Field(description="What was given, cut at 80 characters")
    reason: str
    remedy: str


class IngestCounts(BaseModel):
    """What became of the rows of one request, after the commit."""

    accepted: int = Field(description="Stored by this request, late ones included")
    duplicate: int = Field(description="Stored before; nothing changed")
    sampled_out: int = Field(description="Not kept by the model's sampling")
    rejected: int = Field(description="Not kept because something is wrong with the row")
    late: int = Field(0, description="Accepted after their tick's watermark: reports only")
    waiting: int = Field(0, description="Labels whose event has not come yet; kept")
    correction: int = Field(0, description="Labels that differ from an earlier one: reports only")
    rejections: list[RefusedRow] = Field(default_factory=list, description="The first 100")
    warnings: list[str] = Field(default_factory=list)


class Problem(BaseModel):
    """Why a request was refused as a whole, and what to try."""

    error: str
    hint: str


_EVENT_EXAMPLE = {
    "id": "e1",
    "ts": "2026-01-01T00:00:00Z",
    "domain": "VT",
    "version": "3",
    "features": {"age": 41, "job": "nurse"},
    "score": 0.37,
    "baseline_score": 0.29,
}
_LABEL_EXAMPLE = {"id": "e1", "label": 1, "ts": "2026-01-08T00:00:00Z"}


def _row_schema(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


_EVENT = _row_schema(
    ["id", "ts"],
    {
        "id": {"type": "string", "minLength": 1, "maxLength": 200},
        "ts": {"type": "string", "format": "date-time", "description": "RFC 3339 with a zone"},
        "domain": {"type": ["string", "null"], "maxLength": 200},
        "version": {"type": ["string", "number", "null"]},
        "features": {
            "type": ["object", "null"],
            "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
        },
        "score": {"type": ["number", "null"]},
        "baseline_score": {"type": ["number", "null"]},
        "head_score": {"type": ["number", "null"], "description": "Of a head fitted anew"},
        "full_score": {"type": ["number", "null"], "description": "Of a model fine-tuned whole"},
        "prediction": {"type": ["string", "number", "boolean", "null"]},
        "arm": {"type": ["string", "null"]},
        "weight": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "embedding": {"type": ["array", "null"], "items": {"type": "number"}},
        "cluster": {"type": ["string", "number", "null"]},
    },
)
_LABEL = _row_schema(
    ["id", "label"],
    {
        "id": {"type": "string", "minLength": 1, "maxLength": 200},
        "label": {"type": ["number", "string"]},
        "ts": {"type": "string", "format": "date-time", "description": "When it became known"},
    },
)


def _request_body(key: str, row: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    envelope = {
        "type": "object",
        "required": [key],
        "properties": {"model": {"type": "string"}, key: {"type": "array", "items": row}},
    }
    line = {"type": "string", "description": f"One {key[:-1]} object a line; needs ?model="}
    arrow = {
        "type": "string",
        "format": "binary",
        "description": "An Arrow IPC stream with the same names; features are plain columns",
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": envelope, "example": {"model": "m", key: [example]}},
                NDJSON: {"schema": line},
                ARROW: {"schema": arrow},
            },
        }
    }


_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body as a whole cannot be read"},
    401: {"model": Problem, "description": "The token is missing or wrong"},
    403: {"model": Problem, "description": "The token has not the scope, or is bound to domains"},
    404: {"model": Problem, "description": "Unknown model, or another sender's domain"},
    408: {"model": Problem, "description": "The body came too slowly"},
    413: {"model": Problem, "description": "Too many bytes or rows"},
    415: {"model": Problem, "description": "Unknown content type or encoding"},
    422: {"model": Problem, "description": "No row could be kept: the counts come along"},
    429: {"model": Problem, "description": "This token asks too often: see Retry-After"},
    503: {"model": Problem, "description": "Overloaded or stopping: see Retry-After"},
}
_Model = Annotated[str | None, Query(max_length=200, description="For NDJSON and Arrow")]


@dataclass(frozen=True, slots=True)
class _Service:
    ingest: Ingest
    schemas: ModelSchemas
    clock: Clock
    limits: IngestLimits
    in_flight: InFlight
    executor: Executor
    heavy: asyncio.Semaphore


def ingest_router(
    ingest: Ingest,
    schemas: ModelSchemas,
    clock: Clock,
    limits: IngestLimits | None = None,
) -> APIRouter:
    """The two ingest routes. `ingest` must have been started."""
    limits = limits if limits is not None else IngestLimits()
    executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode")

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        executor.shutdown(wait=False, cancel_futures=True)

    router = APIRouter(tags=["ingest"], lifespan=lifespan, dependencies=[needs(Scope.INGEST)])
    service = _Service(
        ingest,
        schemas,
        clock,
        limits,
        InFlight(limits.in_flight_bytes),
        executor,
        asyncio.Semaphore(1),
    )

    @router.post(
        "/v1/events",
        status_code=202,
        response_model=IngestCounts,
        responses=_RESPONSES,
        openapi_extra=_request_body("events", _EVENT, _EVENT_EXAMPLE),
        summary="Send events",
    )
    async def post_events(request: Request, model: _Model = None) -> Response:
        """Keep predictions. Rows that are wrong are refused one by one; the rest is kept.

        Sending the same ids again changes nothing. The reply comes after the commit.
        """
        return await _take(request, model, service, _decode_events, ingest.submit_events)

    @router.post(
        "/v1/labels",
        status_code=202,
        response_model=IngestCounts,
        responses=_RESPONSES,
        openapi_extra=_request_body("labels", _LABEL, _LABEL_EXAMPLE),
        summary="Send labels",
    )
    async def post_labels(request: Request, model: _Model = None) -> Response:
        """Keep ground truth by event id, before or after its event.

        Labels of unknown ids wait. The first label of an event is its evidence; a later,
        different one is a correction that reports show.
        """
        return await _take(request, model, service, _decode_labels, ingest.submit_labels)

    return router


async def _take(
    request: Request,
    model: str | None,
    service: _Service,
    decode: Callable[..., R],
    submit: Callable[[R], Future[Receipt]],
) -> Response:
    body = Body()
    try:
        form = _form(request.headers.get("content-type", ""))
        await _read(request, service, body)
        # Worker threads of this pool do not know who asks: they are told.
        tenant = asking().tenant
        work = partial(decode, form=form, model=model, service=service, tenant=tenant)
        batch = await _decoded(body, work, service)
        receipt = await asyncio.wrap_future(submit(batch))
    except RequestRefusedError as refused:
        return refusal_response(refused)
    except (OverloadedError, StoppingError) as error:
        return refusal_response(overloaded(str(error)))
    except UnknownModelError as error:
        return refusal_response(_unknown_model(error.name, error.available))
    except DBAPIError as error:
        log.warning("ingest.database_failed", error=type(error.orig).__name__)
        return refusal_response(overloaded("the database does not take the batch"))
    finally:
        service.in_flight.release(body.size)
    return _reply(receipt)


async def _read(request: Request, service: _Service, body: Body) -> None:
    """The whole body; of one there is no room for, the rest is heard before it is refused.

    Who sends `Expect: 100-continue`, as curl does, waits with its body until we ask for it.
    """
    stream = request.stream()
    try:
        await read_body(
            stream,
            encoding=request.headers.get("content-encoding", ""),
            declared_bytes=_declared(request),
            limits=service.limits,
            in_flight=service.in_flight,
            body=body,
        )
    except RequestRefusedError as refused:
        if refused.status == 503:
            body.chunks.clear()
            heard, body.size = body.size, 0
            service.in_flight.release(heard)
            if heard or request.headers.get("expect", "").lower() != "100-continue":
                await drain(stream)
        raise


async def _decoded(body: Body, decode: Callable[[bytes], R], service: _Service) -> R:
    """The batch of a body, made on a worker thread; what may be large, one at a time."""

    def work() -> R:
        plain = inflate(body, service.limits)
        body.chunks.clear()
        return decode(plain)

    loop = asyncio.get_running_loop()
    if body.size <= _HEAVY_BYTES and not body.gzip:
        return await loop.run_in_executor(service.executor, work)
    async with service.heavy:
        return await loop.run_in_executor(service.executor, work)


def _decode_events(
    body: bytes, *, form: str, model: str | None, service: _Service, tenant: Tenant
) -> EventBatch:
    name, task = _known_model(body, form, model, service.schemas, tenant)
    limits, lines = service.limits, form == NDJSON
    now_us = to_us(service.clock.now())
    table = read_stream(body, limits) if form == ARROW else None
    schema = service.schemas.schema_of(name)
    if schema is None:
        found = (
            learn_arrow_schema(table, task)
            if table is not None
            else learn_json_schema(body, task, limits, lines=lines)
        )
        schema = service.schemas.learnt(name, found) if found.columns else found
    admit = partial(
        service.ingest.new_names.admit, name, now_us=now_us, most=service.limits.new_columns
    )
    if table is not None:
        batch = decode_arrow_events(
            table, model=name, schema=schema, now_us=now_us, limits=limits, admit=admit
        )
    else:
        batch = decode_json_events(
            body,
            model=name,
            schema=schema,
            now_us=now_us,
            limits=limits,
            lines=lines,
            admit=admit,
        )
    return _of_tenant(batch, tenant)


def _of_tenant(batch: EventBatch, tenant: Tenant) -> EventBatch:
    """The batch, if every domain in it is the sender's own; else nothing of it is taken."""
    domains = batch.window.domain
    foreign = [d for d in domains.values if not tenant.has_domain(d)] if domains else []
    if foreign:
        own = shortened(tenant.domains)
        raise RequestRefusedError(404, f"no domain '{cut(foreign[0])}'", f"this token has: {own}")
    return batch


def _decode_labels(
    body: bytes, *, form: str, model: str | None, service: _Service, tenant: Tenant
) -> LabelBatch:
    name, task = _known_model(body, form, model, service.schemas, tenant)
    if tenant.domains:
        raise RequestRefusedError(
            403,
            "labels name no domain, and this token is bound to some",
            "send labels with a token for the whole model",
        )
    now_us = to_us(service.clock.now())
    limits = service.limits
    schema = service.schemas.schema_of(name)
    classes = () if schema is None else schema.classes
    if form == ARROW:
        table = read_stream(body, limits)
        return decode_arrow_labels(
            table, model=name, task=task, now_us=now_us, limits=limits, classes=classes
        )
    return decode_json_labels(
        body,
        model=name,
        task=task,
        now_us=now_us,
        limits=limits,
        lines=form == NDJSON,
        classes=classes,
    )


def _known_model(
    body: bytes, form: str, asked: str | None, schemas: ModelSchemas, tenant: Tenant
) -> tuple[str, Task]:
    if form == JSON:
        name = model_of(body, asked)
    elif asked is None:
        raise RequestRefusedError(400, "no model is named", "add ?model=NAME to the address")
    else:
        name = asked
    task = schemas.task_of(name) if tenant.has_model(name) else None
    if task is None:
        raise _unknown_model(name, [m for m in schemas.models() if tenant.has_model(m)])
    return name, task


def _unknown_model(name: str, known: Sequence[str]) -> RequestRefusedError:
    there_is = f"known models: {shortened(known)}" if known else "no model is configured yet"
    hint = f"{there_is}.{did_you_mean(name, known)}"
    return RequestRefusedError(404, f"unknown model '{cut(name)}'", hint)


def _form(content_type: str) -> str:
    media = content_type.partition(";")[0].strip().lower()
    form = _FORMS.get(media)
    if form is None:
        raise RequestRefusedError(
            415, f"content type '{media[:80]}' is not known", f"send {JSON}, {NDJSON} or {ARROW}"
        )
    return form


def _declared(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _reply(receipt: Receipt) -> JSONResponse:
    """202 with the counts; 422 with the counts where every row was refused."""
    refused = receipt.refused
    counts: dict[str, Any] = {
        "accepted": receipt.accepted,
        "duplicate": receipt.duplicate,
        "sampled_out": receipt.sampled_out,
        "rejected": receipt.rejected,
        "late": receipt.late,
        "waiting": receipt.waiting,
        "correction": receipt.correction,
        "rejections": [asdict(rejection) for rejection in refused.shown],
        "warnings": list(refused.warnings),
    }
    kept = receipt.accepted + receipt.duplicate + receipt.sampled_out
    if kept or not receipt.rejected:
        return JSONResponse(counts, status_code=202)
    first = refused.shown[0]
    place = f"{first.field} of row" if first.field else "row"
    error = f"{place} {first.index}: {first.reason}, got '{first.value}'"
    if receipt.rejected > 1:
        error = f"all {receipt.rejected:,} rows were refused, the first for {error}"
    return JSONResponse({"error": error, "hint": first.remedy, **counts}, status_code=422)
