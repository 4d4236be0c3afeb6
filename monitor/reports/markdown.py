"""A report as Markdown, for a ticket or a pull request.

Text from data is escaped: a column named `[x](http://…)` or `<b>` stays what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monitor.reports import view
from monitor.reports.numbers import clean, estimate, instant, name_of, number

MOST_COLUMNS = 30
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|<>~&$])|(?<=[A-Za-z])(:)(?=//)|(?<=www)(\.)")


def render_markdown_many(result: Mapping[str, Any]) -> str:
    """One report, or the table of all domains and then each report."""
    reports = view.reports_of(result)
    if "reports" not in result:
        return render_markdown(reports[0])
    parts = [f"# {escaped(name_of(result['model']))}: {len(reports)} domains\n", _overview(reports)]
    parts += [f"No report for {escaped(line)}.\n" for line in view.absent_words(result)]
    parts += [render_markdown(report, level=2) for report in reports]
    return "\n".join(parts)


def render_markdown(report: view.Report, *, level: int = 1) -> str:
    """One report; `level` is that of its heading."""
    sub = "#" * (level + 1)
    parts = [
        f"{'#' * level} {_state(report['state'])} {escaped(view.title(report))}\n",
        f"**{escaped(view.headline(report))}**\n",
        f"{escaped(view.rows_words(report))}\n",
        _table(
            ("question", "state", "what was found"),
            ((q.name, _state(q.state), escaped(q.words)) for q in view.questions(report)),
        ),
        f"{sub} Diagnosis: {escaped(view.diagnosis_words(report['diagnosis']))}\n",
        *_diagnosis(report["diagnosis"]),
    ]
    performance = view.performance_rows(report)
    if performance:
        parts += [
            f"{sub} Performance\n",
            _table(
                ("metric", "realised", "estimated without labels", "95 % interval"), performance
            ),
            *(f"- {escaped(note)}\n" for note in view.performance_notes(report)),
        ]
    parts += _slices(report, sub)
    if report["schema_checks"]:
        parts += [f"{sub} Schema\n", *_checks(report)]
    parts += _columns(report, sub)
    if report["incidents"]:
        parts += [f"{sub} Incidents\n", *_incidents(report["incidents"])]
    budget = view.budget_words(report)
    if budget:
        parts.append(f"Budget: {escaped(budget)}\n")
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in paragraphs and in table cells."""
    return _SPECIAL.sub(r"\\\g<0>", clean(text, 1_000))


def _state(state: str) -> str:
    return f"{view.MARK.get(state, '?')} {view.state_words(state)}"


def _overview(reports: Sequence[view.Report]) -> str:
    return _table(
        ("domain", "state", "transfer", "calibration", "inputs", "diagnosis", "rows"),
        (
            (
                escaped(line.domain),
                _state(line.state),
                _state(line.transfer),
                _state(line.calibration),
                _state(line.inputs),
                escaped(line.diagnosis),
                line.rows,
            )
            for line in (view.overview(reports[at]) for at in view.worst_first(reports))
        ),
    )


def _diagnosis(diagnosis: Mapping[str, Any]) -> list[str]:
    lines = [f"- {escaped(sentence)}" for sentence in diagnosis["evidence"]]
    beside = (view.candidates_words(diagnosis), view.loss_change_words(diagnosis))
    lines += [f"- {escaped(words)}" for words in beside if words]
    action = diagnosis["action"]
    lines.append(f"\n**Do:** {escaped(view.action_words(action))}\n")
    if action["falsified_by"]:
        lines.append(f"**To confirm:** {escaped(action['falsified_by'])}.\n")
    return lines


def _calibrated(slices: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        ("slice", "state", "observed / expected", "level [95 %]", "rows", "least seen"),
        (
            (
                escaped(name_of(part["name"])),
                _state(part["state"]),
                number(part["observed_over_expected"]),
                estimate(part["intercept"], part["intercept_ci"], sign=True),
                f"{part['rows']:,}",
                number(part["minimum_detectable"]),
            )
            for part in slices
        ),
    )


def _slices(report: view.Report, sub: str) -> list[str]:
    parts = []
    title, outputs = view.further_outputs(report)
    if outputs:
        parts += [f"{sub} {title}\n", _calibrated(outputs)]
    if spread := view.spread_words(report):
        parts += [f"{escaped(spread)}\n"]
    declared, found = report["calibration"]["slices"], view.found_slices(report)
    if declared:
        parts += [f"{sub} Calibration by slice\n", _calibrated(declared)]
    if found:
        parts += [
            f"{sub} Slices that a search of half of the rows found, judged on the other half\n",
            _calibrated(found),
        ]
    if too_small := report["calibration"].get("too_small"):
        parts += [f"{escaped(clean(too_small))}\n"]
    if followed := view.followed_lines(report):
        parts += [
            f"{sub} Found slices that are followed\n",
            *(f"- {escaped(line)}" for line in followed),
            "",
        ]
    if report["transfer"]["slices"]:
        parts += [
            f"{sub} Transfer by slice\n",
            _table(
                ("slice", "state", "difference [interval]", "rows"),
                (
                    (
                        escaped(name_of(part["name"])),
                        _state(part["state"]),
                        estimate(part["difference"], part["ci"], sign=True),
                        f"{part['rows']:,}",
                    )
                    for part in report["transfer"]["slices"]
                ),
            ),
        ]
    return parts


def _checks(report: view.Report) -> list[str]:
    found = view.schema_lines(report)
    return [*(f"- {_state(state)}: {escaped(words)}" for state, words in found), ""]


def _columns(report: view.Report, sub: str) -> list[str]:
    ordered = view.worst_columns(report)
    if not ordered:
        return []
    shown = ordered[:MOST_COLUMNS]
    rows = (
        (_state(column["state"]), *(escaped(cell) for cell in view.column_cells(column)))
        for column in shown
    )
    parts = [f"{sub} Columns\n", _table(("state", *view.COLUMN_HEADS), rows)]
    if len(ordered) > len(shown):
        parts.append(f"{len(ordered) - len(shown)} more in the JSON report.\n")
    return parts


def _incidents(incidents: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"- {instant(one['opened_at'])} {one['tier']}: {escaped(one['headline'])} ({one['state']})"
        for one in incidents
    ]
    return [*lines, ""]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
