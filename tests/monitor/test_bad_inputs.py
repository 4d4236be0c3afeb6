"""Tables that break monitors: each ends in a state and words, never in NaN, a crash or a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import DAY_US, Settings
from monitor.errors import InputError
from monitor.files.comparison import compare_tables
from monitor.files.roles import Roles
from monitor.files.tables import Table, to_table
from monitor.replaying.replay import replay, to_json
from tests.end_to_end.histories import START_US

Columns = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings(tick_us=DAY_US, label_delay_us=0)


def rows(days: int, a_day: int, seed: int, first_day: int = 0) -> Columns:
    """A calibrated model of one number and one word, on rows at even chance over the days."""
    rng = np.random.default_rng(seed)
    count = days * a_day
    x = rng.normal(size=count)
    score = 1 / (1 + np.exp(1 - x))
    return {
        "ts": START_US + first_day * DAY_US + np.sort(rng.integers(0, days * DAY_US, count)),
        "x": x,
        "plan": rng.choice(["a", "b", "c"], count),
        "score": score,
        "label": (rng.random(count) < score).astype(float),
    }


def taken(columns: Columns, keep: Any) -> Columns:
    return {name: values[keep] for name, values in columns.items()}


def table(columns: Mapping[str, Any], like: Table | None = None) -> Table:
    ts = pa.array(columns["ts"], pa.timestamp("us", tz="UTC"))
    weight = "weight" if "weight" in columns else None
    roles = Roles(timestamp="ts", score="score", label="label", weight=weight)
    return to_table(pa.table({**columns, "ts": ts}), roles, like=like)


def usual() -> tuple[Columns, Columns]:
    return rows(30, 30, 1), rows(14, 30, 2, first_day=30)


def empty_ticks() -> tuple[Columns, Columns]:
    past, live = usual()
    return past, taken(live, (live["ts"] - START_US) // DAY_US % 3 != 1)


def one_row_ticks() -> tuple[Columns, Columns]:
    return rows(30, 30, 1), rows(20, 1, 2, first_day=30)


def clock_gap() -> tuple[Columns, Columns]:
    past, live = usual()
    late = np.arange(len(live["ts"])) > 200
    return past, live | {"ts": live["ts"] + np.where(late, 90 * DAY_US, 0)}


def column_turns_constant() -> tuple[Columns, Columns]:
    past, live = usual()
    return past, live | {"x": np.where(np.arange(len(live["x"])) > 100, 1.5, live["x"])}


def all_new_categories() -> tuple[Columns, Columns]:
    past, live = usual()
    return past, live | {"plan": np.char.add("new", live["plan"])}


def constant_everything() -> tuple[Columns, Columns]:
    past, live = (
        one | {"x": one["x"] * 0 + 3, "score": one["x"] * 0 + 0.32, "plan": one["plan"] == ""}
        for one in usual()
    )
    return past | {"plan": past["plan"].astype(str)}, live | {"plan": live["plan"].astype(str)}


def certain_scores() -> tuple[Columns, Columns]:
    past, live = (one | {"score": (one["x"] > 1).astype(float)} for one in usual())
    return past, live


def ten_thousand_categories() -> tuple[Columns, Columns]:
    past, live = rows(30, 200, 1), rows(10, 200, 2, first_day=30)
    rng = np.random.default_rng(3)
    for one in (past, live):
        one["plan"] = rng.integers(0, 10_000, len(one["x"])).astype(str)
    return past, live


def reference_of_twenty_rows() -> tuple[Columns, Columns]:
    return rows(20, 1, 1), rows(20, 30, 2, first_day=30)


NOTHING_CHANGED: list[Callable[[], tuple[Columns, Columns]]] = [
    empty_ticks,
    one_row_ticks,
    clock_gap,
    ten_thousand_categories,
    reference_of_twenty_rows,
]
CERTAIN: list[Callable[[], tuple[Columns, Columns]]] = [constant_everything, certain_scores]
"""Scores that cannot be calibrated: a report may say so, and replay must stay silent."""
CHANGED: list[Callable[[], tuple[Columns, Columns]]] = [column_turns_constant, all_new_categories]


@pytest.mark.parametrize(
    "make", [*NOTHING_CHANGED, *CERTAIN, *CHANGED], ids=lambda make: make.__name__
)
def test_it_is_told_in_a_state_and_words_and_wakes_nobody(
    make: Callable[[], tuple[Columns, Columns]],
) -> None:
    past, live = make()
    reference = table(past)
    log = table(live, like=reference)

    report = compare_tables(reference, log, SETTINGS, model="m", now=NOW).to_json()
    json.dumps(report, allow_nan=False)
    assert report["headline"]
    assert report["state"] in {"ok", "watch", "undetermined", "drift"}

    replayed = to_json(replay(reference, log, SETTINGS, model="m"))
    json.dumps(replayed, allow_nan=False)
    assert all(one["words"] for one in replayed["transfer"].values())
    tiers = [incident["tier"] for incident in replayed["incidents"]]
    assert "page" not in tiers
    if make in CHANGED:
        assert tiers == ["ticket"]
        assert report["state"] == "drift"
    else:
        assert len(tiers) <= 1, "ten tickets in 30 days may be chance"
        assert report["state"] != "drift" or make in CERTAIN


@pytest.mark.parametrize("some", [False, True])
def test_weights_of_zero_are_refused_in_one_line(some: bool) -> None:
    past, _ = usual()
    weight = np.zeros(len(past["x"]))
    weight[: len(weight) // 2] = float(some)
    with pytest.raises(InputError, match="above 0 and finite in every row"):
        table(past | {"weight": weight})
