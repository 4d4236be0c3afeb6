from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from detectors.findings.calibration import calibration_change
from detectors.findings.localisation import (
    Localisation,
    cell_excess,
    heterogeneity,
    localise,
)
from detectors.records import Categories, ColumnSpec, Kind, Schema, Task, Window
from tests.detectors.findings.synthetic import BINARY, flipped, labels, scores, world


def located(reference: Window, current: Window) -> Localisation:
    change = calibration_change(
        Task.BINARY,
        scores(reference),
        labels(reference),
        scores(current),
        labels(current),
    )
    return localise(reference, current, BINARY, change.residual_ref, change.residual_cur)


def test_agrees_with_the_published_vector() -> None:
    n, m = np.array([400, 300, 300]), np.array([200, 150, 150])

    Q, z = cell_excess(
        np.array([0.01, -0.005, 0.0]), np.array([-0.09, 0.05, 0.04]), 0.16 / n + 0.16 / m
    )

    assert pytest.approx(11.223958, abs=1e-6) == Q
    assert z == pytest.approx(4.611979, abs=1e-6)


def test_what_all_cells_have_in_common_is_no_heterogeneity_and_its_tail_is_that_of_chi_square() -> (
    None
):
    rng = np.random.default_rng(9)
    variance = np.array([0.5, 1.0, 2.0, 0.2])
    drawn = [
        heterogeneity(np.zeros(4), 3.0 + rng.normal(size=4) * np.sqrt(variance), variance)
        for _ in range(2000)
    ]

    Q, z = np.array(drawn).T
    assert Q.mean() == pytest.approx(3, abs=4 * np.sqrt(6 / 2000))
    limit = (chi2.isf(0.05, 5) - 5) / np.sqrt(10)
    assert np.mean(z > limit) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 / 2000))


def test_names_the_column_and_cell_whose_labels_were_turned() -> None:
    current = world(3000, 2)
    in_east = current.categorical["region"].codes == 2
    old = current.numeric["age"] > 0.85

    place = located(world(6000, 1), flipped(current, 0.5 * (old & ~in_east)))

    assert place.z > 5
    assert place.column == "age"
    assert place.cell.startswith(">= 0.8")


def test_labels_turned_everywhere_alike_are_nowhere_in_particular() -> None:
    current = world(3000, 2)

    place = located(world(6000, 1), flipped(current, np.full(3000, 0.3)))

    assert place.z < 5


def test_answers_turned_round_in_one_half_are_found_where_both_halves_end_at_one_rate() -> None:
    """Means of residuals say nothing here: only how they lean on the score does."""
    rng = np.random.default_rng(8)

    def half(rows: int, *, turned: bool) -> Window:
        side, z = rng.integers(0, 2, rows), rng.normal(0.0, 1.2, rows)
        way = np.where(turned & (side == 1), -1.0, 1.0)
        label = (rng.random(rows) < 1 / (1 + np.exp(-way * z))).astype(float)
        return Window(
            rows=rows,
            score=1 / (1 + np.exp(-z)),
            label=label,
            categorical={"side": Categories(side.astype(np.int32), ("left", "right"))},
        )

    before, now = half(4000, turned=False), half(1000, turned=True)
    schema = Schema(Task.BINARY, (ColumnSpec("side", Kind.CATEGORICAL),))
    change = calibration_change(
        Task.BINARY, scores(before), labels(before), scores(now), labels(now)
    )

    place = localise(before, now, schema, change.residual_ref, change.residual_cur)
    blind = localise(
        replace(before, score=None),
        replace(now, score=None),
        schema,
        change.residual_ref,
        change.residual_cur,
    )

    assert (place.column, place.z > 20) == ("side", True)
    assert blind.z < 5


@pytest.mark.parametrize(("rows_ref", "rows_cur"), [(120, 120), (120, 900), (900, 120)])
def test_cells_with_few_rows_in_either_window_do_not_count(rows_ref: int, rows_cur: int) -> None:
    reference, current = world(rows_ref, 1), world(rows_cur, 2)
    far = np.where(np.arange(rows_cur) < 50, 9.0, 0.0)

    place = localise(reference, current, BINARY, np.arange(rows_ref) / rows_ref, far)

    assert place == Localisation(0.0)
