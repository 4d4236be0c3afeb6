"""What every form of a report shows, in which order: read from the report object alone.

Text, Markdown and HTML differ in marks and layout only; the choice of what leads is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from monitor.watching.day_words import day_sentences

Report = Mapping[str, Any]

# A state is told by its mark and its word; colour only repeats it.
MARK = {
    "ok": "✓",
    "helps": "✓",
    "neutral": "=",
    "watch": "△",
    "drift": "▲",
    "harm": "✖",
    "hurts": "✖",
    "undetermined": "?",
    "not_monitored": "–",
    "admitted": "✓",
    "probation": "△",
    "refused": "✖",
    "verified": "✓",
    "unverified": "△",
}
_WORST = ("harm", "hurts", "drift", "watch", "undetermined", "not_monitored", "neutral", "ok")
METRIC = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "f1": "F1",
    "label_rate": "label rate",
    "squared_error": "squared error",
    "auc": "AUC",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a report, its state and what stands behind it."""

    name: str
    asks: str
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class Overview:
    """A domain in one line."""

    domain: str
    state: str
    transfer: str
    calibration: str
    inputs: str
    diagnosis: str
    rows: str


def found_slices(report: Report) -> list[dict[str, Any]]:
    """Slices nobody declared that a search found and rows outside it confirm, or nearly."""
    found = report["calibration"].get("discovered", ())
    return [part for part in found if part["state"] in {"drift", "watch"}]


HEADS = {
    "class": "Class probabilities",
    "quantile": "Quantiles",
    "sd": "Mean with sd",
}


def further_outputs(report: Report) -> tuple[str, list[dict[str, Any]]]:
    """A title and the further outputs of the model, each judged like a slice; none: ("", [])."""
    heads = report["calibration"].get("heads", [])
    kinds = dict.fromkeys(HEADS.get(head["says"], head["says"]) for head in heads)
    shown = [{**head, "name": _head_name(head)} for head in heads]
    return (f"Calibration: {', '.join(kinds).lower()}" if heads else "", shown)


def _head_name(head: Mapping[str, Any]) -> str:
    if head["level"] is None or head["observed"] is None:
        return str(head["name"])
    pinball = "" if head["pinball"] is None else f", pinball loss {number(head['pinball'])}"
    return f"{head['name']}: true in {head['observed']:.1%}{pinball}"


def followed_lines(report: Report) -> list[str]:
    """The found slices that are followed since their search, the strongest evidence first."""
    return [followed_line(one) for one in report["calibration"].get("followed", [])]


def followed_line(one: Mapping[str, Any]) -> str:
    """A found slice, since when it is followed, and what has been seen of it."""
    return (
        f"{name_of(one['name'])} since {one['since'][:10]}: {_level_words(one)}, "
        f"{one['evidence']:.1%} of the evidence that a page takes"
    )


def _level_words(one: Mapping[str, Any]) -> str:
    if one["level"] is None or one["error"] is None:
        return "no labelled rows yet"
    return f"level {one['level']:+.2f} ± {one['error']:.2f}"


def spread_words(report: Report) -> str:
    """What standard residuals say of a mean with an sd; "" without one."""
    spread = report["calibration"].get("spread")
    if spread is None:
        return ""
    mean = estimate(spread["mean"], spread["mean_ci"], sign=True)
    sd = estimate(spread["sd"], spread["sd_ci"])
    before = "" if spread["sd_reference"] is None else f" (reference {spread['sd_reference']:.2f})"
    return (
        f"labels lie {mean} sd from the mean and spread {sd} times the sd{before}; shifting the "
        f"mean by {spread['mean']:+.2f} sd and the sd by × {spread['sd']:.2f} would mend both; "
        f"uniform PIT p {spread['pit_p']:.2g}"
    )


def state_words(state: str) -> str:
    """not_monitored as people write it."""
    return state.replace("_", " ")


def title(report: Report) -> str:
    return f"{name_of(report['model'])} / {name_of(report['domain'])}"


def headline(report: Report) -> str:
    """The sentence, without the deployment that is already above it."""
    text = str(report["headline"])
    prefix = f"{report['model']}/{report['domain']}: "
    text = text.removeprefix(prefix)
    return clean(text[:1].upper() + text[1:])


def questions(report: Report) -> tuple[Question, ...]:
    """The answers in the order in which they matter; labels where both windows have them."""
    transfer, calibration = report["transfer"], report["calibration"]
    predictions = report["predictions"]
    return (
        Question(
            "transfer",
            "Does transfer beat the from-scratch baseline?",
            transfer["state"],
            _transfer_words(transfer),
        ),
        Question(
            "calibration",
            "Do scores mean what they meant?",
            calibration["state"],
            _after_state(calibration["words"], calibration["state"]),
        ),
        *_labels(report),
        Question(
            "inputs",
            "Do the inputs look as they did?",
            report["inputs"]["state"],
            _inputs_words(report),
        ),
        *_embedding(report),
        Question(
            "predictions",
            "Do the predictions look as they did?",
            predictions["state"],
            _prediction_words(predictions),
        ),
        Question(
            "schema",
            "Are the columns still what they were?",
            schema_state(report),
            _schema_words(report),
        ),
        *_verification(report),
        *_gate(report),
    )


def _transfer_words(transfer: Mapping[str, Any]) -> str:
    """The verdict, what it was held against, what is left of the benefit, what to be wary of."""
    said = [_after_state(transfer["words"], transfer["state"])]
    baseline, erosion = transfer.get("baseline"), transfer.get("erosion")
    if baseline is not None and baseline["words"] not in transfer["words"]:
        said.append(clean(baseline["words"], 300))
    if erosion is not None and erosion["eroded"]:
        said.append(clean(erosion["words"], 300))
    pooled = transfer.get("pooled")
    if pooled is not None:
        said.append(clean(pooled["words"], 300))
    ladder = transfer.get("ladder")
    if ladder is not None and ladder["cheapest"]:
        said.append(clean(ladder["words"], 400))
    said += [clean(warning, 300) for warning in transfer.get("warnings", ())]
    return "; ".join(said)


def _gate(report: Report) -> tuple[Question, ...]:
    """Whether the model may serve here; nothing where no baseline was ever recorded."""
    gate = report.get("gate")
    if gate is None or report["transfer"]["state"] == "not_monitored":
        return ()
    words = clean(gate["reasons"][0], 400)
    more = len(gate["reasons"]) - 1
    if more:
        words += f" (and {more} more {'reason' if more == 1 else 'reasons'})"
    return (Question("gate", "May the model serve here?", gate["state"], words),)


def _embedding(report: Report) -> tuple[Question, ...]:
    """Nothing where rows have no embedding."""
    found = report.get("embedding")
    if found is None:
        return ()
    asks = "Do embeddings still mean what they meant?"
    return (Question("embedding", asks, found["state"], clean(found["words"], 400)),)


def _verification(report: Report) -> tuple[Question, ...]:
    """Nothing where nobody was ever asked about a mapping."""
    found = report.get("verification")
    if not found or found["state"] == "none":
        return ()
    asks = "Has a person verified how the domain writes its features?"
    return (Question("verification", asks, found["state"], clean(found["words"], 400)),)


def schema_state(report: Report) -> str:
    """The worst schema check; ok where none found anything."""
    return worst(check["state"] for check in report["schema_checks"])


def worst(states: Any) -> str:
    found = set(states)
    return next((state for state in _WORST if state in found), "ok")


def worst_columns(report: Report) -> list[Mapping[str, Any]]:
    """Columns, the most changed first: by state, then by effect, then by name."""

    def rank(column: Mapping[str, Any]) -> tuple[int, float, str]:
        effect = column["effect"]
        return (
            _WORST.index(column["state"]),
            -(effect if effect is not None else 0.0),
            column["name"],
        )

    return sorted(report["columns"], key=rank)


def column_cells(column: Mapping[str, Any]) -> tuple[str, ...]:
    """What a line of the columns table says after the state."""
    before, after = column["null_share"]
    nulls = f"{share(before)} → {share(after)}" if before or after else NO_NULLS
    return (
        name_of(column["name"]),
        effect_words(column),
        psi_words(column),
        p_value(column["p_value"]),
        nulls,
        changed_words(column),
    )


def changed_words(column: Mapping[str, Any]) -> str:
    """What is said of a column beside its effect, which has a place of its own."""
    clauses = str(column["detail"]).split("; ")
    if len(clauses) > 1:
        clauses = [clause for clause in clauses if "% of rows lie elsewhere" not in clause]
    return clean("; ".join(clauses), 200)


MOST_DETECTORS = 3
MOST_NAMED = 6
"""Domains without a report that are named one by one."""

TOLD_CHECKS = 2
"""Schema checks that the line of the question tells; the rest is in the list."""

NO_NULLS = "none"
COLUMN_HEADS = ("column", "rows that differ [95 %]", "PSI (noise)", "p", "nulls", "what changed")


def effect_words(column: Mapping[str, Any]) -> str:
    """How much of a column changed: a share of rows, or spreads for an embedding."""
    as_share = column["kind"] != "embedding"
    return estimate(column["effect"], column["effect_ci"], as_share=as_share)


def psi_words(column: Mapping[str, Any]) -> str:
    """PSI beside what sampling alone would give."""
    psi, floor = column["psi"], column["psi_noise_floor"]
    if psi is None:
        return "–"
    return _psi(psi) if floor is None else f"{_psi(psi)} ({_psi(floor)})"


def _psi(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"


def performance_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Metric, realised, estimated without labels, its interval."""
    realised = report["performance"]["realised"]
    estimated = report["performance"]["estimated"]
    rows = []
    for metric in dict.fromkeys((*realised, *estimated)):
        guess = estimated.get(metric, {})
        rows.append(
            (
                METRIC.get(metric, clean(metric, 40)),
                number(realised.get(metric)),
                number(guess.get("value")),
                interval(guess.get("ci")),
            )
        )
    return rows


def performance_notes(report: Report) -> list[str]:
    """What the estimates say against each other and cannot see, in sentences.

    In full where most labels are still to come; one line where realised numbers lead.
    """
    performance, window = report["performance"], report["window"]
    blindness = performance.get("blindness", [])
    notes = [clean(performance["contradiction"])] if performance.get("contradiction") else []
    notes += _maturity_notes(report)
    if not blindness:
        return notes
    if 2 * window["labelled"] >= window["rows"]:
        methods = ", ".join(row["method"] for row in blindness)
        return [*notes, f"No estimate ({methods}) sees a changed rule behind the labels."]
    notes += [clean(other["words"]) for other in performance.get("others", [])]
    return [*notes, *(clean(row["words"]) for row in blindness)]


def _maturity_notes(report: Report) -> list[str]:
    """How far labels have come, and what the early ones say, where some are still to come."""
    maturity = report.get("label_maturity")
    if maturity is None or all(cohort["mature"] for cohort in maturity["cohorts"]):
        return []
    told = [clean(one["words"]) for one in maturity["so_far"] if one["value"] is not None]
    return [f"Labels: {clean(maturity['words'])}.", *told]


def rows_words(report: Report) -> str:
    """What was compared: rows, labels, times, references."""
    window = report["window"]
    references = ", ".join(
        f"{_reference_name(line)} ({count(line['rows'], 'row')})" for line in report["references"]
    )
    labelled = "no labels" if not window["labelled"] else f"{window['labelled']:,} labelled"
    when = (
        f", {instant(window['since'])} to {instant(window['until'])}"
        if window["since"] and window["until"]
        else ""
    )
    against = f" against {references}" if references else ""
    return f"{count(window['rows'], 'row')} ({labelled}){when}{against}"


def _reference_name(line: Mapping[str, Any]) -> str:
    """The file it came from, or its role and number where it is kept in the database."""
    name = clean(line["id"], 80)
    return f"{line['role']} reference {name}" if name.isdecimal() else name


def budget_words(report: Report) -> str:
    """The false-alarm budget in one line."""
    budget = report["budget"]
    if not budget:
        return ""
    allowed = budget.get("allowed")
    pages = f"{allowed:g} page{'' if allowed == 1 else 's'}" if allowed is not None else "–"
    promise = (
        "kept by back-test"
        if budget.get("guaranteed")
        else f"no promise: {clean(budget.get('why_not') or 'not yet', 200)}"
    )
    spent = f"{pages} / {budget.get('period', '–')}, {budget.get('spent', 0)} spent; {promise}"
    feedback = [clean(budget["feedback"], 200)] if budget.get("feedback") else []
    by_day = [clean(words, 300) for words in day_sentences(budget.get("by_day") or {})]
    streams = budget.get("streams") or {}
    followed = [clean(streams["words"], 400)] if streams.get("words") else []
    named = _detector_words(budget.get("detectors") or [])
    return "; ".join([spent, *feedback, *by_day, *followed, *named])


def _detector_words(detectors: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the named detectors promise, the first of them one by one."""
    said = [
        f"{clean(one['method'], 40)} on {clean(one['signal'], 60)}: {clean(one['words'], 200)}"
        for one in detectors[:MOST_DETECTORS]
    ]
    more = len(detectors) - MOST_DETECTORS
    return [*said, f"and {count(more, 'detector')} more"] if more > 0 else said


def action_words(action: Mapping[str, Any]) -> str:
    """The one thing to do, where and how soon."""
    if action["kind"] == "none":
        return "nothing now"
    return f"{clean(action['kind'])} · {clean(action['scope'])} · {clean(action['cadence'])}"


def diagnosis_words(diagnosis: Mapping[str, Any]) -> str:
    """The mode with its confidence, and the runner-up where it deserves to be seen."""
    confidence = diagnosis["confidence"]
    if diagnosis["mode"] == "undetermined":
        return "undetermined"
    sure = "" if confidence is None else f", {confidence:.0%} sure".replace("%", " %")
    second = diagnosis["runner_up"]
    doubtful = second is not None and (confidence is None or confidence < 0.6)
    return f"{clean(diagnosis['mode'])}{sure}" + (f"; else {clean(second)}" if doubtful else "")


def candidates_words(diagnosis: Mapping[str, Any]) -> str:
    """What else deserves a look, where more than the named mode and its runner-up do; else ""."""
    named = {diagnosis["mode"], diagnosis["runner_up"]}
    others = [mode for mode in diagnosis.get("candidates", ()) if mode != diagnosis["mode"]]
    return f"look also for {' and '.join(map(clean, others))}" if set(others) - named else ""


def loss_change_words(diagnosis: Mapping[str, Any]) -> str:
    """Why the loss changed, in one sentence; "" where losses are not known."""
    loss = diagnosis.get("loss_change")
    if loss is None or loss["before"] is None:
        return ""
    terms = ", ".join(
        f"{term['name']} {estimate(term['change'], term['ci'], sign=True)}"
        for term in loss["terms"]
        if term["change"] is not None and None not in term["ci"]
    )
    said = f"loss {loss['before']:.3g} → {loss['after']:.3g}: {terms}"
    moved = ", ".join(f"{clean(c['name'], 40)} {c['change']:+.2g}" for c in loss["columns"][:3])
    return said + (f"; by the mix of one column alone: {moved}" if moved else "")


def overview(report: Report) -> Overview:
    """A report as a line of the table of all domains."""
    return Overview(
        domain=name_of(report["domain"]),
        state=report["state"],
        transfer=report["transfer"]["state"],
        calibration=report["calibration"]["state"],
        inputs=report["inputs"]["state"],
        diagnosis=clean(report["diagnosis"]["mode"], 60),
        rows=f"{report['window']['rows']:,}",
    )


def worst_first(reports: Sequence[Report]) -> list[int]:
    """Places of the reports, the worst state first, otherwise as given."""
    return sorted(range(len(reports)), key=lambda at: _WORST.index(reports[at]["state"]))


def reports_of(result: Mapping[str, Any]) -> list[Report]:
    """The reports of either form: one report, or the object around many."""
    return list(result["reports"]) if "reports" in result else [result]


def absent_words(result: Mapping[str, Any]) -> list[str]:
    """Domains that only one file has, with nothing to hold them against: a line a file."""
    lines = []
    for where in dict.fromkeys(one["only_in"] for one in result.get("absent", ())):
        named = [
            f"{name_of(one['domain'])} ({count(one['rows'], 'row')})"
            for one in result["absent"]
            if one["only_in"] == where
        ]
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        lines.append(
            f"{count(len(named), 'domain')} only in the {where}: "
            f"{', '.join(named[:MOST_NAMED])}{more}"
        )
    return lines


def _after_state(words: str, state: str) -> str:
    """The sentence less the state it starts with, which is shown beside it."""
    text = clean(words)
    for lead in (f"{state_words(state)}: ", f"{state_words(state)} "):
        if text.startswith(lead):
            return text[len(lead) :]
    return text


def _inputs_words(report: Report) -> str:
    columns = report["columns"]
    if not columns:
        return "no feature columns"
    missing = {check["column"] for check in report["schema_checks"] if check["check"] == "missing"}
    states = ["missing" if column["name"] in missing else column["state"] for column in columns]
    words = {
        "missing": "missing",
        "drift": "drifted",
        "watch": "to watch",
        "undetermined": "with too little data",
        "ok": "as before",
    }
    said = [f"{states.count(key)} {told}" for key, told in words.items() if key in states]
    return f"of {count(len(columns), 'column')}: {', '.join(said)}"


def _labels(report: Report) -> tuple[Question, ...]:
    labels = report.get("labels")
    if not labels:
        return ()
    asks = "Are outcomes what they were?"
    before, after = labels.get("mean", (None, None))
    binary = labels["bins"]["labels"] in (["0", "1"], ["0"], ["1"])
    if before is None or after is None:
        words = _prediction_words(labels)
    elif binary:
        words = f"{share(before)} of labels are 1 in the reference, {share(after)} now"
    else:
        words = f"mean {number(before)} in the reference, {number(after)} now"
    rows = f"{labels['rows'][1]:,} labels against {labels['rows'][0]:,}"
    return (Question("labels", asks, labels["state"], f"{words}; {rows}"),)


def _prediction_words(column: Mapping[str, Any]) -> str:
    if column["state"] == "not_monitored":
        return clean(column["detail"])
    rows = f"{column['rows'][1]:,} rows against {column['rows'][0]:,}"
    detail = clean(column["detail"])
    if column["state"] in {"drift", "watch", "undetermined"} and detail:
        return detail if rows in detail else f"{detail}; {rows}"
    if column["effect"] is None:
        return rows
    return "; ".join(
        [f"{effect_words(column)} of rows differ, {rows}", *([detail] if detail else [])]
    )


def _schema_words(report: Report) -> str:
    lines = [words for _, words in schema_lines(report)]
    if not lines:
        return "every column is there, of its type, and not suddenly null or constant"
    more = f"; and {len(lines) - TOLD_CHECKS} more" if len(lines) > TOLD_CHECKS else ""
    return "; ".join(line[:200] for line in lines[:TOLD_CHECKS]) + more


def schema_lines(report: Report) -> list[tuple[str, str]]:
    """State and words of what schema checks found: one line a column that is gone or null.

    A column that is all null is also absent: one check says what is seen, the other proposes why.
    """
    certain = {
        check["column"]
        for check in report["schema_checks"]
        if check["check"] in {"missing", "all_null", "retyped"}
    }
    lines = []
    for check in report["schema_checks"]:
        if check["check"] == "absent" and check["column"] in certain:
            continue
        proposal = f" ({clean(check['proposal'], 240)})" if check["proposal"] else ""
        lines.append((check["state"], f"{clean(check['detail'], 300)}{proposal}"))
    return lines
