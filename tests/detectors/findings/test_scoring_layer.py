import numpy as np
import pytest

from detectors.findings.scoring_layer import Expected, expected_scores, score_given_inputs
from detectors.findings.two_sample import encode
from tests.detectors.findings.synthetic import BINARY, logit, scores, world

REFERENCE, CURRENT = world(2000, 1), world(1000, 2)
X, _ = encode(REFERENCE, CURRENT, BINARY)
BEFORE, NOW = logit(scores(REFERENCE)), logit(scores(CURRENT))


def expected() -> Expected | None:
    return expected_scores(X, BEFORE, seed=0)


def test_an_unchanged_model_has_no_shift_and_slope_one() -> None:
    layer = score_given_inputs(expected(), NOW)

    assert layer.shift == pytest.approx(0, abs=0.03)
    assert layer.slope == pytest.approx(1, abs=0.05)


def test_a_constant_and_a_temperature_are_read_back() -> None:
    layer = score_given_inputs(expected(), 1.5 * NOW + 0.4)

    moved = (1.5 * NOW + 0.4).mean() - NOW.mean()
    assert layer.shift == pytest.approx(moved / BEFORE.std(), abs=0.04)
    assert layer.slope == pytest.approx(1.5, abs=0.07)


def test_a_score_that_never_varies_or_has_no_inputs_is_not_measured() -> None:
    assert expected_scores(X, np.ones(2000), seed=0) is None
    assert expected_scores(X[:, :0], BEFORE, seed=0) is None
    assert np.isnan(score_given_inputs(None, NOW).shift)


def test_current_scores_that_are_missing_are_left_out() -> None:
    holes = np.where(np.arange(1000) % 3 == 0, np.nan, NOW + 0.4)

    assert score_given_inputs(expected(), holes).shift == pytest.approx(
        score_given_inputs(expected(), NOW + 0.4).shift, abs=0.03
    )


def test_a_score_that_inputs_do_not_explain_says_nothing_of_the_layer() -> None:
    noise = np.random.default_rng(0).normal(size=3000)

    layer = score_given_inputs(expected_scores(X, noise[:2000], seed=0), noise[2000:] + 1.0)

    assert np.isnan(layer.slope)
    assert np.isnan(layer.shift)
