from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.records import Categories, Window
from detectors.slices import (
    TOO_SMALL_NAMES,
    SliceRef,
    fit_slices,
    slice_codes,
    slice_masks,
    small_slices,
)
from detectors.summary import fit_profile
from tests.detectors.rows import SCHEMA, flights, words


def window(**columns: Sequence[str | None] | Sequence[float]) -> Window:
    rows = len(next(iter(columns.values())))
    numeric, categorical = {}, {}
    for name, values in columns.items():
        if all(isinstance(value, float) for value in values):
            numeric[name] = np.array(values, dtype=np.float64)
        else:
            categorical[name] = words([None if v is None else str(v) for v in values])
    return Window(rows=rows, numeric=numeric, categorical=categorical)


def test_crosses_are_named_by_columns_and_values_and_need_fifty_rows() -> None:
    origin: list[str | None] = ["JFK"] * 120 + ["LGA"] * 60 + [None] * 20
    engine = ["jet"] * 100 + ["prop"] * 80 + ["jet"] * 20
    fitted = fit_slices(window(origin=origin, engine=engine), [("origin",), ("origin", "engine")])
    assert {ref.name: ref.rows for ref in fitted.slices} == {
        "origin=JFK": 120,
        "origin=LGA": 60,
        "origin=JFK,engine=jet": 100,
        "origin=LGA,engine=prop": 60,
    }
    assert fitted.too_small == ("origin=JFK,engine=prop",)
    assert fitted.too_small_count == 1


def test_a_slice_needs_half_a_percent_of_the_reference() -> None:
    values = ["big"] * 19_900 + ["small"] * 100
    assert len(fit_slices(window(c=values), [("c",)]).slices) == 2
    values = ["big"] * 19_901 + ["small"] * 99
    fitted = fit_slices(window(c=values), [("c",)])
    assert [ref.name for ref in fitted.slices] == ["c=big"]
    assert fitted.too_small == ("c=small",)


def test_slices_too_small_alone_are_followed_together_with_what_is_new() -> None:
    reference = window(c=["big"] * 400 + ["s1"] * 30 + ["s2"] * 25 + [None] * 20)
    fitted = fit_slices(reference, [("c",)])
    assert {ref.name: ref.rows for ref in fitted.slices} == {"c=big": 400, "c=(others)": 55}
    assert fitted.too_small == ("c=s1", "c=s2")
    current = window(c=["s2", "big", None, "new", "s1"])
    assert slice_codes(current, fitted.slices)[0].tolist() == [1, 0, -1, 1, 1]
    years = window(year=[2013.0] * 400 + [2014.0] * 30 + [2015.0] * 30 + [float("nan")] * 20)
    fitted = fit_slices(years, [("year",)])
    assert slice_codes(window(year=[2014.0, float("nan"), 2019.0]), fitted.slices)[0].tolist() == [
        1,
        -1,
        1,
    ]
    alone = fit_slices(window(c=["big"] * 400 + ["s1"] * 30), [("c",)])
    assert [ref.name for ref in alone.slices] == ["c=big"]


def test_a_column_of_very_many_values_makes_no_slices_and_all_of_them_are_counted() -> None:
    column = Categories(np.arange(30_000, dtype=np.int32) // 3, tuple(map(str, range(10_000))))
    fitted = fit_slices(Window(rows=30_000, categorical={"c": column}), [("c",)])
    assert fitted.slices == ()
    assert fitted.too_small_count == 10_000
    assert len(fitted.too_small) == TOO_SMALL_NAMES


def test_masks_are_those_of_a_comparison_row_by_row() -> None:
    rng = np.random.default_rng(2)
    reference = flights(rng, 3_000)
    profile = fit_profile(reference, SCHEMA)
    current = flights(rng, 500)
    strings = current.categorical["carrier"].strings()
    masks = dict(slice_masks(current, profile))
    assert set(masks) == {"carrier=AA", "carrier=B6", "carrier=DL", "carrier=UA"}
    for name, mask in masks.items():
        assert np.array_equal(mask, strings == name.removeprefix("carrier="))


def test_rows_are_found_whatever_the_order_and_size_of_the_vocabulary() -> None:
    fitted = fit_slices(window(a=["x"] * 60 + ["y"] * 60, b=["p"] * 90 + ["q"] * 30), [("a", "b")])
    names = [ref.name for ref in fitted.slices]
    assert names == ["a=x,b=p", "a=(others),b=(others)"]
    huge = tuple(f"w{at}" for at in range(50))
    current = Window(
        rows=4,
        categorical={
            "a": Categories(np.array([51, 50, 0, -1], dtype=np.int32), (*huge, "y", "x")),
            "b": Categories(np.array([0, 0, 0, 0], dtype=np.int32), ("p",)),
        },
    )
    assert slice_codes(current, fitted.slices)[0].tolist() == [0, 1, 1, -1]


def test_numbers_make_slices_by_their_distinct_values() -> None:
    reference = window(year=[2013.0] * 60 + [2014.5] * 60 + [float("nan")] * 60)
    fitted = fit_slices(reference, [("year",)])
    assert [ref.name for ref in fitted.slices] == ["year=2013", "year=2014.5"]
    current = window(year=[2014.5, float("nan"), 2013.0, 2015.0])
    assert slice_codes(current, fitted.slices)[0].tolist() == [1, -1, 0, -1]


@pytest.mark.parametrize("missing", [Window(rows=3), Window(rows=0)])
def test_a_window_without_the_column_has_no_row_in_any_slice(missing: Window) -> None:
    fitted = fit_slices(window(c=["x"] * 60), [("c",)])
    assert slice_codes(missing, fitted.slices)[0].tolist() == [-1] * missing.rows


def test_an_unknown_slicing_column_makes_no_slices() -> None:
    fitted = fit_slices(window(c=["x"] * 60), [("nowhere",)])
    assert fitted.slices == ()
    assert fitted.too_small_count == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9_999))
def test_crosses_with_nulls_and_new_values_are_those_of_a_comparison_row_by_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = {name: rng.choice(["x", "y"], 400).tolist() for name in ("a", "b")}
    fitted = fit_slices(window(**reference), [("a", "b")])
    choices = np.array(["x", "y", "new", None], dtype=object)
    current = {name: rng.choice(choices, 40).tolist() for name in ("a", "b")}
    wanted = [
        next((at for at, ref in enumerate(fitted.slices) if ref.values == pair), -1)
        for pair in zip(current["a"], current["b"], strict=True)
    ]
    assert slice_codes(window(**current), fitted.slices)[0].tolist() == wanted


def test_what_is_not_followed_alone_is_small_or_new() -> None:
    words = ("big", "tiny", "new")
    codes = np.array([0, 1, -1, 2, 0, 1], np.int32)
    current = Window(rows=6, categorical={"c": Categories(codes, words)})
    big = SliceRef("c=big", ("c",), ("big",), 100)
    (small,) = small_slices(current, [("c",)], [big])
    assert small.count == 2
    told = ["" if at < 0 else small.name_of(at) for at in small.places.tolist()]
    assert told == ["", "c=tiny", "", "c=new", "", "c=tiny"]
    (every,) = small_slices(Window(rows=0), [("c",)], [])
    assert every.count == 0
