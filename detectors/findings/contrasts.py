"""Every number a diagnosis is read from, measured once on a reference and a current window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.calibration.rows import log_odds
from detectors.findings.calibration import calibration_change
from detectors.findings.decomposition import decompose
from detectors.findings.label_shift import (
    covariate_weighted_rate,
    implied_rate,
    importance_weights,
    log_odds_of,
)
from detectors.findings.localisation import localise
from detectors.findings.loss_change import explain_loss
from detectors.findings.region import find_region
from detectors.findings.rows import CURRENT_ROWS, REFERENCE_ROWS, draw_rows
from detectors.findings.scoring_layer import Expected, expected_scores, score_given_inputs
from detectors.findings.stand_in import stand_in_score
from detectors.findings.two_sample import TwoSample, encode, two_sample, within_class_auc
from detectors.records import BoolArray, FloatArray, LossChange, Schema, Task, Window
from detectors.schema.check import (
    ABSENT,
    ALL_NULL,
    MISSING,
    PARENT,
    RENAME,
    RETYPED,
    SWAP,
    UNIT,
    ZERO_FILL,
    SchemaCheck,
)
from detectors.transfer.loss import expected_loss, loss_of

FEWEST_ROWS = 200
FEWEST_MINORITY = 20
FEWEST_FOR_A_RATE = 3
"""None at all is more often a label that does not come than a rate."""

ABSENCE = frozenset({MISSING, ALL_NULL, ABSENT})
MISMATCH = frozenset({RETYPED, UNIT, RENAME, SWAP, PARENT, ZERO_FILL})
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Reference against current. NaN: could not be measured (no score, no labels, no spread).

    AUCs are of the two-sample classifier. Changes of rates and intercepts are in log odds
    (regression: reference sd), `score_shift` in reference sd, losses in loss units, `_z` in
    standard errors. `expected_loss_z` is the change that inputs alone let expect, in the standard
    errors of `loss_z`, `unexpected_loss_z` what is left; `implied_gap_z` is of the implied label
    rate against the one labels show. `beside` is inputs and labels alone: without the columns that
    a check found at fault, and with a stand-in for the served score.
    """

    task: Task
    rows_ref: int = 0
    rows_cur: int = 0
    labels_ref: int = 0
    labels_cur: int = 0
    absent: tuple[SchemaCheck, ...] = ()
    mismatched: tuple[SchemaCheck, ...] = ()
    inputs_auc: float = NAN
    carriers: tuple[str, ...] = ()
    score_shift: float = NAN
    score_slope: float = NAN
    score_move: float = NAN
    score_move_z: float = NAN
    within_class_auc: float = NAN
    loss_ref: float = NAN
    loss_cur: float = NAN
    loss_z: float = NAN
    expected_loss_z: float = NAN
    unexpected_loss_z: float = NAN
    concept: float = NAN
    concept_z: float = NAN
    rate_change: float = NAN
    rate_change_se: float = NAN
    implied_change: float = NAN
    implied_z: float = NAN
    implied_gap_z: float = NAN
    weighted_change: float = NAN
    intercept_change: float = NAN
    intercept_z: float = NAN
    slope_change: float = NAN
    slope_z: float = NAN
    ranking_change: float = NAN
    ranking_z: float = NAN
    reversed_z: float = NAN
    local_z: float = NAN
    local_column: str = ""
    local_cell: str = ""
    region_z: float = NAN
    region_effect: float = NAN
    region_column: str = ""
    region_cell: str = ""
    loss: LossChange | None = None
    beside: Contrasts | None = None

    @property
    def has_inputs(self) -> bool:
        return not np.isnan(self.inputs_auc)

    @property
    def has_labels(self) -> bool:
        return not np.isnan(self.loss_z)

    @property
    def loss_change(self) -> float:
        return self.loss_cur - self.loss_ref


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What the reference and the inputs of the current rows say, whatever came of those rows.

    `X` (n + m, p) are the rows looked at, encoded; `expected` what the reference's scores let
    expect. Windows that differ in labels and scores alone share all of it.
    """

    X: FloatArray
    two: TwoSample
    expected: Expected | None


def compare_inputs(
    reference: Window, current: Window, schema: Schema, *, seed: int = 0
) -> Inputs | None:
    """Look at at most 6,000 reference and 5,000 current rows; None below 200 of either."""
    if min(reference.rows, current.rows) < FEWEST_ROWS:
        return None
    before = draw_rows(reference, REFERENCE_ROWS, seed)
    now = draw_rows(current, CURRENT_ROWS, seed + 1)
    if min(before.rows, now.rows) < FEWEST_ROWS:
        return None
    X, categorical = encode(before, now, schema)
    two = two_sample(before, now, schema, seed=seed, encoded=(X, categorical))
    return Inputs(X, two, _expected(X, before, now, schema.task, seed))


def _expected(X: FloatArray, before: Window, now: Window, task: Task, seed: int) -> Expected | None:
    """The scores that current inputs would have had in the reference, if it has enough of them."""
    if before.score is None:
        return None
    kept = np.isfinite(before.score)
    if kept.sum() < FEWEST_ROWS:
        return None
    rows = np.concatenate([kept, np.ones(now.rows, np.bool_)])
    return expected_scores(X[rows], working_score(task, before.score[kept]), seed=seed)


def measure(
    reference: Window,
    current: Window,
    schema: Schema,
    *,
    checks: tuple[SchemaCheck, ...] = (),
    design_effect: float = 1.0,
    seed: int = 0,
    inputs: Inputs | None = None,
    aside: bool = True,
) -> Contrasts:
    """All contrasts that the columns, scores and labels at hand allow.

    Standard errors are widened by the square root of `design_effect` (1 = independent rows).
    Fewer than 200 rows in either window leave everything but the checks unmeasured; fewer than 200
    labels, or 20 of the rarer class, leave what needs labels unmeasured. `inputs` are those of
    `compare_inputs` on the same inputs and reference, where the caller has them already. Without
    `aside` nothing is `beside`: quicker where one name is enough.
    """
    found = Contrasts(
        schema.task,
        reference.rows,
        current.rows,
        _labels(reference),
        _labels(current),
        absent=tuple(c for c in checks if c.check in ABSENCE and not _renamed(c)),
        mismatched=tuple(c for c in checks if c.check in MISMATCH or _renamed(c)),
    )
    if inputs is None:
        inputs = compare_inputs(reference, current, schema, seed=seed)
    if inputs is None:
        return found
    before = draw_rows(reference, REFERENCE_ROWS, seed)
    now = draw_rows(current, CURRENT_ROWS, seed + 1)
    two = inputs.two
    found = replace(found, inputs_auc=two.auc, carriers=two.carriers)
    widen = float(np.sqrt(max(design_effect, 1.0)))
    found = _with_scores(found, before, now, inputs.expected, widen)
    found = _with_labels(found, before, now, schema, two, widen, seed)
    if not aside:
        return found
    return replace(found, beside=_beside(found, before, now, schema, two, widen, seed))


def _beside(
    found: Contrasts,
    before: Window,
    now: Window,
    schema: Schema,
    two: TwoSample,
    widen: float,
    seed: int,
) -> Contrasts | None:
    """Inputs and labels, without the columns at fault and with a stand-in for the served score."""
    broken = {check.column for check in (*found.absent, *found.mismatched)}
    sound = replace(schema, columns=tuple(c for c in schema.columns if c.name not in broken))
    X, categorical = encode(before, now, sound)
    if not X.shape[1] or not (found.has_labels or broken):
        return None
    if broken:
        two = two_sample(before, now, sound, seed=seed, encoded=(X, categorical))
    rest = replace(found, absent=(), mismatched=(), inputs_auc=two.auc, carriers=two.carriers)
    if not found.has_labels or before.label is None:
        return rest
    known = np.flatnonzero(np.isfinite(before.label))
    kept = np.concatenate([known, np.arange(before.rows, len(X))])
    said = stand_in_score(X[kept], categorical, before.label[known], task=schema.task, seed=seed)
    if said is None:
        return rest
    score = np.full(len(X), NAN)
    score[kept] = said
    return _with_labels(
        rest,
        replace(before, score=score[: before.rows]),
        replace(now, score=score[before.rows :]),
        sound,
        two,
        widen,
        seed,
    )


def _with_scores(
    found: Contrasts, before: Window, now: Window, expected: Expected | None, widen: float
) -> Contrasts:
    """What scores say without labels: same inputs, same score? And did they move at all?"""
    if before.score is None or now.score is None:
        return found
    kept_ref, kept_cur = np.isfinite(before.score), np.isfinite(now.score)
    if min(kept_ref.sum(), kept_cur.sum()) < FEWEST_ROWS:
        return found
    score_ref = working_score(found.task, before.score[kept_ref])
    score_cur = working_score(found.task, now.score)
    layer = score_given_inputs(expected, score_cur)
    score_cur = score_cur[kept_cur]
    spread = float(np.std(score_ref))
    move = float(score_cur.mean() - score_ref.mean())
    error = float(np.sqrt(score_ref.var() / len(score_ref) + score_cur.var() / len(score_cur)))
    return replace(
        found,
        score_shift=layer.shift,
        score_slope=layer.slope,
        score_move=move / spread if spread > 0 else NAN,
        score_move_z=move / error / widen if error > 0 else NAN,
    )


def _with_labels(
    found: Contrasts,
    before: Window,
    now: Window,
    schema: Schema,
    two: TwoSample,
    widen: float,
    seed: int,
) -> Contrasts:
    """What needs scores and labels on the same rows."""
    rows_ref, rows_cur = labelled(before), labelled(now)
    if min(rows_ref.sum(), rows_cur.sum()) < FEWEST_ROWS:
        return found
    before, now = before.take(rows_ref), now.take(rows_cur)
    assert before.score is not None
    assert before.label is not None
    assert now.score is not None
    assert now.label is not None
    y_ref, y_cur = before.label, now.label
    if schema.task is not Task.REGRESSION and fewest_of(y_ref, y_cur) < FEWEST_MINORITY:
        return _with_rate_alone(found, before.score, y_ref, now.score, y_cur, widen)
    two = TwoSample(two.reference[rows_ref], two.current[rows_cur], two.auc)
    loss_ref = loss_of(schema.task, before.score, y_ref)
    loss_cur = loss_of(schema.task, now.score, y_cur)
    terms = decompose(loss_ref, two.reference, loss_cur, two.current, seed=seed)
    loss_se = float(np.sqrt(loss_ref.var() / len(y_ref) + loss_cur.var() / len(y_cur))) * widen
    change = calibration_change(schema.task, before.score, y_ref, now.score, y_cur)
    place = min(
        (
            localise(before, now, schema, was, left, design_effect=widen**2)
            for was, left in change.residuals
        ),
        key=lambda found: found.z,
    )
    region = min(
        (
            find_region(before, now, schema, was, left, design_effect=widen**2)
            for was, left in change.residuals
        ),
        key=lambda found: found.z,
    )
    found = replace(
        found,
        loss=explain_loss(
            before, now, schema, loss_ref, two.reference, loss_cur, two.current, seed
        ),
        loss_ref=terms.reference,
        loss_cur=terms.current,
        loss_z=(terms.current - terms.reference) / loss_se if loss_se > 0 else 0.0,
        concept=terms.concept,
        concept_z=terms.concept_z / widen,
        intercept_change=change.intercept,
        intercept_z=change.intercept_z / widen,
        slope_change=change.slope,
        slope_z=change.slope_z / widen,
        ranking_change=change.ranking,
        ranking_z=change.ranking_z / widen,
        reversed_z=change.reversed_z / widen,
        local_z=place.z,
        local_column=place.column,
        local_cell=place.cell,
        region_z=region.z,
        region_effect=region.effect,
        region_column=region.column,
        region_cell=region.cell,
    )
    if schema.task is not Task.BINARY:
        return found
    assert change.once is not None
    expected = expected_loss(now.score, change.once)
    error = float(np.sqrt(loss_cur.var() / len(y_cur))) * widen
    p_ref, p_cur = float(y_ref.mean()), float(y_cur.mean())
    rate = implied_rate(before.score, y_ref, now.score, p_cur)
    weighted = covariate_weighted_rate(
        before.score, y_ref, importance_weights(two.reference), now.score
    )
    return replace(
        found,
        expected_loss_z=(float(expected.mean()) - terms.reference) / loss_se if loss_se else NAN,
        unexpected_loss_z=(terms.current - float(expected.mean())) / error if error else NAN,
        within_class_auc=within_class_auc(two, y_ref, y_cur),
        rate_change=log_odds_of(p_cur) - log_odds_of(p_ref),
        rate_change_se=_rate_error(p_ref, len(y_ref), p_cur, len(y_cur)) * widen,
        implied_change=rate.change,
        implied_z=rate.change_z / widen,
        implied_gap_z=rate.gap_z / widen,
        weighted_change=log_odds_of(weighted) - log_odds_of(p_ref),
    )


def _with_rate_alone(
    found: Contrasts,
    score_ref: FloatArray,
    y_ref: FloatArray,
    score_cur: FloatArray,
    y_cur: FloatArray,
    widen: float,
) -> Contrasts:
    """That ones have become rare, or zeros, is known even where too few are left for more.

    Half a row is added to either class (Haldane, 1956), so that a rate of none has log odds.
    """
    if found.task is not Task.BINARY or fewest_of(y_ref) < FEWEST_MINORITY:
        return found
    if fewest_of(y_cur) < FEWEST_FOR_A_RATE:
        return found
    ones, rows = float(y_cur.sum()) + 0.5, len(y_cur) + 1.0
    p_ref, p_cur = float(y_ref.mean()), ones / rows
    rate = implied_rate(score_ref, y_ref, score_cur, p_cur)
    return replace(
        found,
        rate_change=log_odds_of(p_cur) - log_odds_of(p_ref),
        rate_change_se=_rate_error(p_ref, len(y_ref), p_cur, rows) * widen,
        implied_change=rate.change,
        implied_z=rate.change_z / widen,
        implied_gap_z=rate.gap_z / widen,
    )


def _rate_error(p_ref: float, n: float, p_cur: float, m: float) -> float:
    """Standard error of a change of log odds."""
    return float(np.sqrt(1 / (n * p_ref * (1 - p_ref)) + 1 / (m * p_cur * (1 - p_cur))))


def working_score(task: Task, score: FloatArray) -> FloatArray:
    """Log odds of a probability, or a regression's value as it is."""
    return score if task is Task.REGRESSION else log_odds(score)


def labelled(window: Window) -> BoolArray:
    """Rows (n,) with both a score and a label."""
    if window.score is None or window.label is None:
        return np.zeros(window.rows, np.bool_)
    both: BoolArray = np.isfinite(window.score) & np.isfinite(window.label)
    return both


def fewest_of(*labels: FloatArray) -> int:
    """Rows of the rarer class, in the window where it is rarest."""
    return min(int(min((y == 1).sum(), (y == 0).sum())) for y in labels)


def _renamed(check: SchemaCheck) -> bool:
    """A column that is missing and has probably come under another name is still there."""
    return check.check == MISSING and check.proposal is not None


def _labels(window: Window) -> int:
    return int(labelled(window).sum())
