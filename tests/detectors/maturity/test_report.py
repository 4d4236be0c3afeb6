"""What a report says of labels that are still to come."""

from __future__ import annotations

import json

import numpy as np
import pytest

from detectors.maturity.report import label_maturity
from detectors.records import DAY_US, Task, Window
from monitor.reports.maturity import maturity_json

START = 1_750_000_000_000_000 // DAY_US * DAY_US


def window(days: int, seed: int, *, first_day: int = 0, known_by: int | None = None) -> Window:
    """A hundred rows a day whose labels come after two days and up to four."""
    rng = np.random.default_rng(seed)
    ts = START + first_day * DAY_US + np.sort(rng.integers(0, days * DAY_US, 100 * days))
    score = rng.uniform(0.1, 0.9, len(ts))
    whole = Window(
        rows=len(ts),
        ts_us=ts,
        score=score,
        label=(rng.random(len(ts)) < score).astype(float),
        label_ts_us=ts + rng.integers(2 * DAY_US, 4 * DAY_US, len(ts)),
    )
    return whole if known_by is None else whole.known_by(START + known_by * DAY_US)


def test_days_are_mature_when_the_reference_says_their_labels_should_have_come() -> None:
    found = label_maturity(window(30, 1), window(10, 2, first_day=30, known_by=40), Task.BINARY)
    assert found is not None
    # At the end of day 9: a row is mature from an age of some 3.9 days on.
    assert [cohort.mature for cohort in found.cohorts] == [True] * 6 + [False] * 4
    assert found.words.startswith("6 of 10 days have mature labels; half come within 7")
    for curve in (found.curve, found.usual):
        assert curve is not None
        # Uniform over two to four days: half within three, .95 within 3.9.
        assert curve.age_at(0.5) == pytest.approx(3 * DAY_US, rel=0.03)
        assert curve.age_at(0.95) == pytest.approx(3.9 * DAY_US, rel=0.02)
    young = [one for one in found.so_far if one.value is not None]
    assert {one.what for one in young} == {"mean label", "mean log loss"}
    # Of the four young days only those two to four days old have labels at all.
    assert all(30 < one.rows < 250 for one in young)


def test_where_all_labels_have_come_there_is_no_early_reading() -> None:
    found = label_maturity(window(30, 1), window(10, 2, first_day=30), Task.BINARY)
    assert found is not None
    assert found.so_far == ()
    assert all(cohort.mature for cohort in found.cohorts)


def test_the_report_holds_plain_numbers_and_an_interval_around_every_point() -> None:
    found = label_maturity(window(30, 1), window(10, 2, first_day=30, known_by=40), Task.BINARY)
    shown = maturity_json(found)
    assert shown is not None
    json.dumps(shown, allow_nan=False)
    assert len(shown["delay"]["points"]) <= 60
    for point in shown["delay"]["points"]:
        assert point["lower"] <= point["arrived"] <= point["upper"]
    assert sum(cohort["rows"] for cohort in shown["cohorts"]) == 1000


def test_without_times_or_labels_nothing_is_said() -> None:
    bare = Window(rows=3, score=np.full(3, 0.5), label=np.ones(3))
    assert label_maturity(bare, bare, Task.BINARY) is None
    untimed_labels = Window(rows=3, ts_us=np.arange(3), label=np.ones(3))
    assert label_maturity(bare, untimed_labels, Task.BINARY) is None
    assert maturity_json(None) is None
