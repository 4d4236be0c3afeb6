"""A report for the terminal: the verdict first, a screenful, more with `everything`.

All text from data goes through `rich.text.Text`, which never reads it as markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monitor.reports.numbers import clean, estimate, instant, name_of, number
from monitor.reports.view import (
    COLUMN_HEADS,
    MARK,
    TOLD_CHECKS,
    Report,
    absent_words,
    action_words,
    budget_words,
    candidates_words,
    column_cells,
    diagnosis_words,
    followed_lines,
    found_slices,
    further_outputs,
    headline,
    loss_change_words,
    overview,
    performance_notes,
    performance_rows,
    questions,
    reports_of,
    rows_words,
    schema_lines,
    spread_words,
    state_words,
    title,
    worst_columns,
    worst_first,
)

STYLE = {
    "ok": "green",
    "helps": "green",
    "neutral": "cyan",
    "watch": "yellow",
    "drift": "bold red",
    "harm": "bold red",
    "hurts": "bold red",
    "undetermined": "magenta",
    "not_monitored": "dim",
    "verified": "green",
    "unverified": "bold yellow",
}
FEW_COLUMNS = 8
FEW_LINES = 5


def render_text_many(
    result: Mapping[str, Any], console: Console, *, everything: bool = False
) -> None:
    """One report, or the table of all domains and then each report."""
    reports = reports_of(result)
    if "reports" in result:
        console.print(_overview(reports))
        for line in absent_words(result):
            console.print(Text(f"No report for {line}", style="dim"))
        console.print()
    for report in reports:
        render_text(report, console, everything=everything)


def render_text(report: Report, console: Console, *, everything: bool = False) -> None:
    """Print one report. `everything` shows all columns, slices, checks and numbers."""
    lead = Text()
    lead.append(title(report), style="bold")
    lead.append("  ")
    lead.append_text(badge(report["state"]))
    console.print(lead)
    console.print(_indented(Text(headline(report))))
    console.print(_indented(Text(rows_words(report), style="dim"), below=1))
    console.print(_questions(report))
    console.print()
    _diagnosis(report, console, everything=everything)
    _performance(report, console)
    _outputs(report, console, everything=everything)
    _slices(report, console, everything=everything)
    _followed(report, console, everything=everything)
    _checks(report, console, everything=everything)
    _columns(report, console, everything=everything)
    _incidents(report, console)
    budget = budget_words(report)
    if budget:
        console.print(Text(f"  Budget  {budget}", style="dim"))
    console.print()


def badge(state: str) -> Text:
    """Mark and word of a state."""
    return Text(f"{MARK.get(state, '?')} {state_words(state)}", style=STYLE.get(state, ""))


def _indented(shown: RenderableType, *, below: int = 0) -> Padding:
    return Padding(shown, (0, 0, below, 2), expand=False)


def _overview(reports: list[Report]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("domain", "state", "transfer", "calibration", "inputs", "diagnosis"):
        table.add_column(head, overflow="fold")
    table.add_column("rows", justify="right")
    for line in (overview(reports[at]) for at in worst_first(reports)):
        table.add_row(
            Text(line.domain, style="bold"),
            badge(line.state),
            badge(line.transfer),
            badge(line.calibration),
            badge(line.inputs),
            Text(line.diagnosis),
            line.rows,
        )
    return table


def _questions(report: Report) -> Padding:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("question", style="dim")
    table.add_column("state", no_wrap=True)
    table.add_column("words", overflow="fold")
    for question in questions(report):
        table.add_row(question.name, badge(question.state), Text(question.words))
    return _indented(table)


def _diagnosis(report: Report, console: Console, *, everything: bool) -> None:
    diagnosis = report["diagnosis"]
    lines = [Text.assemble(("Diagnosis  ", "dim"), (diagnosis_words(diagnosis), "bold"))]
    evidence = diagnosis["evidence"]
    shown = evidence if everything else evidence[:FEW_LINES]
    lines += [Text(f"  · {clean(sentence)}") for sentence in shown]
    if len(evidence) > len(shown):
        lines.append(Text(f"  · and {len(evidence) - len(shown)} more (--all)", style="dim"))
    for words in (candidates_words(diagnosis), loss_change_words(diagnosis)):
        lines += [Text(f"  · {words}", style="dim")] if words else []
    action = diagnosis["action"]
    lines.append(Text.assemble(("Do  ", "dim"), (action_words(action), "bold")))
    if action["falsified_by"]:
        lines.append(Text.assemble(("To confirm  ", "dim"), clean(action["falsified_by"])))
    console.print(_indented(Group(*lines), below=1))


def _performance(report: Report, console: Console) -> None:
    rows = performance_rows(report)
    if not rows:
        return
    said = []
    for name, realised, estimated, between in rows:
        now = f"{name} {realised}" if realised != "–" else name
        said.append(now if estimated == "–" else f"{now} (estimated {estimated} {between})")
    text = Text.assemble(("Performance  ", "dim"), ", ".join(said))
    notes = performance_notes(report)
    console.print(_indented(text, below=0 if notes else 1))
    for at, note in enumerate(notes, start=1):
        console.print(_indented(Text(note, style="dim"), below=int(at == len(notes))))


def _outputs(report: Report, console: Console, *, everything: bool) -> None:
    """Class probabilities, quantiles and a mean with its sd; those that are off, or all."""
    title, outputs = further_outputs(report)
    if not outputs:
        return
    off = [part for part in outputs if part["state"] in {"drift", "watch"}]
    shown = outputs if everything else off[:FEW_COLUMNS]
    console.print(_indented(Text(f"{title}  {len(off)} of {len(outputs)} off", style="dim")))
    if shown:
        table = _table("output", "calibration", "observed / expected", "level [95 %]")
        table.add_column("rows", justify="right")
        table.add_column("least seen", justify="right")
        for part in shown:
            table.add_row(
                Text(name_of(part["name"])),
                badge(part["state"]),
                number(part["observed_over_expected"]),
                estimate(part["intercept"], part["intercept_ci"], sign=True),
                f"{part['rows']:,}",
                number(part["minimum_detectable"]),
            )
        console.print(_indented(table))
    if spread := spread_words(report):
        console.print(_indented(Text(spread, style="dim")))
    console.print()


def _followed(report: Report, console: Console, *, everything: bool) -> None:
    """Slices that a search found, followed on rows since."""
    if too_small := report["calibration"].get("too_small"):
        console.print(_indented(Text(clean(too_small), style="dim")))
    lines = followed_lines(report)
    if not lines:
        return
    console.print(_indented(Text(f"Found slices  {len(lines)} followed", style="dim")))
    for line in lines if everything else lines[:3]:
        console.print(_indented(Text(line)))
    console.print()


def _slices(report: Report, console: Console, *, everything: bool) -> None:
    found = found_slices(report)
    calibration = [*report["calibration"]["slices"], *found]
    transfer = {part["name"]: part for part in report["transfer"]["slices"]}
    names = list(dict.fromkeys([*(part["name"] for part in calibration), *transfer]))
    if not names:
        return
    table = _table("slice", "calibration", "observed / expected", "level [95 %]", "transfer")
    table.add_column("rows", justify="right")
    table.add_column("least seen", justify="right")
    by_name = {part["name"]: part for part in calibration}
    telling = [
        name
        for name in names
        if everything
        or by_name.get(name, {}).get("state") in {"drift", "watch"}
        or transfer.get(name, {}).get("state") in {"helps", "hurts"}
    ]
    shown = telling if everything else telling[:FEW_COLUMNS]
    for name in shown:
        scores, verdict = by_name.get(name, {}), transfer.get(name)
        table.add_row(
            Text(name_of(name)),
            badge(scores.get("state", "not_monitored")),
            number(scores.get("observed_over_expected")),
            estimate(scores.get("intercept"), scores.get("intercept_ci"), sign=True),
            badge("not_monitored" if verdict is None else verdict["state"]),
            f"{scores.get('rows', 0 if verdict is None else verdict['rows']):,}",
            number(scores.get("minimum_detectable")),
        )
    title_words = f"Slices  {len(telling)} of {len(names)} stand out"
    if found:
        title_words += f" ({len(found)} found by a search, judged on rows outside it)"
    console.print(_indented(Text(title_words, style="dim")))
    if shown:
        console.print(_indented(table))
    console.print()


def _checks(report: Report, console: Console, *, everything: bool) -> None:
    found = schema_lines(report)
    if not found or (len(found) <= TOLD_CHECKS and not everything):
        return  # the line of the question has said them
    lines = [Text("Schema", style="dim")]
    shown = found if everything else found[:FEW_LINES]
    for state, words in shown:
        line = Text("  ")
        line.append_text(badge(state))
        line.append(f"  {words}")
        lines.append(line)
    if len(found) > len(shown):
        lines.append(Text(f"  and {len(found) - len(shown)} more (--all)", style="dim"))
    console.print(_indented(Group(*lines), below=1))


def _columns(report: Report, console: Console, *, everything: bool) -> None:
    ordered = worst_columns(report)
    if not ordered:
        return
    telling = [column for column in ordered if column["state"] != "ok"]
    shown = ordered if everything else telling[:FEW_COLUMNS]
    if shown:
        table = _table("", *COLUMN_HEADS)
        for column in shown:
            table.add_row(badge(column["state"]), *(Text(cell) for cell in column_cells(column)))
        console.print(_indented(table))
    rest = len(ordered) - len(shown)
    if rest:
        quiet = sum(column["state"] == "ok" for column in ordered) if not everything else 0
        kinds = [f"{rest - quiet:,} more"] if rest > quiet else []
        kinds += [f"{quiet:,} as before"] if quiet else []
        words = f"{' and '.join(kinds)}: see --all"
        console.print(_indented(Text(words, style="dim")))
    console.print()


def _incidents(report: Report, console: Console) -> None:
    for incident in report["incidents"]:
        line = Text("  ")
        line.append(f"{instant(incident['opened_at'])}  ", style="dim")
        line.append(f"{incident['tier']} ", style="bold")
        line.append(f"{clean(incident['headline'], 200)} ({incident['state']})")
        console.print(line)


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
