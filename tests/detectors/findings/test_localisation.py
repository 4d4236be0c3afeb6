import numpy as np
import pytest

from detectors.findings.calibration import calibration_change
from detectors.findings.localisation import Localisation, cell_excess, localise
from detectors.records import Task, Window
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


@pytest.mark.parametrize(("rows_ref", "rows_cur"), [(120, 120), (120, 900), (900, 120)])
def test_cells_with_few_rows_in_either_window_do_not_count(rows_ref: int, rows_cur: int) -> None:
    reference, current = world(rows_ref, 1), world(rows_cur, 2)
    far = np.where(np.arange(rows_cur) < 50, 9.0, 0.0)

    place = localise(reference, current, BINARY, np.arange(rows_ref) / rows_ref, far)

    assert place == Localisation(0.0)
