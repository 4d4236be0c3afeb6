from __future__ import annotations

import numpy as np
import pytest

from detectors.drift.embeddings import compare_embeddings
from detectors.drift.mmd import discrepancy, mmd_squared
from detectors.records import HOUR_US, State, Window


def rows(seed: int, n: int = 800, d: int = 8, shift: float = 0.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(shift, 1, size=(n, d))
    return drawn.astype(np.float32)


def test_the_exact_statistic_gives_the_worked_vector() -> None:
    x = np.array([(0.0, 0), (1, 0), (0, 1)])
    assert mmd_squared(x, x + 1, bandwidth=1.0) == pytest.approx(0.442507, abs=1e-6)


def test_random_features_come_close_to_the_exact_mean_of_three_kernels() -> None:
    x, y = rows(1).astype(float), rows(2, shift=0.6).astype(float)
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)[np.triu_indices(len(x), 1)]
    middle = float(np.median(distances))
    exact = np.mean([mmd_squared(x, y, bandwidth=middle * scale) for scale in (0.5, 1, 2)])
    assert discrepancy(rows(1), rows(2, shift=0.6)).squared == pytest.approx(exact, rel=0.2)


def test_p_values_are_uniform_when_nothing_changed() -> None:
    p = np.array(
        [
            discrepancy(rows(s, 60, 3), rows(s + 500, 50, 3), permutations=59, seed=s).p_value
            for s in range(80)
        ]
    )
    assert 0.4 < p.mean() < 0.6
    assert 0.01 <= (p <= 0.1).mean() <= 0.2


def test_whole_ticks_are_permuted_when_rows_of_a_tick_are_alike() -> None:
    """Every tick has its own centre, so rows say "changed" where ticks cannot."""
    rng = np.random.default_rng(8)
    tick = np.repeat(np.arange(12), 50)

    def window() -> np.ndarray:
        centres = rng.normal(size=(12, 4))
        return (centres[tick] + 0.3 * rng.normal(size=(600, 4))).astype(np.float32)

    x, y = window(), window()
    assert discrepancy(x, y).p_value < 0.02
    assert discrepancy(x, y, blocks=(tick, tick)).p_value > 0.05


def test_a_moved_cloud_is_drift_and_the_same_cloud_is_fine() -> None:
    reference = Window(rows=3000, embedding=rows(1, 3000))
    same = compare_embeddings(reference, Window(rows=3000, embedding=rows(2, 3000)))
    moved = compare_embeddings(reference, Window(rows=3000, embedding=rows(3, 3000, shift=1.0)))
    assert (same.state, moved.state) == (State.OK, State.DRIFT)
    assert "spread of rows" in moved.detail


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (Window(rows=5), "no embedding in the current window"),
        (Window(rows=0, embedding=rows(1, 0)), "too little data"),
        (Window(rows=3, embedding=np.full((3, 8), np.nan, np.float32)), "too little data"),
    ],
)
def test_what_cannot_be_compared_is_said_in_words(current: Window, words: str) -> None:
    found = compare_embeddings(Window(rows=800, embedding=rows(1)), current)
    assert found.state is State.UNDETERMINED
    assert words in found.detail


def test_constant_and_tiny_embeddings_give_numbers() -> None:
    ones = np.ones((20, 3), np.float32)
    found = discrepancy(ones, ones)
    assert (found.effect, found.p_value) == (0.0, 1.0)
    ticks = np.arange(20) * HOUR_US
    window = Window(rows=20, embedding=rows(4, 20, 3), ts_us=ticks)
    assert 0 < (compare_embeddings(window, window).p_value or 0) <= 1
