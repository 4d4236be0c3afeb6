"""Bets on the cells of single rows, against published numbers and the definition of evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import ndtri

from detectors.evidence.bets import (
    KEPT,
    STAKES,
    Bets,
    error_factor,
    mean_bets,
    mix_bets,
    ordered_bets,
    shifted,
    softened,
    widened,
)
from detectors.records import FloatArray

P = np.array([0.4, 0.3, 0.2, 0.1])
NORMAL = ndtri(np.cumsum(P)[:-1])


def test_shifted_and_widened_cells_agree_with_the_published_vector() -> None:
    q = shifted(NORMAL, 0.5)
    assert_allclose(q, [0.225621, 0.284113, 0.273027, 0.217239], atol=5e-7)
    kept = (1 - KEPT) * q + KEPT * P
    assert_allclose(kept / P, [0.572771, 0.948102, 1.357835, 2.148943], atol=5e-7)
    assert (kept / P) @ P == pytest.approx(1.0)
    assert error_factor(P, kept, 1000.0) == pytest.approx(1.015213, abs=5e-7)
    assert_allclose(widened(NORMAL, 1.5), [0.432938, 0.203742, 0.166869, 0.196451], atol=5e-7)


def _every(counts: FloatArray) -> list[Bets]:
    found = [ordered_bets(counts), mix_bets(counts)]
    edges = np.linspace(0, 1, len(counts) + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    found.append(mean_bets(counts, edges[:-1], edges[1:], float(softened(counts) @ middle)))
    return [bets for bets in found if bets is not None]


def test_each_factor_pays_for_the_error_of_the_reference() -> None:
    bets = ordered_bets(np.array([2_000.0, 1_500, 1_000, 500]), widths=False, tails=False)
    assert bets is not None
    paid = np.exp(bets.log_ratio) @ bets.shares
    q = np.exp(bets.log_ratio) * bets.shares / paid[:, None]
    assert_allclose(paid, 1.0 / error_factor(bets.shares, q, 5_000.0))
    assert (paid < 1.0).all()


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3_000), min_size=3, max_size=70).filter(lambda c: sum(c) > 5_000))
def test_every_bet_averages_at_most_one_under_the_reference(cells: list[int]) -> None:
    for bets in _every(np.array(cells, float)):
        assert_allclose(bets.every_prior.sum(), 1.0)
        assert (np.exp(bets.log_ratio) @ bets.shares <= 1.0 + 1e-9).all()
        memory = np.outer([150.0, 1500.0], np.arange(len(cells)) / len(cells))
        single = np.stack([bets.log_evidence(row, memory) for row in np.eye(len(cells))], axis=1)
        assert (np.exp(single) @ bets.shares <= 1.0 + 1e-9).all()


def test_forty_nine_bets_on_cells_with_tails() -> None:
    """Twelve shifts, five widenings and 2 tails x 4 quantiles x 4 factors."""
    inner = np.arange(1, 48) / 48
    tails = np.array([0.985, 0.993, 0.997, 0.999])
    cuts = np.unique(np.concatenate([inner, tails, 1 - tails]))
    counts = np.concatenate([[0.0], np.diff(cuts, prepend=0.0, append=1.0) * 100_000, [0.0]])
    bets = ordered_bets(counts)
    assert bets is not None
    assert bets.count == 49
    assert_allclose([bets.prior[:12].sum(), bets.prior[12:17].sum()], [0.5, 0.2])
    top = np.zeros(len(counts))
    top[-1] = 1.0
    assert bets.log_evidence(top)[17:].max() == pytest.approx(np.log(20), abs=0.1)


def test_the_bet_on_a_mean_is_never_more_than_the_bet_on_the_values_themselves() -> None:
    """1 + λ(x - m) of the values, whatever their law: the null is the mean alone."""
    rng = np.random.default_rng(1)
    counts, edges = np.full(10, 1_000.0), np.linspace(0, 1, 11)
    mean = 0.4
    bets = mean_bets(counts, edges[:-1], edges[1:], mean)
    x = rng.random(500)
    cell = np.minimum((x * 10).astype(int), 9)
    for j, stake in enumerate(STAKES):
        up, down = np.exp(bets.log_ratio[j]), np.exp(bets.log_ratio[len(STAKES) + j])
        assert (up[cell] <= 1 + stake / mean * (x - mean)).all()
        assert (down[cell] <= 1 - stake / (1 - mean) * (x - mean)).all()
    assert np.exp(bets.log_ratio[: len(STAKES)])[-1, -1] > 1.5


def test_a_mean_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_bets(np.ones(2), np.zeros(2), np.ones(2), 1.0)


def test_cells_that_cannot_differ_are_not_bet_on() -> None:
    assert ordered_bets(np.array([100.0])) is None
    assert mix_bets(np.array([100.0])) is None


def test_a_plug_in_learns_a_mix_that_no_tilt_describes() -> None:
    rng = np.random.default_rng(2)
    counts = np.full(12, 2_000.0)
    bets = mix_bets(counts)
    assert bets is not None
    truth = np.where(np.arange(12) % 2, 1.25, 0.75) / 12
    memory, gained = np.zeros((2, 12)), np.zeros(bets.count)
    for _ in range(60):
        tick = rng.multinomial(100, truth).astype(float)
        gained += bets.log_evidence(tick, memory)
        memory = bets.remembered(memory, tick)
    assert gained[-1] > 40.0
    assert gained[-1] > gained[:-2].max() + 20.0
    assert memory.sum(axis=1) == pytest.approx([200, 2000], rel=0.4)
