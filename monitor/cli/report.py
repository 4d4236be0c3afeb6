"""`kedge report`: the current report of one domain, or of every domain of a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from monitor.cli.service import Service, segment, service_option
from monitor.errors import KedgeError

FILE_WIDTH = 110
_FORMS = {".json": "json", ".html": "html", ".htm": "html", ".md": "md"}


@click.command()
@click.argument("model")
@click.argument("domain", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "html", "md"]),
    help="Form of the report; from the ending of --out, else text.",
)
@click.option("--out", metavar="FILE", help="Write the report here instead of standard output.")
@click.option("--days", type=click.IntRange(1, 3_650), help="Days of event time to look at.")
@click.option("--all", "everything", is_flag=True, help="Text: every column, slice and number.")
@service_option
def report(
    model: str,
    domain: str | None,
    output: str | None,
    out: str | None,
    days: int | None,
    everything: bool,
    service: Service,
) -> None:
    """Show the current report of a domain; without DOMAIN of every domain of the model."""
    form = output or ("text" if out is None else _FORMS.get(Path(out).suffix.lower(), "text"))
    found = (
        _report(service, model, domain, days)
        if domain is not None
        else _reports(service, model, days)
    )
    if out is None:
        _write(found, form, sys.stdout, everything=everything)
        return
    try:
        with Path(out).open("w", encoding="utf-8") as file:
            _write(found, form, file, everything=everything)
    except OSError as error:
        msg = f"--out {out}: cannot be written ({error.strerror}); give another file"
        raise KedgeError(msg) from error
    click.echo(f"report written to {out}", err=True)


def _report(service: Service, model: str, domain: str, days: int | None) -> dict[str, Any]:
    path = f"/v1/models/{segment(model)}/domains/{segment(domain)}/report"
    found: dict[str, Any] = service.get(path, days=days)
    return found


def _reports(service: Service, model: str, days: int | None) -> dict[str, Any]:
    """The one report there is, or an object around many; domains that have none are said so."""
    domains = service.get(f"/v1/models/{segment(model)}/domains")["domains"]
    if not domains:
        msg = f"model '{model}' has no domains yet; send events with `kedge send`"
        raise KedgeError(msg)
    found: list[dict[str, Any]] = []
    refused: list[KedgeError] = []
    for line in domains:
        try:
            found.append(_report(service, model, line["domain"], days))
        except KedgeError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    for reason in refused:
        click.echo(f"no report: {reason}", err=True)
    if len(domains) == 1:
        return found[0]
    return {"schema": "kedge.reports/1", "model": model, "reports": found, "absent": []}


def _write(found: dict[str, Any], form: str, file: Any, *, everything: bool) -> None:
    match form:
        case "json":
            import json

            json.dump(found, file, allow_nan=False, indent=2, ensure_ascii=False)
            file.write("\n")
        case "html":
            from monitor.reports.html import render_html_many

            file.write(render_html_many(found))
        case "md":
            from monitor.reports.markdown import render_markdown_many

            file.write(render_markdown_many(found))
        case _:
            from rich.console import Console

            from monitor.reports.text import render_text_many

            width = None if file is sys.stdout else FILE_WIDTH
            render_text_many(found, Console(file=file, width=width), everything=everything)
