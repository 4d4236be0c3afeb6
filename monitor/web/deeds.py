"""Forms of the pages: what a person does with a click, by the same rules as over `/v1`.

The guard has refused what another site sends. After a deed the browser goes back to the page it
came from, so that loading it again does nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from alerts.mappings import MappingStatus
from alerts.plain import plain
from alerts.records import RequestStatus
from monitor.api import shapes
from monitor.api.access import needs
from monitor.api.errors import RequestRefusedError
from monitor.api.mapping_shapes import Judged
from monitor.api.mappings import judge_mapping
from monitor.api.problems import STATUS
from monitor.api.retraining import Completion, take_step
from monitor.api.silences import silence_incident
from monitor.api.work import ack_incident, note_feedback, resolve_incident
from monitor.web.render import html_page
from storage.tokens import Scope

if TYPE_CHECKING:
    from monitor.api.context import ApiContext

Fields = dict[str, str]
Do = Callable[["ApiContext", Request, str, Fields], Any]
MOST_FIELDS = 10


@dataclass(frozen=True, slots=True)
class Deed:
    """What the form `action` does to a thing under `place`."""

    place: str
    action: str
    do: Do


def deeds_router(context: ApiContext) -> APIRouter:
    """`POST` beside each page that can be acted on."""
    router = APIRouter(include_in_schema=False, dependencies=[needs(Scope.OPERATE)])
    for deed in DEEDS:
        router.add_api_route(
            f"{deed.place}/{{thing_id}}/{deed.action}", _handler(context, deed), methods=["POST"]
        )
    return router


def _handler(context: ApiContext, deed: Deed) -> Callable[..., Any]:
    async def act(request: Request, thing_id: str) -> Response:
        back = f"{deed.place}/{quote(thing_id, safe='')}"
        given = parse_qs(
            (await request.body()).decode("utf-8", "replace"), max_num_fields=MOST_FIELDS
        )
        fields = {name: values[0].strip() for name, values in given.items() if values[0].strip()}
        try:
            await run_sync(lambda: deed.do(context, request, thing_id, fields))
        except ValidationError as error:
            return _refused(422, _first(error.errors()), back)
        except RequestRefusedError as error:
            return _refused(error.status, f"{error.error}; {error.hint}", back)
        except _KNOWN as error:
            status = next(code for kind, code in STATUS if isinstance(error, kind))
            return _refused(status, str(error), back)
        return RedirectResponse(back, 303)

    return act


_KNOWN = tuple(kind for kind, _ in STATUS)


def _first(errors: list[Any]) -> str:
    """The first thing that is wrong with a form, as a person reads it."""
    field = ".".join(str(part) for part in errors[0]["loc"])
    words = {"by": "your name", "reason": "the reason", "for": "how long"}.get(field, field)
    return f"{words}: {errors[0]['msg'].removeprefix('Value error, ').lower()}"


def _refused(status: int, why: str, back: str) -> Response:
    """Nothing was changed; the page says why and leads back."""
    page = html_page("refused.html", title="Not done", here="", why=plain(why, 1_000), back=back)
    page.status_code = status
    return page


def _ack(context: ApiContext, request: Request, thing_id: str, fields: Fields) -> None:
    ack_incident(context, request, thing_id, shapes.Acknowledge.model_validate(fields))


def _resolve(context: ApiContext, request: Request, thing_id: str, fields: Fields) -> None:
    resolve_incident(context, request, thing_id, shapes.Deed.model_validate(fields))


def _silence(context: ApiContext, request: Request, thing_id: str, fields: Fields) -> None:
    silence_incident(context, request, thing_id, shapes.SilenceFor.model_validate(fields))


def _feedback(context: ApiContext, request: Request, thing_id: str, fields: Fields) -> None:
    note_feedback(context, request, thing_id, shapes.Feedback.model_validate(fields))


def _mapping(status: MappingStatus) -> Do:
    def judge(context: ApiContext, request: Request, thing_id: str, fields: Fields) -> None:
        del request
        judged = Judged.model_validate(fields)
        judge_mapping(context, thing_id, status, judged.reason, judged.by)

    return judge


def _request(status: RequestStatus) -> Do:
    def move(context: ApiContext, request: Request, thing_id: str, fields: Fields) -> None:
        done: Mapping[str, Any] = {}
        if status is RequestStatus.COMPLETED:
            deed: shapes.Deed = Completion.model_validate(fields)
            assert isinstance(deed, Completion)
            done = {"version": deed.version, "served_since": deed.served_since}
        else:
            deed = shapes.Deed.model_validate(fields)
        take_step(context, request, thing_id, status, deed, **done)

    return move


DEEDS = (
    Deed("/incidents", "ack", _ack),
    Deed("/incidents", "resolve", _resolve),
    Deed("/incidents", "silence", _silence),
    Deed("/incidents", "feedback", _feedback),
    Deed("/mappings", "approve", _mapping(MappingStatus.APPROVED)),
    Deed("/mappings", "reject", _mapping(MappingStatus.REJECTED)),
    Deed("/retraining", "approve", _request(RequestStatus.APPROVED)),
    Deed("/retraining", "reject", _request(RequestStatus.REJECTED)),
    Deed("/retraining", "start", _request(RequestStatus.RUNNING)),
    Deed("/retraining", "complete", _request(RequestStatus.COMPLETED)),
)
