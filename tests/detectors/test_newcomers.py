"""When slices, columns and categories join, by counts of a day and whatever order they came in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.cells import CategoricalCells
from detectors.newcomers import (
    MOST,
    MOST_NAMES,
    Born,
    Key,
    Tally,
    column_summary,
    new_in,
    newcomer_profile,
    newcomer_streams,
)
from detectors.profile import fit_profile
from detectors.records import Categories, ColumnSpec, Kind, Schema, Settings, Task, Tier, Window
from detectors.slices import SLICE_ROWS
from detectors.statistics import statistics

SCHEMA = Schema(
    task=Task.BINARY,
    columns=(ColumnSpec("place", Kind.CATEGORICAL), ColumnSpec("kind", Kind.CATEGORICAL)),
    slices=(("place",),),
    has_label=False,
)


def words(*values: str) -> Categories:
    names = tuple(dict.fromkeys(values))
    return Categories(np.array([names.index(value) for value in values], np.int32), names)


def column(name: str) -> Key:
    return Key(Born.COLUMN, (name,), (Kind.NUMERIC.value,))


def slice_of(value: str) -> Key:
    return Key(Born.SLICE, ("place",), (value,))


def test_what_is_new_is_told_from_what_the_reference_had() -> None:
    reference = Window(
        rows=200,
        score=np.full(200, 0.5),
        categorical={"place": words(*["a", "b"] * 100), "kind": words(*["x", "y"] * 100)},
    )
    profile = fit_profile(reference, SCHEMA)
    rows = Window(
        rows=4,
        score=np.full(4, 0.5),
        numeric={"n": np.array([1.0, np.nan, np.inf, 2.0]), "known": np.ones(4)},
        categorical={
            "place": words("a", "c", "c", "b"),
            "kind": words("x", "z", "x", "z"),
            "w": Categories(np.array([0, -1, 0, 0], np.int32), ("q",)),
        },
    )
    assert dict(new_in(rows, profile, besides=frozenset({"known"}))) == {
        slice_of("c"): 2,
        Key(Born.CATEGORY, ("kind",), ("z",)): 2,
        column("n"): 2,
        Key(Born.COLUMN, ("w",), ("categorical",)): 3,
    }


def test_a_slice_joins_after_its_first_day_and_a_column_after_its_first_whole_one() -> None:
    tally = Tally()
    for joined in ([slice_of("c")], [column("n")], []):
        tally.rows = 1_000
        tally.add([(slice_of("c"), SLICE_ROWS), (column("n"), SLICE_ROWS)])
        tally.add([(column("rare"), SLICE_ROWS - 1)])
        followed = [slice_of("c")] if joined != [slice_of("c")] else []
        followed += [column("n")] if not joined else []
        assert tally.close_day(followed) == joined


def test_a_column_that_comes_back_as_another_kind_is_no_second_one() -> None:
    tally = Tally()
    text = Key(Born.COLUMN, ("n",), (Kind.CATEGORICAL.value,))
    for _ in range(2):
        tally.rows = 100
        tally.add([(column("n"), 60), (text, 90)])
        joined = tally.close_day([])
    assert joined == [text], "the kind that most of its rows have"
    tally.rows = 100
    tally.add([(column("n"), 99)])
    assert tally.close_day(joined) == []


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 7))
def test_the_order_in_which_names_come_changes_nothing(order: object, pieces: int) -> None:
    found = [(column(f"n{at}"), 60) for at in range(MOST + 3)]
    found += [(Key(Born.CATEGORY, ("kind",), (f"v{at}",)), 60) for at in range(MOST_NAMES + 1)]
    found += [(Key(Born.CATEGORY, ("other",), ("v",)), 60)]
    expected = [*(key for key, _ in sorted(found[: MOST + 3])[:MOST]), found[-1][0]]
    tally = Tally()
    joined: list[Key] = []
    for _ in range(2):
        tally.rows = 1_000
        order.shuffle(found)  # type: ignore[attr-defined]  # random.Random
        for part in range(pieces):
            tally.add(found[part::pieces])
        tally = Tally.restored(tally.to_dict())
        joined = tally.close_day([])
    assert sorted(joined) == sorted(expected)
    assert tally.waiting == {Born.COLUMN: 3}


def test_garbage_in_many_columns_is_forgotten_and_brings_nothing() -> None:
    """As when every column suddenly holds random text: memory stays bounded, and old keys go."""
    tally = Tally(rows=1_000)
    for at in range(30):
        place = (f"c{at}",)
        tally.add((Key(Born.CATEGORY, place, (f"v{v}",)), 60) for v in range(900))
        assert len(tally.counts) <= 20_000
    assert not tally.counts
    assert tally.close_day([]) == []


def test_a_category_is_followed_by_its_share_of_the_rows_that_have_one() -> None:
    day = Window(rows=100, categorical={"kind": words(*["x"] * 60, *["z"] * 40)})
    key = Key(Born.CATEGORY, ("kind",), ("z",))
    profile = newcomer_profile(key, fit_profile(day, SCHEMA), day)
    (spec,) = newcomer_streams(key, profile, Settings(), labelled=True)["feature"]
    assert spec.stream.id == "column.value_share:kind@kind=z"
    assert (spec.stream.tier, spec.weight) == (Tier.TICKET, 1.0)
    rows = words(*["x"] * 50, *["z"] * 40, *["other"] * 10)
    rows = Categories(np.append(rows.codes, [-1, -1]).astype(np.int32), rows.values)
    summary = column_summary(
        Window(rows=102, categorical={"kind": rows}), profile, start_us=0, end_us=1
    )
    y, v = statistics((spec,), profile, summary)
    assert y[0] == pytest.approx(np.log(40.5 / 60.5))
    assert v[0] == pytest.approx(1.0 / (100 * 0.4 * 0.6), rel=0.05)


def test_a_new_column_of_many_texts_does_not_remember_them_all() -> None:
    texts = [f"id {at}" for at in range(5_000)]
    day = Window(rows=5_000, categorical={"id": words(*texts)})
    key = Key(Born.COLUMN, ("id",), (Kind.CATEGORICAL.value,))
    cells = newcomer_profile(key, fit_profile(day, SCHEMA), day).columns["id"]
    assert isinstance(cells, CategoricalCells)
    assert (len(cells.rest), cells.open) == (0, True)
    assert len(cells.values) <= MOST_NAMES
