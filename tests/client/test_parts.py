"""Rows as lines, replies as fates, waits within bounds."""

from __future__ import annotations

import ast
import json
import math
import sys
import time
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge_client.encode import instant, to_line
from kedge_client.queue import Queue
from kedge_client.sender import Answer, Fate, Sender, read_answer, wait_asked
from kedge_client.spill import Spill
from kedge_client.worker import LONGEST_ASKED_S, Worker
from tests.sources import ROOT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def without_nan(value: Any) -> Any:
    """The definition: JSON has no NaN and no infinity, so they are null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return [without_nan(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_line_reads_back_as_the_row(row: dict[str, Any]) -> None:
    line = to_line(row)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == without_nan(row)


def test_numpy_and_times_become_plain() -> None:
    row = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": np.array([1.0, np.nan]),
        "d": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        "e": {"y", "x"},
        "f": np.float64("inf"),
    }
    assert json.loads(to_line(row)) == {
        "a": 0.5,
        "b": 3,
        "c": [1.0, None],
        "d": "2025-12-31T23:00:00Z",
        "e": ["x", "y"],
        "f": None,
    }


def test_a_row_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        to_line({"x": "y" * 300_000})


def test_instants_are_utc() -> None:
    assert instant(None, 0.0) == "1970-01-01T00:00:00Z"
    assert instant(86_400, 0.0) == "1970-01-02T00:00:00Z"
    assert instant("as given", 0.0) == "as given"
    local = datetime(2026, 1, 1)  # noqa: DTZ001 - a time without a zone is what this is about
    assert datetime.fromisoformat(instant(local, 0.0)) == local.astimezone(UTC)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_or_left(header: str | None, wait_s: float | None) -> None:
    assert wait_asked(header, now_s=100.0) == wait_s


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (202, Fate.DONE),
        (200, Fate.AGAIN),  # no Kedge answers so: a proxy's login page
        (302, Fate.AGAIN),
        (400, Fate.HOPELESS),
        (401, Fate.AGAIN),
        (404, Fate.AGAIN),
        (413, Fate.SPLIT),
        (422, Fate.HOPELESS),
        (429, Fate.AGAIN),
        (503, Fate.AGAIN),
    ],
)
def test_every_status_has_its_fate(status: int, fate: Fate) -> None:
    assert read_answer(status, None, b"<html>", 0.0).fate is fate


class Refusing(Sender):
    """Always says to come again."""

    def __init__(self, wait_s: float | None) -> None:
        super().__init__("http://127.0.0.1:1", model="m", token=None, timeout_s=1.0)
        self.wait_s = wait_s

    def post(self, kind: str, body: bytes, now_s: float) -> Answer:
        return Answer(Fate.AGAIN, wait_s=self.wait_s)


def waits(asked_s: float | None, failures: int) -> list[float]:
    """How long a worker would wait after each of its failures."""
    queue = Queue(most_rows=1, most_bytes=1, drop_oldest=False)
    worker = Worker(
        queue, Refusing(asked_s), batch_rows=1, every_s=1.0, backoff_s=(0.5, 60.0), spill=None
    )
    found = []
    for _ in range(failures):
        before_s = time.monotonic()
        worker._post("events", b"")
        found.append(worker._not_before_s - before_s)
    return found


def test_waits_double_within_bounds_and_are_spread() -> None:
    for failures, wait_s in enumerate(waits(None, 12)):
        whole = min(60.0, 0.5 * 2.0**failures)
        assert whole / 2 <= wait_s <= whole + 1.0
    assert len({round(first, 6) for first in (waits(None, 1)[0] for _ in range(5))}) > 1


def test_what_the_daemon_asks_for_is_waited_and_bounded() -> None:
    assert 40.0 <= waits(40.0, 1)[0] < 45.0
    assert LONGEST_ASKED_S <= waits(1e9, 1)[0] < LONGEST_ASKED_S + 5.0


def test_two_processes_share_a_folder_without_taking_each_others_files(tmp_path: Path) -> None:
    mine, other = Spill(tmp_path, 1_000), Spill(tmp_path, 1_000)
    mine.put("labels", 3, b"abc")
    assert (mine.rows, other.rows) == (3, 0)
    mine.close()
    heir = Spill(tmp_path, 1_000)
    file = heir.oldest()
    assert file is not None
    assert (file.kind, file.rows, file.path.read_bytes()) == ("labels", 3, b"abc")
    heir.done(file)
    heir.close()
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_it_needs_nothing_but_python() -> None:
    """Neither declared nor imported."""
    project = tomllib.loads((ROOT / "client/pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dependencies"] == []
    for file in (ROOT / "client/kedge_client").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.partition(".")[0] in {*sys.stdlib_module_names, "kedge_client"}, file


def test_versions_agree() -> None:
    import kedge_client

    project = tomllib.loads((ROOT / "client/pyproject.toml").read_text(encoding="utf-8"))
    daemon = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert kedge_client.__version__ == project["project"]["version"]
    assert project["project"]["version"] == daemon["project"]["version"]
