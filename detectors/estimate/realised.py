"""How good the model was on the rows whose labels have come."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detectors.calibration.rows import judged_rows
from detectors.records import FloatArray, Task, Window
from detectors.transfer.loss import loss_of

CUT = 0.5


def realised_performance(window: Window, task: Task) -> Mapping[str, float | None]:
    """Weighted performance by name; None where a number does not exist (AUC of one class).

    Binary: log_loss (scores clipped to [.01, .99]), brier, accuracy and f1 at a cut of .5, auc,
    label_rate.
    Multiclass: log_loss and brier of the top label, accuracy. Regression: mae, rmse, in units of
    the label. Empty where scores or labels are missing or no row has both.
    """
    rows = judged_rows(window, task=task)
    if rows is None or not len(rows):
        return {}
    p, y, w = rows.score, rows.label, rows.weight / rows.weight.sum()
    if task is Task.REGRESSION:
        gap = p - y
        return {"mae": float(w @ np.abs(gap)), "rmse": float(np.sqrt(w @ gap**2))}
    found: dict[str, float | None] = {
        "log_loss": float(w @ loss_of(task, p, y)),
        "brier": float(w @ (p - y) ** 2),
    }
    if task is Task.MULTICLASS:
        found["accuracy"] = float(w @ y)
        return found
    said = p >= CUT
    hits, named, positive = float(w[said] @ y[said]), float(w[said].sum()), float(w @ y)
    found["accuracy"] = float(w @ (said == (y > 0.5)))
    found["label_rate"] = positive
    found["f1"] = 2.0 * hits / (named + positive) if named + positive > 0.0 else None
    found["auc"] = auc(p, y, w)
    return found


def auc(score: FloatArray, positive: FloatArray, weight: FloatArray) -> float | None:
    """Chance that a positive outranks a negative, ties counting half; None if one is missing.

    score, positive, weight are (n,); `positive` may be a probability, each row then counting as
    both in shares.
    """
    order = np.argsort(score, kind="stable")
    s = score[order]
    up, down = (weight * positive)[order], (weight * (1.0 - positive))[order]
    first = np.flatnonzero(np.append(True, s[1:] != s[:-1]))
    if not len(s):
        return None
    up, down = np.add.reduceat(up, first), np.add.reduceat(down, first)
    pairs = float(up.sum() * down.sum())
    if pairs <= 0.0:
        return None
    below = np.cumsum(down) - 0.5 * down
    return float(up @ below) / pairs
