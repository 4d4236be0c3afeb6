"""How each stream of a deployment is followed now, why, and which of them stand out.

The evidence of a stream, over the stake it has had, is an e-value: under "nothing changed" it
averages at most one, whoever looks and however often. So which streams stand out is told by e-BH
over all of them, and stays true when people look again; a p-value a column would not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.evidence.bank import Bank
from detectors.evidence.budget import pace_of
from detectors.multiple import e_benjamini_hochberg
from detectors.newcomers import SHARE
from detectors.records import HOUR_US, FloatArray, Maturity, Tier, to_datetime
from monitor.durations import duration_words
from monitor.reports.forms import finite, iso
from monitor.watching.forecast_watch import found_specs
from monitor.watching.named import run_lengths
from monitor.watching.progress import Progress, TickClock

FALSE_DISCOVERY = 0.05
MOST_NAMED = 20
NAMED = "named"
HOW = {
    "tick": "by ticks",
    "sparse": "sparse",
    "row": "row by row",
    "cluster": "cluster by cluster",
    NAMED: "by a named detector",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Followed:
    """A clock whose streams are told: of a newcomer with when it joined and what it may stake.

    `most` (K,) is the most weight that each stream can have had so far.
    """

    name: str
    clock: TickClock
    most: FloatArray
    since_us: int | None = None


def followed_streams(progress: Progress) -> list[dict[str, Any]]:
    """Every stream with its tick, mode and promise; named detectors last, with their run length.

    `weight` is what of its tier's budget it may bet now; `since` when it joined, if it did.
    """
    lines: list[dict[str, Any]] = []
    logs: list[FloatArray] = []
    for one in _followed(progress):
        bank, hours = one.clock.bank, _hours(progress, one.clock)
        wealth = bank.wealth
        logs.append(log_e_values(bank, hours, one.most))
        for k, spec in enumerate(bank.specs):
            threshold = float(bank.plan.threshold[k])
            lines.append(
                {
                    "stream": spec.stream.id,
                    "tier": spec.stream.tier.value,
                    "clock": one.name,
                    "tick": _tick_of(one.clock),
                    "followed": bank.counted.following[k].value,
                    "why": bank.counted.why[k],
                    "promise": promise_of(bank, spec.stream.tier),
                    "since": None if one.since_us is None else iso(to_datetime(one.since_us)),
                    "weight": float(bank.plan.weight[k]),
                    "smallest_effect": spec.delta_min,
                    "evidence": finite(float(wealth[k]) / threshold) if threshold > 0 else None,
                    "run_length": None,
                }
            )
    by_cluster = list(_forecast_lines(progress))
    lines += [line for line, _ in by_cluster]
    logs.append(np.array([log for _, log in by_cluster]))
    kept = e_benjamini_hochberg(np.concatenate(logs), FALSE_DISCOVERY)
    for line, stands_out in zip(lines, kept, strict=True):
        line["stands_out"] = bool(stands_out)
    return [*lines, *_named(progress)]


def promise_of(bank: Bank, tier: Tier) -> str:
    """How far the promise of a tier has come, in a word or two."""
    doubt = bank.why_not_tickets if tier is Tier.TICKET else bank.why_not
    grown = bank.maturity is Maturity.GUARANTEED
    return "not promised" if grown and doubt else bank.maturity.value


def log_e_values(bank: Bank, hours: float, most: FloatArray | None = None) -> FloatArray:
    """Log of wealth over the most a stream can have been staked in so many hours, (K,).

    `most` (K,) is the most weight it can have had, else what it has now. NaN for a stream without
    weight, or before anything was bet.
    """
    staked = (bank.plan.weight if most is None else most) * hours
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


def _followed(progress: Progress) -> Iterator[_Followed]:
    clocks: list[tuple[str, TickClock]] = [
        ("feature", progress.feature),
        ("label", progress.label),
    ]
    if progress.label_watch is not None:
        clocks.append(("label", progress.label_watch.clock))
    if progress.volume_watch is not None:
        clocks.append(("feature", progress.volume_watch.clock))
    clocks += [(days.name, clock) for days in progress.days for clock in days.clocks]
    for name, clock in clocks:
        yield _Followed(name, clock, np.array([spec.weight for spec in clock.bank.specs]))
    for one in [] if progress.newcomers is None else progress.newcomers.joined:
        own = sum(spec.weight for clock in one.clocks.values() for spec in clock.bank.specs)
        for name, clock in one.clocks.items():
            weights = np.array([spec.weight for spec in clock.bank.specs])
            most = SHARE * weights / own if own else weights
            yield _Followed(name, clock, most, one.since_us)


def _forecast_lines(progress: Progress) -> Iterator[tuple[dict[str, Any], float]]:
    """The streams of evidence by cluster, each with the log of its e-value.

    That of a slice which a search found is not compared: its stake has varied with the others'.
    """
    watch, label = progress.forecast_watch, progress.label
    if watch is None:
        return
    threshold = label.bank.budget.threshold_hours(Tier.PAGE)
    logs = np.logaddexp.reduce(watch.forecasts.wealth, axis=1)
    hours = _hours(progress, label)
    for at, spec in enumerate((*watch.specs, *found_specs(watch))):
        if spec is None:
            continue
        slot = watch.slots[at - len(watch.specs)] if at >= len(watch.specs) else None
        unit = "cluster" if watch.clusters else "row"
        line = {
            "stream": spec.stream.id,
            "tier": spec.stream.tier.value,
            "clock": "label",
            "tick": duration_words(watch.tick_us),
            "followed": unit,
            "why": f"each {unit} is judged by what its outcomes were likely to be",
            "promise": label.bank.maturity.value,
            "since": None if slot is None else iso(to_datetime(slot.born_us)),
            "weight": spec.weight,
            "smallest_effect": spec.delta_min,
            # Its last digits depend on how rows lie in memory, which two runs need not share.
            "evidence": finite(float(f"{np.exp(logs[at]) / threshold:.6g}")),
            "run_length": None,
        }
        staked = spec.weight * hours
        yield line, float(logs[at] - np.log(staked)) if slot is None and staked > 0.0 else np.nan


def _tick_of(clock: TickClock) -> str:
    return "rows" if clock.bank.row_ticks else duration_words(clock.tick_us)


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
            "tick": _tick_of(progress.label if one["signal"] == "loss" else progress.feature),
            "followed": NAMED,
            "why": one["words"],
            "promise": "by its run length",
            "since": None,
            "weight": None,
            "smallest_effect": None,
            "evidence": None,
            "run_length": one["run_length"],
            "stands_out": False,
        }
        for one in run_lengths(progress.named)
    ]
