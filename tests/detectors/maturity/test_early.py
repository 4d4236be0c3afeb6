"""Early readings: right on average where delay tells nothing, and their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.maturity.delay_curve import delay_curve
from detectors.maturity.early import early_mean, early_weights, readings_so_far
from detectors.records import DAY_US, Task, Window

AS_OF = 20 * DAY_US


def world(seed: int, rows: int = 3000) -> tuple[Window, Window]:
    """A window as known at day 20, and with all its labels. The rate climbs day by day."""
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(0, 20 * DAY_US, rows))
    rate = 0.2 + 0.5 * ts / (20 * DAY_US)
    whole = Window(
        rows=rows,
        ts_us=ts,
        score=rate,
        baseline_score=np.full(rows, 0.45),
        label=(rng.random(rows) < rate).astype(float),
        label_ts_us=ts + rng.exponential(6 * DAY_US, rows).astype(np.int64),
    )
    return whole.known_by(AS_OF), whole


def test_early_readings_meet_what_all_labels_say_and_plain_means_do_not() -> None:
    """Young rows have the high rate and few labels: labelled rows alone read low."""
    errors, plain, covered = [], [], 0
    for seed in range(60):
        known, whole = world(seed)
        curve = delay_curve(known, as_of_us=AS_OF)
        assert curve is not None
        assert known.label is not None
        assert whole.label is not None
        assert whole.ts_us is not None
        # Rows too young to be weighted are not spoken of.
        spoken = curve.at(AS_OF - whole.ts_us) >= 0.05
        truth = float(whole.score[spoken].mean())  # type: ignore[index]
        reading = readings_so_far(known, curve, task=Task.BINARY, as_of_us=AS_OF)[0]
        assert reading.value is not None
        assert reading.ci[0] is not None
        assert reading.ci[1] is not None
        errors.append(reading.value - truth)
        plain.append(float(np.nanmean(known.label)) - truth)
        covered += reading.ci[0] <= truth <= reading.ci[1]
    assert abs(np.mean(errors)) < 0.01
    assert np.mean(plain) < -0.04
    assert covered >= 53


def test_the_interval_is_that_of_a_ratio_by_the_definition() -> None:
    rng = np.random.default_rng(1)
    values, weight = rng.normal(size=80), rng.uniform(1, 9, 80)
    found = early_mean(values, weight, "x")
    mean = sum(w * x for w, x in zip(weight, values, strict=True)) / sum(weight)
    variance = sum((w * (x - mean)) ** 2 for w, x in zip(weight, values, strict=True))
    assert found.value == pytest.approx(mean)
    assert found.ci[1] == pytest.approx(mean + 1.959964 * variance**0.5 / sum(weight))
    assert found.effective_rows < 80


def test_a_label_counts_the_inverse_of_its_chance_to_have_come() -> None:
    known, _ = world(3)
    curve = delay_curve(known, as_of_us=AS_OF)
    assert curve is not None
    assert known.ts_us is not None
    assert known.label is not None
    weight = early_weights(known, curve, as_of_us=AS_OF)
    arrived = curve.at(AS_OF - known.ts_us)
    came = ~np.isnan(known.label) & (arrived >= 0.05)
    assert weight[came] == pytest.approx(1 / arrived[came])
    assert not weight[~came].any()


def test_few_labels_say_so_instead_of_a_number() -> None:
    known, _ = world(4, rows=60)
    curve = delay_curve(known, as_of_us=AS_OF)
    assert curve is not None
    few = known.take(np.arange(20))
    for reading in readings_so_far(few, curve, task=Task.BINARY, as_of_us=AS_OF):
        assert reading.value is None
        assert "too few" in reading.words


def test_all_three_readings_are_given_where_there_is_a_baseline() -> None:
    known, _ = world(5)
    curve = delay_curve(known, as_of_us=AS_OF)
    assert curve is not None
    found = readings_so_far(known, curve, task=Task.BINARY, as_of_us=AS_OF)
    assert [one.what for one in found] == [
        "mean label",
        "mean log loss",
        "log loss less the baseline's",
    ]
    assert all("so far" in one.words for one in found)
