"""Level, slope and ratio of judged rows, against outcomes or the reference's curve."""

from __future__ import annotations

import numpy as np

from detectors.calibration.cox import cox_line
from detectors.calibration.in_the_large import InTheLarge, in_the_large
from detectors.calibration.over_time import SUM_CONSTRAINED
from detectors.calibration.recalibration import Recalibration
from detectors.calibration.reference_noise import ReferenceNoise
from detectors.calibration.result import FEWEST_ROWS, Numbers, judge
from detectors.calibration.rows import JudgedRows, effective_rows, squared_sums
from detectors.records import FloatArray


def numbers_of(
    rows: JudgedRows, curve: Recalibration | None, noise: ReferenceNoise, deff: float
) -> Numbers:
    """Intercept, slope and ratio with intervals and the state they make."""
    p = rows.score if curve is None else curve.apply(rows.score)
    large = in_the_large(p, rows.label, rows.weight, rows.cluster)
    assert large is not None, "rows are not empty here"
    line = cox_line(p, rows.label, rows.weight, rows.cluster)
    root = float(np.sqrt(deff))
    testable = not _sum_constrained(rows, p)
    information = float(rows.weight @ (p * (1.0 - p)))
    curve_se, curve_tilt = noise.errors(rows.score, rows.weight)
    ratio_noise = curve_se * information / large.expected if large.expected else 0.0
    implied = float(np.sqrt(rows.weight**2 @ (p * (1.0 - p)))) / max(information, 1e-12)
    minority = min(large.observed, float(rows.weight.sum()) - large.observed)
    expected = min(large.expected, float(rows.weight.sum()) - large.expected)
    effective = effective_rows(rows.weight) / deff
    clusters = np.inf if rows.cluster is None else float(rows.cluster.max()) + 1.0
    scale = effective / float(rows.weight.sum())
    return judge(
        rows=len(rows),
        observed=large.observed,
        expected=large.expected,
        ratio=large.ratio,
        ratio_se=float(np.hypot(large.ratio_se * root, ratio_noise)),
        intercept=large.intercept if testable else None,
        intercept_se=float(np.hypot(large.intercept_se * root, curve_se)),
        slope=None if line is None else float(line.coefficients[1]),
        slope_se=0.0 if line is None else float(np.hypot(line.se(1) * root, curve_tilt)),
        null_se=float(np.hypot(implied * root, curve_se)),
        effective=min(effective, clusters),
        rare=max(minority, expected) * scale,
        rare_before=noise.rare,
        one_class=large.shrunk,
        note=_note(large, clusters, testable=testable),
    )


def _note(large: InTheLarge, clusters: float, *, testable: bool) -> str:
    if clusters < FEWEST_ROWS:
        return f"{clusters:.0f} clusters of rows that share an outcome; 20 are needed"
    if not testable:
        return "scores of a cluster add up to its outcome, so only the slope can be judged"
    if large.shrunk:
        return "only one class has been seen; the intercept is the bias-reduced one"
    return ""


def _sum_constrained(rows: JudgedRows, p: FloatArray) -> bool:
    """Whether each cluster's scores add up to what happens in it, as for one winner in a race."""
    if rows.cluster is None:
        return False
    sizes = np.bincount(rows.cluster)
    if len(sizes) < 20 or sizes.mean() < 1.5:
        return False
    surplus = np.bincount(rows.cluster, weights=rows.label - p)
    implied = float((p * (1.0 - p)).sum())
    return implied > 0.0 and float(surplus @ surplus) / implied < SUM_CONSTRAINED


def clustering(rows: JudgedRows, p: FloatArray) -> float:
    """How much more the surplus of labels varies by cluster than independent rows would let it."""
    if rows.cluster is None:
        return 1.0
    implied = float(rows.weight**2 @ (p * (1.0 - p)))
    seen = squared_sums(rows.weight * (rows.label - p), rows.cluster)
    return max(1.0, seen / implied) if implied > 0.0 else 1.0
