"""Runbook pages: Markdown of ours to HTML, once a process. Raw HTML in it is shown, not let in.

A wheel carries them as `monitor/web/runbooks`; a source tree has them under `docs/runbooks`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fastapi.responses import HTMLResponse
from markupsafe import Markup

from alerts.runbooks import PATH, slug
from monitor.api.errors import RequestRefusedError
from monitor.errors import did_you_mean
from monitor.web.render import html_page

INDEX = "README"


def runbook_page(name: str = "") -> HTMLResponse:
    """The page of a mode or message type, "" for the list; RequestRefusedError 404."""
    wanted = slug(name) if name else INDEX
    title, body = _rendered(wanted)
    safe = Markup(body)  # noqa: S704  # our own file, rendered with HTML switched off
    return html_page("runbook.html", title=title, here="runbooks", body=safe)


@cache
def runbooks() -> dict[str, Path]:
    """Every page by the last part of its address, the list as "README"."""
    shipped = Path(__file__).parent / "runbooks"
    folder = shipped if shipped.is_dir() else Path(__file__).parents[2] / "docs" / "runbooks"
    return {file.stem: file for file in sorted(folder.glob("*.md"))}


def _rendered(wanted: str) -> tuple[str, str]:
    """Title and HTML of a page."""
    file = runbooks().get(wanted)
    if file is None:
        known = sorted(set(runbooks()) - {INDEX})
        hint = f"{PATH} lists all pages.{did_you_mean(wanted, known)}"
        raise RequestRefusedError(404, f"no runbook page '{wanted[:80]}'", hint)
    return _to_html(file)


@cache
def _to_html(file: Path) -> tuple[str, str]:
    from markdown_it import MarkdownIt

    text = file.read_text(encoding="utf-8")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    for token in (part for block in tokens for part in block.children or ()):
        if token.type == "link_open":
            token.attrSet("href", _address(str(token.attrGet("href") or "")))
    title = text.partition("\n")[0].lstrip("# ")
    return title, markdown.renderer.render(tokens, markdown.options, {})


def _address(target: str) -> str:
    """Where a link between the files leads once they are pages."""
    page, hash_sign, anchor = target.partition("#")
    if not page.endswith(".md"):
        return target
    stem = page.removesuffix(".md")
    return (PATH if stem == INDEX else f"{PATH}/{stem}") + hash_sign + anchor
