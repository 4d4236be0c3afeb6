"""Every statistic against scipy, a published vector or the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from detectors.drift.anderson_darling import anderson_darling
from detectors.drift.chi_square import (
    cohen_w,
    compare_counts,
    permuted_p_value,
    pool_cells,
    total_variation,
)
from detectors.drift.cramer_von_mises import cramer_von_mises
from detectors.drift.energy import energy_distance
from detectors.drift.jensen_shannon import jensen_shannon
from detectors.drift.ks import ks_distance, ks_interval, ks_p_value
from detectors.drift.proportion import compare_shares, fisher_mid_p, score_p_value, wilson
from detectors.drift.psi import psi, psi_noise_floor
from detectors.drift.sweep import sweep
from detectors.drift.unseen import compare_unseen, expected_unseen
from detectors.drift.wasserstein import wasserstein_distance, wasserstein_interval

REFERENCE = np.array([100.0, 200, 400, 200, 100])
CURRENT = np.array([30.0, 50, 90, 60, 20])
A = np.array([1.1, 2.2, 3.1, 4.7, 5, 6.3, 7.7])
B = np.array([2, 3.3, 5.5, 6.1, 8.2, 9.9])

samples = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=30).map(np.array)


def test_counts_give_the_worked_vector() -> None:
    found = compare_counts(REFERENCE, CURRENT)
    assert psi(REFERENCE, CURRENT) == pytest.approx(0.0196166, abs=1e-7)
    assert jensen_shannon(REFERENCE, CURRENT) == pytest.approx(0.0594377, abs=1e-7)
    assert found.chi_square == pytest.approx(3.957352, abs=1e-6)
    assert found.df == 4
    assert found.p_value == pytest.approx(0.411808, abs=1e-6)
    assert found.g == pytest.approx(3.931021, abs=1e-6)
    assert cohen_w(REFERENCE, CURRENT) == pytest.approx(0.141421, abs=1e-6)
    assert total_variation(REFERENCE, CURRENT) == pytest.approx(0.06)


def test_binned_distances_give_the_worked_vector() -> None:
    cells = np.arange(5.0)
    found = sweep(cells, cells, weight_a=REFERENCE, weight_b=CURRENT)
    assert found.ks == pytest.approx(0.02)
    assert found.wasserstein == pytest.approx(0.08)


def test_samples_give_the_worked_vector() -> None:
    distance = ks_distance(A, B)
    assert distance == pytest.approx(0.380952, abs=1e-6)
    assert ks_p_value(distance, 7, 6) == pytest.approx(0.622378, abs=1e-6)
    assert wasserstein_distance(A, B) == pytest.approx(1.542857, abs=1e-6)
    assert anderson_darling(A, B).statistic == pytest.approx(-0.313894, abs=1e-6)
    assert cramer_von_mises(A, B).statistic == pytest.approx(0.133700, abs=1e-6)
    assert cramer_von_mises(A, B).p_value == pytest.approx(0.498252, abs=1e-6)
    assert energy_distance(A, B) == pytest.approx(0.810923, abs=1e-6)


@given(samples, samples)
@settings(max_examples=150, deadline=None)
def test_one_sweep_agrees_with_the_definition_and_scipy_on_any_samples_with_ties(
    a: np.ndarray,
    b: np.ndarray,
) -> None:
    gaps = [abs(np.mean(a <= x) - np.mean(b <= x)) for x in np.concatenate([a, b])]
    assert ks_distance(a, b) == pytest.approx(max(gaps))
    assert wasserstein_distance(a, b) == pytest.approx(stats.wasserstein_distance(a, b))


def test_weights_count_like_repeated_rows() -> None:
    rng = np.random.default_rng(3)
    a, b = np.sort(rng.normal(size=60)), np.sort(rng.normal(0.4, 1.2, size=45))
    times_a, times_b = rng.integers(1, 5, 60), rng.integers(1, 5, 45)
    weighted = sweep(a, b, weight_a=times_a.astype(float), weight_b=times_b.astype(float))
    repeated = sweep(np.repeat(a, times_a), np.repeat(b, times_b))
    assert weighted.ks == pytest.approx(repeated.ks)
    assert weighted.wasserstein == pytest.approx(repeated.wasserstein)
    assert weighted.variances == pytest.approx(repeated.variances)


def test_the_potential_has_the_variance_of_its_definition() -> None:
    """Its slope is the sign of F - G, which changes twice when one sample is wider and shifted."""
    rng = np.random.default_rng(11)
    a, b = np.sort(rng.normal(size=80)), np.sort(rng.normal(0.2, 2, size=50))
    grid = np.sort(np.concatenate([a, b]))
    sign = [np.sign(np.mean(a <= x) - np.mean(b <= x)) for x in grid[:-1]]
    potential = np.concatenate([[0.0], np.cumsum(sign * np.diff(grid))])
    expected = [np.var(np.interp(sample, grid, potential)) for sample in (a, b)]
    assert sweep(a, b).variances == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(7, 6), (20, 20), (100, 100), (13, 400), (1, 9)])
def test_small_samples_get_the_exact_p_value_of_scipy(n: int, m: int) -> None:
    rng = np.random.default_rng(n * m)
    for shift in (0.0, 0.8):
        a, b = rng.normal(size=n), rng.normal(shift, 1, size=m)
        exact = stats.ks_2samp(a, b, method="exact")
        assert ks_p_value(float(exact.statistic), n, m) == pytest.approx(exact.pvalue, rel=1e-9)


def test_large_samples_get_the_limit_that_scipy_gives() -> None:
    for distance in (0.005, 0.02, 0.05):
        limit = stats.kstwobign.sf(distance * np.sqrt(4000 * 9000 / 13000))
        assert ks_p_value(distance, 4000, 9000) == pytest.approx(limit)


def test_the_band_covers_the_true_distance_at_least_as_often_as_it_says() -> None:
    """Two normals a third of a sd apart differ by 2 Phi(1/6) - 1 at most."""
    rng = np.random.default_rng(5)
    truth = 2 * stats.norm.cdf(1 / 6) - 1
    covered = 0
    for _ in range(300):
        distance = ks_distance(rng.normal(size=300), rng.normal(1 / 3, 1, size=200))
        low, high = ks_interval(distance, 300, 200)
        covered += low <= truth <= high
    assert covered >= 0.95 * 300


def test_the_interval_of_wasserstein_covers_a_shift_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(400):
        found = sweep(np.sort(rng.normal(size=300)), np.sort(rng.normal(0.7, 1, size=400)))
        low, high = wasserstein_interval(found, 300, 400)
        covered += low <= 0.7 <= high
    assert 0.91 * 400 <= covered <= 0.985 * 400


def test_chi_square_agrees_with_scipy_where_no_cell_is_rare() -> None:
    table = np.array([[40, 60, 80, 20], [55, 40, 90, 35]])
    found = compare_counts(table[0].astype(float), table[1].astype(float))
    scipy = stats.chi2_contingency(table)
    assert found.chi_square == pytest.approx(scipy.statistic)
    assert found.df == scipy.dof
    assert found.p_value == pytest.approx(scipy.pvalue)
    g = stats.chi2_contingency(table, lambda_="log-likelihood").statistic
    assert found.g == pytest.approx(g)


def test_rare_cells_are_pooled_until_each_expects_five_rows() -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.full(300, 0.3))
    a, b = rng.multinomial(4000, shares), rng.multinomial(900, shares)
    pooled_a, pooled_b = pool_cells(a.astype(float), b.astype(float))
    assert (pooled_a.sum(), pooled_b.sum()) == (4000, 900)
    assert ((pooled_a + pooled_b) * 900 / 4900).min() >= 5
    assert len(pooled_a) > 20


def test_equal_windows_of_many_rare_values_show_no_effect() -> None:
    """Raw total variation is pure noise here: five rows in a hundred seem to have moved."""
    rng = np.random.default_rng(2)
    shares = np.full(10_000, 1e-4)
    a, b = (rng.multinomial(1_000_000, shares).astype(float) for _ in range(2))
    found = compare_counts(a, b)
    assert total_variation(a, b) > 0.05
    assert found.total_variation < 0.01
    assert found.total_variation_ci[1] < 0.02


def test_the_interval_of_total_variation_covers_the_truth() -> None:
    rng = np.random.default_rng(9)
    p, q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.4, 0.32, 0.2, 0.08])
    truth, covered = 0.1, 0
    for _ in range(400):
        a, b = rng.multinomial(2000, p), rng.multinomial(1500, q)
        low, high = compare_counts(a.astype(float), b.astype(float)).total_variation_ci
        covered += low <= truth <= high
    assert covered >= 0.93 * 400


def test_a_handful_of_rows_is_judged_by_random_tables_with_the_same_margins() -> None:
    """Fisher's exact test counts the same tables one by one."""
    exact = stats.fisher_exact(np.array([[4, 0], [0, 5]])).pvalue
    found = permuted_p_value(np.array([4.0, 0]), np.array([0, 5.0]), draws=20_000)
    assert found == pytest.approx(exact, abs=0.004)


def test_jensen_shannon_agrees_with_scipy_when_cells_are_empty() -> None:
    p, q = np.array([5.0, 0, 3, 2]), np.array([0.0, 4, 4, 2])
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2))
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 3.0])) == pytest.approx(1.0)


def test_psi_stays_finite_with_an_empty_cell_and_hovers_at_its_noise_floor() -> None:
    assert np.isfinite(psi(np.array([10.0, 0, 5]), np.array([10.0, 5, 0])))
    rng = np.random.default_rng(4)
    shares = np.full(20, 0.05)
    values = [
        psi(
            rng.multinomial(5000, shares).astype(float), rng.multinomial(3000, shares).astype(float)
        )
        for _ in range(300)
    ]
    assert np.mean(values) == pytest.approx(psi_noise_floor(20, 5000, 3000), rel=0.06)


def test_shares_are_compared_as_the_definitions_say() -> None:
    assert score_p_value(30, 200, 50, 210) == pytest.approx(
        stats.chi2_contingency([[30, 170], [50, 160]], correction=False).pvalue
    )
    hyper = stats.hypergeom(20, 5, 12)
    less = sum(p for k in range(6) if (p := hyper.pmf(k)) < hyper.pmf(5) * (1 - 1e-9))
    assert fisher_mid_p(0, 8, 5, 12) == pytest.approx(less + hyper.pmf(5) / 2)
    low, high = wilson(7, 40)
    exact = stats.binomtest(7, 40).proportion_ci(method="wilson")
    assert [low, high] == pytest.approx([exact.low, exact.high])


def test_the_difference_of_shares_has_newcombes_published_interval() -> None:
    """Newcombe (1998), table II: 56/70 against 48/80 gives .0524 to .3339."""
    change = compare_shares(48, 80, 56, 70)
    assert change.difference_ci == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_unseen_values_are_held_against_good_and_turing() -> None:
    assert expected_unseen(9, 999) == pytest.approx(0.01)
    found = compare_unseen(12, 400, 8, singletons=9, rows_reference=999)
    assert found.p_value == pytest.approx(stats.binom.sf(11, 400, 0.01))
    assert (found.share, found.largest) == (0.03, 0.02)


def test_energy_distance_agrees_with_scipy_and_with_the_definition_in_the_plane() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=600), rng.normal(0.3, 2, size=700)
    assert energy_distance(a, b) == pytest.approx(stats.energy_distance(a, b))
    x, y = rng.normal(size=(30, 2)), rng.normal(1, 1, size=(20, 2))

    def mean(p: np.ndarray, q: np.ndarray) -> float:
        return float(np.mean([[np.linalg.norm(one - other) for other in q] for one in p]))

    slow = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert energy_distance(x, y) == pytest.approx(np.sqrt(slow))


def test_a_column_of_one_value_in_both_windows_has_not_moved() -> None:
    found = compare_counts(np.array([4000.0]), np.array([3000.0]))
    assert found.total_variation == 0.0
    assert found.total_variation_ci == pytest.approx((0.0, 0.001))


def test_a_few_rows_of_wholly_new_values_have_moved_as_far_as_can_be() -> None:
    before, now = np.array([10.0, 10.0, 0.0, 0.0]), np.array([0.0, 0.0, 2.0, 2.0])
    found = compare_counts(before, now)
    assert found.total_variation == 1.0
    assert found.total_variation_ci[1] == 1.0
