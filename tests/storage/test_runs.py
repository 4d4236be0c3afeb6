import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.runs import (
    ID_COLUMNS,
    LABEL_COLUMNS,
    SortedRuns,
    decode_run,
    encode_run,
    locate,
    repeats,
    sort_run,
)
from tests.storage.rows import ids

SMALL = st.lists(st.integers(0, 30), max_size=40)


def test_a_run_comes_back_as_written() -> None:
    columns = (*ids(3, 1, 2), np.array([0.5, np.nan, 1.0]), np.array([7, 8, 9]))
    body = encode_run(columns, LABEL_COLUMNS)
    assert len(body) == 3 * 32
    for wrote, read in zip(columns, decode_run(body, 3, LABEL_COLUMNS), strict=True):
        assert wrote.tobytes() == read.tobytes()


def test_a_run_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a run of 2 rows has 16 bytes"):
        decode_run(encode_run(ids(1), ID_COLUMNS), 2, ID_COLUMNS)


@given(SMALL, SMALL)
def test_finding_agrees_with_a_plain_search(stored: list[int], asked: list[int]) -> None:
    """Pairs of ids share `hi`, so finding by `hi` alone would be wrong."""
    run = sort_run(ids(*stored))
    at = locate(run[0], run[1], *ids(*asked))
    held = list(zip(run[0].tolist(), run[1].tolist(), strict=True))
    wanted = list(zip(*(half.tolist() for half in ids(*asked)), strict=True))
    assert at.tolist() == [held.index(pair) if pair in held else -1 for pair in wanted]


@given(SMALL)
def test_a_repeat_is_an_id_that_stood_earlier(numbers: list[int]) -> None:
    expected = [number in numbers[:place] for place, number in enumerate(numbers)]
    assert repeats(*ids(*numbers)).tolist() == expected


@given(st.lists(SMALL, max_size=12), SMALL)
def test_runs_added_one_by_one_hold_what_a_set_holds(
    batches: list[list[int]], asked: list[int]
) -> None:
    runs = SortedRuns()
    first: dict[int, int] = {}
    for number, batch in enumerate(batches):
        runs.add(sort_run((*ids(*batch), np.full(len(batch), number))))
        for name in batch:
            first.setdefault(name, number)
    assert runs.contains(*ids(*asked)).tolist() == [name in first for name in asked]
    known, values = runs.look_up(*ids(*asked), column=2)
    assert known.tolist() == [name in first for name in asked]
    assert [int(value) for value, hit in zip(values, known, strict=True) if hit] == [
        first[name] for name in asked if name in first
    ]
    assert runs.rows == sum(map(len, batches))


def test_many_small_runs_become_few() -> None:
    runs = SortedRuns()
    for number in range(1000):
        runs.add(ids(number))
    assert len(runs.runs) <= 6
    assert runs.contains(*ids(*range(1000))).all()
    assert not runs.contains(*ids(1000, 5000)).any()
