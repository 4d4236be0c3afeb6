import numpy as np
import pytest

from detectors.findings.decomposition import decompose


def test_agrees_with_the_published_walk_over_three_cells() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    g = q / (p + q)
    loss_ref, loss_cur = np.array([0.1, 0.2, 0.4]), np.array([0.1, 0.3, 0.5])

    terms = decompose(loss_ref, g, loss_cur, g, seed=0, weight_ref=p, weight_cur=q)

    walk = [terms.reference, terms.shared_before, terms.shared_now, terms.current]
    assert walk == pytest.approx([0.19, 0.232787, 0.30, 0.36], abs=1e-6)
    steps = [terms.inputs, terms.concept, terms.unseen]
    assert steps == pytest.approx([0.042787, 0.067213, 0.06], abs=1e-6)


def test_without_an_input_shift_the_whole_change_is_concept() -> None:
    rng = np.random.default_rng(1)
    before, now = rng.exponential(0.4, 2000), rng.exponential(0.6, 1000)

    terms = decompose(before, np.full(2000, 0.5), now, np.full(1000, 0.5), seed=0)

    assert terms.concept == pytest.approx(now.mean() - before.mean())
    assert terms.inputs == pytest.approx(0)
    assert terms.unseen == pytest.approx(0)


def test_the_bootstrap_error_is_that_of_a_difference_of_means_when_weights_are_equal() -> None:
    rng = np.random.default_rng(2)
    before, now = rng.exponential(0.4, 2000), rng.exponential(0.6, 1000)

    terms = decompose(before, np.full(2000, 0.5), now, np.full(1000, 0.5), seed=0, bootstraps=1000)

    expected = np.sqrt(before.var() / 2000 + now.var() / 1000)
    assert terms.concept_se == pytest.approx(expected, rel=0.08)
    assert terms.concept_z == pytest.approx(terms.concept / terms.concept_se)


def test_the_same_seed_gives_the_same_errors() -> None:
    loss, g = np.linspace(0, 1, 300), np.linspace(0.2, 0.8, 300)

    assert decompose(loss, g, loss, g, seed=5) == decompose(loss, g, loss, g, seed=5)
    assert decompose(loss, g, loss, g, seed=5) != decompose(loss, g, loss, g, seed=6)


def test_days_that_move_together_widen_the_intervals_as_their_means_say() -> None:
    """Rows of a day share a level: the spread of the mean is that of day means, not of rows."""
    rng = np.random.default_rng(3)
    days = np.repeat(np.arange(40), 50)
    level = rng.normal(0, 0.2, 40)
    loss = 0.5 + level[days] + rng.normal(0, 0.05, 2000)
    flat = np.full(2000, 0.5)

    rows = decompose(loss, flat, loss, flat, seed=0, bootstraps=600)
    blocks = decompose(loss, flat, loss, flat, seed=0, bootstraps=600, blocks=(days, days))

    by_day = loss.reshape(40, 50).mean(axis=1)
    expected = np.sqrt(2 * by_day.var() / 40)
    assert blocks.concept_se == pytest.approx(expected, rel=0.1)
    assert blocks.concept_se > 4 * rows.concept_se
    low, high = blocks.concept_ci
    assert high - low == pytest.approx(2 * 1.96 * expected, rel=0.15)
