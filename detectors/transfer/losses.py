"""Losses beside the task's own, to be shown with it or to decide by.

The verdict reads the loss of loss.py unless a model names another of `CHOICES`. All return one loss
a row, NaN where a score or label is missing; lower is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from detectors.records import FloatArray, IntArray, Settings, Task, Window
from detectors.transfer.auc import FEWEST_RANKED, Ranks
from detectors.transfer.loss import CLIP, LOSS_NAME, loss_of

RowLoss = Callable[[FloatArray, FloatArray], FloatArray]


CHOICES: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {
        Task.BINARY: ("log", "brier", "auc"),
        Task.MULTICLASS: ("log", "brier"),
        Task.REGRESSION: ("squared", "absolute", "pinball"),
    }
)
"""What a model may be judged by; the first is the task's own."""


@dataclass(frozen=True, slots=True, eq=False)
class VerdictLoss:
    """A loss that a verdict is a difference of, for each model. `trouble`: why it cannot be read.

    The two differ where a row is ranked among the other rows of the same model.
    """

    transferred: RowLoss
    baseline: RowLoss
    trouble: str = ""


def chosen_loss(task: Task, settings: Settings, reference: Window) -> VerdictLoss | None:
    """The loss that settings name; None for the task's own. ValueError for one of another task.

    `reference` is what a row's rank is read off where the loss is the AUC's.
    """
    check_choice(task, settings.loss)
    match settings.loss:
        case "brier":
            return VerdictLoss(brier, brier)
        case "absolute":
            return VerdictLoss(absolute, absolute)
        case "pinball":

            def of_quantile(score: FloatArray, label: FloatArray) -> FloatArray:
                return pinball(score, label, settings.quantile)

            return VerdictLoss(of_quantile, of_quantile)
        case "auc":
            served = Ranks.of(reference.score, reference.label)
            baseline = Ranks.of(reference.baseline_score, reference.label)
            trouble = (
                f"rows are ranked among the reference's, which has under {FEWEST_RANKED} labelled "
                "rows of a class with both scores"
            )
            known = served is not None and baseline is not None
            return VerdictLoss(_ranked(served), _ranked(baseline), "" if known else trouble)
    return None


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


def loss_words(task: Task, settings: Settings) -> str:
    """What a chosen loss is called in a sentence."""
    top = "top-label " if task is Task.MULTICLASS else ""
    return {
        "brier": f"{top}Brier score",
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


def multiclass_log_loss(probabilities: FloatArray, classes: IntArray) -> FloatArray:
    """-ln of the probability of the true class; probabilities (n, k), classes (n,) in 0…k-1.

    Clipped at .01 and renormalised, as the binary loss is. A class of -1 is missing: NaN.
    """
    p = np.clip(probabilities, CLIP, None)
    p = p / p.sum(axis=1, keepdims=True)
    return _of_true(-np.log(p), classes)


def multiclass_brier(probabilities: FloatArray, classes: IntArray) -> FloatArray:
    """Σ_k (p_k - 1{k is true})²; probabilities (n, k), classes (n,), between 0 and 2."""
    squares = (probabilities**2).sum(axis=1, keepdims=True)
    return _of_true(squares - 2.0 * probabilities + 1.0, classes)


def _of_true(table: FloatArray, classes: IntArray) -> FloatArray:
    known = classes >= 0
    picked = table[np.arange(len(classes)), np.where(known, classes, 0)]
    return np.where(known, picked, np.nan)


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
