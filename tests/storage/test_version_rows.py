from __future__ import annotations

import numpy as np
import pytest

from detectors.records import Window
from storage.engine import Database
from storage.segments import Segment
from storage.version_rows import (
    VersionKind,
    VersionRowsError,
    add_version_rows,
    in_common,
    read_version_rows,
)
from tests.storage.rows import START as NOW
from tests.storage.rows import known_model


@pytest.fixture(autouse=True)
def model(database: Database) -> None:
    known_model(database)


def rows(*ids: int) -> Segment:
    """Row i is embedded at (i, -i), labelled and scored."""
    at = np.array(ids, np.float64)
    window = Window(
        rows=len(ids),
        embedding=np.column_stack([at, -at]).astype(np.float32),
        label=at % 2,
        score=np.full(len(ids), 0.5),
    )
    low = np.array(ids, np.uint64)
    return Segment(window, np.zeros(len(ids), np.uint64), low, np.zeros(len(ids), np.bool_))


def add(database: Database, kind: VersionKind, version: str, *ids: int) -> int:
    with database.write() as session:
        return add_version_rows(session, "credit", kind, version, rows(*ids), NOW)


def test_versions_come_back_in_the_order_they_came_and_meet_row_by_row(database: Database) -> None:
    add(database, VersionKind.ANCHORS, "9", 3, 1, 2)
    add(database, VersionKind.ANCHORS, "10", 2, 4, 3)

    with database.read() as session:
        first, second = read_version_rows(session, "credit", VersionKind.ANCHORS)

    assert (first.version, second.version) == ("9", "10")
    left, right = in_common(first.segment, second.segment)
    assert left.embedding is not None
    assert right.embedding is not None
    assert left.embedding.tolist() == right.embedding.tolist() == [[2, -2], [3, -3]]


def test_nothing_in_common_is_no_rows(database: Database) -> None:
    left, right = in_common(rows(1, 2), rows(3))

    assert left.rows == right.rows == 0


def test_a_version_is_stored_once_and_an_id_comes_once(database: Database) -> None:
    add(database, VersionKind.ANCHORS, "1", 1, 2)

    with pytest.raises(VersionRowsError, match="never overwritten"):
        add(database, VersionKind.ANCHORS, "1", 5)
    with pytest.raises(VersionRowsError, match="1 ids come twice"):
        add(database, VersionKind.ANCHORS, "2", 5, 5)
    with pytest.raises(VersionRowsError, match="0 rows"):
        add(database, VersionKind.ANCHORS, "2")
    with database.read() as session:
        (kept,) = read_version_rows(session, "credit", VersionKind.ANCHORS)
    assert kept.segment.id_lo.tolist() == [1, 2]


def test_scores_are_of_rows_of_a_probe_that_is_there(database: Database) -> None:
    with pytest.raises(VersionRowsError, match="no probe set"):
        add(database, VersionKind.PROBE_SCORES, "1", 1)
    add(database, VersionKind.PROBE, "", 1, 2, 3)
    with pytest.raises(VersionRowsError, match="1 of 2 ids are not in the probe"):
        add(database, VersionKind.PROBE_SCORES, "1", 1, 9)

    assert add(database, VersionKind.PROBE_SCORES, "1", 3, 1) == 2
