"""A diagnosis looks at rows from the change on, not at all an early onset would give it."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.records import HOUR_US, Task, Window
from monitor.watching.onset import from_onset_on


def window(rows: int, *, flipped_from: int | None, labels: bool = True, seed: int = 0) -> Window:
    """Well calibrated scores, an hour apart; labels mean the opposite from a row on."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.02, 0.4, rows)
    label = (rng.random(rows) < score).astype(float)
    if flipped_from is not None:
        label[flipped_from:] = 1.0 - label[flipped_from:]
    return Window(
        rows=rows,
        ts_us=np.arange(rows, dtype=np.int64) * HOUR_US,
        score=score,
        label=label if labels else np.full(rows, np.nan),
    )


def test_rows_before_the_change_are_left_out() -> None:
    found = from_onset_on(window(1000, flipped_from=700), Task.BINARY)
    assert found.rows == pytest.approx(300, abs=10)
    assert found.ts_us is not None
    assert found.ts_us[-1] == 999 * HOUR_US


def test_it_does_not_matter_in_which_order_rows_come() -> None:
    whole = window(1000, flipped_from=700)
    shuffled = whole.take(np.random.default_rng(1).permutation(1000))
    assert from_onset_on(shuffled, Task.BINARY).rows == from_onset_on(whole, Task.BINARY).rows


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_cut(seed: int) -> None:
    assert from_onset_on(window(1000, flipped_from=None, seed=seed), Task.BINARY).rows == 1000


def test_without_labels_the_scores_show_it() -> None:
    whole = window(600, flipped_from=None, labels=False)
    assert whole.score is not None
    whole.score[400:] += 0.5
    assert from_onset_on(whole, Task.BINARY).rows == pytest.approx(200, abs=5)


def test_few_rows_stay_as_they_are() -> None:
    assert from_onset_on(window(100, flipped_from=50), Task.BINARY).rows == 100


def test_better_and_worse_days_of_one_long_change_are_kept_together() -> None:
    reference = window(2000, flipped_from=None, seed=3)
    ill = window(1000, flipped_from=0)
    assert ill.score is not None
    ill.score[500:] *= 0.3
    assert from_onset_on(ill, Task.BINARY).rows < 1000
    assert from_onset_on(ill, Task.BINARY, reference).rows == 1000
    began = window(1000, flipped_from=700)
    assert from_onset_on(began, Task.BINARY, reference).rows == pytest.approx(300, abs=10)
