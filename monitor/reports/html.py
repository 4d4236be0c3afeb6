"""A report as one HTML file: its own style, inline plots, no script, nothing from elsewhere.

Jinja escapes everything; only the plots and the style, made here, are marked as safe. The style is
always the same text, so a strict Content-Security-Policy can name it: by `style_hash()`, or by a
nonce that the server chooses. The file says that policy itself too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from monitor.reports import plots, view
from monitor.reports.numbers import (
    clean,
    count,
    estimate,
    instant,
    interval,
    name_of,
    number,
    p_value,
    share,
)

MOST_PLOTS = 12
PLOTS_AMONG_MANY = 4
MOST_COLUMNS = 60


def render_html(
    report: view.Report, *, nonce: str | None = None, navigation: str = "", style: str = ""
) -> str:
    """One report as a page.

    A server adds its own: `nonce` goes on the style element, `navigation` is HTML for the top,
    `style` stands in place of `style_text()`.
    """
    return render_html_many(report, nonce=nonce, navigation=navigation, style=style)


def render_html_many(
    result: Mapping[str, Any] | Sequence[view.Report],
    *,
    nonce: str | None = None,
    navigation: str = "",
    style: str = "",
) -> str:
    """One page with the table of all domains first, then a section each.

    `result` is one report, a list of reports, or the object that `kedge check -o json` prints.
    """
    many = not isinstance(result, Mapping) or "reports" in result
    reports = view.reports_of(result) if isinstance(result, Mapping) else list(result)
    style = style or style_text()
    return (
        _environment()
        .get_template("report.html")
        .render(
            style=Markup(style),  # noqa: S704  # our own file
            policy=f"'nonce-{nonce}'" if nonce else f"'{style_hash()}'",
            nonce=nonce,
            navigation=Markup(navigation),  # noqa: S704  # a server's own page links
            many=many,
            title=_page_title(reports, many=many),
            lines=_lines(reports),
            absent=view.absent_words(result) if isinstance(result, Mapping) else [],
            sections=[_section(report, at, many=many) for at, report in enumerate(reports)],
            made=instant(reports[0]["generated_at"]) if reports else "",
        )
    )


def style_text() -> str:
    """The style of every page, exactly as it stands between its tags."""
    return (files("monitor.web") / "templates" / "report.css").read_text(encoding="utf-8")


def style_hash() -> str:
    """`sha256-…` of the style, for `style-src` of a Content-Security-Policy."""
    digest = hashlib.sha256(style_text().encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("monitor.web", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clean=clean,
        count=count,
        instant=instant,
        interval=interval,
        name_of=name_of,
        number=number,
        p_value=p_value,
        share=share,
        words=view.state_words,
        mark=lambda state: view.MARK.get(state, "?"),
        psi=view.psi_words,
        effect=view.effect_words,
        changed=view.changed_words,
        estimate=estimate,
        action=view.action_words,
        diagnosis=view.diagnosis_words,
        candidates=view.candidates_words,
        loss_change=view.loss_change_words,
    )
    return environment


def _page_title(reports: Sequence[view.Report], *, many: bool) -> str:
    if not reports:
        return "Kedge report"
    if many:
        return f"{name_of(reports[0]['model'])}: {count(len(reports), 'domain')}"
    return view.title(reports[0])


def _lines(reports: Sequence[view.Report]) -> list[tuple[str, view.Overview]]:
    """Anchor and line of every domain, the worst first."""
    order = view.worst_first(reports)
    return [(f"domain-{at}", view.overview(reports[at])) for at in order]


def _section(report: view.Report, at: int, *, many: bool) -> dict[str, Any]:
    """Everything one section shows, with its plots drawn."""
    uid = f"d{at}"
    ordered = view.worst_columns(report)
    limit = PLOTS_AMONG_MANY if many else MOST_PLOTS
    drawn = [
        (column, _safe(plots.histogram(column, uid=f"{uid}-c{number_of}")))
        for number_of, column in enumerate(ordered[:limit])
    ]
    transfer, calibration = report["transfer"], report["calibration"]
    predictions = report["predictions"]
    score_plot = ""
    if "bins" in predictions:
        score_plot = plots.histogram(predictions, uid=f"{uid}-p")
    return {
        "id": f"domain-{at}",
        "report": report,
        "title": view.title(report),
        "headline": view.headline(report),
        "compared": view.rows_words(report),
        "questions": view.questions(report),
        "performance": view.performance_rows(report),
        "performance_notes": view.performance_notes(report),
        "budget": view.budget_words(report),
        "found_slices": view.found_slices(report),
        "followed": view.followed_lines(report),
        "outputs": view.further_outputs(report),
        "spread": view.spread_words(report),
        "columns": ordered[:MOST_COLUMNS],
        "columns_left": max(len(ordered) - MOST_COLUMNS, 0),
        "plots": [(column, plot) for column, plot in drawn if plot],
        "score_plot": _safe(score_plot),
        "curve": _safe(
            plots.calibration_curve(
                calibration["curve"],
                uid=f"{uid}-k",
                values=calibration.get("unit", "log odds") != "log odds",
            )
        ),
        "difference": _safe(
            plots.interval_bar(
                transfer["difference"],
                transfer["ci"],
                margin=transfer["margin"] or 0.0,
                uid=f"{uid}-i",
                what=f"Difference in {transfer['loss']}",
            )
        ),
        "trajectory": _safe(
            plots.difference_over_time(
                transfer.get("trajectory", ()), margin=transfer["margin"], uid=f"{uid}-t"
            )
        ),
        "timeline": _safe(
            plots.incident_timeline(
                report["incidents"],
                since=report["window"]["since"],
                until=report["window"]["until"],
                uid=f"{uid}-n",
            )
        ),
    }


def _safe(drawn: str) -> Markup:
    return Markup(drawn)  # noqa: S704  # plots.py escapes every text it is given
