"""Who may ask, and what every reply carries. Stands before all routes, so none can be forgotten.

Once a token exists, the shared one or one in the database, everything but the two health routes
and the login page needs one. Where none does, only a service that listens on this machine alone
answers, and then a browser could be the way in: a foreign `Host` (DNS rebinding) or a write sent
by another site's page is refused. So is such a write with somebody's cookie.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from sqlalchemy.exc import DBAPIError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.api.access import ANYBODY, SOMEBODY_HERE, Principal, as_principal
from monitor.api.door import Door
from monitor.api.negotiate import HTML, JSON, preferred
from monitor.api.problems import problem
from monitor.api.rates import Rates
from monitor.clock import Clock
from monitor.config import Config, ServiceConfig

OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz"})
LOGIN_PATH = "/login"
COOKIE = "kedge_session"
INGEST_PATHS = frozenset({"/v1/events", "/v1/labels"})
VERSION_ROWS_PATH = re.compile(r"/v1/models/[^/]+/(anchors|probe|probe/scores)")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_BODY_BYTES = 64 * 1024
BODY_S = 10.0
FAILURES_PER_MINUTE = 600
"""Wrong tokens from one address before it has to wait. A right one is never kept out by it."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: under it browsers send `Origin: null` with the forms of our own pages.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: who asks, how often, bounded bodies, safe headers."""

    def __init__(
        self, app: ASGIApp, config: Callable[[], Config], door: Door, clock: Clock
    ) -> None:
        self._app = app
        self._config = config
        self._door = door
        self._clock = clock
        self._rates = Rates()
        self._failures = Rates()

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

        found = await self._who(scope)
        if isinstance(found, Response):
            await found(scope, receive, with_headers)
            return
        bounded = receive if takes_rows(scope["path"]) else _bounded(receive)
        with as_principal(found):
            await self._app(scope, bounded, with_headers)

    async def _who(self, scope: Scope) -> Principal | Response:
        """Who asks, or why nobody is answered."""
        if b"%00" in scope.get("raw_path", b"") or b"%00" in scope["query_string"]:
            return problem(400, "the address holds a NUL character", "leave it out")
        if scope["path"] in OPEN_PATHS:
            return ANYBODY
        headers = Headers(scope=scope)
        try:
            found = await self._identified(scope, headers)
        except DBAPIError:
            wait = {"Retry-After": "2"}
            return problem(503, "the database does not say who you are", "try again", **wait)
        if isinstance(found, Response):
            return found
        if found.by_cookie and _from_elsewhere(scope, headers):
            return problem(403, "this write comes from another site", "use Kedge's own pages")
        if found.name:
            per_minute = self._config().service.requests_per_minute
            wait_s = self._rates.wait_s(found.token_id, per_minute, self._clock.monotonic())
            if wait_s:
                return _too_many(f"this token may ask {per_minute:,} times a minute", wait_s)
        return found

    async def _identified(self, scope: Scope, headers: Headers) -> Principal | Response:
        service = self._config().service
        given = headers.get("authorization")
        if given is not None:
            scheme, _, text = given.partition(" ")
            bearer = text.strip() if scheme.lower() == "bearer" else ""
            return (await self._door.by_bearer(bearer) if bearer else None) or self._stranger(scope)
        secret = cookie_of(headers)
        found = await self._door.by_cookie(secret) if secret else None
        if found is not None:
            return found
        if await self._door.is_open():
            return self._at_this_machine(scope["method"], headers, service)
        if scope["path"] == LOGIN_PATH:
            if _from_elsewhere(scope, headers):
                return problem(403, "this write comes from another site", "use Kedge's own pages")
            wait_s = self._failing(scope) if scope["method"] == "POST" else 0
            return _too_many("too many tries to log in", wait_s) if wait_s else ANYBODY
        if is_page(scope) and preferred(headers.get("accept", ""), (JSON, HTML)) == HTML:
            query = scope["query_string"].decode("latin-1")
            asked = quote(scope["path"] + (f"?{query}" if query else ""), safe="")
            return RedirectResponse(f"{LOGIN_PATH}?next={asked}", 303)
        return self._stranger(scope)

    def _at_this_machine(
        self, method: str, headers: Headers, service: ServiceConfig
    ) -> Principal | Response:
        if not service.is_loopback:
            return problem(
                403,
                f"no token is set while {service.host} is reachable from other machines",
                f"set {service.token_env} for the daemon, or listen on 127.0.0.1",
            )
        return _foreign(method, headers, service) or SOMEBODY_HERE

    def _stranger(self, scope: Scope) -> Response:
        wait_s = self._failing(scope)
        return _too_many("too many wrong tokens", wait_s) if wait_s else unauthorized()

    def _failing(self, scope: Scope) -> int:
        address = str((scope.get("client") or ("",))[0])
        return self._failures.wait_s(address, FAILURES_PER_MINUTE, self._clock.monotonic())


def unauthorized() -> Response:
    """401 in the shape of every error."""
    return problem(
        401,
        "the token is missing or wrong",
        "send the header Authorization: Bearer …; the kedge command takes it from KEDGE_TOKEN",
        **{"WWW-Authenticate": "Bearer"},
    )


def cookie_of(headers: Headers) -> str:
    """The secret of the session that a browser shows, or ""."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None and len(found.value) <= 100 else ""


def is_page(scope: Scope) -> bool:
    """Whether a person asks for something to look at."""
    path: str = scope["path"]
    return scope["method"] == "GET" and not path.startswith("/v1/") and path != "/openapi.json"


def _too_many(why: str, wait_s: int) -> Response:
    return problem(429, why, "wait as long as Retry-After says", **{"Retry-After": str(wait_s)})


def _from_elsewhere(scope: Scope, headers: Headers) -> bool:
    """Whether a write was not sent by a page of ours; a browser says so, nobody else needs to."""
    if scope["method"] in SAFE_METHODS:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site != "same-origin"
    origin = headers.get("origin", "")
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower() or not origin
    except ValueError:
        return True


def _foreign(method: str, headers: Headers, service: ServiceConfig) -> Response | None:
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
    if method not in SAFE_METHODS and origin is not None and _host_of(origin) not in known:
        return problem(403, "this write comes from another site", "use the kedge command, or curl")
    return None


def takes_rows(path: str) -> bool:
    """Whether a route reads its body itself, in its own bounds."""
    return path in INGEST_PATHS or VERSION_ROWS_PATH.fullmatch(path) is not None


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _bounded(receive: Receive) -> Receive:
    """The same messages, until a body is longer or slower than any that these routes need."""
    taken = 0
    complete = False
    until: float | None = None

    async def bounded() -> Message:
        nonlocal taken, complete, until
        if complete:  # what comes now is only that the client has gone
            return await receive()
        loop = asyncio.get_running_loop()
        until = loop.time() + BODY_S if until is None else until
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {BODY_S:g} s") from None
        taken += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if taken > MOST_BODY_BYTES:
            raise HTTPException(413, f"the body is longer than {MOST_BODY_BYTES:,} bytes")
        return message

    return bounded
