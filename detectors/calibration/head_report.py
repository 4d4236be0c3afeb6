"""Calibration of a model's further outputs: class probabilities, quantiles, mean with sd.

Each is judged as a forecast of its own, against outcomes and against the reference's own curve.
They are many questions asked at once, so drift stands at a false discovery rate of .05 among them
(Benjamini and Hochberg 1995): a report is read once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors.calibration.ecce import ecce, largest_walk_p
from detectors.calibration.ece import ece_debiased, ece_interval
from detectors.calibration.heads import Head, head_rows, standard_residuals
from detectors.calibration.numbers import clustering, numbers_of
from detectors.calibration.recalibration import Recalibration, fit_recalibration
from detectors.calibration.reference_noise import ReferenceNoise, reference_noise
from detectors.calibration.result import (
    UNKNOWN,
    Z95,
    Calibration,
    HeadCalibration,
    Numbers,
    SliceCalibration,
    Spread,
    wilson,
)
from detectors.calibration.rows import JudgedRows, effective_rows, judged_rows
from detectors.calibration.slices import ranked
from detectors.calibration.spiegelhalter import spiegelhalter
from detectors.records import Says, Schema, State, Task, Window
from detectors.transfer.losses import pinball

FEWEST_RESIDUALS = 20


def with_heads(
    whole: Calibration,
    window: Window,
    schema: Schema | None,
    reference: Window | None,
    design_effect: float,
) -> Calibration:
    """The answer with its further outputs judged beside it; the worse state is the answer's."""
    if schema is None or not schema.outputs:
        return whole
    deff = max(design_effect, 1.0)
    heads = judge_heads(window, schema, reference, deff)
    found = replace(whole, heads=heads, spread=_spread(window, schema, reference, deff))
    off = [head for head in heads if head.part.state is State.DRIFT]
    if not off:
        return found
    named = ", ".join(_words(head) for head in off[:3])
    more = f" and {len(off) - 3} more" if len(off) > 3 else ""
    said = f"{len(off)} of {len(heads)} further outputs off: {named}{more}"
    if whole.state is State.DRIFT:
        return replace(found, words=f"{whole.words}; {said}")
    return replace(
        found, state=State.DRIFT, words=f"drift: {said} (the score itself {whole.words})"
    )


def judge_heads(
    window: Window, schema: Schema, reference: Window | None, deff: float
) -> tuple[HeadCalibration, ...]:
    """Every output that has labelled rows, those furthest off first."""
    before = {} if reference is None else _rows_of(reference, schema)
    told: dict[str, HeadCalibration] = {}
    numbers: list[tuple[str, Numbers]] = []
    losses = _pinball(window, schema)
    earlier = {} if reference is None else _pinball(reference, schema)
    for name, (head, rows) in _rows_of(window, schema).items():
        curve, noise = None, ReferenceNoise()
        if name in before:
            base = before[name][1]
            curve = fit_recalibration(base.score, base.label, base.weight)
            noise = reference_noise(base, curve, deff)
        relative = numbers_of(rows, curve, noise, deff)
        numbers.append((name, relative))
        told[name] = _head(head, rows, curve, deff)
        told[name] = replace(
            told[name], pinball=losses.get(name), pinball_reference=earlier.get(name)
        )
    return tuple(replace(told[part.name], part=part) for part in ranked(numbers))


def _rows_of(window: Window, schema: Schema) -> dict[str, tuple[Head, JudgedRows]]:
    """The judged rows of each output that has any, by its name."""
    found = {}
    for head, chance, outcome in head_rows(window, schema):
        shown = replace(window, score=chance, label=outcome)
        rows = judged_rows(shown, task=Task.BINARY)
        if rows is not None and len(rows):
            found[head.name] = (head, rows)
    return found


def _head(
    head: Head, rows: JudgedRows, curve: Recalibration | None, deff: float
) -> HeadCalibration:
    """What is told of an output besides its level and slope, which `part` will have."""
    p = rows.score if curve is None else curve.apply(rows.score)
    absolute = numbers_of(rows, None, ReferenceNoise(), deff)
    unknown = SliceCalibration(
        head.name, State.UNDETERMINED, 0, None, None, UNKNOWN, None, UNKNOWN, None, None, None, None
    )
    share = float(rows.weight @ rows.label) / float(rows.weight.sum())
    together = max(deff, clustering(rows, p))
    low, high = wilson(np.array([share]), np.array([effective_rows(rows.weight) / together]))
    found = HeadCalibration(
        part=unknown,
        says=head.says.value,
        level=head.level,
        observed=share,
        observed_ci=(float(low[0]), float(high[0])),
        absolute=absolute,
    )
    if head.level is not None:
        return found
    cumulative, sharp = (
        ecce(p, rows.label, rows.weight),
        spiegelhalter(rows.score, rows.label, rows.weight),
    )
    walk = None if cumulative is None else cumulative.mad_normalised
    return replace(
        found,
        ece_debiased=ece_debiased(p, rows.label, rows.weight),
        ece_ci=ece_interval(p, rows.label, rows.weight, design_effect=together) or UNKNOWN,
        ecce_p=None if walk is None else largest_walk_p(walk / together**0.5),
        spiegelhalter_p=None if sharp is None else _two_sided(sharp[0] / together**0.5),
    )


def _pinball(window: Window, schema: Schema) -> dict[str, float]:
    """Mean pinball loss of each quantile, by the name of its question."""
    found = {}
    for output in schema.outputs:
        column = window.numeric.get(output.column)
        if output.says is not Says.QUANTILE or column is None or window.label is None:
            continue
        loss = pinball(column, window.label, output.level)
        known = np.isfinite(loss)
        if known.any():
            weight = window.weights()[known]
            found[f"quantile {output.of}"] = float(weight @ loss[known]) / float(weight.sum())
    return found


def _spread(window: Window, schema: Schema, reference: Window | None, deff: float) -> Spread | None:
    """Standard residuals in numbers; None without an sd or with fewer than 20 of them."""
    from scipy.special import ndtr
    from scipy.stats import kstwobign

    z = standard_residuals(window, schema)
    z = np.empty(0) if z is None else z[np.isfinite(z)]
    if len(z) < FEWEST_RESIDUALS:
        return None
    n = len(z) / deff
    mean, square = float(z.mean()), float((z**2).mean())
    sd = float(np.sqrt(max(square - mean**2, 0.0)))
    half = Z95 * sd / n**0.5
    # the delta method: var of the sd is var of its square over 4 sd²
    of_sd = Z95 * float(((z - mean) ** 2).std()) / n**0.5 / (2.0 * max(sd, 1e-12))
    uniform = np.sort(ndtr(z))
    steps = np.arange(len(z) + 1) / len(z)
    furthest = max(float((steps[1:] - uniform).max()), float((uniform - steps[:-1]).max()))
    return Spread(
        rows=len(z),
        mean=mean,
        mean_ci=(mean - half, mean + half),
        sd=sd,
        sd_ci=(max(sd - of_sd, 0.0), sd + of_sd),
        pit_p=float(kstwobign.sf(furthest * n**0.5)),
        before=_sd_before(reference, schema),
    )


def _sd_before(reference: Window | None, schema: Schema) -> float | None:
    z = None if reference is None else standard_residuals(reference, schema)
    z = np.empty(0) if z is None else z[np.isfinite(z)]
    return float(z.std()) if len(z) >= FEWEST_RESIDUALS else None


def _words(head: HeadCalibration) -> str:
    if head.level is not None and head.observed is not None:
        return f"{head.part.name} holds in {head.observed:.1%} of cases instead of {head.level:.0%}"
    ratio = head.part.observed_over_expected
    size = "" if ratio is None else f" (observed / expected {ratio:.2f})"
    return f"{head.part.name}{size}"


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return float(2.0 * ndtr(-abs(z)))
