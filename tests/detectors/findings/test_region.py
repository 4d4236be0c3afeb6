"""One region against all other rows: what it finds, what it leaves alone, and how often it errs."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from detectors.findings.calibration import calibration_change
from detectors.findings.localisation import localise
from detectors.findings.region import Region, find_region
from detectors.records import Categories, ColumnSpec, Kind, Schema, Task, Window
from tests.detectors.findings.synthetic import BINARY, flipped, labels, scores, world

LEAVES = 24
SCHEMA = Schema(Task.BINARY, (ColumnSpec("leaf", Kind.CATEGORICAL),))


def found(reference: Window, current: Window, schema: Schema = BINARY) -> Region:
    change = calibration_change(
        Task.BINARY, scores(reference), labels(reference), scores(current), labels(current)
    )
    return find_region(reference, current, schema, change.residual_ref, change.residual_cur)


def clicks(rows: int, seed: int) -> Window:
    """One row in eight is clicked, whatever its leaf; scores know more than chance."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-2.2, 0.8, rows)
    return Window(
        rows=rows,
        score=1 / (1 + np.exp(-z)),
        label=(rng.random(rows) < 1 / (1 + np.exp(-z))).astype(float),
        categorical={
            "leaf": Categories(
                rng.integers(0, LEAVES, rows).astype(np.int32),
                tuple(f"leaf {at}" for at in range(LEAVES)),
            )
        },
    )


def test_two_sides_of_one_column_give_the_likelihood_ratio_of_their_counts() -> None:
    """Scores of .25 on 60 + 40 rows, of which 20 and 5 are ones; a reference without errors."""
    side = np.repeat([0, 1], [60, 40])
    label = np.concatenate([np.arange(60) < 20, np.arange(40) < 5]).astype(float)
    schema = Schema(Task.BINARY, (ColumnSpec("side", Kind.CATEGORICAL),))
    now = Window(
        rows=100,
        label=label,
        categorical={"side": Categories(side.astype(np.int32), ("left", "right"))},
    )
    before = now.take(np.tile(np.arange(100), 50))

    place = find_region(before, now, schema, np.zeros(5_000), label - 0.25)

    def ratio(ones: int, rows: int) -> float:
        p = ones / rows
        return float(2 * (ones * np.log(p / 0.25) + (rows - ones) * np.log((1 - p) / 0.75)))

    # The reference has 50 rows for one of now, so its own noise takes 1/51 of the deviance; two
    # values were asked, and the empty nulls were not.
    deviance = (ratio(20, 60) + ratio(5, 40)) * 50 / 51
    tail = 2 * 2 * norm.sf(np.sqrt(deviance))
    assert place.z == pytest.approx(norm.isf(tail / 2), rel=1e-9)
    assert place.effect == pytest.approx(np.sqrt(deviance / 40), rel=1e-9)
    assert place.column == "side"


def test_one_small_category_is_found_where_cells_are_too_few_to_sum_over() -> None:
    """A leaf of some 25 rows in 500, in which eight answers in ten are turned round."""
    hits, named, summed = 0, 0, 0
    for seed in range(20):
        before, now = clicks(6_000, 2 * seed), clicks(500, 2 * seed + 1)
        leaf = now.categorical["leaf"].codes
        chosen = int(np.argmax(np.bincount(leaf)))
        now = flipped(now, 0.8 * (leaf == chosen))
        place = found(before, now, SCHEMA)
        hits += place.z > 3
        named += place.cell == f"leaf {chosen}"
        change = calibration_change(
            Task.BINARY, scores(before), labels(before), scores(now), labels(now)
        )
        summed += localise(before, now, SCHEMA, change.residual_ref, change.residual_cur).z > 5.5

    assert hits >= 17
    assert named >= 19
    assert summed == 0


def test_windows_without_a_change_have_a_region_no_more_often_than_the_tail_says() -> None:
    z = [found(clicks(6_000, 500 + s), clicks(500, 900 + s), SCHEMA).z for s in range(200)]

    assert np.mean(np.array(z) > norm.isf(0.05 / 2)) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_labels_turned_everywhere_alike_stand_out_nowhere() -> None:
    current = world(3_000, 2)

    assert found(world(6_000, 1), flipped(current, np.full(3_000, 0.3))).z < 3


def test_a_number_is_cut_where_its_answers_part() -> None:
    current = world(500, 2)
    high = current.numeric["age"] > np.quantile(world(6_000, 1).numeric["age"], 0.6)

    place = found(world(6_000, 1), flipped(current, 0.7 * high))

    assert place.z > 3
    assert (place.column, place.cell[0]) == ("age", ">")
    assert float(place.cell.split()[1]) == pytest.approx(
        np.quantile(world(6_000, 1).numeric["age"], 0.6), abs=1e-5
    )


def test_answers_turned_round_where_half_are_ones_show_in_how_residuals_lean() -> None:
    rng = np.random.default_rng(8)

    def half(rows: int, *, turned: bool) -> Window:
        side, z = rng.integers(0, 2, rows), rng.normal(0.0, 1.2, rows)
        way = np.where(turned & (side == 1), -1.0, 1.0)
        return Window(
            rows=rows,
            score=1 / (1 + np.exp(-z)),
            label=(rng.random(rows) < 1 / (1 + np.exp(-way * z))).astype(float),
            categorical={"side": Categories(side.astype(np.int32), ("left", "right"))},
        )

    before, now = half(4_000, turned=False), half(1_000, turned=True)
    schema = Schema(Task.BINARY, (ColumnSpec("side", Kind.CATEGORICAL),))
    change = calibration_change(
        Task.BINARY, scores(before), labels(before), scores(now), labels(now)
    )

    def place(before: Window, now: Window) -> Region:
        return find_region(before, now, schema, change.residual_ref, change.residual_cur)

    assert place(before, now).z > 8
    assert place(replace(before, score=None), replace(now, score=None)).z < 3


def test_without_columns_or_rows_enough_there_is_no_region() -> None:
    nothing = Schema(Task.BINARY, ())

    assert found(world(6_000, 1), world(500, 2), nothing) == Region()
    few = world(7, 2)
    assert find_region(world(6_000, 1), few, BINARY, np.zeros(6_000), np.zeros(7)) == Region()


def test_a_value_that_many_rows_share_can_lie_on_either_side_of_the_cut() -> None:
    """Half of all work 40 hours; answers are turned round for those who work more."""

    def hours(rows: int, seed: int) -> Window:
        rng = np.random.default_rng(seed)
        worked = np.where(rng.random(rows) < 0.5, 40.0, np.rint(rng.normal(40, 12, rows)))
        return replace(world(rows, seed), numeric={"hours": worked})

    before, now = hours(6_000, 1), hours(1_000, 2)
    schema = Schema(Task.BINARY, (ColumnSpec("hours", Kind.NUMERIC),))

    place = found(before, flipped(now, 0.7 * (now.numeric["hours"] > 40)), schema)

    assert place.z > 5
    assert (place.column, place.cell) == ("hours", "> 40")


def test_a_hundred_thousand_values_are_asked_without_a_table_of_their_pairs() -> None:
    rng = np.random.default_rng(3)
    values = 100_000

    def rare(rows: int) -> Window:
        code = np.where(rng.random(rows) < 0.1, 0, rng.integers(0, values, rows))
        return replace(
            clicks(rows, int(code[0])),
            categorical={"leaf": Categories(code.astype(np.int32), tuple(map(str, range(values))))},
        )

    before, now = rare(6_000), rare(3_000)
    now = flipped(now, 0.5 * (now.categorical["leaf"].codes == 0))
    tracemalloc.start()
    place = found(before, now, SCHEMA)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (place.z > 5, place.cell) == (True, "0")
    assert most < 100 * 2**20
