"""`kedge check`: two files, one report a domain, no daemon and no database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detectors.records import Design, Settings
from monitor.cli.options import role_options, settings_options
from monitor.errors import UsageError
from monitor.files.roles import BASELINE_CLASSES, Roles

if TYPE_CHECKING:
    from monitor.files.comparison import Comparison

DRIFTED, TOO_LITTLE = 3, 5


@click.command()
@click.option("--reference", required=True, metavar="FILE", help="What is held to be right.")
@click.option("--current", required=True, metavar="FILE", help="What is held against it.")
@role_options
@settings_options
@click.option("--model", default="model", show_default=True, help="What to call the model.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "html", "md"]),
    help="Form of the report; from the ending of --out, else text.",
)
@click.option("--out", metavar="FILE", help="Write the report here instead of standard output.")
@click.option("--all", "everything", is_flag=True, help="Text: every column, slice and number.")
@click.option("--exit-code", is_flag=True, help="Exit 3 on drift or harm, 5 on too little data.")
def check(
    reference: str,
    current: str,
    roles: Roles,
    settings: Settings,
    model: str,
    output: str | None,
    out: str | None,
    everything: bool,
    exit_code: bool,
) -> int:
    """Compare two files of rows: one report, or one a domain.

    Both are Parquet, CSV, JSON-lines or Arrow files with the same columns. What plays which part
    is named by the options below or inferred, and printed on standard error.

    \b
    kedge check --reference january.parquet --current june.parquet \\
        --score score --label label --timestamp ts -o html --out report.html
    """  # noqa: D301  # click reads the backspace as "keep these lines"
    from rich.console import Console

    from monitor.clock import SystemClock
    from monitor.files.comparison import compare_tables
    from monitor.files.tables import read_table
    from monitor.reports.view import absent_words

    if settings.baseline.design is Design.TRAINED:
        msg = "--baseline trained learns as time goes on: use `kedge replay`, or the daemon"
        raise UsageError(msg)
    form = output or _form_of(out)
    reference_table = read_table(reference, roles, optional=frozenset({BASELINE_CLASSES}))
    current_table = read_table(current, roles, like=reference_table)
    compared = compare_tables(
        reference_table, current_table, settings, model=model, now=SystemClock().now()
    )
    errors = Console(stderr=True)
    unmatched = [f"no report for {line}" for line in absent_words(compared.to_json())]
    notes = (*reference_table.notes, *current_table.notes, *compared.notes, *unmatched)
    for note in dict.fromkeys(notes):
        errors.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
    _write(compared, form, out, everything=everything)
    return exit_code_of(compared.reports) if exit_code else 0


def exit_code_of(reports: Sequence[dict[str, Any]]) -> int:
    """3 where any domain drifted or is harmed, 5 where some could not be judged, else 0."""
    states = {report["state"] for report in reports}
    if states & {"drift", "harm"}:
        return DRIFTED
    return TOO_LITTLE if "undetermined" in states or not states else 0


def _form_of(out: str | None) -> str:
    """The form that the ending of a file asks for."""
    endings = {".json": "json", ".html": "html", ".htm": "html", ".md": "md"}
    return "text" if out is None else endings.get(Path(out).suffix.lower(), "text")


def _write(compared: Comparison, form: str, out: str | None, *, everything: bool) -> None:
    if form == "text":
        from rich.console import Console

        from monitor.reports.text import render_text_many

        if out is None:
            render_text_many(compared.to_json(), Console(), everything=everything)
            return
        try:
            with Path(out).open("w", encoding="utf-8") as file:
                console = Console(file=file, width=110)
                render_text_many(compared.to_json(), console, everything=everything)
        except OSError as error:
            raise _unwritable(out, error) from error
        return
    text = _rendered(compared, form)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(out, error) from error


def _unwritable(out: str, error: OSError) -> UsageError:
    return UsageError(f"--out {out}: cannot be written ({error.strerror}); is the folder there?")


def _rendered(compared: Comparison, form: str) -> str:
    result = compared.to_json()
    match form:
        case "json":
            import json

            return json.dumps(result, allow_nan=False, indent=2, ensure_ascii=False) + "\n"
        case "md":
            from monitor.reports.markdown import render_markdown_many

            return render_markdown_many(result)
        case _:
            from monitor.reports.html import render_html_many

            return render_html_many(result)
