"""What the demo sends: every row once, in order, labels late, faults where they were put."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from detectors.records import to_us
from monitor.demo.faults import FAULTS
from monitor.demo.flights import Flights, instant, load_flights
from monitor.demo.networks import train_from_scratch
from monitor.demo.traffic import LABEL_DELAY, Served, Stream, days, reference_table, stream_of, then

LIVE = (instant(10), instant(11))
LABEL_RULE, KILOMETRES, HOUR_LOST = FAULTS


@pytest.fixture(scope="module")
def flights() -> dict[str, Flights]:
    return load_flights()


@pytest.fixture(scope="module")
def served(flights: dict[str, Flights]) -> Served:
    network = train_from_scratch(flights["WN"].between(instant(5), instant(6)))
    return Served(network, network)


@pytest.fixture(scope="module")
def streams(flights: dict[str, Flights], served: Served) -> list[Stream]:
    return [stream_of(flights[name].between(*LIVE), served, FAULTS) for name in ("US", "MQ")]


def test_every_event_and_every_label_is_sent_once(streams: list[Stream]) -> None:
    sent = list(days(streams, *LIVE))
    events = pa.concat_tables([day.events for day in sent])
    labels = pa.concat_tables([day.labels for day in sent])
    everything = sorted(name for s in streams for name in s.events.column("id").to_pylist())
    assert sorted(events.column("id").to_pylist()) == everything
    assert sorted(labels.column("id").to_pylist()) == everything


def test_a_day_holds_its_own_events_and_the_labels_that_become_known_on_it(
    streams: list[Stream],
) -> None:
    """So no label comes before its event, and none later than the day it is known."""
    *most, last = days(streams, *LIVE)
    for day in most:
        for rows in (day.events, day.labels):
            if rows.num_rows:
                bounds = pc.min_max(rows.column("ts")).as_py()
                assert day.since <= bounds["min"]
                assert bounds["max"] < day.since + timedelta(days=1)
    assert last.events.num_rows == 0
    assert last.labels.num_rows > 0


def test_labels_become_known_two_days_after_their_event(streams: list[Stream]) -> None:
    for stream in streams:
        wait = pc.subtract(stream.labels.column("ts"), stream.events.column("ts"))
        assert set(wait.to_pylist()) == {LABEL_DELAY}


def test_the_lost_hour_is_zero_from_its_day_on_and_the_networks_score_what_arrives(
    flights: dict[str, Flights], served: Served
) -> None:
    own = flights["US"].between(*LIVE)
    stream = stream_of(own, served, FAULTS)
    hour = stream.events.column("hour").to_numpy()
    after = own.ts_us >= to_us(HOUR_LOST.since)
    np.testing.assert_array_equal(hour[~after], own.features.column("hour").to_numpy()[~after])
    assert (hour[after] == 0).all()
    np.testing.assert_array_equal(
        stream.events.column("score").to_numpy(),
        served.transferred.score(stream.events.select(own.features.column_names)),
    )
    untouched = [name for name in own.features.column_names if name != "hour"]
    assert stream.events.select(untouched).equals(own.features.select(untouched))


def test_the_label_rule_turns_round_on_its_day_and_nothing_else_changes(
    flights: dict[str, Flights], served: Served
) -> None:
    own = flights["MQ"].between(instant(9, 15), instant(10, 15))
    clean, spoilt = stream_of(own, served), stream_of(own, served, FAULTS)
    assert spoilt.events.equals(clean.events)
    label, truth = (s.labels.column("label").to_numpy() for s in (spoilt, clean))
    after = own.ts_us >= to_us(LABEL_RULE.since)
    np.testing.assert_array_equal(label[~after], truth[~after])
    np.testing.assert_array_equal(label[after], 1 - truth[after])


def test_kilometres_are_logged_while_the_networks_read_miles(
    flights: dict[str, Flights], served: Served
) -> None:
    own = flights["WN"].between(*LIVE)
    clean, spoilt = stream_of(own, served), stream_of(own, served, FAULTS)
    after = own.ts_us >= to_us(KILOMETRES.since)
    miles, logged = (s.events.column("distance").to_numpy() for s in (clean, spoilt))
    np.testing.assert_array_equal(logged[~after], miles[~after])
    np.testing.assert_allclose(logged[after], miles[after] * 1.609344, atol=0.5)
    assert spoilt.events.column("score").equals(clean.events.column("score"))
    assert spoilt.labels.equals(clean.labels)


def test_two_versions_of_a_domain_make_one_stream(
    flights: dict[str, Flights], served: Served
) -> None:
    """In two spans of days every row and label is still sent once, each under its version."""
    middle = instant(10, 15)
    own, again = flights["US"], replace(served, version="2")
    joined = then(
        stream_of(own.between(LIVE[0], middle), served),
        stream_of(own.between(middle, LIVE[1]), again),
    )
    sent = [*days([joined], LIVE[0], middle, closing=False), *days([joined], middle, LIVE[1])]
    events = pa.concat_tables([day.events for day in sent])
    labels = pa.concat_tables([day.labels for day in sent])
    assert events.column("id").to_pylist() == joined.events.column("id").to_pylist()
    assert labels.column("id").to_pylist() == joined.labels.column("id").to_pylist()
    assert events.column("version").to_pylist() == [
        "2" if us >= to_us(middle) else "1" for us in joined.ts_us
    ]


def test_a_domain_without_a_fault_is_left_alone(
    flights: dict[str, Flights], served: Served
) -> None:
    own = flights["9E"].between(*LIVE)
    clean, same = stream_of(own, served), stream_of(own, served, FAULTS)
    assert same.events.equals(clean.events)
    assert same.labels.equals(clean.labels)


def test_a_reference_has_its_labels_beside_its_events(streams: list[Stream]) -> None:
    table = reference_table(streams[0])
    assert table.column("label").equals(streams[0].labels.column("label"))
    assert table.column("label_ts").equals(streams[0].labels.column("ts"))
