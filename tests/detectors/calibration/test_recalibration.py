from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from detectors.calibration.recalibration import BLOCK_ROWS, Recalibration, fit_recalibration
from detectors.records import FloatArray

GRID = np.concatenate([[0.0], np.linspace(0.001, 0.999, 200), [1.0]])


def drawn(
    n: int, seed: int, slope: float = 0.6, shift: float = 0.4
) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.0, 1.2, n)
    p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-(shift + slope * z)))
    return p, (rng.random(n) < q).astype(np.float64)


def stepped(n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Scores of which those above .3 mean .7 and the others .1: no beta curve follows that."""
    p, _ = drawn(n, seed)
    q = np.where(p > 0.3, 0.7, 0.1)
    return p, (np.random.default_rng(seed + 1).random(n) < q).astype(np.float64)


def test_a_beta_curve_agrees_with_scikit_learn() -> None:
    p, y = drawn(3000, 1)
    curve = fit_recalibration(p, y)
    assert curve.method == "beta"
    x = np.column_stack([np.log(p), -np.log1p(-p)])
    theirs = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(x, y)
    assert curve.values[:2] == pytest.approx(theirs.coef_[0], abs=1e-3)
    assert curve.apply(p).sum() == pytest.approx(y.sum(), rel=1e-6)


@pytest.mark.parametrize("n", [3000, 20_000])
def test_the_curve_finds_what_scores_mean(n: int) -> None:
    p, y = drawn(n, 2)
    z = np.array([-2.0, -1.0, 0.0, 1.0])
    truth = 1 / (1 + np.exp(-(0.4 + 0.6 * z)))
    found = fit_recalibration(p, y).apply(1 / (1 + np.exp(-z)))
    assert found == pytest.approx(truth, abs=0.06)


def test_isotonic_is_close_to_scikit_learn_and_keeps_blocks_of_a_hundred() -> None:
    p, y = stepped(20_000, 3)
    curve = fit_recalibration(p, y)
    assert curve.method == "isotonic"
    theirs = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    assert np.mean((curve.apply(p) - theirs.predict(p)) ** 2) < 2e-3
    block = np.searchsorted(np.array(curve.edges), p, side="right")
    assert np.bincount(block).min() >= BLOCK_ROWS
    assert curve.apply(p).sum() == pytest.approx(y.sum(), rel=0.005)


def test_steps_are_only_learnt_where_they_describe_the_labels_better() -> None:
    """A curve of steps is flat beyond the scores it has seen; a beta curve goes on rising."""
    p, y = drawn(20_000, 3)
    curve = fit_recalibration(p, y)
    assert curve.method == "beta"
    high = np.array([0.97, 0.99, 0.999])
    assert (np.diff(curve.apply(high)) > 0.0).all()


def test_blocks_never_split_a_score_and_hold_a_hundred_rows_with_ties() -> None:
    rng = np.random.default_rng(4)
    p = np.round(rng.random(8000), 2)
    p[:199] = 0.0
    y = (rng.random(8000) < np.where(p > 0.4, 0.8, 0.2)).astype(np.float64)
    curve = fit_recalibration(p, y)
    assert curve.method == "isotonic"
    block = np.searchsorted(np.array(curve.edges), p, side="right")
    assert np.bincount(block).min() >= BLOCK_ROWS
    for edge in curve.edges:
        assert edge in p


@pytest.mark.parametrize("n", [0, 1, 30, 300, 6000])
@pytest.mark.parametrize("labels", ["drawn", "ones", "zeros"])
def test_every_curve_is_monotone_and_safe_at_zero_and_one(n: int, labels: str) -> None:
    p, y = drawn(n, 5)
    y = {"drawn": y, "ones": np.ones(n), "zeros": np.zeros(n)}[labels]
    p[: n // 10] = 0.0
    p[n - n // 10 :] = 1.0
    found = fit_recalibration(p, y).apply(GRID)
    assert ((found > 0.0) & (found < 1.0)).all()
    assert (np.diff(found) >= 0.0).all()


def test_an_inverted_score_becomes_flat_and_not_falling() -> None:
    p, y = drawn(2000, 6, slope=-0.8)
    found = fit_recalibration(p, y).apply(GRID)
    assert (np.diff(found) >= 0.0).all()
    assert np.ptp(found[20:-20]) < 0.2


def test_missing_scores_stay_missing() -> None:
    for n in (300, 6000):
        assert np.isnan(fit_recalibration(*drawn(n, 7)).apply(np.array([np.nan]))).all()


@pytest.mark.parametrize("n", [0, 300, 6000])
def test_a_curve_survives_json(n: int) -> None:
    curve = fit_recalibration(*drawn(n, 8))
    again = Recalibration.from_dict(json.loads(json.dumps(curve.to_dict())))
    assert again == curve
    assert np.array_equal(again.apply(GRID), curve.apply(GRID))


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a recalibration curve: method 'spline'"):
        Recalibration.from_dict({"method": "spline", "values": [1], "edges": [], "rows": 1})
    with pytest.raises(KeyError):
        Recalibration.from_dict({})


def test_weights_count_like_rows() -> None:
    p, y = drawn(600, 9)
    weight = np.where(np.arange(600) < 300, 2.0, 1.0)
    twice = np.repeat(np.arange(600), weight.astype(int))
    first, second = fit_recalibration(p, y, weight), fit_recalibration(p[twice], y[twice])
    assert first.values == pytest.approx(second.values, abs=1e-6)
