"""Losses beside the task's own, to be shown with it or to decide by.

The verdict reads the loss of loss.py unless a model names another of `CHOICES`. All return one loss
a row, NaN where a score or label is missing; lower is better. Those of whole class probabilities
are in class_losses.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from detectors.records import Design, FloatArray, Schema, Settings, Task, Window
from detectors.transfer.auc import FEWEST_RANKED, Ranks
from detectors.transfer.class_losses import (
    CLASS_LOSS,
    CLASS_LOSS_NAME,
    CLASS_LOSSES,
    ClassColumns,
    class_columns,
    class_losses,
)
from detectors.transfer.loss import LOSS_NAME, loss_of

RowLoss = Callable[[FloatArray, FloatArray], FloatArray]
WindowLoss = Callable[[Window], FloatArray]


CHOICES: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {
        Task.BINARY: ("log", "brier", "auc"),
        Task.MULTICLASS: ("log", "brier", *CLASS_LOSSES),
        Task.REGRESSION: ("squared", "absolute", "pinball"),
    }
)
"""What a model may be judged by; the first is the task's own."""


@dataclass(frozen=True, slots=True, eq=False)
class VerdictLoss:
    """A loss that a verdict is a difference of, for each model. `trouble`: why it cannot be read.

    Each gives the loss (n,) of the rows of a window. `classes` says which columns they read where
    these are not the scores.
    """

    transferred: WindowLoss
    baseline: WindowLoss
    trouble: str = ""
    classes: ClassColumns | None = None

    def compares(self, window: Window) -> bool:
        """Whether the window has what a baseline said at all."""
        return self.classes is not None or window.baseline_score is not None


def chosen_loss(schema: Schema, settings: Settings, reference: Window) -> VerdictLoss | None:
    """The loss that settings name; None for the task's own. ValueError for one that cannot be.

    `reference` is what a row's rank is read off where the loss is the AUC's.
    """
    check_loss(schema, settings)
    match settings.loss:
        case "multiclass_log" | "multiclass_brier":
            columns = class_columns(schema)
            return None if columns is None else _of_classes(settings.loss, columns)
        case "brier":
            return _of_scores(brier)
        case "absolute":
            return _of_scores(absolute)
        case "pinball":

            def of_quantile(score: FloatArray, label: FloatArray) -> FloatArray:
                return pinball(score, label, settings.quantile)

            return _of_scores(of_quantile)
        case "auc":
            served = Ranks.of(reference.score, reference.label)
            baseline = Ranks.of(reference.baseline_score, reference.label)
            trouble = (
                f"rows are ranked among the reference's, which has under {FEWEST_RANKED} labelled "
                "rows of a class with both scores"
            )
            known = served is not None and baseline is not None
            return VerdictLoss(
                lambda window: _served(window, _ranked(served)),
                lambda window: _scratch(window, _ranked(baseline)),
                "" if known else trouble,
            )
    return None


def own_loss(settings: Settings, schema: Schema) -> Settings:
    """The settings, with the loss that class probabilities of both models ask for.

    Where no loss is named, what both say of every class is compared if it is recorded.
    """
    columns = class_columns(schema)
    if settings.loss or columns is None or not columns.baseline:
        return settings
    if settings.baseline.design not in {None, Design.SHADOW}:
        return settings
    return replace(settings, loss=CLASS_LOSSES[0])


def _of_scores(loss: RowLoss) -> VerdictLoss:
    return VerdictLoss(lambda window: _served(window, loss), lambda window: _scratch(window, loss))


def _of_classes(name: str, columns: ClassColumns) -> VerdictLoss:
    loss = CLASS_LOSS[name]
    return VerdictLoss(
        lambda window: class_losses(window, loss, columns.classes, columns.served),
        lambda window: class_losses(window, loss, columns.classes, columns.baseline),
        classes=columns,
    )


def _served(window: Window, loss: RowLoss) -> FloatArray:
    return loss(_or_nothing(window, window.score), _or_nothing(window, window.label))


def _scratch(window: Window, loss: RowLoss) -> FloatArray:
    return loss(_or_nothing(window, window.baseline_score), _or_nothing(window, window.label))


def _or_nothing(window: Window, values: FloatArray | None) -> FloatArray:
    return np.full(window.rows, np.nan) if values is None else values


def parse_loss(text: str) -> tuple[str, float]:
    """A loss as people write it, and its quantile: brier, pinball:0.9. ValueError for another."""
    name, _, level = text.partition(":")
    known = tuple(dict.fromkeys(loss for losses in CHOICES.values() for loss in losses))
    if name not in known or (level and name != "pinball"):
        msg = f"no loss '{text}'; there is {', '.join(known)}, and pinball:0.9 for its quantile"
        raise ValueError(msg)
    try:
        quantile = float(level) if level else 0.5
    except ValueError:
        quantile = -1.0
    if not 0.0 < quantile < 1.0:
        msg = f"loss '{text}': a quantile lies between 0 and 1, as in pinball:0.9"
        raise ValueError(msg)
    return name, quantile


def check_choice(task: Task, loss: str) -> None:
    """Refuse a loss that another task has. ValueError with those that would do."""
    if loss and loss not in CHOICES[task]:
        msg = f"loss '{loss}' is not for {task.value}; it may be {', '.join(CHOICES[task])}"
        raise ValueError(msg)


def check_loss(schema: Schema, settings: Settings) -> None:
    """Refuse a loss that the task, the baseline's design or the columns do not have. ValueError."""
    check_choice(schema.task, settings.loss)
    design = settings.baseline.design
    if settings.loss == "auc" and design not in {None, Design.SHADOW}:
        msg = f"loss 'auc' needs the scores of both models on each row, so it is not for '{design}'"
        raise ValueError(msg)
    if settings.loss not in CLASS_LOSSES or design is Design.NONE:
        return
    if design in {Design.TRAINED, Design.INTERLEAVED}:
        why = "says how likely the predicted class is right, and no probability of each class"
        if design is Design.INTERLEAVED:
            why = "is told by whose offer was taken, and by no loss"
        msg = f"loss '{settings.loss}': a baseline that is {design} {why}"
        raise ValueError(msg)
    columns = class_columns(schema)
    if columns is None:
        msg = f"loss '{settings.loss}' needs the probability of each class; name its columns"
        raise ValueError(msg)
    if not columns.baseline and design is not Design.AB:
        msg = (
            f"loss '{settings.loss}' needs the baseline's probability of each class as well; name "
            "the columns"
        )
        raise ValueError(msg)


def loss_words(task: Task, settings: Settings) -> str:
    """What a chosen loss is called in a sentence."""
    top = "top-label " if task is Task.MULTICLASS else ""
    return {
        "brier": f"{top}Brier score",
        **CLASS_LOSS_NAME,
        "auc": "1 - AUC",
        "absolute": "absolute error",
        "pinball": f"pinball loss at {settings.quantile:g}",
    }.get(settings.loss, LOSS_NAME[task])


def _ranked(ranks: Ranks | None) -> RowLoss:
    if ranks is None:
        return lambda score, label: np.full(len(label), np.nan)
    return ranks.losses


def brier(score: FloatArray, label: FloatArray) -> FloatArray:
    """(score - label)² of probabilities (n,) and labels 0 or 1; between 0 and 1."""
    return np.asarray((score - label) ** 2, dtype=np.float64)


def absolute(score: FloatArray, label: FloatArray) -> FloatArray:
    """|score - label| in units of the label: best where the score is the median."""
    return np.asarray(np.abs(score - label), dtype=np.float64)


def pinball(score: FloatArray, label: FloatArray, quantile: float) -> FloatArray:
    """The loss whose best score is a quantile of the label, after Koenker and Bassett (1978).

    q (label - score) above the score, (1 - q) (score - label) below it. ValueError for a quantile
    outside (0, 1).
    """
    if not 0.0 < quantile < 1.0:
        msg = f"a quantile of {quantile:g}; it lies between 0 and 1, as in 0.9"
        raise ValueError(msg)
    gap = label - score
    return np.asarray(np.maximum(quantile * gap, (quantile - 1.0) * gap), dtype=np.float64)


def losses_for(task: Task) -> Mapping[str, RowLoss]:
    """The losses a report shows beside each other, the verdict's first."""

    def primary(score: FloatArray, label: FloatArray) -> FloatArray:
        return loss_of(task, score, label)

    if task is Task.REGRESSION:
        return MappingProxyType(
            {
                "squared error": primary,
                "absolute error": absolute,
                "pinball .1": lambda score, label: pinball(score, label, 0.1),
                "pinball .9": lambda score, label: pinball(score, label, 0.9),
            }
        )
    name = "log loss" if task is Task.BINARY else "top-label log loss"
    second = "Brier score" if task is Task.BINARY else "top-label Brier score"
    return MappingProxyType({name: primary, second: brier})
