"""Published numbers and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from detectors.calibration.bins import equal_mass_bins
from detectors.calibration.cluster import cluster_log_e, row_e_values
from detectors.calibration.cox import cox_line
from detectors.calibration.ecce import MAD_LIMIT, ecce, largest_walk_p
from detectors.calibration.ece import debiased_ece2, ece_debiased, ece_interval
from detectors.calibration.in_the_large import in_the_large
from detectors.calibration.logistic import fit_logistic
from detectors.calibration.result import wilson
from detectors.calibration.rows import log_odds
from detectors.calibration.shrinkage import paule_mandel
from detectors.calibration.spiegelhalter import spiegelhalter
from detectors.records import FloatArray

P = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.35])
Y = np.array([0.0, 0, 1, 0, 1, 1, 0, 1, 1, 1])


def drawn(
    n: int, seed: int, slope: float = 1.0, shift: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.0, 1.2, n)
    p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-(shift + slope * z)))
    return p, (rng.random(n) < q).astype(np.float64)


def test_in_the_large_matches_the_published_vector() -> None:
    large = in_the_large(P, Y)
    assert large is not None
    assert large.z == pytest.approx(0.839282, abs=5e-7)
    assert large.intercept == pytest.approx(0.614814, abs=5e-7)
    assert large.intercept_se == pytest.approx(0.738173, abs=5e-7)
    assert large.ratio == pytest.approx(6 / 4.85)
    assert not large.shrunk


def test_cox_matches_the_published_vector() -> None:
    line = cox_line(P, Y)
    assert line is not None
    assert line.coefficients == pytest.approx([0.608228, 0.979856], abs=5e-7)
    assert [line.se(0), line.se(1)] == pytest.approx([0.773001, 0.733853], abs=5e-7)


def test_the_recovery_ladder_of_ten_rows_matches_the_published_vector() -> None:
    z = np.array([-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5])
    y = np.array([0.0, 0, 0, 0, 0, 0, 1, 0, 1, 1])
    p = 1 / (1 + np.exp(-z))
    large, line = in_the_large(p, y), cox_line(p, y)
    assert large is not None
    assert line is not None
    assert large.intercept == pytest.approx(-1.469798, abs=5e-7)
    assert line.coefficients == pytest.approx([-3.189668, 2.534929], abs=5e-7)


def test_spiegelhalter_matches_the_published_vector() -> None:
    assert spiegelhalter(P, Y) == pytest.approx((0.335770, 0.737044), abs=5e-7)


def test_ecce_matches_the_published_vector() -> None:
    found = ecce(P, Y)
    assert found is not None
    assert (found.mad, found.range) == pytest.approx((0.155, 0.185))
    assert found.sigma == pytest.approx(0.137022, abs=5e-7)
    assert found.mad_normalised == pytest.approx(1.131206, abs=5e-7)
    assert found.range_normalised == pytest.approx(1.350149, abs=5e-7)


def test_debiased_ece_matches_the_published_vector() -> None:
    n = np.array([40.0, 30, 30])
    observed, predicted = np.array([0.1, 0.4, 0.8]), np.array([0.15, 0.35, 0.75])
    assert n @ (observed - predicted) ** 2 / 100 == pytest.approx(0.0025)
    assert debiased_ece2(n, observed, predicted) == pytest.approx(-0.002561, abs=5e-7)


def test_cluster_evidence_matches_the_published_vector() -> None:
    p = np.array([0.6, 0.7, 0.8, 0.3, 0.2, 0.55])
    y = np.array([1.0, 1, 1, 0, 0, 1])
    rows = row_e_values(p, y, shift=0.4)
    logs, total = cluster_log_e(p, y, np.array([0, 0, 0, 1, 1, 2]), shift=0.4)
    assert rows == pytest.approx([1.151904, 1.10976, 1.07059, 0.871424, 0.910444, 1.1742], abs=5e-7)
    assert np.exp(logs) == pytest.approx([1.110751, 0.890934, 1.1742], abs=5e-7)
    assert np.exp(total) == pytest.approx(1.161995, abs=5e-7)


def test_evidence_is_fair_when_the_scores_are_right() -> None:
    """p E[e | y = 1] + (1 - p) E[e | y = 0] is exactly 1."""
    p = np.linspace(0.01, 0.99, 50)
    happens = row_e_values(p, np.ones(50), shift=-0.8)
    fails = row_e_values(p, np.zeros(50), shift=-0.8)
    assert p * happens + (1 - p) * fails == pytest.approx(np.ones(50))


def test_logistic_regression_agrees_with_statsmodels() -> None:
    p, y = drawn(500, 1, slope=0.7, shift=0.3)
    columns = np.column_stack([np.ones(500), log_odds(p)])
    offset = np.linspace(-0.5, 0.5, 500, dtype=np.float64)
    mine = fit_logistic(columns, y, offset=offset)
    theirs = sm.GLM(y, columns, family=sm.families.Binomial(), offset=offset).fit()
    assert mine is not None
    assert mine.coefficients == pytest.approx(theirs.params, abs=1e-6)
    assert mine.covariance == pytest.approx(theirs.cov_params(), rel=1e-4)


def test_clustered_errors_agree_with_statsmodels() -> None:
    p, y = drawn(400, 2)
    cluster = np.repeat(np.arange(80), 5)
    columns = np.column_stack([np.ones(400), log_odds(p)])
    mine = fit_logistic(columns, y, cluster=cluster)
    theirs = sm.GLM(y, columns, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    assert mine is not None
    assert mine.covariance == pytest.approx(theirs.cov_params(), rel=1e-4)


def test_separation_has_no_maximum() -> None:
    x = np.column_stack([np.ones(20), np.arange(20.0)])
    assert fit_logistic(x, (np.arange(20) > 9).astype(np.float64)) is None
    assert fit_logistic(np.ones((20, 1)), np.ones(20)) is None
    assert fit_logistic(np.ones((20, 2)), np.tile([0.0, 1.0], 10)) is None


def test_one_class_gets_the_bias_reduced_intercept() -> None:
    """n trials at even odds without an event: Firth's estimate is logit(½ / (n + 1))."""
    for y in (0.0, 1.0):
        large = in_the_large(np.full(50, 0.5), np.full(50, y))
        assert large is not None
        assert large.shrunk
        assert large.intercept == pytest.approx((2 * y - 1) * np.log(50.5 / 0.5), abs=1e-6)


def test_probabilities_of_zero_and_one_stay_finite() -> None:
    p, y = np.array([0.0, 1.0, 0.0, 1.0, 0.5]), np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    large, line, total = in_the_large(p, y), cox_line(p, y), ecce(p, y)
    assert large is not None
    assert total is not None
    assert np.isfinite([large.intercept, large.intercept_se, large.z, total.mad]).all()
    assert line is None or np.isfinite(line.coefficients).all()


def test_ecce_takes_tied_scores_together_whatever_their_order() -> None:
    p = np.array([0.2, 0.5, 0.5, 0.5, 0.9])
    for labels in ([0, 1, 1, 0, 1], [0, 0, 1, 1, 1], [0, 1, 0, 1, 1]):
        found = ecce(p, np.array(labels, dtype=float))
        assert found is not None
        assert found.mad == pytest.approx(0.08)


def test_a_weight_of_two_is_a_second_row_in_every_mean() -> None:
    p, y = drawn(300, 3)
    weight = np.where(np.arange(300) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(300), weight.astype(int))
    first, second = in_the_large(p, y, weight), in_the_large(p[twice], y[twice])
    one, two = ecce(p, y, weight), ecce(p[twice], y[twice])
    assert first is not None
    assert second is not None
    assert one is not None
    assert two is not None
    assert first.intercept == pytest.approx(second.intercept)
    assert one.mad == pytest.approx(two.mad)


def test_debiased_error_is_about_zero_for_a_calibrated_model() -> None:
    squares = []
    for seed in range(60):
        p, y = drawn(1500, 100 + seed)
        root = ece_debiased(p, y)
        assert root is not None
        squares.append(np.sign(root) * root**2)
    assert abs(np.mean(squares)) < 3 * np.std(squares) / np.sqrt(60)


def test_bins_hold_equal_mass_and_never_split_a_score() -> None:
    p, y = drawn(3000, 5)
    bins = equal_mass_bins(p, y)
    assert bins.rows.tolist() == [200] * 15
    assert bins.mass @ bins.label == pytest.approx(y.sum())
    tied = equal_mass_bins(np.repeat([0.1, 0.2, 0.3], [980, 10, 10]), np.zeros(1000))
    assert bins.score.tolist() == sorted(bins.score.tolist())
    assert sum(tied.rows.tolist()) == 1000
    assert tied.score[0] == pytest.approx(0.1)


def test_wilson_interval_agrees_with_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    low, high = wilson(np.array([0.0, 0.1, 0.5]), np.array([20.0, 50, 10]))
    expected = proportion_confint(np.array([0, 5, 5]), np.array([20, 50, 10]), method="wilson")
    assert low == pytest.approx(expected[0], abs=1e-6)
    assert high == pytest.approx(expected[1], abs=1e-6)


def test_shrinkage_solves_its_own_equation_and_pulls_small_groups_most() -> None:
    estimate, se = np.array([0.5, -0.4, 0.1, 0.9]), np.array([0.05, 0.1, 0.2, 0.6])
    shrunk = paule_mandel(estimate, se)
    w = 1 / (shrunk.between + se**2)
    assert w @ (estimate - shrunk.mean) ** 2 == pytest.approx(3.0)
    pulled = (estimate - shrunk.estimate) / (estimate - shrunk.mean)
    assert (np.diff(pulled) > 0).all()
    same = paule_mandel(np.array([0.1, 0.1]), np.array([0.3, 0.2]))
    assert same.between == 0.0
    assert paule_mandel(np.array([0.4]), np.array([0.1])).estimate.tolist() == [0.4]
    assert paule_mandel(np.empty(0), np.empty(0)).estimate.shape == (0,)


def test_the_largest_walk_has_its_published_limit_and_that_of_simulated_walks() -> None:
    assert largest_walk_p(MAD_LIMIT) == pytest.approx(0.05, abs=1e-4)
    assert largest_walk_p(0.0) == 1.0
    steps = np.random.default_rng(70).normal(0, 1, (4000, 800)) / np.sqrt(800)
    largest = np.abs(steps.cumsum(axis=1)).max(axis=1)
    for level in (1.0, 1.6):
        assert largest_walk_p(level) == pytest.approx(np.mean(largest >= level), abs=0.045)


def test_the_error_interval_covers_the_error_there_is() -> None:
    """Log odds moved by .4 over uniform scores: the root mean square gap by numeric integration."""
    grid = (np.arange(20_000) + 0.5) / 20_000
    gap = 1 / (1 + np.exp(-(np.log(grid / (1 - grid)) + 0.4))) - grid
    truth = float(np.sqrt(np.mean(gap**2)))
    covered = right = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = rng.random(1500)
        moved = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + 0.4)))
        off = ece_interval(p, (rng.random(1500) < moved).astype(np.float64))
        fair = ece_interval(p, (rng.random(1500) < p).astype(np.float64))
        assert off is not None
        assert fair is not None
        covered += off[0] <= truth <= off[1]
        right += fair[0] == 0.0
    assert covered >= 52
    assert right >= 52
