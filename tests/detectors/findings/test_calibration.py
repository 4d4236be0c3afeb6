import numpy as np
import pytest
import statsmodels.api as sm

from detectors.findings.calibration import auc_error, calibration_change, logistic, shift
from detectors.records import Task
from tests.detectors.findings.synthetic import logit, valued, world

WINDOW = world(1500, 1)
assert WINDOW.score is not None
assert WINDOW.label is not None
Z, Y = logit(WINDOW.score), WINDOW.label


def test_recalibration_agrees_with_statsmodels() -> None:
    fit = sm.GLM(Y, sm.add_constant(Z), family=sm.families.Binomial()).fit()

    line, se = logistic(Z, Y)

    assert line == pytest.approx(fit.params, rel=1e-6)
    assert se == pytest.approx(fit.bse, rel=1e-5)


def test_the_level_agrees_with_statsmodels() -> None:
    fit = sm.GLM(Y, np.ones(len(Y)), family=sm.families.Binomial(), offset=Z).fit()

    assert shift(Z, Y) == pytest.approx((fit.params[0], fit.bse[0]), rel=1e-5)


def test_a_halved_slope_keeps_the_ranking() -> None:
    change = calibration_change(Task.BINARY, Z, Y, 2 * Z, Y)

    assert change.slope == pytest.approx(-0.5 * logistic(Z, Y)[0][1], rel=1e-3)
    assert change.slope_z < -4
    assert change.ranking == pytest.approx(0)


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
    assert reference.score is not None
    assert reference.label is not None
    assert current.score is not None
    assert current.label is not None

    change = calibration_change(
        Task.REGRESSION, reference.score, reference.label, current.score, current.label
    )

    assert change.intercept == pytest.approx(0.5 / reference.label.std(), abs=0.05)
    assert change.intercept_z > 8
    assert abs(change.slope_z) < 3
    assert abs(change.ranking_z) < 3
    fit = sm.OLS(current.label, sm.add_constant(current.score)).fit()
    assert change.residual_cur * reference.label.std() == pytest.approx(fit.resid)
