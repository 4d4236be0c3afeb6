"""Files under the names and in the types of the contract."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from monitor.cli.wire import bodies, events_of, labels_of
from monitor.errors import InputError, UsageError
from monitor.files.roles import Roles

INSTANT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EPOCH_S = 1767323045
ROLES = Roles(id="id", timestamp="t")


def times_of(column: pa.Array) -> list[object]:
    table = pa.table({"id": ["a"] * len(column), "t": column})
    return list(events_of(table, ROLES, domain=None, source="f").column("ts").to_pylist())


@pytest.mark.parametrize(
    "column",
    [
        pa.array([INSTANT.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([INSTANT], pa.timestamp("ms", tz="America/New_York")),
        pa.array([EPOCH_S], pa.int64()),
        pa.array([EPOCH_S * 1_000], pa.int64()),
        pa.array([EPOCH_S * 1_000_000], pa.int64()),
    ],
)
def test_a_time_means_the_same_instant_however_it_is_written(column: pa.Array) -> None:
    assert times_of(column) == [INSTANT]


def test_a_text_time_without_a_zone_means_utc_and_wrong_ones_go_to_the_daemon_as_they_are() -> None:
    texts = ["2026-01-02T03:04:05", "2026-01-02 03:04", "2026-01-02T03:04:05+01:00", "2026-01-02"]
    assert times_of(pa.array([*texts, "soon", None])) == [
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04Z",
        "2026-01-02T03:04:05+01:00",
        "2026-01-02T00:00:00Z",
        "soon",
        None,
    ]
    assert times_of(pa.array([date(2026, 1, 2)])) == [datetime(2026, 1, 2, tzinfo=UTC)]


def test_whole_numbers_that_are_no_times_are_refused() -> None:
    with pytest.raises(InputError, match="no times since 1970"):
        times_of(pa.array([1, 2, 3]))


def test_roles_are_renamed_and_what_is_no_event_is_left_out() -> None:
    table = pa.table(
        {
            "id": [1],
            "t": [INSTANT],
            "p": [0.5],
            "dom": ["VT"],
            "y": [1],
            "late": [INSTANT],
            "zip": [123],
            "junk": ["x"],
            "age": [float("nan")],
        }
    )
    roles = Roles(
        id="id",
        timestamp="t",
        score="p",
        domain="dom",
        label="y",
        label_timestamp="late",
        categorical=("zip",),
        ignore=("junk",),
    )
    sent = events_of(table, roles, domain=None, source="f")
    assert sent.column_names == ["id", "ts", "score", "domain", "zip", "age"]
    assert sent.to_pylist()[0]["zip"] == "123"
    assert sent.to_pylist()[0]["age"] is None
    one = events_of(table, roles, domain="NH", source="f")
    assert one.column("domain").to_pylist() == ["NH"]


def test_a_feature_that_bears_a_name_of_the_contract_is_refused() -> None:
    table = pa.table({"id": ["a"], "t": [INSTANT], "weight": [81.5]})
    with pytest.raises(UsageError, match="'weight' would be sent as a feature"):
        events_of(table, ROLES, domain=None, source="f")


@pytest.mark.parametrize(
    ("label", "prediction", "sent"),
    [
        ([1, None, 0], None, [1, 0]),
        ([True, False, None], None, [1, 0]),
        ([0.5, float("nan"), -3.0], None, [0.5, -3.0]),
        (["cat", "dog", None], ["cat", "cat", "cat"], [1, 0]),
    ],
)
def test_labels_become_numbers_and_rows_without_one_are_left(
    label: list[object], prediction: list[str] | None, sent: list[float]
) -> None:
    table = pa.table({"id": ["a", "b", "c"], "y": label})
    roles = Roles(id="id", label="y")
    if prediction is not None:
        table = table.append_column("yhat", pa.array(prediction))
        roles = Roles(id="id", label="y", prediction="yhat")
    assert labels_of(table, roles, source="f").column("label").to_pylist() == sent


def test_text_labels_without_a_prediction_are_refused_with_what_they_hold() -> None:
    table = pa.table({"id": ["a"], "y": ["yes"]})
    with pytest.raises(InputError, match=r"'yes'.*numbers, 0 or 1"):
        labels_of(table, Roles(id="id", label="y"), source="f")


def test_bodies_hold_every_row_once_in_order() -> None:
    table = pa.table({"id": [str(n) for n in range(7)]}).combine_chunks()
    read = []
    for first, rows, body in bodies(table, 3):
        part = pa.ipc.open_stream(body).read_all()
        assert part.num_rows == rows
        assert part.column("id")[0].as_py() == str(first)
        read += part.column("id").to_pylist()
    assert read == table.column("id").to_pylist()
