"""The way in for a browser: a form that takes a token, a cookie no script can read, a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from monitor.api.access import OPEN, needs
from monitor.api.guard import COOKIE, LOGIN_PATH, cookie_of
from monitor.web.render import html_page

if TYPE_CHECKING:
    from monitor.api.context import ApiContext
    from monitor.api.door import Door

log = structlog.get_logger(__name__)


def login_router(context: ApiContext, door: Door) -> APIRouter:
    """`/login` and `/logout`. The guard has refused forms of other sites before."""
    router = APIRouter(include_in_schema=False, dependencies=[needs(OPEN)])

    @router.get(LOGIN_PATH)
    def ask(next: str = "/") -> HTMLResponse:  # noqa: A002  # the name in the address
        return login_page(next)

    @router.post(LOGIN_PATH)
    async def log_in(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
        onward = own_path(fields.get("next", ["/"])[0])
        text = fields.get("token", [""])[0].strip()
        secret = await run_sync(door.log_in, text) if text else None
        if secret is None:
            log.warning("login.refused")
            return login_page(onward, wrong=True)
        reply = RedirectResponse(onward, 303)
        secure = context.config().service.public_url.startswith("https://")
        reply.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=secure)
        return reply

    @router.post("/logout")
    async def log_out(request: Request) -> Response:
        secret = cookie_of(request.headers)
        if secret:
            await run_sync(door.log_out, secret)
        reply = RedirectResponse(LOGIN_PATH, 303)
        reply.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return reply

    return router


def login_page(onward: str, *, wrong: bool = False) -> HTMLResponse:
    """The form; after a wrong token with a line that says so, and 401."""
    page = html_page("login.html", title="Log in", here="login", next=own_path(onward), wrong=wrong)
    page.status_code = 401 if wrong else 200
    return page


def own_path(text: str) -> str:
    """A path of this service, or "/" for anything that could lead elsewhere."""
    safe = text.startswith("/") and not text.startswith("//") and len(text) <= 2_000
    return text if safe and text.isprintable() and "\\" not in text else "/"
