"""Every error leaves in one shape: `{"error": …, "hint": …}` with the status that fits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from alerts.closing import IncidentClosedError, IncidentOpenError
from alerts.plain import plain
from monitor.api.errors import RequestRefusedError, refusal_response
from monitor.api.ingest import Problem
from monitor.errors import KedgeError, NotAllowedError
from storage.deployments import UnknownModelError
from storage.incidents import UnknownIncidentError
from storage.mappings import MappingExistsError, MappingStateError, UnknownMappingError
from storage.references import ReferenceStateError, UnknownReferenceError
from storage.retraining import RequestStateError, UnknownRequestError

log = structlog.get_logger(__name__)

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownModelError, 404),
    (UnknownIncidentError, 404),
    (UnknownRequestError, 404),
    (UnknownReferenceError, 404),
    (UnknownMappingError, 404),
    (MappingStateError, 409),
    (MappingExistsError, 409),
    (IncidentClosedError, 409),
    (IncidentOpenError, 409),
    (RequestStateError, 409),
    (ReferenceStateError, 409),
    (NotAllowedError, 403),
    (KedgeError, 409),
)
"""What an error of the inner layers means to a caller; the first that fits."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The token is missing or wrong"},
    403: {"model": Problem, "description": "The token has not the scope, or is bound"},
    404: {"model": Problem, "description": "Nothing has this name or id"},
    422: {"model": Problem, "description": "A parameter or field is not what it should be"},
    429: {"model": Problem, "description": "This token asks too often: see Retry-After"},
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "Not possible in the present state"}
}


def problem(status: int, error: str, hint: str, **headers: str) -> JSONResponse:
    """A refusal in the shape every route uses; both texts are made one safe line."""
    body = {"error": plain(error), "hint": plain(hint, 1_000)}
    return JSONResponse(body, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Give an application the error shape, for its own errors and those of the layers below."""
    for kind, status in STATUS:
        app.add_exception_handler(kind, _in_words(status))
    app.add_exception_handler(RequestRefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(Exception, _unexpected)


def _in_words(status: int) -> Callable[[Request, Exception], Response]:
    def respond(_: Request, error: Exception) -> Response:
        what, _semicolon, hint = str(error).partition("; ")
        return problem(status, what, hint or "see the present state first")

    return respond


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefusedError)
    return refusal_response(error)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    first = problems[0]
    if first["type"] == "json_invalid":
        return problem(422, "the body is not JSON", "send one JSON object in UTF-8")
    place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    given = first.get("input")
    shown = f", got {str(given)[:80]!r}" if isinstance(given, (str, int, float, bool)) else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"{place}: {_lower(first['msg'])}{shown}{more}"
    return problem(422, message, "the fields and their limits are in /openapi.json")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    hints = {
        404: (f"no page or route '{path}'", "routes are listed in /openapi.json"),
        405: (f"{request.method} is not possible on '{path}'", "see /openapi.json"),
        400: ("the body cannot be read", "send one JSON object in UTF-8"),
        408: (str(error.detail), "send it more quickly"),
        413: (str(error.detail), "send less at once"),
    }
    what, hint = hints.get(error.status_code, (str(error.detail), "see /openapi.json"))
    return problem(error.status_code, what, hint, **dict(error.headers or {}))


def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    log.warning("request.database_failed", path=request.url.path, error=type(error.orig).__name__)
    return problem(503, "the database does not answer", "try again", **{"Retry-After": "2"})


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request.failed", path=request.url.path, exc_info=error)
    return problem(500, "an error inside Kedge", "the log of the daemon has the details")
