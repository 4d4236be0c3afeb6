import numpy as np
import pytest
import statsmodels.api as sm

from detectors.findings.calibration import auc_error, calibration_change
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
