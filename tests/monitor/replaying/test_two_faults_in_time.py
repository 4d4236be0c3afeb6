"""A second fault, weeks after a first that nobody mended, is told by itself and by its own name."""

from __future__ import annotations

from detectors.records import DAY_US, Mode, Settings, to_us
from monitor.replaying.injection import parse_injection
from monitor.replaying.replay import replay
from tests.simulate import START_US, Stream, history, table

SHOP = Stream(rows_a_day=60)
LIVE_US = START_US + 30 * DAY_US


def test_a_unit_that_changes_weeks_after_label_odds_did_is_an_incident_of_its_own() -> None:
    """The first fault goes on alarming, so there is no day on which its incident looks old."""
    reference = table(history(SHOP, days=30, seed=2))
    log = table(history(SHOP, days=34, seed=2, first_day=30), like=reference)
    put_in = [parse_injection("label:odds:3@+4d"), parse_injection("spend:unit:1000@+27d")]
    (shop,) = replay(reference, log, Settings(tick_us=DAY_US), injections=put_in).domains

    (old,) = [i for i in shop.incidents if "calibration.by_cluster" in i.streams]
    (new,) = [i for i in shop.incidents if "column.spread:spend" in i.streams]
    assert (old.mode, new.mode) == (Mode.LABEL_SEMANTICS, Mode.SCHEMA_MISMATCH)
    began = [(to_us(i.onset) - LIVE_US) / DAY_US for i in (old, new)]
    assert 2 <= began[0] <= 6
    assert 26 <= began[1] <= 28
    assert not any(stream.startswith("calibration") for stream in new.streams)
