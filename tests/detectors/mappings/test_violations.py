"""An approved mapping is held to: the finding names it, and healthy rows have none."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.mappings.translate import translated
from detectors.mappings.violations import violations
from detectors.records import (
    AppliedMapping,
    Categories,
    ColumnSpec,
    FloatArray,
    Kind,
    MappingEntry,
    Schema,
    Task,
    Window,
)

SCHEMA = Schema(
    Task.BINARY, (ColumnSpec("income", Kind.NUMERIC), ColumnSpec("aisle", Kind.CATEGORICAL))
)
AISLES = ("Vegetables", "Fruit", "Bread")
CENTS = MappingEntry("income", scale=100.0)
VEG = MappingEntry("aisle", category="Vegetables", domain_category="Veg")
NOT_HERE = MappingEntry("income", absent=True)
MINUS = MappingEntry("income", missing="-1")


def rows(seed: int, *, n: int = 2_000, factor: float = 1.0, veg: str = "Vegetables") -> Window:
    """Bread buyers earn more; a domain may write income and vegetables in its own way."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, n, p=[0.3, 0.4, 0.3]).astype(np.int32)
    income: FloatArray = rng.lognormal(8, 0.5, n) * np.where(codes == 2, 3.0, 1.0) * factor
    income[rng.random(n) < 0.05] = np.nan
    names = (veg, *AISLES[1:])
    return Window(
        rows=n, numeric={"income": income}, categorical={"aisle": Categories(codes, names)}
    )


def broken(current: Window, *entries: MappingEntry) -> list[str]:
    mappings = [AppliedMapping(f"map_{at}", entry) for at, entry in enumerate(entries)]
    found = violations(rows(0, n=5_000), translated(current, mappings), SCHEMA, mappings)
    return [violation.words for violation in found]


@pytest.mark.parametrize("seed", range(1, 11))
def test_rows_that_keep_to_what_was_approved_have_no_finding(seed: int) -> None:
    assert broken(rows(seed, n=300, factor=100.0, veg="Veg"), CENTS, VEG) == []


def test_another_unit_breaks_the_mapping_and_the_finding_names_it() -> None:
    (words,) = broken(rows(1, factor=1.0, veg="Veg"), CENTS, VEG)
    assert "approved mapping map_0" in words
    assert "`income` is the source's `income` × 100" in words
    assert "0.0098" in words


def test_a_category_that_vanished_is_told_with_who_may_have_taken_its_place() -> None:
    (words,) = broken(rows(1, factor=100.0, veg="Greens"), CENTS, VEG)
    assert "approved mapping map_1" in words
    assert "`Veg` does not come" in words
    assert "`Greens` is new" in words


def test_a_domain_that_writes_the_name_of_the_source_again_breaks_nothing() -> None:
    assert broken(rows(1, factor=100.0, veg="Vegetables"), CENTS, VEG) == []


def test_few_rows_are_no_reason_to_miss_a_category() -> None:
    """60 rows without Veg would be certain; 45 are not looked at."""
    assert broken(rows(1, n=60, veg="Greens"), VEG) != []
    assert broken(rows(1, n=45, veg="Greens"), VEG) == []


def test_a_feature_said_to_be_absent_that_comes_is_told() -> None:
    gone = rows(1)
    gone.numeric["income"][:] = np.nan
    assert broken(gone, NOT_HERE) == []
    assert "`income` is filled" in broken(rows(1), NOT_HERE)[0]


def test_a_value_that_stood_for_missing_and_comes_no_more_is_told() -> None:
    written = rows(1)
    income = written.numeric["income"]
    income[np.isnan(income)] = -1.0
    assert broken(written, MINUS) == []
    filled = rows(1)
    filled.numeric["income"][np.isnan(filled.numeric["income"])] = 5.0
    assert "-1 does not come any more" in broken(filled, MINUS)[0]


def test_categories_that_were_exchanged_with_approval_and_are_back_are_told() -> None:
    swap = (
        MappingEntry("aisle", category="Fruit", domain_category="Bread"),
        MappingEntry("aisle", category="Bread", domain_category="Fruit"),
    )
    exchanged = rows(1, n=5_000)
    codes = exchanged.categorical["aisle"].codes
    names = Categories(codes, ("Vegetables", "Bread", "Fruit"))
    kept = Window(rows=exchanged.rows, numeric=exchanged.numeric, categorical={"aisle": names})
    assert broken(kept, *swap) == []
    assert len(broken(exchanged, *swap)) == 2
