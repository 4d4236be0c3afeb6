"""How streams are followed, and which of them stand out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.evidence.bank import advance_block, prime, start_bank
from detectors.multiple import e_benjamini_hochberg
from detectors.records import DAY_US, HOUR_US, Budget, NamedDetector, Settings
from monitor.replaying.replay import Replay, replay, to_json
from monitor.watching.standing import (
    FALSE_DISCOVERY,
    followed_streams,
    log_e_values,
    streams_summary,
)
from tests.detectors.evidence.streams import specs_of, starts_of, wandering_streams
from tests.end_to_end.histories import as_table, history

SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DAY_US, named=(NamedDetector("cusum", "score"),))


@pytest.fixture(scope="module")
def result() -> Replay:
    reference = as_table(history(days=40, rows_a_day=150, seed=1))
    log = history(days=6, rows_a_day=150, seed=2, first_day=40)
    return replay(reference, as_table(log, like=reference), SETTINGS, model="m")


def test_every_stream_says_how_it_is_followed_and_why(result: Replay) -> None:
    lines = {line["stream"]: line for line in to_json(result)["streams"]["north"]}
    # Of 150 rows a day none is null in `age`, a tenth is in `spend`: 0 and 15 events a tick.
    assert lines["column.null_share:age"]["followed"] == "sparse"
    assert "under ten" in lines["column.null_share:age"]["why"]
    assert lines["column.null_share:spend"]["followed"] == "tick"
    rows = {lines[f"column.{what}"]["followed"] for what in ("location:age", "mix:plan")}
    assert rows <= {"row", "tick"}
    assert lines["prediction.mean@plan=pro"]["why"] == "slices keep no cells"
    named = lines["score.cusum"]
    assert named["followed"] == "named"
    assert named["run_length"]["low"] <= named["run_length"]["ticks"]
    told = to_json(result)["budget"]["north"]["streams"]
    assert sum(told["followed"].values()) == len(lines)


def test_some_rows_of_independent_columns_are_followed_one_by_one(result: Replay) -> None:
    ways = [line["followed"] for d in result.domains for line in followed_streams(d.progress)]
    assert ways.count("row") >= 6


def test_what_stands_out_is_told_by_e_bh_over_all_streams() -> None:
    """Wealth over stake is an e-value: its mean over null streams is at most one."""
    rng = np.random.default_rng(3)
    y, v = wandering_streams(rng, 260, 300, phi=0.3)
    y[235:, 0] += 0.25
    starts = starts_of(260, 6 * HOUR_US)
    bank = start_bank(specs_of(300), tick_us=6 * HOUR_US, budget=Budget(pages=1e-15))
    bank = prime(bank, starts[:120], y[:120], v[:120])
    bank, alarms = advance_block(bank, starts[120:], y[120:], v[120:])
    assert not alarms
    logs = log_e_values(bank, 140 * 6.0)
    assert np.exp(logs[1:]).mean() < 1.2
    assert np.flatnonzero(e_benjamini_hochberg(logs, FALSE_DISCOVERY)).tolist() == [0]
    assert np.isnan(log_e_values(replace(bank, live=False), 840.0)).all()


def test_words_count_the_ways_and_name_what_stands_out() -> None:
    line = {"stream": "a", "followed": "tick", "stands_out": False}
    assert "none stands out" in streams_summary([line])["words"]
    told = streams_summary([line, line | {"stream": "b", "followed": "row", "stands_out": True}])
    assert told["words"].startswith("2 streams followed: 1 by ticks, 1 row by row; b stand")
    assert told["stand_out"] == ["b"]
    assert streams_summary([])["words"] == ""
