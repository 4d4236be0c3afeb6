"""Deterministic checks on the cells of a tick: missing, retyped, all null, constant, cardinality.

Each is a run of rows without a counterexample, so memory is a few counters a column. A run must
be 50 rows long, and twice as long as the longest one the reference itself has (`learn_runs`):
the rows of a tick share their hour and their weather, so chance alone makes long runs. A check
speaks once per column, and again only after the column has been healthy for a day of event time,
or 14 days for the checks that file tickets: what hovers about their limits is no news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detectors.alignment.embedded import OFF_PLANE, SHOWN, TOWARDS_CLASS
from detectors.cells import NULL, OTHER, UNSEEN, CategoricalCells, Cells
from detectors.records import DAY_US, Finding, FloatArray, Tier, to_datetime
from detectors.schema.check import ALL_NULL, CARDINALITY, CONSTANT, MISSING, RETYPED, TIERS
from detectors.schema.pairs import CERTAIN
from detectors.schema.stretches import COMMON
from detectors.summary import Profile, TickSummary

MIN_ROWS = 50
USUAL_RUNS = 2
REARM_US = DAY_US
SLOW_REARM_US = 14 * DAY_US
CARDINALITY_RATIO = 3.0
CARDINALITY_LEAST = 6.0

Memory = Mapping[str, Any]
"""By column what `_Runs` holds, as JSON can hold it; {} to start with."""


@dataclass(frozen=True, slots=True)
class _Runs:
    """What has been so since when: rows and the first instant of each run that still lasts.

    `cell` is the only cell met by `cell_rows` filled rows. `cells` are those met by the last
    `filled` ones. `fired` maps a check that has spoken to the instant since which the column has
    been healthy again, None while it is not.
    """

    rows: dict[str, int] = field(default_factory=dict)
    since_us: dict[str, int] = field(default_factory=dict)
    cell: int = -1
    cells: list[int] = field(default_factory=list)
    filled: int = 0
    filled_since_us: int = 0
    fired: dict[str, int | None] = field(default_factory=dict)
    usual: dict[str, int] = field(default_factory=dict)
    usual_kinds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a check says of a column in this tick: still unhealthy, and certain enough to speak.

    `kinds` is how many kinds of value were met over how many independent rows would meet.
    """

    unhealthy: bool
    certain: bool = False
    detail: str = ""
    onset_us: int = 0
    kinds: float | None = None


def learn_runs(profile: Profile, summaries: Iterable[TickSummary]) -> Memory:
    """The memory to start live ticks with: what runs the reference's own ticks have."""
    learnt: dict[str, Any] = {}
    for summary in summaries:
        if not summary.rows:
            continue
        for name in profile.columns:
            if _unchecked(profile, name) or name not in summary.columns:
                continue
            runs = _Runs(**learnt[name]) if name in learnt else _Runs()
            runs, verdicts = _judge(profile, name, summary, runs)
            usual = dict(runs.usual)
            for check, rows in runs.rows.items():
                usual[check] = max(usual.get(check, 0), rows)
            kinds = verdicts[CARDINALITY].kinds if CARDINALITY in verdicts else None
            seen = [*runs.usual_kinds, *([] if kinds is None else [kinds])]
            extremes = [min(seen), max(seen)] if seen else []
            learnt[name] = _packed(replace(runs, usual=usual, usual_kinds=extremes))
    return {
        name: _packed(_Runs(usual=runs["usual"], usual_kinds=runs["usual_kinds"]))
        for name, runs in learnt.items()
    }


def with_usual(memory: Memory, learnt: Memory) -> Memory:
    """A memory that goes on with what `learn_runs` has since learnt of usual runs."""
    usual = {name: {k: runs[k] for k in ("usual", "usual_kinds")} for name, runs in learnt.items()}
    return {
        **learnt,
        **{name: {**runs, **usual.get(name, {})} for name, runs in memory.items()},
    }


def tick_checks(
    profile: Profile, summary: TickSummary, memory: Memory
) -> tuple[Memory, tuple[Finding, ...]]:
    """Take in one tick; returns the next memory and what is to be said now.

    A tick without rows changes nothing. Findings have kind "schema" and the tier of their check:
    missing, retyped and all-null columns page, constant ones and jumps of cardinality file tickets.
    """
    if not summary.rows:
        return memory, ()
    following: dict[str, Any] = {}
    findings: list[Finding] = []
    for name in profile.columns:
        runs = _Runs(**memory[name]) if name in memory else _Runs()
        if _unchecked(profile, name) or name not in summary.columns:
            continue
        runs, verdicts = _judge(profile, name, summary, runs)
        fired = dict(runs.fired)
        for check, verdict in verdicts.items():
            if verdict.certain and check not in fired:
                findings.append(_finding(name, check, verdict, summary.end_us))
                fired[check] = None
            elif check in fired:
                fired = _rearmed(fired, check, verdict, summary)
        following[name] = _packed(replace(runs, fired=fired))
    return following, tuple(findings)


def _packed(runs: _Runs) -> dict[str, Any]:
    """The fields by name; nothing is copied, because nothing is ever changed in place."""
    return {name: getattr(runs, name) for name in _Runs.__dataclass_fields__}


def _judge(
    profile: Profile, name: str, summary: TickSummary, runs: _Runs
) -> tuple[_Runs, dict[str, _Verdict]]:
    counts, before = summary.columns[name][0], profile.counts[name][0]
    mass, total = float(counts.sum() - counts[NULL]), float(counts.sum())
    filled = round(summary.rows * mass / total) if total > 0 else 0
    filled = max(filled, 1) if mass > 0 else 0
    gone = name in summary.missing and name not in summary.retyped
    runs = _run(runs, MISSING, gone, summary.rows, summary)
    runs = _run(runs, RETYPED, name in summary.retyped, summary.rows, summary)
    runs = _run(runs, ALL_NULL, not filled, summary.rows, summary)
    met = [int(cell) for cell in np.flatnonzero(counts) if cell != NULL]
    if filled:
        runs = _one_cell(runs, met, filled, summary)
        runs = _met_cells(runs, met, filled, summary)
    verdicts = {
        MISSING: _long_run(runs, MISSING, "is missing from every row", 0.0),
        RETYPED: _long_run(runs, RETYPED, "holds another kind of value than the reference", 0.0),
        ALL_NULL: _all_null(runs, before),
        CONSTANT: _constant(runs, profile, name, before),
    }
    if runs.filled >= MIN_ROWS:
        if not any(_is_wide(profile.columns[name], cell) for cell in runs.cells):
            verdicts[CARDINALITY] = _cardinality(runs, before)
        runs = replace(runs, cells=[], filled=0)
    return runs, verdicts


def _run(runs: _Runs, check: str, lasts: bool, rows: int, summary: TickSummary) -> _Runs:
    """The run of `check` made longer, or broken off."""
    counted, since = dict(runs.rows), dict(runs.since_us)
    if lasts:
        counted[check] = counted.get(check, 0) + rows
        since.setdefault(check, summary.start_us)
    else:
        counted.pop(check, None)
        since.pop(check, None)
    return replace(runs, rows=counted, since_us=since)


def _one_cell(runs: _Runs, met: list[int], filled: int, summary: TickSummary) -> _Runs:
    """The run of filled rows in one single cell; rows that are null neither break nor extend it."""
    single = len(met) == 1
    if single and met[0] != runs.cell:
        runs = _run(runs, CONSTANT, False, 0, summary)
    runs = _run(runs, CONSTANT, single, filled, summary)
    return replace(runs, cell=met[0] if single else -1)


def _met_cells(runs: _Runs, met: list[int], filled: int, summary: TickSummary) -> _Runs:
    return replace(
        runs,
        cells=sorted({*runs.cells, *met}),
        filled=runs.filled + filled,
        filled_since_us=runs.filled_since_us if runs.filled else summary.start_us,
    )


def _long_run(runs: _Runs, check: str, words: str, usual: float) -> _Verdict:
    """Certain once the run has 50 rows and chance (`usual` per row) could not have made it."""
    rows = runs.rows.get(check, 0)
    if not rows:
        return _Verdict(unhealthy=False)
    longest = USUAL_RUNS * runs.usual.get(check, 0)
    return _Verdict(
        unhealthy=True,
        certain=rows >= max(MIN_ROWS, longest) and usual**rows <= CERTAIN,
        detail=f"{words}, {rows:,} rows in a row",
        onset_us=runs.since_us[check],
    )


def _all_null(runs: _Runs, before: FloatArray) -> _Verdict:
    if MISSING in runs.rows or RETYPED in runs.rows:
        return _Verdict(unhealthy=False)
    usual = float(before[NULL] / before.sum())
    if usual >= COMMON:
        return _Verdict(unhealthy=False)
    return _long_run(runs, ALL_NULL, f"is null ({100 * usual:.3g} % in the reference)", usual)


def _constant(runs: _Runs, profile: Profile, name: str, before: FloatArray) -> _Verdict:
    if runs.cell < 0 or _is_wide(profile.columns[name], runs.cell):
        return _Verdict(unhealthy=False)
    usual = float(before[runs.cell] / (before.sum() - before[NULL]))
    where = profile.columns[name].labels()[runs.cell][:60]
    return _long_run(runs, CONSTANT, f"holds one value, {where}", usual)


def _is_wide(cells: Cells, cell: int) -> bool:
    """Whether a cell may hold many values: the open ends of numbers, unseen and other words."""
    if isinstance(cells, CategoricalCells):
        return cell in (UNSEEN, OTHER)
    return cell in (1 + len(cells.spikes), cells.size - 1)


def _cardinality(runs: _Runs, before: FloatArray) -> _Verdict:
    """Cells met by the last rows against those that as many rows of the reference would meet."""
    expected = _kinds_expected(before, runs.filled)
    seen = len(runs.cells)
    least, most = runs.usual_kinds or [1.0, 1.0]
    ratio = seen / expected
    fewer = ratio <= min(1.0, least) / CARDINALITY_RATIO and expected >= CARDINALITY_LEAST
    unhealthy = (fewer and seen > 1) or ratio >= max(1.0, most) * CARDINALITY_RATIO
    return _Verdict(
        unhealthy=unhealthy,
        certain=unhealthy,
        detail=f"takes {seen} kinds of value in {runs.filled:,} rows; {expected:.0f} are usual",
        onset_us=runs.filled_since_us,
        kinds=ratio,
    )


def _kinds_expected(before: FloatArray, filled: int) -> float:
    """Kinds of value that many independent rows of the reference would meet."""
    shares = before.copy()
    shares[NULL] = 0.0
    shares /= shares.sum()
    return float(np.sum(1.0 - (1.0 - shares) ** filled))


def _rearmed(
    fired: dict[str, int | None], check: str, verdict: _Verdict, summary: TickSummary
) -> dict[str, int | None]:
    """Forget that a check has spoken once its column has been healthy for long enough."""
    if verdict.unhealthy:
        return {**fired, check: None}
    since = fired[check]
    since = summary.start_us if since is None else since
    if summary.end_us - since < (REARM_US if TIERS[check] is Tier.PAGE else SLOW_REARM_US):
        return {**fired, check: since}
    return {other: at for other, at in fired.items() if other != check}


def _unchecked(profile: Profile, name: str) -> bool:
    """What never had a value; of an embedding one number a row is enough to see that it is gone."""
    second = name == TOWARDS_CLASS and OFF_PLANE in profile.columns
    return second or _always_null(profile, name)


def _always_null(profile: Profile, name: str) -> bool:
    counts = profile.counts[name][0]
    return float(counts.sum() - counts[NULL]) <= 0.0


def _finding(name: str, check: str, verdict: _Verdict, end_us: int) -> Finding:
    shown = SHOWN.get(name, name)
    return Finding(
        kind="schema",
        ts=to_datetime(end_us),
        onset=to_datetime(verdict.onset_us),
        stream=f"schema.{check}:{shown}",
        tier=TIERS[check],
        column=shown,
        detail=f"`{shown}` {verdict.detail}",
    )
