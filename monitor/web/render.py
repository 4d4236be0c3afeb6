"""Templates to pages. Everything is escaped, and the only style allowed carries the nonce."""

from __future__ import annotations

import secrets
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alerts.plain import name, plain
from monitor.api.access import asking
from monitor.reports.html import style_text
from monitor.reports.view import MARK, state_words
from storage.tokens import Scope


def html_page(template: str, **values: Any) -> HTMLResponse:
    """A template as a reply with its own nonce."""
    nonce = new_nonce()
    style = Markup(page_style())  # noqa: S704  # our own files
    html = _templates().get_template(template).render(nonce=nonce, style=style, **values)
    return html_reply(html, nonce)


@cache
def page_style() -> str:
    """What reports and pages share, and what pages add."""
    own = (Path(__file__).parent / "templates" / "pages.css").read_text("utf-8")
    return style_text() + own


def navigation(here: str) -> str:
    """The links between the pages, for a page that is not made from `page.html`."""
    return _templates().get_template("nav.html").render(here=here)


def html_reply(html: str, nonce: str) -> HTMLResponse:
    """HTML under a policy that lets in nothing but the style of this very page."""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def new_nonce() -> str:
    """128 random bits, for one reply."""
    return secrets.token_urlsafe(16)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        segment=_segment,
        moment=_moment,
        number=_number,
        name=name,
        plain=plain,
        words=state_words,
        mark=_mark,
    )
    environment.globals["logged_in"] = lambda: asking().by_cookie
    environment.globals["named"] = lambda: bool(asking().name)
    environment.globals["may_operate"] = lambda: asking().may(Scope.OPERATE)
    return environment


def _segment(text: str) -> str:
    """A name as one segment of an address."""
    return quote(text.encode(errors="replace"), safe="")


def _moment(instant: str | None) -> str:
    """RFC 3339 as "2026-01-09 22:00 UTC"; nothing reads "–"."""
    if instant is None:
        return "–"
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M} UTC"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _mark(state: str) -> str:
    return MARK.get(state, "?")
