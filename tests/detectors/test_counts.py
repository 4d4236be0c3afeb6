"""Counts read from summaries, against the rows themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from numpy.testing import assert_allclose

from detectors.counts import LEAST_ROWS, count_rules, counts_of
from detectors.records import FloatArray, Settings, Window
from detectors.streams import feature_streams, label_streams
from detectors.summary import TickSummary, fit_profile, summarise, summarise_labels
from tests.detectors.rows import SCHEMA, flights

REFERENCE = flights(np.random.default_rng(31), 8_000)
PROFILE = fit_profile(REFERENCE, SCHEMA)
SPECS = feature_streams(PROFILE, Settings()) + label_streams(PROFILE, Settings())
AT = {spec.stream.id: at for at, spec in enumerate(SPECS)}
RULES = count_rules(SPECS, PROFILE)
SPAN = {"start_us": 0, "end_us": 1}


def tick_of(window: Window) -> TickSummary:
    return summarise(window, PROFILE, **SPAN).merge(summarise_labels(window, PROFILE, **SPAN))


def test_events_and_trials_are_those_of_the_rows() -> None:
    window = flights(np.random.default_rng(32), 500, nulls=0.3)
    counts = counts_of(SPECS, PROFILE, RULES, [tick_of(window)])
    null = AT["column.null_share:distance"]
    assert counts.events[0, null] == np.isnan(window.numeric["distance"]).sum()
    assert counts.trials[0, null] == 500
    share = np.isnan(REFERENCE.numeric["distance"]).mean()
    assert counts.expected[0, null] == pytest.approx(500 * share)
    label, score = cast(FloatArray, window.label), cast(FloatArray, window.score)
    curve = PROFILE.ruler.curve
    assert curve is not None
    for name, rows in (
        ("calibration.in_the_large", np.ones(500, bool)),
        (
            "calibration.in_the_large@carrier=AA",
            window.categorical["carrier"].codes == window.categorical["carrier"].values.index("AA"),
        ),
    ):
        at = AT[name]
        assert counts.events[0, at] == label[rows].sum()
        assert counts.trials[0, at] == rows.sum()
        expected = np.clip(curve.apply(score[rows]), 1e-3, 1 - 1e-3).sum()
        assert counts.expected[0, at] == pytest.approx(expected)


def test_rows_that_all_weigh_the_same_count_as_many_as_they_are() -> None:
    window = flights(np.random.default_rng(33), 300)
    sampled = replace(window, weight=np.full(300, 4.0))
    rows = sorted(RULES.bets)
    plain, heavy = (
        counts_of(SPECS, PROFILE, RULES, [tick_of(w)], rows=rows) for w in (window, sampled)
    )
    assert_allclose(heavy.events, plain.events)
    assert_allclose(heavy.trials, plain.trials)
    for k in rows:
        assert_allclose(heavy.cells[0][k], plain.cells[0][k])
        assert plain.cells[0][k].sum() > 0.0


def test_what_can_be_followed_row_by_row_and_why_the_rest_cannot() -> None:
    ids = {SPECS[k].stream.id for k in RULES.bets}
    assert ids == {
        "column.location:rain",
        "column.spread:rain",
        "column.location:distance",
        "column.spread:distance",
        "column.mix:carrier",
        "prediction.mean",
        "prediction.spread:@score",
        "loss.mean",
    }
    assert "slices" in RULES.refused[AT["prediction.mean@carrier=AA"]]
    others = count_rules(SPECS, PROFILE, own_reference=False)
    assert not others.bets
    assert "domain's own" in others.refused[AT["prediction.mean"]]
    few = fit_profile(flights(np.random.default_rng(34), LEAST_ROWS - 1), SCHEMA)
    assert "4,999 reference rows" in count_rules(SPECS, few).refused[AT["prediction.mean"]]
    sampled = replace(REFERENCE, weight=np.linspace(1, 2, 8_000))
    weighted = count_rules(SPECS, fit_profile(sampled, SCHEMA))
    assert "weighted" in weighted.refused[AT["prediction.mean"]]
