"""The mix of true classes without labels: black-box shift estimation for several classes.

If P(x | y) has held, the mix of predicted classes is the reference's confusion times the new mix of
true ones (Lipton, Wang and Smola 2018). Where the confusion is nearly singular the weights are
drawn to one (Azizzadenesheli and others 2019). Classes with fewer than 20 labels in the reference
are one, "other classes": what is rarely seen cannot be told apart.
"""

from __future__ import annotations

import numpy as np

from detectors.calibration.rows import effective_rows
from detectors.estimate.bbse import bbse_weights, class_priors, shifted_accuracy
from detectors.estimate.records import Estimate, day_blocks, interval, resampled_rows
from detectors.estimate.rlls import is_nearly_singular, rlls_weights
from detectors.records import Categories, FloatArray, IntArray, Window

FEWEST_LABELS = 20
FEWEST_ROWS = 50
REPLICATES = 100
MOST_CLASSES = 50
REST = "other classes"


def estimate_class_mix(
    reference: Window, current: Window, *, seed: int = 0
) -> tuple[Estimate, ...]:
    """The share of every class among current rows, and the accuracy that this mix implies.

    Empty unless the reference knows true classes by name, at least two of them often enough, and
    both windows have predicted classes. Intervals draw days, or rows, of both windows anew.
    """
    if reference.truth is None or reference.prediction is None or current.prediction is None:
        return ()
    known = np.flatnonzero((reference.truth.codes >= 0) & (reference.prediction.codes >= 0))
    live = np.flatnonzero(current.prediction.codes >= 0)
    names = _classes(reference.truth.take(known))
    if min(len(known), len(live)) < FEWEST_ROWS or not 2 <= len(names) <= MOST_CLASSES:
        return ()
    truth = _numbers(reference.truth.take(known), names)
    said = _numbers(reference.prediction.take(known), names)
    now = _numbers(current.prediction.take(live), names)
    past_weight, live_weight = reference.weights()[known], current.weights()[live]
    count = len(names)
    singular = is_nearly_singular(_joint(said, truth, past_weight, count))

    def mix(past: FloatArray, recent: FloatArray) -> FloatArray:
        joint = _joint(said, truth, past, count)
        shares = np.bincount(now, recent, count) / recent.sum()
        weights = (
            rlls_weights(joint, shares, rows=effective_rows(past))
            if singular
            else bbse_weights(joint, shares)
        )
        if not np.isfinite(weights).all() or not weights.sum() > 0.0:
            return np.full(count + 1, np.nan)
        return np.append(class_priors(joint, weights), shifted_accuracy(joint, weights))

    point = mix(past_weight, live_weight)
    rng = np.random.default_rng(seed)
    past_days, live_days = day_blocks(reference, known), day_blocks(current, live)
    draws = np.stack(
        [
            mix(
                past_weight * resampled_rows(len(known), past_days, rng),
                live_weight * resampled_rows(len(live), live_days, rng),
            )
            for _ in range(REPLICATES)
        ]
    )
    method = "RLLS" if singular else "BBSE"
    metrics = [*(f"share of {name}" for name in names), "accuracy"]
    return tuple(
        _told(metric, method, float(value), draws[:, at])
        for at, (metric, value) in enumerate(zip(metrics, point, strict=True))
    )


def _classes(truth: Categories) -> tuple[str, ...]:
    """Classes with enough labels, the others as one where there are any."""
    counts = np.bincount(truth.codes, minlength=len(truth.values))
    often = [name for name, n in zip(truth.values, counts, strict=True) if n >= FEWEST_LABELS]
    rare = int(counts.sum()) - sum(
        int(n) for name, n in zip(truth.values, counts, strict=True) if name in often
    )
    return (*often, REST) if rare else tuple(often)


def _numbers(column: Categories, names: tuple[str, ...]) -> IntArray:
    """The place (n,) of each class among names; one that is not named is of the last."""
    places = {name: at for at, name in enumerate(names)}
    wanted = [places.get(value, len(names) - 1) for value in column.values]
    return np.asarray(np.array(wanted, dtype=np.int64)[column.codes])


def _joint(said: IntArray, truth: IntArray, weight: FloatArray, classes: int) -> FloatArray:
    """P(said, true) as (k, k): rows are predictions, columns true classes."""
    cells = np.bincount(said * classes + truth, weight, classes * classes)
    return np.asarray(cells.reshape(classes, classes) / weight.sum())


def _told(metric: str, method: str, value: float, draws: FloatArray) -> Estimate:
    if not np.isfinite(value):
        words = f"{metric} cannot be estimated by {method} from these predictions"
        return Estimate(metric, None, (None, None), method, None, words)
    ci = interval(draws, value)
    between = "" if ci[0] is None or ci[1] is None else f" ({ci[0]:.3f} to {ci[1]:.3f})"
    words = f"{metric} estimated at {value:.3f}{between} by {method}, if P(x | class) has held"
    return Estimate(metric, value, ci, method, None, words)
