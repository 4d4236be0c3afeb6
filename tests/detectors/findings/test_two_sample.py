from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detectors.findings.two_sample import (
    TwoSample,
    auc,
    binned,
    encode,
    two_sample,
    within_class_auc,
)
from detectors.records import Categories, ColumnSpec, Kind, Schema, Task, Window
from tests.detectors.findings.synthetic import BINARY, labels, oversampled, world


def test_auc_agrees_with_scikit_learn_under_ties() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 6, 80).astype(float), rng.integers(1, 8, 50).astype(float)

    side = np.repeat([0, 1], [80, 50])
    assert auc(low, high) == pytest.approx(roc_auc_score(side, np.concatenate([low, high])))
    assert np.isnan(auc(low, np.empty(0)))


def test_alike_windows_cannot_be_told_apart_and_moved_ones_can() -> None:
    reference = world(3000, 1)

    alike = two_sample(reference, world(1500, 2), BINARY, seed=0)
    moved = two_sample(reference, world(1500, 2, age_mean=1.0), BINARY, seed=0)

    assert alike.auc == pytest.approx(0.5, abs=0.03)
    # two normals one sd apart: the best possible AUC is Phi(1 / sqrt 2) = .760
    assert 0.70 < moved.auc < 0.775
    assert moved.carriers[0] == "age"


def test_label_shift_moves_no_class_and_a_covariate_shift_moves_both() -> None:
    reference = world(3000, 1)
    found = []
    for current in (oversampled(1500, 2, odds=3.0), world(1500, 2, age_mean=0.7)):
        two = two_sample(reference, current, BINARY, seed=0)
        found.append(within_class_auc(two, labels(reference), labels(current)))

    assert found[0] < 0.56 < 0.6 < found[1]


def test_a_class_with_few_rows_has_no_auc() -> None:
    two = TwoSample(np.full(100, 0.4), np.full(100, 0.6), 1.0)

    assert np.isnan(within_class_auc(two, np.zeros(100), np.ones(100)))


def test_columns_that_never_vary_are_left_out_and_nulls_are_a_value() -> None:
    rng = np.random.default_rng(0)
    schema = Schema(
        Task.BINARY,
        (
            *(ColumnSpec(n, Kind.NUMERIC) for n in ("constant", "empty", "gaps", "wild")),
            *(ColumnSpec(n, Kind.CATEGORICAL) for n in ("only", "two")),
        ),
    )

    def window(rows: int) -> Window:
        gaps = np.full(rows, 3.0)
        gaps[::2] = np.nan
        wild = rng.normal(size=rows)
        wild[0] = np.inf
        return Window(
            rows=rows,
            numeric={
                "constant": np.ones(rows),
                "empty": np.full(rows, np.nan),
                "gaps": gaps,
                "wild": wild,
            },
            categorical={
                "only": Categories(np.zeros(rows, np.int32), ("a",)),
                "two": Categories((np.arange(rows) % 2 - 1).astype(np.int32), ("a",)),
            },
        )

    X, categorical = encode(window(60), window(40), schema)

    assert X.shape == (100, 3)  # gaps, wild, two
    assert categorical.tolist() == [False, False, True]
    assert np.isnan(X[0, 1])
    assert set(X[:, 2]) == {0.0, 1.0}


def test_vocabularies_in_another_order_are_the_same_categories() -> None:
    reference = world(600, 1)
    again = reference.categorical["region"]
    turned = Categories((3 - again.codes).astype(np.int32), again.values[::-1])
    current = replace(reference, categorical={"region": turned})

    X, _ = encode(reference, current, BINARY)

    assert np.array_equal(X[:600], X[600:])


def test_without_any_column_that_varies_nothing_can_be_told_apart() -> None:
    blank = Window(rows=300)

    two = two_sample(blank, blank, BINARY, seed=0)

    assert two.auc == 0.5
    assert two.carriers == ()


def test_of_many_columns_those_stay_that_explain_the_score() -> None:
    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(150)]
    numeric = {name: rng.normal(size=300) for name in names}
    window = Window(rows=300, score=numeric["x140"], numeric=numeric)
    schema = Schema(Task.REGRESSION, tuple(ColumnSpec(name, Kind.NUMERIC) for name in names))

    X, _ = encode(window, window, schema)

    assert X.shape[1] == 100
    kept = binned(np.tile(numeric["x140"], 2))
    assert any(np.array_equal(X[:, j], kept) for j in range(100))


def test_bins_keep_order_nulls_and_short_lists_of_values() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    values[7] = np.nan

    codes = binned(values)

    assert np.isnan(codes[7])
    filled = np.delete(np.column_stack([values, codes]), 7, axis=0)
    assert (np.diff(filled[np.argsort(filled[:, 0]), 1]) >= 0).all()
    counts = np.unique(filled[:, 1], return_counts=True)[1]
    assert (len(counts), counts.min()) == (255, 15)
    few = np.array([0.5, np.nan, 2.5])
    assert np.array_equal(binned(few), few, equal_nan=True)


def test_the_same_seed_gives_the_same_classifier() -> None:
    reference, current = world(600, 1), world(400, 2)

    first, second = (two_sample(reference, current, BINARY, seed=3) for _ in range(2))

    assert np.array_equal(first.current, second.current)
