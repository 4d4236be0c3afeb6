from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detectors.transfer.auc import compare_auc

Y = np.array([1, 1, 1, 0, 0, 0, 0, 1.0])
ONE = np.array([0.9, 0.8, 0.4, 0.5, 0.3, 0.2, 0.6, 0.7])
TWO = np.array([0.6, 0.9, 0.3, 0.4, 0.5, 0.1, 0.7, 0.8])


def test_the_published_vector_of_delong() -> None:
    found = compare_auc(ONE, TWO, Y)
    assert found is not None
    assert (found.first, found.second) == (0.875, 0.75)
    assert found.variance == pytest.approx(0.010417, abs=1e-6)
    assert found.z == pytest.approx(1.224745, abs=1e-6)


def test_areas_with_ties_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 500).astype(float)
    one, two = np.round(rng.random(500) + 0.3 * y, 1), np.round(rng.random(500), 1)
    found = compare_auc(one, two, y)
    assert found is not None
    assert found.first == pytest.approx(roc_auc_score(y, one))
    assert found.second == pytest.approx(roc_auc_score(y, two))


def test_rows_of_their_own_are_clusters_of_one_up_to_the_degrees_of_freedom() -> None:
    """Obuchowski with a cluster a row divides by the same classes: S11 has no row in both."""
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 300).astype(float)
    one, two = rng.random(300) + 0.3 * y, rng.random(300) + 0.1 * y
    plain = compare_auc(one, two, y)
    alone = compare_auc(one, two, y, np.arange(300))
    missing = compare_auc(one, two, y, np.full(300, -1))
    assert plain is not None
    assert alone is not None
    assert missing is not None
    assert alone.variance == pytest.approx(plain.variance, rel=1e-9)
    assert missing.variance == pytest.approx(alone.variance)


def test_the_variance_for_clusters_is_the_variance_over_repetitions() -> None:
    """60 users of 10 rows with a user's own level: DeLong is far too sure, Obuchowski is not."""
    rng = np.random.default_rng(7)
    differences, claimed, plain = [], [], []
    for _ in range(300):
        user = np.repeat(np.arange(60), 10)
        y = (rng.random(600) < 0.4).astype(float)
        one = y + rng.normal(size=600) + 2.0 * rng.normal(size=60)[user]
        two = y + rng.normal(size=600)
        with_users, without = compare_auc(one, two, y, user), compare_auc(one, two, y)
        assert with_users is not None
        assert without is not None
        differences.append(with_users.difference)
        claimed.append(with_users.variance)
        plain.append(without.variance)
    assert np.mean(claimed) == pytest.approx(np.var(differences), rel=0.25)


def test_one_class_or_no_scores_give_no_comparison() -> None:
    assert compare_auc(ONE, TWO, np.ones(8)) is None
    assert compare_auc(np.full(8, np.nan), TWO, Y) is None


def test_equal_scores_differ_by_nothing() -> None:
    found = compare_auc(ONE, ONE, Y)
    assert found is not None
    assert (found.difference, found.z, found.p_value) == (0.0, 0.0, 1.0)
    assert found.interval() == (0.0, 0.0)
