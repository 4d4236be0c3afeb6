"""Options that several commands share: column roles, and how deployments are judged."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from detectors.records import BaselinePlan, CalibratedTo, Design, NamedDetector, Settings, Task
from monitor.durations import (
    parse_budget,
    parse_duration,
    parse_slow_change,
    parse_tick,
    parse_volume_change,
)
from monitor.errors import UsageError
from monitor.files.roles import Roles, parse_outputs, parse_slices

F = TypeVar("F", bound=Callable[..., Any])

_ROLE_HELP = {
    "id": "event id",
    "timestamp": "event time",
    "domain": "the domain a row belongs to",
    "score": "predicted probability (or value, for regression)",
    "prediction": "predicted class (or value, for regression)",
    "baseline_score": "score of the from-scratch baseline on the same row",
    "head_score": "score of a head fitted anew on this domain, for the recovery ladder",
    "full_score": "score of a model fine-tuned whole on this domain, for the same",
    "label": "ground truth",
    "label_timestamp": "when the label became known",
    "arm": "A/B arm",
    "version": "model version",
    "embedding": "list of numbers a row",
    "cluster": "rows that share one outcome",
    "weight": "1 / inclusion probability",
}


def role_options(command: F) -> F:
    """Add --id … --ignore; the command gets one `roles` argument."""

    @wraps(command)
    def with_roles(**given: Any) -> Any:
        roles = Roles(
            **{name: given.pop(name) for name in _ROLE_HELP},
            numeric=_names(given.pop("numeric")),
            categorical=_names(given.pop("categorical")),
            slices=parse_slices(given.pop("slices")),
            ignore=_names(given.pop("ignore")),
            task=None if given["task"] is None else Task(given["task"]),
            outputs=parse_outputs(
                given.pop("probabilities"),
                given.pop("quantiles"),
                given.pop("sd"),
                given.pop("baseline_probabilities"),
            ),
        )
        given.pop("task")
        return command(roles=roles, **given)

    wrapped: Any = with_roles
    wrapped = click.option(
        "--task", type=click.Choice([task.value for task in Task]), help="What the model predicts."
    )(wrapped)
    wrapped = click.option(
        "--sd", metavar="COLUMN", help="Column: the sd that a regression's mean comes with."
    )(wrapped)
    wrapped = click.option(
        "--quantile",
        "quantiles",
        multiple=True,
        metavar="LEVEL=COLUMN",
        help="Column: a predicted quantile of the label, as in 0.9=q90.",
    )(wrapped)
    wrapped = click.option(
        "--probability",
        "probabilities",
        multiple=True,
        metavar="CLASS=COLUMN",
        help="Column: the probability of a class, as in cat=p_cat.",
    )(wrapped)
    wrapped = click.option(
        "--baseline-probability",
        "baseline_probabilities",
        multiple=True,
        metavar="CLASS=COLUMN",
        help="Column: the baseline's probability of a class; the classes are the model's.",
    )(wrapped)
    wrapped = click.option("--ignore", multiple=True, metavar="C,…", help="Columns to leave out.")(
        wrapped
    )
    wrapped = click.option(
        "--slice", "slices", multiple=True, metavar="C[,D]", help="Slice by a column or a cross."
    )(wrapped)
    wrapped = click.option(
        "--categorical", multiple=True, metavar="C,…", help="Columns to read as categories."
    )(wrapped)
    wrapped = click.option(
        "--numeric", multiple=True, metavar="C,…", help="Columns to read as numbers."
    )(wrapped)
    for name, line in reversed(_ROLE_HELP.items()):
        wrapped = click.option(
            f"--{name.replace('_', '-')}", name, metavar="COLUMN", help=f"Column: {line}."
        )(wrapped)
    result: F = wrapped
    return result


def settings_options(command: F) -> F:
    """Add --budget, --review, --label-delay, --tick …; the command gets one `settings` argument."""

    @wraps(command)
    def with_settings(**given: Any) -> Any:
        tick_us, tick_rows = parse_tick(given.pop("tick"))
        delay, review = given.pop("label_delay"), given.pop("review")
        loss, quantile = _loss(given.pop("loss"))
        settings = Settings(
            budget=parse_budget(given.pop("budget")),
            tick_us=tick_us,
            tick_rows=tick_rows,
            label_delay_us=None if delay is None else parse_duration(delay, what="label delay"),
            review_us=None if review is None else parse_duration(review, what="review"),
            margin=given.pop("margin"),
            holidays=given.pop("holidays"),
            calibration=CalibratedTo(given.pop("calibration")),
            named=_detectors(given.pop("detectors")),
            baseline=_plan(given.pop("baseline"), given.pop("arms"), given.pop("propensity")),
            peers=given.pop("peers"),
            slow=parse_slow_change(given.pop("slow_change")),
            volume=parse_volume_change(given.pop("volume_change")),
            loss=loss,
            quantile=quantile,
        )
        return command(settings=settings, **given)

    wrapped: Any = with_settings
    wrapped = click.option(
        "--propensity",
        metavar="COLUMN",
        default="",
        help="Numeric column: the chance of each row to be served by the transferred model.",
    )(wrapped)
    wrapped = click.option(
        "--arms",
        metavar="A,B",
        default="transfer,baseline",
        show_default=True,
        help="Arms of the transferred model and of the baseline.",
    )(wrapped)
    wrapped = click.option(
        "--baseline",
        type=click.Choice([design.value for design in Design]),
        help="Where the baseline's losses come from. Left out: recorded scores, if there are any.",
    )(wrapped)
    wrapped = click.option(
        "--loss",
        metavar="LOSS",
        help="What the transfer verdict compares: log, brier, auc, squared, absolute, pinball:0.9, "
        "multiclass_log, multiclass_brier.",
    )(wrapped)
    wrapped = click.option(
        "--detector",
        "detectors",
        multiple=True,
        metavar="METHOD:SIGNAL",
        help="Also run a named detector on score, loss, a column or columns; files tickets.",
    )(wrapped)
    wrapped = click.option(
        "--calibration",
        type=click.Choice([against.value for against in CalibratedTo]),
        default=CalibratedTo.REFERENCE.value,
        show_default=True,
        help="Hold scores to what they meant in the reference, or to outcomes as probabilities.",
    )(wrapped)
    wrapped = click.option(
        "--slow-change",
        default="3 tickets / 30 d",
        show_default=True,
        metavar="RATE",
        help="Tickets allowed for slow change, by the day; off.",
    )(wrapped)
    wrapped = click.option(
        "--volume-change",
        default="2",
        show_default=True,
        metavar="FACTOR",
        help="A fall or rise of a day's rows by this factor files a ticket; off.",
    )(wrapped)
    wrapped = click.option(
        "--peers/--no-peers",
        default=True,
        show_default=True,
        help="Hold domains that move together against each other.",
    )(wrapped)
    wrapped = click.option(
        "--holidays", metavar="CC", help="Country whose public holidays count as noisy days: US."
    )(wrapped)
    wrapped = click.option(
        "--margin",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.01,
        show_default=True,
        help="Harm that matters, as a share of the baseline's loss.",
    )(wrapped)
    wrapped = click.option(
        "--tick",
        default="auto",
        show_default=True,
        metavar="auto|1h|6h|1d|50rows",
        help="Unit of streaming evidence.",
    )(wrapped)
    wrapped = click.option(
        "--label-delay", metavar="DURATION", help="Judge labels this long after the event."
    )(wrapped)
    wrapped = click.option(
        "--review", metavar="DURATION", help="Plan the transfer verdict for this long after start."
    )(wrapped)
    wrapped = click.option(
        "--budget",
        default="1 page / 30 d",
        show_default=True,
        metavar="RATE",
        help="False alarms allowed per deployment.",
    )(wrapped)
    result: F = wrapped
    return result


def _loss(text: str | None) -> tuple[str, float]:
    from detectors.transfer.losses import parse_loss

    try:
        return ("", 0.5) if text is None else parse_loss(text)
    except ValueError as error:
        msg = f"--loss: {error}"
        raise UsageError(msg) from error


def _names(texts: tuple[str, ...]) -> tuple[str, ...]:
    """`--numeric a,b --numeric c` as one tuple of names."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _plan(kind: str | None, arms: str, propensity: str) -> BaselinePlan:
    """`--baseline ab --arms new,old --propensity p` as a record."""
    treated, _, control = (part.strip() for part in arms.partition(","))
    if not treated or not control or treated == control:
        msg = f"--arms {arms}: write two names, as in transfer,baseline"
        raise UsageError(msg)
    return BaselinePlan(
        design=None if kind is None else Design(kind),
        treated=treated,
        control=control,
        propensity=propensity,
    )


def _detectors(texts: tuple[str, ...]) -> tuple[NamedDetector, ...]:
    """`--detector adwin:score` as records."""
    from detectors.base import UnknownDetectorError, make_detector

    found = []
    for text in texts:
        method, _, signal = text.partition(":")
        if not method or not signal:
            msg = f"--detector {text}: write METHOD:SIGNAL, as in adwin:score or page_hinkley:loss"
            raise UsageError(msg)
        named = NamedDetector(method, signal)
        try:
            make_detector(named)
        except UnknownDetectorError as error:
            raise UsageError(str(error)) from error
        found.append(named)
    return tuple(found)
