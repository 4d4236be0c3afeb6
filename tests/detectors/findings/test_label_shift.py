import numpy as np
import pytest

from detectors.findings.label_shift import (
    covariate_weighted_rate,
    implied_rate,
    importance_weights,
)
from tests.detectors.findings.synthetic import labels, oversampled, scores, world


def test_recovers_the_label_rate_under_pure_label_shift_and_is_sure_that_it_moved() -> None:
    reference, current = world(6000, 1), oversampled(3000, 2, odds=3.0)
    shown = float(labels(current).mean())

    found = implied_rate(scores(reference), labels(reference), scores(current), shown)

    assert found.rate == pytest.approx(shown, abs=0.04)
    assert found.change_z > 10
    assert abs(found.gap_z) < 3


def test_the_rate_is_the_likeliest_one() -> None:
    """Two score values make the likelihood one that can be maximised by hand: a share is met."""
    score = np.repeat([0.25, 0.75], [80, 20])
    label = np.concatenate([np.tile([0.0, 0.0, 0.0, 1.0], 20), np.tile([1.0, 1.0, 1.0, 0.0], 5)])

    found = implied_rate(score, label, np.repeat([0.25, 0.75], [70, 30]), 0.5)

    # P(.75 | 1) = 15 / 35 and P(.75 | 0) = 5 / 65: this many ones put .3 of the rows at .75.
    assert found.rate == pytest.approx((0.3 - 5 / 65) / (15 / 35 - 5 / 65), abs=1e-4)


def test_its_z_against_no_change_is_standard_where_nothing_changed() -> None:
    rng = np.random.default_rng(3)
    reference, current = world(1500, 1), world(1000, 2)
    drawn = []
    for _ in range(150):
        i, j = rng.integers(0, 1500, 1500), rng.integers(0, 1500, 1000)
        said = implied_rate(scores(reference)[i], labels(reference)[i], scores(reference)[j], 0.5)
        drawn.append(said.change_z)

    assert np.mean(drawn) == pytest.approx(0, abs=0.3)
    assert np.std(drawn) == pytest.approx(1, abs=0.25)
    unmoved = implied_rate(scores(reference), labels(reference), scores(current), 0.5)
    assert abs(unmoved.change_z) < 3


def test_a_useless_score_implies_nothing() -> None:
    label = np.tile([0.0, 1.0], 100)

    found = implied_rate(np.full(200, 0.5), label, np.full(100, 0.5), 0.9)

    assert (found.change, found.change_z, found.gap_z) == (0.0, 0.0, 0.0)


def test_weights_recover_the_label_rate_under_pure_covariate_shift() -> None:
    reference, current = world(6000, 1), world(3000, 2, age_mean=0.5)
    ratio = np.exp(0.5 * reference.numeric["age"] - 0.125)  # the true density ratio

    weight = importance_weights(ratio / (1 + ratio))
    found = covariate_weighted_rate(scores(reference), labels(reference), weight, scores(current))

    assert found == pytest.approx(labels(current).mean(), abs=0.025)
