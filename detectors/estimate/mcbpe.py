"""M-CBPE: confidence-based estimation with a curve fitted where the current rows are.

The recalibration curve of CBPE is right on average over the reference. Where inputs have moved it
is fitted anew on reference rows weighted by w(x) = g / (1 - g), g the cross-fitted probability
that a row is a current one. After NannyML's multi-calibrated CBPE; importance weights after
Bickel, Brueckner and Scheffer (2009).
"""

from __future__ import annotations

import numpy as np

from detectors.calibration.rows import effective_rows
from detectors.estimate.cbpe import estimate_performance
from detectors.estimate.records import Estimate
from detectors.findings.label_shift import importance_weights
from detectors.findings.two_sample import FOLDS, two_sample
from detectors.records import FloatArray, Schema, Task, Window

LEAST_EFFECTIVE = 200.0
"""Fewer effective reference rows than this cannot carry a curve: the estimate is refused."""
METHOD = "M-CBPE"


def current_likeness(
    reference: Window, current: Window, schema: Schema, *, seed: int = 0
) -> FloatArray | None:
    """How much likelier each reference row (n,) is among current rows; None without rows."""
    if min(reference.rows, current.rows) < FOLDS:
        return None
    g = two_sample(reference, current, schema, seed=seed).reference
    return importance_weights(g)


def estimate_where_rows_are(
    reference: Window,
    current: Window,
    *,
    task: Task,
    likeness: FloatArray | None,
    seed: int = 0,
    replicates: int = 200,
) -> tuple[Estimate, ...]:
    """The metrics of CBPE by a curve fitted with weights `likeness` (n,) of reference rows.

    Empty for a regression and without reference labels. Refused in words where the weighted
    reference has fewer than 200 effective labelled rows: the current rows lie outside it.
    """
    if task is Task.REGRESSION or likeness is None or reference.label is None:
        return ()
    labelled = np.isfinite(reference.label)
    rows = effective_rows((reference.weights() * likeness)[labelled])
    if rows < LEAST_EFFECTIVE:
        words = (
            f"M-CBPE refused: the labelled reference is worth {rows:,.0f} rows where the current "
            f"ones are; it takes {LEAST_EFFECTIVE:,.0f}"
        )
        return (Estimate("log_loss", None, (None, None), METHOD, None, words),)
    return estimate_performance(
        reference,
        current,
        task=task,
        seed=seed,
        replicates=replicates,
        likeness=likeness,
        method=METHOD,
    )
