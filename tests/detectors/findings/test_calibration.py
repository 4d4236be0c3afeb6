import numpy as np
import pytest
import statsmodels.api as sm

from detectors.findings.calibration import auc_error, calibration_change, relabelling
from detectors.records import Task
from tests.detectors.findings.synthetic import labels, logit, scores, sigmoid, valued, world

BEFORE, NOW = world(1500, 1), world(1000, 2)
P, Y = scores(BEFORE), labels(BEFORE)
Z = logit(P)


def test_level_and_slope_agree_with_statsmodels() -> None:
    tempered = sigmoid(1.4 * logit(scores(NOW)) + 0.3)
    fits = []
    for p, y in ((P, Y), (tempered, labels(NOW))):
        z, family = logit(p), sm.families.Binomial()
        level = sm.GLM(y, np.ones(len(y)), family=family, offset=z).fit()
        line = sm.GLM(y, sm.add_constant(z), family=family).fit()
        fits.append((level.params[0], level.bse[0], line.params[1], line.bse[1], line))
    before, now = fits

    change = calibration_change(Task.BINARY, P, Y, tempered, labels(NOW))

    assert change.intercept == pytest.approx(now[0] - before[0])
    assert change.intercept_z == pytest.approx(
        (now[0] - before[0]) / np.hypot(now[1], before[1]), rel=1e-4
    )
    assert change.slope == pytest.approx(now[2] - before[2])
    assert change.slope_z == pytest.approx(
        (now[2] - before[2]) / np.hypot(now[3], before[3]), rel=1e-4
    )
    assert change.residual_cur == pytest.approx(now[4].resid_response, abs=1e-6)


def test_a_doubled_score_keeps_the_ranking() -> None:
    change = calibration_change(Task.BINARY, P, Y, sigmoid(2 * Z), Y)

    assert change.slope_z < -4
    assert change.ranking == pytest.approx(0)


def test_constant_scores_have_a_level_but_no_slope() -> None:
    change = calibration_change(Task.BINARY, P, Y, np.full(1000, 0.4), labels(NOW))

    assert np.isfinite(change.intercept)
    assert np.isnan(change.slope_z)
    assert change.residual_cur.mean() == pytest.approx(0, abs=1e-9)


def test_the_error_of_an_auc_is_about_that_of_resampling() -> None:
    rng = np.random.default_rng(0)
    high, low = Z[Y == 1], Z[Y == 0]
    found = [
        (rng.choice(high, 200)[:, None] > rng.choice(low, 200)[None, :]).mean() for _ in range(300)
    ]

    label = np.repeat([1.0, 0.0], 200)
    assert auc_error(float(np.mean(found)), label) == pytest.approx(np.std(found), rel=0.25)


def test_regression_reads_level_slope_and_correlation() -> None:
    reference, current = valued(3000, 1), valued(1500, 2, shift=0.5)

    change = calibration_change(
        Task.REGRESSION, scores(reference), labels(reference), scores(current), labels(current)
    )

    assert change.intercept == pytest.approx(0.5 / labels(reference).std(), abs=0.05)
    assert change.intercept_z > 8
    assert abs(change.slope_z) < 3
    assert abs(change.ranking_z) < 3
    fit = sm.OLS(labels(current), sm.add_constant(scores(current))).fit()
    assert change.residual_cur * labels(reference).std() == pytest.approx(fit.resid)


def test_shares_of_each_class_that_took_the_other_label_are_the_likeliest_ones() -> None:
    rng = np.random.default_rng(5)
    p = rng.uniform(0.02, 0.9, 4000)
    once = rng.random(4000) < p
    now = np.where(once, rng.random(4000) < 0.7, rng.random(4000) < 0.1).astype(float)

    a, b = relabelling(p, now)
    found = a * (1 - p) + b * p

    def likelihood(rate: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.where(now == 1, np.log(rate), np.log1p(-rate)).sum())

    best = max(
        likelihood(low * (1 - p) + high * p)
        for low in np.linspace(0.02, 0.2, 37)
        for high in np.linspace(0.5, 0.9, 41)
    )
    assert likelihood(found) == pytest.approx(best, abs=0.3)
    assert (a, b) == pytest.approx((0.1, 0.7), abs=0.04)


def test_labels_turned_at_random_leave_no_shape_but_to_a_line_in_log_odds() -> None:
    """Where scores reach far, a logistic line cannot follow a share of turned labels."""
    rng = np.random.default_rng(6)
    z = rng.normal(-2.5, 2.5, 40_000)
    p = sigmoid(z)
    before, once = (rng.random(40_000) < p).astype(float), rng.random(40_000) < p
    thinned = (once & (rng.random(40_000) < 0.25)).astype(float)

    change = calibration_change(Task.BINARY, p, before, p, thinned)

    assert change.relabelled is not None
    top = z > 1.5
    error = 0.45 / np.sqrt(top.sum())
    assert abs(change.residual_cur[top].mean()) > 4 * error
    assert abs(change.relabelled[1][top].mean()) < 3 * error
