"""Seeded streams with a season, correlated noise, late labels, a baseline and faults.

Logits follow a daily and a weekly season and an AR(1) level; the transferred score knows the
logit, the baseline sees it through noise, labels are drawn from it. Nothing else moves unless a
fault is asked for, so alarms on a faultless history are false ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from detectors.records import DAY_US, HOUR_US, FloatArray, IntArray
from monitor.files.roles import Roles, infer_roles
from monitor.files.tables import Table, to_table

START_US = 20_000 * DAY_US
"""A Thursday in 2024, midnight UTC."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One domain. `season` and `noise` are sizes in log odds, `memory` the AR(1) φ of a day.

    `harm` worsens the transferred score by this many log odds of noise; below 0 the baseline.
    """

    domain: str = "shop"
    rows_a_day: int = 100
    season: float = 0.3
    noise: float = 0.05
    memory: float = 0.5
    label_delay_us: int = DAY_US
    harm: float = -0.7


FAULTS = ("none", "zero_fill", "null", "unit", "swap", "label_rule", "concept", "missing")


def rows(
    stream: Stream,
    *,
    days: int,
    seed: int,
    first_day: int = 0,
    fault: str = "none",
    fault_day: int | None = None,
) -> pa.Table:
    """`days` of a stream from `first_day` on, sorted by time; the fault holds from `fault_day`."""
    assert fault in FAULTS
    rng = np.random.default_rng([seed, first_day])
    count = days * stream.rows_a_day
    ts_us = START_US + first_day * DAY_US + np.sort(rng.integers(0, days * DAY_US, count))
    day = (ts_us - START_US) // DAY_US
    faulty = np.zeros(count, np.bool_) if fault_day is None else day >= fault_day
    age, spend = rng.normal(40, 10, count), rng.gamma(3.0, 10.0, count)
    plan = rng.choice(["free", "pro", "team"], count, p=[0.5, 0.3, 0.2])
    level = _level(rng, days, stream)[day - first_day] + _season(ts_us, stream)
    own = -0.5 + 0.06 * (age - 40) + 0.04 * (spend - 30) + np.where(plan == "pro", 0.8, 0.0)
    logit = own + level
    truth = logit.copy()
    if fault == "concept":
        truth = np.where(faulty & (plan == "pro"), -logit, truth)
    label = (rng.random(count) < _sigmoid(truth)).astype(np.int8)
    if fault == "label_rule":
        label = np.where(faulty & (rng.random(count) < 0.5), 1, label).astype(np.int8)
    seen_spend, seen_plan = spend.copy(), plan.copy()
    if fault == "zero_fill":
        seen_spend[faulty] = 0.0
    elif fault == "null":
        seen_spend[faulty] = np.nan
    elif fault == "unit":
        seen_spend[faulty] *= 1000.0
    elif fault == "swap":
        swapped = {"free": "pro", "pro": "free", "team": "team"}
        seen_plan = np.where(faulty, [swapped[value] for value in plan], plan)
    served = -0.5 + 0.06 * (age - 40) + np.where(seen_plan == "pro", 0.8, 0.0) + level
    served += 0.04 * (np.clip(np.nan_to_num(seen_spend), 0.0, 200.0) - 30)
    worse, better = max(stream.harm, 0.0), max(-stream.harm, 0.0)
    delay = rng.integers(HOUR_US, max(stream.label_delay_us, HOUR_US + 1), count)
    table = pa.table(
        {
            "ts": pa.array(ts_us, pa.timestamp("us", tz="UTC")),
            "domain": [stream.domain] * count,
            "age": age,
            "spend": pa.array(seen_spend, from_pandas=True),
            "plan": seen_plan.tolist(),
            "score": _sigmoid(served + worse * rng.normal(size=count)),
            "baseline_score": _sigmoid(logit + better * rng.normal(size=count)),
            "label": label,
            "label_ts": pa.array(ts_us + delay, pa.timestamp("us", tz="UTC")),
        }
    )
    if fault == "missing" and fault_day is not None:
        return table.drop_columns(["spend"])
    return table


def history(
    *streams: Stream,
    days: int,
    seed: int,
    first_day: int = 0,
    fault: str = "none",
    fault_day: int | None = None,
) -> pa.Table:
    """Several domains in one file, in order of time; a fault strikes the first stream."""
    parts = [
        rows(
            stream,
            days=days,
            seed=seed + place,
            first_day=first_day,
            fault=fault if not place else "none",
            fault_day=fault_day if not place else None,
        )
        for place, stream in enumerate(streams)
    ]
    return pa.concat_tables(parts, promote_options="default").sort_by("ts")


def table(arrow: pa.Table, *, like: Table | None = None) -> Table:
    """A history with its roles taken from its column names; `like` is the reference."""
    roles, _ = infer_roles(Roles(), arrow.schema)
    return to_table(arrow, roles, like=like)


def _level(rng: np.random.Generator, days: int, stream: Stream) -> FloatArray:
    """An AR(1) of the days, stationary from the first."""
    steps = rng.normal(size=days)
    level = np.empty(days)
    level[0] = steps[0]
    for day in range(1, days):
        fresh = np.sqrt(1 - stream.memory**2)
        level[day] = stream.memory * level[day - 1] + fresh * steps[day]
    return stream.noise * level


def _season(ts_us: IntArray, stream: Stream) -> FloatArray:
    hour = 2 * np.pi * (ts_us % DAY_US) / DAY_US
    week = 2 * np.pi * (ts_us // DAY_US % 7) / 7
    wave: FloatArray = stream.season * (np.sin(hour) + 0.5 * np.sin(week))
    return wave


def _sigmoid(logit: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-logit))
