"""Rows in the source's terms: the inverse of how the domain wrote them, checked row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.mappings.compose import composed
from detectors.mappings.translate import translated
from detectors.records import AppliedMapping, Categories, MappingEntry, Window

DAY = 86_400_000_000
WORDS = ("Veg", "Fruit", "Bread")


def window(**numeric: list[float]) -> Window:
    return Window(
        rows=4,
        ts_us=np.arange(4, dtype=np.int64) * DAY,
        numeric={name: np.array(values) for name, values in numeric.items()},
        categorical={"aisle": Categories(np.array([0, 1, 2, -1], np.int32), WORDS)},
        score=np.array([0.1, 0.2, 0.3, 0.4]),
    )


def applied(*entries: MappingEntry, since_us: int | None = None) -> list[AppliedMapping]:
    return [AppliedMapping(f"map_{at}", entry, since_us) for at, entry in enumerate(entries)]


def words(rows: Window) -> list[str | None]:
    return list(rows.categorical["aisle"].strings())


def test_numbers_are_converted_back_and_scores_stay() -> None:
    rows = window(temp=[32.0, 50.0, 212.0, math.nan])
    found = translated(rows, applied(MappingEntry("temp", scale=1.8, offset=32.0)))
    np.testing.assert_allclose(found.numeric["temp"], [0.0, 10.0, 100.0, math.nan])
    assert found.score is rows.score


def test_rows_from_before_the_domain_changed_are_left_as_they_were() -> None:
    rows = window(income=[100.0, 200.0, 30_000.0, 40_000.0])
    entry = MappingEntry("income", scale=100.0)
    found = translated(rows, applied(entry, since_us=2 * DAY))
    assert found.numeric["income"].tolist() == [100.0, 200.0, 300.0, 400.0]


def test_a_column_comes_under_the_name_of_the_source_and_two_may_be_exchanged() -> None:
    rows = window(width=[1.0, 2.0, 3.0, 4.0], height=[5.0, 6.0, 7.0, 8.0])
    swap = (
        MappingEntry("width", domain_column="height"),
        MappingEntry("height", domain_column="width"),
    )
    found = translated(rows, applied(*swap))
    assert found.numeric["width"].tolist() == [5.0, 6.0, 7.0, 8.0]
    assert found.numeric["height"].tolist() == [1.0, 2.0, 3.0, 4.0]
    renamed = translated(rows, applied(MappingEntry("depth", domain_column="width", scale=2.0)))
    assert renamed.numeric["depth"].tolist() == [0.5, 1.0, 1.5, 2.0]


def test_categories_are_renamed_and_exchanged_at_once() -> None:
    renamed = MappingEntry("aisle", category="Vegetables", domain_category="Veg")
    assert words(translated(window(), applied(renamed))) == ["Vegetables", "Fruit", "Bread", None]
    exchanged = (
        MappingEntry("aisle", category="Veg", domain_category="Bread"),
        MappingEntry("aisle", category="Bread", domain_category="Veg"),
    )
    assert words(translated(window(), applied(*exchanged))) == ["Bread", "Fruit", "Veg", None]


def test_one_name_for_several_categories_is_left_because_nothing_says_which_is_meant() -> None:
    entries = [MappingEntry("aisle", category=c, domain_category="Veg") for c in ("Kale", "Leek")]
    assert words(translated(window(), applied(*entries))) == ["Veg", "Fruit", "Bread", None]


def test_what_stands_for_missing_is_missing() -> None:
    found = translated(
        window(spend=[0.0, -1.0, 3.0, 4.0]), applied(MappingEntry("spend", missing="-1"))
    )
    assert np.isnan(found.numeric["spend"]).tolist() == [False, True, False, False]
    gone = translated(window(), applied(MappingEntry("aisle", missing="Fruit")))
    assert words(gone) == ["Veg", None, "Bread", None]


def test_nothing_is_done_for_what_is_absent_or_as_in_the_source() -> None:
    rows = window(spend=[1.0, 2.0, 3.0, 4.0])
    assert translated(rows, applied(MappingEntry("spend", absent=True))) is rows
    assert translated(rows, applied(MappingEntry("spend"))) is rows
    assert translated(rows, applied(MappingEntry("elsewhere", scale=2.0))).numeric.keys() == {
        "spend"
    }


@pytest.mark.parametrize(
    ("found", "approved", "raw"),
    [
        # × 100 was approved; translated rows are now 1/100 of the reference: the source's unit
        (
            MappingEntry("income", scale=0.01),
            [MappingEntry("income", scale=100.0)],
            MappingEntry("income"),
        ),
        # °F was approved; now ten times that
        (
            MappingEntry("temp", scale=10.0),
            [MappingEntry("temp", scale=1.8, offset=32.0)],
            MappingEntry("temp", scale=18.0, offset=32.0),
        ),
        # a and b were exchanged with approval, and are back
        (
            MappingEntry("plan", category="a", domain_category="b"),
            [
                MappingEntry("plan", category="a", domain_category="b"),
                MappingEntry("plan", category="b", domain_category="a"),
            ],
            MappingEntry("plan", category="a", domain_category="a"),
        ),
        (MappingEntry("spend", absent=True), [], MappingEntry("spend", absent=True)),
    ],
)
def test_what_is_seen_in_translated_rows_is_said_of_raw_ones(
    found: MappingEntry, approved: list[MappingEntry], raw: MappingEntry
) -> None:
    assert composed(found, approved) == raw


def test_a_composed_conversion_undoes_what_the_domain_does() -> None:
    """Reference → domain by the composed entry, then back in two steps, is where it began."""
    rng = np.random.default_rng(0)
    source = rng.normal(50, 20, 4)
    first, second = (
        MappingEntry("x", scale=1.8, offset=32.0),
        MappingEntry("x", scale=7.0, offset=-3.0),
    )
    both = composed(second, [first])
    raw = window(x=(both.scale * source + both.offset).tolist())
    once = translated(raw, applied(first))
    np.testing.assert_allclose(translated(once, applied(second)).numeric["x"], source)
