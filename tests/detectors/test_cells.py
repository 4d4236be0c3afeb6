from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.cells import (
    KNOWN_VALUES,
    NULL,
    OTHER,
    TOP_VALUES,
    UNSEEN,
    NumericCells,
    fit_categorical,
    fit_numeric,
    hashes_of,
)
from detectors.records import Categories, FloatArray
from tests.detectors.rows import words

AWKWARD = st.one_of(
    st.floats(-5, 5),
    st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324]),
)


def counted_slowly(cells: NumericCells, values: FloatArray, weight: FloatArray) -> FloatArray:
    """The definition: null, else equal to a spike, else the right-closed bin."""
    counts = np.zeros((2, cells.size))
    bounds = [-np.inf, *cells.edges, np.inf]
    for value, mass in zip(values, weight, strict=True):
        if np.isnan(value):
            cell = 0
        elif value in cells.spikes:
            cell = 1 + list(cells.spikes).index(value)
        else:
            inside = [low < value <= high for low, high in pairwise(bounds)]
            bin_ = 0 if value == -np.inf else inside.index(True)
            cell = 1 + len(cells.spikes) + bin_
        counts[:, cell] += mass, mass * mass
    return counts


@settings(max_examples=60, deadline=None)
@given(st.lists(AWKWARD, max_size=60), st.lists(AWKWARD, max_size=40))
def test_counting_agrees_with_the_definition_for_nulls_ties_spikes_and_infinities(
    reference: list[float], current: list[float]
) -> None:
    cells = fit_numeric(np.array(reference, dtype=float), None)
    values = np.array(current + reference, dtype=float)
    weight = (1 + np.arange(len(values)) % 3).astype(np.float64)

    assert np.array_equal(cells.count(values, weight), counted_slowly(cells, values, weight))
    assert np.array_equal(
        cells.count(values, None), counted_slowly(cells, values, np.ones(len(values)))
    )
    assert cells.count(values, None)[0].sum() == len(values)


def test_blocks_longer_than_one_are_counted_like_short_ones() -> None:
    values = np.random.default_rng(3).normal(size=1_111)
    values[::7] = np.nan
    cells = fit_numeric(values, None)
    pieces = sum(cells.count(part, None) for part in np.array_split(values, 17))
    assert np.array_equal(cells.count(values, None), pieces)
    assert np.array_equal(cells.count(values, None), cells.count(values, np.ones(1_111)))


def test_bins_have_equal_mass_and_tails_are_cut_where_they_should_be() -> None:
    values = np.random.default_rng(5).permutation(np.arange(1.0, 48_001.0))
    cells = fit_numeric(values, None)
    shares = cells.count(values, None)[0] / len(values)
    assert shares.max() == pytest.approx(1 / 48, abs=1e-4)
    inner = cells.edges[1:-1] / 48_000
    for cut in (0.001, 0.003, 0.007, 0.015, 0.5, 0.985, 0.993, 0.997, 0.999):
        assert np.abs(inner - cut).min() < 1e-4


def test_nothing_of_the_reference_lies_in_the_open_bins_and_everything_beyond_it_does() -> None:
    values = np.random.default_rng(7).normal(10.0, 1.0, 5_000)
    cells = fit_numeric(values, None)
    open_cells = [cells.order[-1], *cells.order[:3]]  # beyond the maximum; below 0, 0, up to it
    assert cells.count(values, None)[0, open_cells].sum() == 0
    low, high = np.nextafter(values.min(), -np.inf), np.nextafter(values.max(), np.inf)
    beyond = cells.count(np.array([-np.inf, low, high, np.inf]), None)
    assert beyond[0, cells.order[-1]] == 2
    assert beyond[0, open_cells].sum() == 4


def test_heavy_values_are_spikes_and_zero_always_is() -> None:
    rng = np.random.default_rng(11)
    values = np.concatenate([rng.normal(5.0, 1.0, 970), np.full(20, 7.0), np.full(6, 99.0)])
    assert set(fit_numeric(values, None).spikes) == {0.0, 7.0}
    few = np.arange(1.0, 31.0)
    assert set(fit_numeric(few, None).spikes) == {0.0}


def test_weights_decide_where_edges_lie() -> None:
    values = np.random.default_rng(13).normal(size=4_000)
    weight = np.where(values > 0.0, 3.0, 1.0)
    cells = fit_numeric(values, weight)
    counts = cells.count(values, weight)
    assert counts[0].max() / counts[0].sum() < 1 / 40
    assert counts[0].sum() == weight.sum()
    assert counts[1].sum() == (weight**2).sum()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=50))
def test_ranks_are_the_mean_ranks_of_the_reference(numbers: list[int]) -> None:
    """With every value a spike or an edge of its own, cells lose nothing of the ranks."""
    values = np.repeat(np.array(numbers, dtype=float), 5)
    cells = fit_numeric(values, None)
    ranks = cells.ranks(cells.count(values, None))
    assert np.isnan(ranks[NULL])
    for value in set(values):
        wanted = np.mean(values < value) + 0.5 * np.mean(values == value)
        cell = int(np.flatnonzero(cells.count(np.array([value]), None)[0])[0])
        assert ranks[cell] == pytest.approx(wanted)


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [np.inf, -np.inf]])
def test_a_column_without_a_finite_value_still_has_cells(values: list[float]) -> None:
    cells = fit_numeric(np.array(values), None)
    counts = cells.count(np.array([np.nan, 0.0, 1.0, -1.0]), None)
    assert counts[0].tolist() == [1, 1, 1, 1]
    assert len(cells.labels()) == cells.size


def test_a_constant_column_has_one_cell_for_its_value() -> None:
    cells = fit_numeric(np.full(100, 4.0), None)
    counts = cells.count(np.array([4.0, 4.0, 3.9, 4.1]), None)[0]
    assert counts[1 + list(cells.spikes).index(4.0)] == 2
    assert counts.sum() == 4


def test_words_fall_into_null_unseen_other_and_their_own_cells() -> None:
    cells = fit_categorical(words(["b", "a", "b", None, "c", "b", "a"]), None)
    assert cells.values == ("b", "a", "c")
    counts = cells.count(words(["zz", "a", None, "b", "b", "yy"]), np.array([1.0, 2, 3, 4, 5, 6]))
    assert counts[0].tolist() == [3, 7, 0, 9, 2, 0]
    assert counts[1].tolist() == [9, 37, 0, 41, 4, 0]


def test_a_vocabulary_larger_than_the_window_gives_the_same_counts() -> None:
    big = tuple(f"v{at}" for at in range(500))
    cells = fit_categorical(Categories(np.arange(400, dtype=np.int32), big), None)
    codes = np.array([3, 450, -1, 3, 17], dtype=np.int32)
    small = words(["v3", "v450", None, "v3", "v17"])
    assert np.array_equal(cells.count(Categories(codes, big), None), cells.count(small, None))


def test_values_beyond_the_top_are_other_and_new_ones_unseen() -> None:
    vocabulary = tuple(f"v{at}" for at in range(TOP_VALUES + 500))
    common = np.repeat(np.arange(TOP_VALUES, dtype=np.int32), 3)
    codes = np.concatenate([common, np.arange(TOP_VALUES, TOP_VALUES + 500, dtype=np.int32)])
    cells = fit_categorical(Categories(codes, vocabulary), None)
    assert cells.size == 3 + TOP_VALUES
    counts = cells.count(words(["v0", f"v{TOP_VALUES + 7}", "brand new", "brand new"]), None)[0]
    assert (counts[OTHER], counts[UNSEEN], counts[3]) == (1, 2, 1)
    assert cells.unseen_rate == pytest.approx(501 / (len(codes) + 1))


def test_a_column_of_a_million_values_stays_small_and_is_open() -> None:
    rows = 1_000_000
    vocabulary = tuple(map(str, range(rows)))
    column = Categories(np.arange(rows, dtype=np.int32), vocabulary)
    cells = fit_categorical(column, None)
    assert cells.open
    assert rows > KNOWN_VALUES
    assert cells.size == 3 + TOP_VALUES
    assert len(cells.rest) == 0
    counts = cells.count(column, None)[0]
    assert (counts[OTHER], counts[UNSEEN]) == (rows - TOP_VALUES, 0)


def test_hashes_are_the_published_ones() -> None:
    """XXH3-64 of the empty string, from the reference implementation's test vectors."""
    assert int(hashes_of([""])[0]) == 0x2D06800538D394C2
