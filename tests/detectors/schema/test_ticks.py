"""Deterministic checks in a stream: once, at the right time, and armed again after a day."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from detectors.profile import fit_profile
from detectors.records import HOUR_US, Finding, Tier, Window, to_us
from detectors.schema.ticks import Memory, tick_checks
from detectors.summary import TickSummary, summarise
from tests.detectors.schema.tables import SCHEMA, table, with_foods, with_numbers

PROFILE = fit_profile(table(1, 6000), SCHEMA)


def run(windows: Iterable[Window]) -> list[Finding]:
    """One window an hour; memory goes through JSON between any two."""
    memory: Memory = {}
    said: list[Finding] = []
    for hour, window in enumerate(windows):
        start, end = hour * HOUR_US, (hour + 1) * HOUR_US
        summary = summarise(window, PROFILE, start_us=start, end_us=end)
        memory, findings = tick_checks(PROFILE, summary, json.loads(json.dumps(memory)))
        said.extend(findings)
    return said


def healthy(hours: int, rows: int = 30, seed: int = 100) -> list[Window]:
    return [table(seed + hour, rows) for hour in range(hours)]


def gone(window: Window) -> Window:
    return Window(
        rows=window.rows,
        numeric={"visits": window.numeric["visits"]},
        categorical=dict(window.categorical),
    )


def emptied(window: Window) -> Window:
    return with_numbers(window, "price", np.full(window.rows, np.nan))


def fixed(window: Window) -> Window:
    return with_numbers(window, "visits", np.full(window.rows, 2.0))


def one_food(window: Window) -> Window:
    return with_foods(window, dict.fromkeys(window.categorical["food"].values, "Bread"))


def retyped(window: Window) -> Window:
    return Window(
        rows=window.rows,
        numeric={"visits": window.numeric["visits"]},
        categorical={**window.categorical, "price": window.categorical["food"]},
    )


@pytest.mark.parametrize(
    ("broken", "column", "check", "tier"),
    [
        (gone, "price", "missing", Tier.PAGE),
        (retyped, "price", "retyped", Tier.PAGE),
        (emptied, "price", "all_null", Tier.PAGE),
        (fixed, "visits", "constant", Tier.TICKET),
        (one_food, "food", "constant", Tier.TICKET),
    ],
)
def test_a_fault_speaks_once_after_fifty_rows_and_knows_when_it_began(
    broken: Callable[[Window], Window], column: str, check: str, tier: Tier
) -> None:
    said = run([*healthy(10), *(broken(window) for window in healthy(30, seed=200))])
    (finding,) = said
    assert (finding.kind, finding.column, finding.tier) == ("schema", column, tier)
    assert finding.stream == f"schema.{check}:{column}"
    assert to_us(finding.onset) == 10 * HOUR_US
    assert to_us(finding.ts) == 12 * HOUR_US  # 30 rows an hour: the second hour passes fifty


def test_it_speaks_again_only_after_a_healthy_day() -> None:
    bad = [emptied(window) for window in healthy(3, seed=300)]
    short = run([*bad, *healthy(20), *bad])
    long = run([*bad, *healthy(25), *bad])
    assert (len(short), len(long)) == (1, 2)


def test_healthy_streams_of_few_rows_say_nothing_in_a_month() -> None:
    assert run(healthy(720, rows=4)) == []


def test_ticks_without_rows_change_nothing() -> None:
    memory, _ = tick_checks(
        PROFILE, summarise(table(2, 30), PROFILE, start_us=0, end_us=HOUR_US), {}
    )
    after, said = tick_checks(PROFILE, TickSummary("", HOUR_US, 2 * HOUR_US), memory)
    assert (after, said) == (memory, ())


def test_values_beyond_all_edges_are_not_called_constant() -> None:
    """A unit change puts all values into the one open cell, where they may well differ."""
    moved = [with_numbers(window, "price", window.numeric["price"] * 1e6) for window in healthy(20)]
    assert {finding.stream for finding in run(moved)} <= {"schema.cardinality:price"}


def test_three_times_as_many_kinds_of_value_file_a_ticket() -> None:
    """A whole-number column with few cells fills with what lies between them."""
    reference = with_numbers(table(1, 6000), "visits", np.arange(6000) % 2 * np.float64(10))
    profile = fit_profile(reference, SCHEMA)
    window = with_numbers(table(2, 200), "visits", np.linspace(-50, 50, 200))
    summary = summarise(window, profile, start_us=0, end_us=HOUR_US)
    _, said = tick_checks(profile, summary, {})
    occupied = int(np.count_nonzero(summary.columns["visits"][0]))
    assert [finding.stream for finding in said] == (
        ["schema.cardinality:visits"] if occupied >= 6 else []
    )


def test_memory_stays_small() -> None:
    memory: Memory = {}
    for hour, window in enumerate(healthy(50, rows=40)):
        summary = summarise(window, PROFILE, start_us=hour * HOUR_US, end_us=(hour + 1) * HOUR_US)
        memory, _ = tick_checks(PROFILE, summary, memory)
    assert len(json.dumps(memory)) < 4000
