"""How each stream of a deployment is followed now, why, and which of them stand out.

The evidence of a stream, over the stake it has had, is an e-value: under "nothing changed" it
averages at most one, whoever looks and however often. So which streams stand out is told by e-BH
over all of them, and stays true when people look again; a p-value a column would not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors.evidence.bank import Bank
from detectors.evidence.budget import pace_of
from detectors.multiple import e_benjamini_hochberg
from detectors.records import HOUR_US, FloatArray
from monitor.reports.forms import finite
from monitor.watching.named import run_lengths
from monitor.watching.progress import Progress, TickClock

FALSE_DISCOVERY = 0.05
MOST_NAMED = 20
NAMED = "named"
HOW = {
    "tick": "by ticks",
    "sparse": "sparse",
    "row": "row by row",
    NAMED: "by a named detector",
}


def followed_streams(progress: Progress) -> list[dict[str, Any]]:
    """Every stream with its mode; named detectors last, with the run length they reached."""
    lines: list[dict[str, Any]] = []
    logs: list[FloatArray] = []
    for name, clock in _clocks(progress):
        wealth = clock.bank.wealth
        logs.append(log_e_values(clock.bank, _hours(progress, clock)))
        for k, spec in enumerate(clock.bank.specs):
            threshold = float(clock.bank.plan.threshold[k])
            lines.append(
                {
                    "stream": spec.stream.id,
                    "tier": spec.stream.tier.value,
                    "clock": name,
                    "followed": clock.bank.counted.following[k].value,
                    "why": clock.bank.counted.why[k],
                    "weight": spec.weight,
                    "smallest_effect": spec.delta_min,
                    "evidence": finite(float(wealth[k]) / threshold) if threshold > 0 else None,
                    "run_length": None,
                }
            )
    every = np.concatenate(logs) if logs else np.empty(0)
    kept = e_benjamini_hochberg(every, FALSE_DISCOVERY)
    for line, stands_out in zip(lines, kept, strict=True):
        line["stands_out"] = bool(stands_out)
    return [*lines, *_named(progress)]


def log_e_values(bank: Bank, hours: float) -> FloatArray:
    """Log of wealth over the most a stream can have been staked in so many hours, (K,).

    NaN for a stream without weight, or before anything was bet.
    """
    staked = bank.plan.weight * hours
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(bank.wealth) - np.log(staked)
    if not bank.live or bank.state is None:
        return np.full(len(bank.specs), np.nan)
    return np.where(staked > 0.0, logs, np.nan)


def streams_summary(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many streams are followed in each way, and those that stand out."""
    counts = Counter(line["followed"] for line in lines)
    out = [line["stream"] for line in lines if line["stands_out"]]
    return {
        "followed": dict(counts),
        "stand_out": out[:MOST_NAMED],
        "stand_out_count": len(out),
        "words": _words(counts, out),
    }


def _words(counts: Mapping[str, int], out: Sequence[str]) -> str:
    if not counts:
        return ""
    ways = [f"{counts[way]} {said}" for way, said in HOW.items() if counts.get(way)]
    told = f"{sum(counts.values())} streams followed: {', '.join(ways)}"
    if not out:
        return f"{told}; none stands out among them (e-BH at {FALSE_DISCOVERY:.0%})"
    more = f" and {len(out) - 3} more" if len(out) > 3 else ""
    return f"{told}; {', '.join(out[:3])}{more} stand out (e-BH at {FALSE_DISCOVERY:.0%})"


def _clocks(progress: Progress) -> list[tuple[str, TickClock]]:
    clocks: list[tuple[str, TickClock]] = [
        ("feature", progress.feature),
        ("label", progress.label),
    ]
    if progress.label_watch is not None:
        clocks.append(("label", progress.label_watch.clock))
    if progress.volume_watch is not None:
        clocks.append(("feature", progress.volume_watch.clock))
    clocks += [(days.name, clock) for days in progress.days for clock in days.clocks]
    return clocks


def _hours(progress: Progress, clock: TickClock) -> float:
    """The most event time a stream of this clock can have been staked for."""
    if progress.first_live_us is None or clock.bank.last_start_us is None:
        return 0.0
    span = clock.bank.last_start_us - progress.first_live_us + clock.tick_us
    return max(span, 0) / HOUR_US + pace_of(clock.bank.design).longest_hours


def _named(progress: Progress) -> list[dict[str, Any]]:
    return [
        {
            "stream": f"{one['signal']}.{one['method']}",
            "tier": "ticket",
            "clock": "label" if one["signal"] == "loss" else "feature",
            "followed": NAMED,
            "why": one["words"],
            "weight": None,
            "smallest_effect": None,
            "evidence": None,
            "run_length": one["run_length"],
            "stands_out": False,
        }
        for one in run_lengths(progress.named)
    ]
