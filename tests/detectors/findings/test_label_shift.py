import numpy as np
import pytest

from detectors.findings.label_shift import (
    black_box_rate,
    covariate_weighted_rate,
    importance_weights,
    log_odds_of,
)
from tests.detectors.findings.synthetic import labels, logit, oversampled, scores, world


def test_inverts_a_confusion_by_hand() -> None:
    """8 of 10 ones and 2 of 10 zeros are said to be ones; 13 of 20 now: .65 = .8 p + .2 (1 - p)."""
    label = np.repeat([1.0, 0.0], 10)
    score = np.concatenate([np.repeat([1.0, 0.0], [8, 2]), np.repeat([1.0, 0.0], [2, 8])])
    score = score + np.linspace(0, 0.01, 20)

    found = black_box_rate(score, label, np.repeat([1.0, 0.0], [13, 7]), seed=0)

    assert found.rate == pytest.approx(0.75)
    assert found.change == pytest.approx(log_odds_of(0.75))


def test_recovers_the_label_rate_under_pure_label_shift() -> None:
    reference, current = world(6000, 1), oversampled(3000, 2, odds=3.0)

    found = black_box_rate(
        logit(scores(reference)), labels(reference), logit(scores(current)), seed=0
    )

    assert found.rate == pytest.approx(labels(current).mean(), abs=3 * found.se)


def test_its_error_is_that_of_resampling_rows() -> None:
    reference, current = world(1500, 1), world(1000, 2)
    rng = np.random.default_rng(3)
    cut = np.quantile(scores(reference), 1 - labels(reference).mean())
    slow = []
    for _ in range(400):
        i, j = rng.integers(0, 1500, 1500), rng.integers(0, 1000, 1000)
        said, y = scores(reference)[i] > cut, labels(reference)[i]
        hit, false = said[y == 1].mean(), said[y == 0].mean()
        slow.append(((scores(current)[j] > cut).mean() - false) / (hit - false))

    found = black_box_rate(scores(reference), labels(reference), scores(current), seed=0)

    assert found.se == pytest.approx(np.std(slow), rel=0.2)


def test_a_useless_score_gives_a_rate_inside_its_limits() -> None:
    label = np.tile([0.0, 1.0], 100)

    found = black_box_rate(np.zeros(200), label, np.zeros(100), seed=0)

    assert 0.001 <= found.rate <= 0.999
    assert np.isfinite(found.change_se)


def test_weights_recover_the_label_rate_under_pure_covariate_shift() -> None:
    reference, current = world(6000, 1), world(3000, 2, age_mean=0.5)
    ratio = np.exp(0.5 * reference.numeric["age"] - 0.125)  # the true density ratio

    weight = importance_weights(ratio / (1 + ratio))
    found = covariate_weighted_rate(scores(reference), labels(reference), weight, scores(current))

    assert found == pytest.approx(labels(current).mean(), abs=0.025)
