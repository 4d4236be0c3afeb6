"""Who may ask, and what every reply carries. Stands before all routes, so none can be forgotten.

With a token set, everything but the two health routes needs it. Without one only a service that
listens on this machine alone answers, and then a browser could be the way in: a foreign `Host`
(DNS rebinding) or a write sent by another site's page is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.api.problems import problem
from monitor.config import Config, ServiceConfig

OPEN_PATHS = frozenset({"/livez", "/readyz"})
INGEST_PATHS = frozenset({"/v1/events", "/v1/labels"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
MOST_BODY_BYTES = 64 * 1024
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: authentication, bounded bodies, safe headers."""

    def __init__(self, app: ASGIApp, config: Callable[[], Config]) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = refusal(scope, self._config().service)
        if refused is not None:
            await refused(scope, receive, with_headers)
            return
        bounded = receive if scope["path"] in INGEST_PATHS else _bounded(receive)
        await self._app(scope, bounded, with_headers)


def refusal(scope: Scope, service: ServiceConfig) -> JSONResponse | None:
    """Why this request is not taken, or None."""
    if b"%00" in scope.get("raw_path", b"") or b"%00" in scope["query_string"]:
        return problem(400, "the address holds a NUL character", "leave it out")
    if scope["path"] in OPEN_PATHS:
        return None
    headers = Headers(scope=scope)
    token = service.token
    if token is not None:
        return None if _holds(headers, token) else _unauthorized()
    if not service.is_loopback:
        return problem(
            403,
            f"no token is set while {service.host} is reachable from other machines",
            f"set {service.token_env} for the daemon, or listen on 127.0.0.1",
        )
    return _foreign(scope["method"], headers, service)


def _holds(headers: Headers, token: str) -> bool:
    """Whether the request carries the token; takes the same time wherever they differ."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    return same and scheme.lower() == "bearer"


def _unauthorized() -> JSONResponse:
    return problem(
        401,
        "the token is missing or wrong",
        "send the header Authorization: Bearer …; the kedge command takes it from KEDGE_TOKEN",
        **{"WWW-Authenticate": "Bearer"},
    )


def _foreign(method: str, headers: Headers, service: ServiceConfig) -> JSONResponse | None:
    """Refuse what a page of another site makes a browser on this machine send."""
    host = _host_of(f"//{headers.get('host', '')}")
    known = (LOOPBACK_NAMES | {service.host, _host_of(service.public_url)}) - {""}
    if host not in known:
        return problem(
            421,
            f"this service is not called '{host}'",
            "ask for 127.0.0.1, set service.public_url to this name, or set a token",
        )
    origin = headers.get("origin")
    if method not in {"GET", "HEAD"} and origin is not None and _host_of(origin) not in known:
        return problem(403, "this write comes from another site", "use the kedge command, or curl")
    return None


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _bounded(receive: Receive) -> Receive:
    """The same messages, until a body is longer than any that these routes need."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MOST_BODY_BYTES:
            raise HTTPException(413, f"the body is longer than {MOST_BODY_BYTES:,} bytes")
        return message

    return bounded
