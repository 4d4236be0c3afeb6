"""Columns of two windows: states, bad input, and the same answer however it is asked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.drift.column import ColumnComparison, Effect
from detectors.drift.compare import (
    compare_columns,
    compare_labels,
    compare_predictions,
    compare_scores,
)
from detectors.drift.design_effect import design_effect_of, design_effects
from detectors.records import (
    DAY_US,
    HOUR_US,
    Categories,
    ColumnSpec,
    FloatArray,
    Kind,
    Schema,
    State,
    Task,
    Window,
)
from tests.detectors.drift.windows import (
    categories,
    numbers,
    numbers_schema,
    words,
    words_schema,
)


def normal(seed: int, rows: int = 5000, mean: float = 0.0) -> FloatArray:
    return np.random.default_rng(seed).normal(mean, 1, rows)


def one(reference: FloatArray, current: FloatArray) -> ColumnComparison:
    return compare_columns(numbers(x=reference), numbers(x=current), numbers_schema("x"))[0]


def one_of_words(reference: Categories, current: Categories) -> ColumnComparison:
    return compare_columns(categories(x=reference), categories(x=current), words_schema("x"))[0]


def test_the_same_law_is_ok_and_a_shift_of_a_third_of_a_sd_is_drift() -> None:
    assert one(normal(1, 20_000), normal(2, 20_000)).state is State.OK
    moved = one(normal(1, 20_000), normal(2, 20_000, mean=0.33))
    assert moved.state is State.DRIFT
    assert moved.wasserstein == pytest.approx(0.33, abs=0.03)


def test_an_effect_too_small_to_matter_stays_ok_however_many_rows_there_are() -> None:
    found = one(normal(1, 400_000), normal(2, 400_000, mean=0.03))
    assert found.p_value is not None
    assert found.p_value < 1e-6
    assert found.state is State.OK


def test_twenty_rows_are_too_little_data_and_it_says_so() -> None:
    found = one(normal(1, 20), normal(2, 20))
    assert found.state is State.UNDETERMINED
    assert "too little data (20 rows against 20)" in found.detail


@pytest.mark.parametrize(
    ("interval", "estimate", "rejected", "state"),
    [
        ((0.06, 0.10), 0.08, True, State.DRIFT),
        ((0.06, 0.10), 0.08, False, State.WATCH),
        ((0.02, 0.10), 0.06, True, State.WATCH),
        ((0.00, 0.10), 0.06, True, State.UNDETERMINED),
        ((0.01, 0.07), 0.04, True, State.UNDETERMINED),
        ((0.01, 0.04), 0.02, True, State.OK),
    ],
)
def test_a_single_look_is_judged_by_interval_estimate_and_rejection(
    interval: tuple[float, float], estimate: float, rejected: bool, state: State
) -> None:
    effect = Effect("the gap", estimate, *interval, practical=0.05, p_value=0.01, words="")
    assert effect.judge(rejected=rejected) is state


def test_nulls_alone_can_be_the_drift() -> None:
    current = normal(2)
    current[: len(current) // 10] = np.nan
    found = one(normal(1), current)
    assert found.null_share == (0.0, 0.1)
    assert (found.state, "nulls 0 % before, 10 % now" in found.detail) == (State.DRIFT, True)


def test_infinite_values_count_and_are_named() -> None:
    current = normal(2)
    current[:1000] = np.inf
    found = one(normal(1), current)
    assert found.state is State.DRIFT
    assert found.ks == pytest.approx(0.2, abs=0.02)
    assert "1,000 infinite values in the current window" in found.detail


def test_unseen_categories_are_reported_with_the_commonest_of_them() -> None:
    found = one_of_words(words(["a", "b"] * 2000), words(["a", "b"] * 1900 + ["new"] * 200))
    assert found.unseen_share == pytest.approx(0.05)
    assert found.state is State.DRIFT
    assert "new value 'new' in 5 % of rows" in found.detail


def test_a_vocabulary_in_another_order_with_unused_words_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    codes, later = rng.integers(0, 3, 6000).astype(np.int32), rng.integers(0, 3, 6000)
    before = Categories(codes, ("a", "b", "c"))
    after = Categories((2 - later).astype(np.int32) + 1, ("unused", "c", "b", "a"))
    straight = Categories(later.astype(np.int32), ("a", "b", "c"))
    found, same = one_of_words(before, after), one_of_words(before, straight)
    assert found.p_value == pytest.approx(same.p_value)
    assert (found.unseen_share, found.state) == (0.0, State.OK)


def test_disjoint_vocabularies_and_a_million_categories_are_handled() -> None:
    rows = 200_000
    many = tuple(map(str, range(1_000_000)))
    codes = np.random.default_rng(1).permutation(1_000_000)
    before = Categories(codes[:rows].astype(np.int32), many)
    after = Categories(codes[rows : 2 * rows].astype(np.int32), many)
    found = one_of_words(before, after)
    assert found.unseen_share == 1.0
    assert found.state is not State.DRIFT  # all values are new in the reference, too
    swapped = one_of_words(words(["a"] * 300), words(["b"] * 300))
    assert swapped.state is State.DRIFT
    assert len(found.bins.labels) <= 20


def test_only_what_survives_benjamini_hochberg_is_called_drift() -> None:
    """The same borderline column is drift alone and watched among forty that did not change."""
    quiet = {f"q{i}": normal(100 + i, 700) for i in range(40)}
    quiet_now = {f"q{i}": normal(200 + i, 700) for i in range(40)}
    alone = compare_columns(
        numbers(x=normal(1, 700)), numbers(x=normal(2, 700, 0.45)), numbers_schema("x")
    )[0]
    among = compare_columns(
        numbers(x=normal(1, 700), **quiet),
        numbers(x=normal(2, 700, 0.45), **quiet_now),
        numbers_schema("x", *quiet),
    )
    assert alone.state is State.DRIFT
    assert sum(column.state is State.DRIFT for column in among) <= 1


def test_threads_and_their_number_change_nothing() -> None:
    columns = {f"x{i}": normal(i, 800) for i in range(9)}
    later = {f"x{i}": normal(i + 50, 800, 0.1 * i) for i in range(9)}
    schema = numbers_schema(*columns)
    single = compare_columns(numbers(**columns), numbers(**later), schema, workers=1)
    assert compare_columns(numbers(**columns), numbers(**later), schema, workers=4) == single


def test_counting_in_cells_comes_close_to_sorting_and_says_so() -> None:
    before, after = numbers(x=normal(1, 40_000)), numbers(x=normal(2, 40_000, 0.2))
    exact = compare_columns(before, after, numbers_schema("x"))[0]
    binned = compare_columns(before, after, numbers_schema("x"), exact_rows=1000)[0]
    assert exact.ks is not None
    assert binned.ks is not None
    assert binned.ks == pytest.approx(exact.ks, abs=1 / 4000)
    assert binned.ks <= exact.ks
    assert binned.wasserstein == pytest.approx(exact.wasserstein, rel=0.02)
    assert "4,096 cells" in binned.detail


def test_weights_stand_for_rows_that_were_not_sampled() -> None:
    """Half of the high rows are dropped and the other half count double: nothing changed."""
    rng = np.random.default_rng(5)
    full = normal(1, 40_000)
    later = normal(2, 40_000)
    kept = (later < 0.5) | (rng.random(len(later)) < 0.5)
    sampled = later[kept]
    weight = np.where(sampled < 0.5, 1.0, 2.0)
    schema = numbers_schema("x")
    naive = compare_columns(numbers(x=full), numbers(x=sampled), schema)[0]
    weighted = compare_columns(
        numbers(x=full), Window(rows=len(sampled), weight=weight, numeric={"x": sampled}), schema
    )[0]
    assert (naive.state, weighted.state) == (State.DRIFT, State.OK)
    assert weighted.effective_rows[1] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_missing_and_retyped_columns_say_so() -> None:
    schema = numbers_schema("x", "y")
    found = compare_columns(
        numbers(x=normal(1, 50), y=normal(2, 50)),
        Window(rows=50, categorical={"y": words(["a"] * 50)}),
        schema,
    )
    assert [column.state for column in found] == [State.UNDETERMINED] * 2
    assert found[0].detail == "not there in the current window"
    assert found[1].detail == "not a numeric column in the current window"


def test_scores_labels_and_predictions_are_columns_too() -> None:
    rng = np.random.default_rng(8)
    label = (rng.random(4000) < 0.3).astype(float)
    window = Window(rows=4000, score=rng.random(4000), label=label)
    later = replace(window, label=np.where(rng.random(4000) < 0.5, np.nan, 1.0))
    assert compare_scores(window, window).state is State.OK
    assert compare_labels(window, later).state is State.DRIFT
    assert compare_labels(window, later).null_share == (0.0, 0.0)
    assert compare_predictions(window, window).state is State.UNDETERMINED
    classes = replace(window, prediction=words(["a", "b"] * 2000))
    assert compare_predictions(classes, classes).state is State.OK


values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64), st.just(0.0), st.just(math.nan)
)
columns = st.lists(values, max_size=25).map(lambda found: np.array(found, dtype=float))
vocabularies = st.lists(st.one_of(st.none(), st.sampled_from("abcdefg")), max_size=25)


def assert_clean(found: ColumnComparison) -> None:
    """What JSON cannot hold must not be there, and the words must say why nothing is known."""
    json.dumps(asdict(found), allow_nan=False)
    if found.state is not State.OK:
        assert found.detail


@given(columns, columns, st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_numbers_give_a_record_without_nan(
    reference: FloatArray, current: FloatArray, weighted: bool
) -> None:
    before, after = numbers(x=reference), numbers(x=current)
    if weighted:
        after = replace(after, weight=np.arange(after.rows) % 3 / 1.0)
    assert_clean(compare_columns(before, after, numbers_schema("x"))[0])


@given(vocabularies, vocabularies, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_words_give_a_record_without_nan(
    reference: list[str | None], current: list[str | None], weighted: bool
) -> None:
    before, after = categories(x=words(reference)), categories(x=words(current))
    if weighted:
        after = replace(after, weight=np.arange(after.rows) % 3 / 1.0)
    assert_clean(compare_columns(before, after, words_schema("x"))[0])


@pytest.mark.parametrize(
    "reference",
    [np.full(500, np.nan), np.full(500, 3.0), np.zeros(0), np.full(500, np.inf)],
    ids=["all null", "constant", "no rows", "all infinite"],
)
def test_degenerate_references_never_fail(reference: FloatArray) -> None:
    for current in (normal(1, 500), np.full(500, 3.0), np.full(500, np.nan), np.zeros(0)):
        assert_clean(one(reference, current))


def test_a_constant_that_stays_is_ok_and_one_that_moves_is_drift() -> None:
    assert one(np.full(9000, 3.0), np.full(9000, 3.0)).state is State.OK
    assert one(np.full(9000, 3.0), np.full(9000, 4.0)).state is State.DRIFT


def ticks_of(own: FloatArray, per_tick: int) -> Window:
    """Binary rows whose rate differs from tick to tick."""
    rng = np.random.default_rng(12)
    rate = np.repeat(own, per_tick)
    value = (rng.random(len(rate)) < rate).astype(float)
    hours = np.repeat(np.arange(len(own)), per_tick) * HOUR_US
    shuffled = rng.permutation(len(value))
    return Window(
        rows=len(value),
        ts_us=hours[shuffled],
        numeric={"x": value[shuffled]},
        categorical={"c": Categories(value[shuffled].astype(np.int32), ("no", "yes"))},
    )


def test_the_design_effect_is_what_clusters_of_rows_cost() -> None:
    """For rates with variance s2 between ticks of n rows: 1 + (n - 1) s2 / p(1 - p)."""
    rng = np.random.default_rng(2)
    own = rng.uniform(0.3, 0.7, 600)
    window = ticks_of(own, 100)
    expected = 1 + 99 * (0.4**2 / 12) / 0.25
    for column in ("x", "c"):
        assert design_effect_of(window, column, tick_us=HOUR_US) == pytest.approx(
            expected, rel=0.15
        )
    independent = ticks_of(np.full(600, 0.5), 100)
    assert design_effect_of(independent, "x", tick_us=HOUR_US) == pytest.approx(1, abs=0.15)


def test_without_times_or_with_few_ticks_every_row_counts() -> None:
    schema = Schema(Task.BINARY, (ColumnSpec("x", Kind.NUMERIC),))
    window = ticks_of(np.array([0.1, 0.9]), 100)
    assert set(design_effects(window, schema).values()) == {1.0}
    assert set(design_effects(replace(window, ts_us=None), schema).values()) == {1.0}


def test_a_design_effect_widens_the_interval_and_takes_back_the_word() -> None:
    before, after = numbers(x=normal(1, 3000)), numbers(x=normal(2, 3000, 0.3))
    schema = numbers_schema("x")
    assert compare_columns(before, after, schema)[0].state is State.DRIFT
    clustered = compare_columns(before, after, schema, design_effect={"x": 30.0})[0]
    assert clustered.state is not State.DRIFT
    assert clustered.effective_rows == (100.0, 100.0)


def test_ticks_are_days_when_there_are_enough_of_them() -> None:
    """Rows alike within a day look independent by the hour, and are not."""
    rng = np.random.default_rng(4)
    window = ticks_of(np.repeat(rng.uniform(0.3, 0.7, 40), 24), 20)
    assert window.ts_us is not None
    by_day = design_effect_of(window, "x")
    assert by_day == pytest.approx(design_effect_of(window, "x", tick_us=DAY_US))
    assert by_day > 5 * design_effect_of(window, "x", tick_us=HOUR_US)


@pytest.mark.parametrize("rows", [1, 3, 10, 40])
def test_few_rows_of_the_same_law_are_seldom_called_a_movement(rows: int) -> None:
    """The distance of two samples is never zero; that alone made three columns in five a watch."""
    rng = np.random.default_rng(3)
    names = [f"c{i}" for i in range(200)]
    found = compare_columns(
        numbers(**{name: rng.normal(size=600) for name in names}),
        numbers(**{name: rng.normal(size=rows) for name in names}),
        numbers_schema(*names),
    )
    assert sum(one.state in {State.WATCH, State.DRIFT} for one in found) <= 0.1 * len(names)
