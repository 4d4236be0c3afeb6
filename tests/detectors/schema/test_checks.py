"""Each fault is found under its own name, and nothing is found where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from detectors.records import (
    Categories,
    ColumnSpec,
    FloatArray,
    Kind,
    Schema,
    State,
    Task,
    Window,
)
from detectors.schema import SchemaCheck, check_schema
from detectors.schema.cardinality import rarefied
from detectors.schema.check import CHECKS, DETERMINISTIC
from detectors.schema.pairs import Tally
from detectors.schema.profiles import fields_of, profile
from tests.detectors.schema.tables import FOODS, SCHEMA, table, with_foods, with_numbers

REFERENCE = table(1, 6000)


def found_in(current: Window, reference: Window = REFERENCE) -> list[SchemaCheck]:
    return list(check_schema(reference, current, SCHEMA))


def names_in(current: Window) -> set[tuple[str, str]]:
    return {(check.column, check.check) for check in found_in(current)}


def without(window: Window, name: str) -> Window:
    return replace(window, numeric={k: v for k, v in window.numeric.items() if k != name})


def zero_filled(window: Window, share: float, fill: float = 0.0) -> Window:
    price = window.numeric["price"].copy()
    price[np.random.default_rng(77).random(len(price)) < share] = fill
    return with_numbers(window, "price", price)


def discrete_price(window: Window) -> Window:
    return with_numbers(window, "visits", window.numeric["price"])


FAULTS: dict[str, tuple[Callable[[Window], Window], set[tuple[str, str]]]] = {
    "missing": (lambda w: without(w, "price"), {("price", "missing")}),
    "retyped": (
        lambda w: replace(
            without(w, "price"),
            categorical={**w.categorical, "price": Categories(np.zeros(w.rows, np.int32), ("9",))},
        ),
        {("price", "retyped")},
    ),
    "all null": (
        lambda w: with_numbers(w, "price", np.full(w.rows, np.nan)),
        {("price", "all_null"), ("price", "absent")},
    ),
    "constant": (
        lambda w: with_numbers(w, "visits", np.full(w.rows, 2.0)),
        {("visits", "constant"), ("visits", "absent")},
    ),
    "one food": (
        lambda w: with_foods(w, dict.fromkeys(FOODS, "Bread")),
        {("food", "constant"), ("food", "absent")},
    ),
    "mostly null": (
        lambda w: with_numbers(
            w, "price", np.where(np.arange(w.rows) % 200 == 0, w.numeric["price"], np.nan)
        ),
        {("price", "absent")},
    ),
    "codes become measurements": (discrete_price, {("visits", "cardinality")}),
    "times 1000": (
        lambda w: with_numbers(w, "price", w.numeric["price"] * 1000),
        {("price", "unit")},
    ),
    "pounds": (
        lambda w: with_numbers(w, "price", w.numeric["price"] * 0.4536),
        {("price", "unit")},
    ),
    "moved by 20": (
        lambda w: with_numbers(w, "price", w.numeric["price"] + 20),
        {("price", "unit")},
    ),
    "zeros": (lambda w: zero_filled(w, 0.1), {("price", "zero_fill")}),
    "-999": (lambda w: zero_filled(w, 0.1, -999.0), {("price", "zero_fill")}),
    "renamed": (lambda w: with_foods(w, {"Vegetables": "Veg"}), {("food", "rename")}),
    "swapped": (
        lambda w: with_foods(w, {"Fruit": "Bread", "Bread": "Fruit"}),
        {("food", "swap")},
    ),
    "merged": (
        lambda w: with_foods(w, {"Bread": "Fruit", "Cheese": "Fruit"}),
        {("food", "parent")},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("rows", [3000, 800])
def test_a_fault_is_found_under_its_name_and_nothing_else_is(fault: str, rows: int) -> None:
    break_it, expected = FAULTS[fault]
    assert names_in(break_it(table(2, rows))) == expected


def test_every_check_has_a_fault_in_this_file() -> None:
    tried = {check for _, expected in FAULTS.values() for _, check in expected}
    assert tried == set(CHECKS)


@pytest.mark.parametrize("rows", [20, 60, 300, 3000])
def test_healthy_windows_of_any_size_are_healthy(rows: int) -> None:
    for seed in range(10, 30):
        assert names_in(table(seed, rows)) == set()


def test_a_domain_with_other_customers_is_no_schema_fault() -> None:
    """Covariate shift: dear rows three times as likely, cheap foods rarer."""
    for seed in range(5):
        pool = table(40 + seed, 20_000)
        weight = np.where(pool.numeric["price"] > 6, 3.0, 1.0)
        rng = np.random.default_rng(seed)
        drawn = pool.take(rng.choice(pool.rows, 3000, p=weight / weight.sum()))
        assert names_in(drawn) == set()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("times 1000", "looks like × 1,000"),
        ("pounds", "looks like × 0.4536"),
        ("moved by 20", "looks like an offset of +20"),
        ("renamed", "`Veg` is probably `Vegetables`"),
        ("swapped", "`Bread` and `Fruit` have probably exchanged their names"),
        ("merged", "`Fruit` probably holds `Bread`, `Cheese` as well"),
        ("zeros", "missing values are probably written as 0"),
        ("-999", "missing values are probably written as -999"),
        ("mostly null", "probably not filled here"),
    ],
)
def test_a_finding_proposes_what_happened(fault: str, words: str) -> None:
    (check,) = found_in(FAULTS[fault][0](table(2, 3000)))
    assert check.proposal is not None
    assert words in check.proposal


def test_numbers_that_a_conversion_has_rounded_make_no_swap() -> None:
    """Routes have one length each, and fifths of their lengths fall on lengths."""
    rng = np.random.default_rng(3)
    miles = np.array([725.0, 738.0, 872.0, 888.0, 1411.0, 1428.0])

    def routes(rows: int, written: Callable[[FloatArray], FloatArray]) -> Window:
        route = rng.choice(6, rows)
        names = ("MDW", "BNA", "STL", "STL", "HOU", "HOU")
        words = ("BNA", "HOU", "MDW", "STL")
        place = np.array([words.index(name) for name in names])[route]
        return Window(
            rows=rows,
            numeric={"price": written(miles[route]), "visits": rng.normal(size=rows)},
            categorical={"food": Categories(place.astype(np.int32), words)},
        )

    before = routes(2_000, lambda values: values)
    whole_kilometres = routes(2_000, lambda values: np.round(values * 1.609344) / 1.609344)
    assert not any(check.check == "swap" for check in found_in(whole_kilometres, before))


def test_fahrenheit_is_recognised() -> None:
    celsius = with_numbers(REFERENCE, "price", np.random.default_rng(1).normal(12, 8, 6000))
    warm = np.random.default_rng(2).normal(12, 8, 3000) * 1.8 + 32
    (check,) = found_in(with_numbers(table(2, 3000), "price", warm), celsius)
    assert check.proposal == "looks like degrees Celsius became Fahrenheit"


def test_a_new_column_with_a_like_name_is_proposed_for_a_missing_one() -> None:
    window = table(2, 100)
    renamed = replace(
        window,
        numeric={"unit_price": window.numeric["price"], "visits": window.numeric["visits"]},
    )
    (check,) = found_in(renamed)
    assert check.proposal == "`unit_price` is new and is probably `price`"


def test_a_new_column_under_any_name_is_proposed_by_what_it_holds() -> None:
    window = table(2, 400)
    visits, price = window.numeric["visits"], window.numeric["price"]
    noise = np.random.default_rng(5).normal(size=400)

    def proposal(reference: Window = REFERENCE, schema: Schema = SCHEMA, **new: FloatArray) -> str:
        current = replace(window, numeric={"visits": visits, **new})
        (check,) = check_schema(reference, current, schema)
        return check.proposal or ""

    assert proposal(x7=price) == "`x7` is new, holds the same values and is probably `price`"
    assert proposal(x7=noise, x8=price).startswith("`x8` is new")
    assert proposal(x7=noise) == ""
    assert proposal(x7=price, x8=price[::-1]) == ""
    assert proposal(x7=1.3 * price) == ""
    # Another column of the reference holds the same: the new one may be either.
    twin = with_numbers(REFERENCE, "cost", REFERENCE.numeric["price"][::-1])
    both = replace(SCHEMA, columns=(*SCHEMA.columns, ColumnSpec("cost", Kind.NUMERIC)))
    assert proposal(twin, both, x7=price, cost=price[::-1]) == ""
    foods = replace(window, categorical={"zz": window.categorical["food"]})
    (check,) = check_schema(REFERENCE, foods, SCHEMA)
    assert check.proposal == "`zz` is new, holds the same values and is probably `food`"


def test_what_may_be_natural_is_only_watched() -> None:
    states = {
        fault: found_in(FAULTS[fault][0](table(2, 3000)))[0].state
        for fault in ("moved by 20", "codes become measurements", "times 1000", "missing")
    }
    assert list(states.values()) == [State.WATCH, State.WATCH, State.DRIFT, State.DRIFT]


def test_a_column_that_was_nearly_constant_may_be_constant_for_a_while() -> None:
    visits = np.where(np.arange(6000) % 100 == 0, 1.0, 0.0)
    reference = with_numbers(REFERENCE, "visits", visits)
    quiet = with_numbers(table(2, 300), "visits", np.zeros(300))
    long = with_numbers(table(2, 3000), "visits", np.zeros(3000))
    assert found_in(quiet, reference) == []
    assert [check.check for check in found_in(long, reference)] == ["constant"]


def test_columns_that_the_score_depends_on_come_first() -> None:
    broken = with_numbers(zero_filled(table(2, 3000), 0.2), "visits", np.full(3000, np.nan))

    def order(reference: Window) -> list[str]:
        return [check.column for check in check_schema(reference, broken, SCHEMA)]

    noise = np.random.default_rng(3).normal(size=REFERENCE.rows)
    by_visits = np.argsort(np.argsort(REFERENCE.numeric["visits"])) + noise
    by_price = np.argsort(np.argsort(REFERENCE.numeric["price"])) + noise
    assert order(replace(REFERENCE, score=None)) == ["price", "visits", "visits"]
    assert order(replace(REFERENCE, score=noise)) == ["price", "visits", "visits"]
    assert order(replace(REFERENCE, score=by_price)) == ["price", "visits", "visits"]
    assert order(replace(REFERENCE, score=by_visits)) == ["visits", "visits", "price"]
    half = np.where(np.arange(REFERENCE.rows) % 2, np.nan, by_visits)
    assert order(replace(REFERENCE, score=half)) == ["visits", "visits", "price"]


def test_empty_windows_and_columns_without_a_value_find_nothing_and_do_not_fail() -> None:
    empty = table(1, 100).take(slice(0, 0))
    assert check_schema(REFERENCE, empty, SCHEMA) == ()
    assert check_schema(empty, table(2, 100), SCHEMA) == ()
    nothing = with_numbers(REFERENCE, "price", np.full(6000, np.nan))
    assert found_in(table(2, 300), nothing) == []
    infinite = with_numbers(table(2, 300), "price", np.full(300, np.inf))
    assert ("price", "constant") in names_in(infinite)


def test_deterministic_checks_see_the_one_row_that_thinning_skips() -> None:
    price = np.full(40_000, np.nan)
    price[17] = 3.0
    window = with_numbers(table(3, 40_000), "price", price)
    assert names_in(window) == {("price", "absent")}
    assert "absent" not in DETERMINISTIC


def test_values_that_differ_in_nothing_but_a_label_rate_have_not_changed_names() -> None:
    """Five names given at random; positive labels are now four times as rare for all of them."""
    names = tuple("abcde")
    columns = (*(ColumnSpec(f"c{at}", Kind.CATEGORICAL) for at in range(6)),)
    schema = Schema(Task.BINARY, (ColumnSpec("name", Kind.CATEGORICAL), *columns))

    def drawn(rows: int, seed: int, keep: float) -> Window:
        rng = np.random.default_rng(seed)
        which = rng.integers(0, 5, rows)
        words = {
            column.name: Categories(
                rng.integers(0, 12, rows).astype(np.int32), tuple("abcdefghijkl")
            )
            for column in columns
        }
        return Window(
            rows=rows,
            label=(rng.random(rows) < keep * (0.12 + 0.02 * which)).astype(float),
            categorical={"name": Categories(which.astype(np.int32), names), **words},
        )

    for seed in range(8):
        reference, current = drawn(3000, seed, 1.0), drawn(3000, 100 + seed, 0.25)
        found = check_schema(reference, current, schema)
        assert "swap" not in {check.check for check in found}


def test_counts_in_another_unit_show_by_their_values_even_where_they_have_moved() -> None:
    """Few distinct quantiles and another mix of rows: every value is still 1.609 times a count."""
    moved = table(2, 600)
    busy = np.flatnonzero(moved.numeric["visits"] > 1)[:300]
    miles = with_numbers(moved, "visits", moved.numeric["visits"] * 1.609344).take(busy)

    (check,) = [one for one in found_in(miles) if one.check == "unit"]

    assert check.column == "visits"
    assert check.proposal == "looks like × 1.609 (miles to kilometres)"
    assert check.mapping[0].scale == pytest.approx(1.609344)


def test_counts_that_only_grew_are_in_no_other_unit() -> None:
    """Twice as many, and ten more: new values that are no conversion, or are counts as before."""
    visits = table(2, 600).numeric["visits"]
    for grown in (2 * visits, visits + 10, 10 * np.ceil(visits / 10)):
        window = with_numbers(table(2, 600), "visits", grown)
        assert ("visits", "unit") not in {
            (one.column, one.check) for one in found_in(window) if one.state is State.DRIFT
        }


def test_small_counts_that_stay_whole_are_in_no_other_unit_whatever_their_quantiles_say() -> None:
    """Orders thinned to three in five: quantiles of few steps fit ÷ 1.609 now and then."""
    factors = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        orders = rng.negative_binomial(1.2, 0.1, 500).astype(float)
        fewer = with_numbers(table(2, 500), "visits", np.floor(orders * 0.63))
        before = with_numbers(
            REFERENCE, "visits", rng.negative_binomial(1.2, 0.1, 6_000).astype(float)
        )
        found = {(one.column, one.check) for one in found_in(fewer, before)}
        factors += ("visits", "unit") in found

    assert factors == 0


def test_rare_names_that_were_exchanged_are_found_by_what_their_rows_look_like() -> None:
    """Some 40 and 25 rows of 500: too few for shares, enough for a likelihood ratio."""
    hits = 0
    for seed in range(10):
        current = table(50 + seed, 500)
        hits += ("food", "swap") in {
            (one.column, one.check)
            for one in found_in(with_foods(current, {"Vegetables": "Spice", "Spice": "Vegetables"}))
        }
        assert not any(one.check == "swap" for one in found_in(current))

    assert hits >= 7


def test_leaves_of_which_hardly_a_row_was_expected_are_not_gone() -> None:
    """Two foods of six expected rows each are missing by chance, and another has grown."""
    rng = np.random.default_rng(4)

    def foods(rows: int, shares: list[float]) -> Window:
        food = rng.choice(4, rows, p=shares).astype(np.int32)
        price, visits = rng.normal(size=rows), rng.poisson(3.0, rows).astype(float)
        return Window(
            rows=rows,
            numeric={"price": price, "visits": visits},
            categorical={"food": Categories(food, FOODS[:4])},
        )

    before = foods(6_000, [0.5, 0.476, 0.012, 0.012])
    few, many = (foods(rows, [0.6, 0.4, 0.0, 0.0]) for rows in (500, 3_000))

    assert not any(check.check == "parent" for check in found_in(few, before))
    assert any(check.check == "parent" for check in found_in(many, before))


@pytest.mark.parametrize(("filled", "gone"), [(0, True), (3, True), (9, False)])
def test_a_few_filled_rows_of_three_hundred_do_not_make_a_feature_present(
    filled: int, gone: bool
) -> None:
    """One row in a hundred gives three of 294 more often than not, and nine once in 400 times."""
    price = np.full(294, np.nan)
    price[:filled] = 4.0

    found = names_in(with_numbers(table(3, 294), "price", price))

    assert (("price", "absent") in found) is gone


def test_rarefied_counts_are_means_over_samples() -> None:
    rng = np.random.default_rng(1)
    counts = np.array([50, 20, 5, 3, 1, 1])
    tally = Tally(np.arange(6.0), counts, 0)
    rows = np.repeat(np.arange(6), counts)
    seen = [len(set(rng.choice(rows, 15, replace=False).tolist())) for _ in range(4000)]
    assert rarefied(tally, 15) == pytest.approx(np.mean(seen), abs=0.05)


def test_misfit_is_the_g_statistic_of_the_definition() -> None:
    current = table(5, 900)
    profiles = profile("food", REFERENCE, current, fields_of(REFERENCE, current, SCHEMA))
    assert profiles is not None
    misfit = profiles.misfit()
    bounds = [*profiles.starts.tolist(), profiles.reference.shape[1]]
    slow = 0.0
    for low, high in pairwise(bounds):
        moved = (profiles.current[:, low:high].sum(axis=0) + 0.5) / (
            profiles.reference[:, low:high].sum(axis=0) + 0.5
        )
        expected = (profiles.reference[1, low:high] + 0.5) * moved
        seen = profiles.current[0, low:high]
        for count, share in zip(seen, expected / expected.sum(), strict=True):
            if count:
                slow += 2 * count * np.log(count / seen.sum() / share)
    assert misfit[0, 1] == pytest.approx(slow)
