from dataclasses import replace

import numpy as np
import pytest

from detectors.findings.cells import category_pair, cell_pair, share_explained
from detectors.findings.rows import draw_rows
from detectors.records import Categories, Window
from tests.detectors.findings.synthetic import BINARY, world


def test_few_rows_are_taken_as_they_are_and_many_are_drawn_in_order() -> None:
    window = replace(world(1000, 1), ts_us=np.arange(1000))

    assert draw_rows(window, 1000, seed=0) is window
    drawn = draw_rows(window, 300, seed=0)
    assert drawn.rows == 300
    assert drawn.ts_us is not None
    assert (np.diff(drawn.ts_us) > 0).all()
    again = draw_rows(window, 300, seed=0)
    assert again.ts_us is not None
    assert np.array_equal(drawn.ts_us, again.ts_us)


def test_rows_sampled_at_different_rates_are_thinned_to_one() -> None:
    """Half the rows stand for 5 rows each, half for 1: a fair draw has five of six of the first."""
    heavy = np.arange(4000) % 2 == 0
    window = replace(
        world(4000, 1),
        weight=np.where(heavy, 5.0, 1.0),
        numeric={"heavy": heavy.astype(float)},
    )

    drawn = draw_rows(window, 2000, seed=0)

    assert drawn.numeric["heavy"].mean() == pytest.approx(5 / 6, abs=0.03)


def test_numbers_fall_into_fifths_of_the_reference_and_nulls_apart() -> None:
    reference = Window(rows=10, numeric={"age": np.arange(10.0)})
    current = Window(rows=3, numeric={"age": np.array([-5.0, 99.0, np.nan])})

    left, right, names = cell_pair(reference, current, BINARY.columns[0])

    assert np.bincount(left).tolist() == [2, 2, 2, 2, 2]
    assert [names[cell] for cell in right] == ["< 1.8", ">= 7.2", "null"]


def test_a_constant_column_and_one_that_is_not_there_have_cells_too() -> None:
    constant = Window(rows=5, numeric={"age": np.ones(5)})

    left, right, names = cell_pair(constant, Window(rows=2), BINARY.columns[0])

    assert set(left.tolist()) == {1}
    assert [names[cell] for cell in right] == ["null", "null"]
    nothing = cell_pair(Window(rows=4), constant, BINARY.columns[0])
    assert nothing[2] == ("any value", "null")


def test_categories_share_one_vocabulary_whatever_their_codes() -> None:
    reference = Window(
        rows=3, categorical={"c": Categories(np.array([0, 1, -1], np.int32), ("a", "b", "unused"))}
    )
    current = Window(
        rows=3, categorical={"c": Categories(np.array([1, 0, -1], np.int32), ("z", "a"))}
    )

    left, right, values = category_pair(reference, current, "c")

    assert [values[code] if code >= 0 else None for code in left] == ["a", "b", None]
    assert [values[code] if code >= 0 else None for code in right] == ["a", "z", None]


def test_share_explained_is_the_anova_share() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 4, 5000)
    values = cells + rng.normal(size=5000)
    means = np.array([values[cells == cell].mean() for cell in range(4)])[cells]

    assert share_explained(values, cells) == pytest.approx(means.var() / values.var(), abs=0.002)
    assert share_explained(np.ones(10), np.arange(10)) == 0.0
    assert share_explained(rng.normal(size=5000), cells) < 0.005
