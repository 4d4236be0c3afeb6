"""Label delays and the gap between estimated and realised loss, followed beside the evidence.

A bank of its own with at most two streams, both on the ticket tier, whose share of the ticket
budget comes on top of the evidence's. While delays have moved, alarms on labels page nobody: the
rows that have labels are not the usual ones, and people are told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from detectors.evidence.bank import advance, prime, start_bank
from detectors.maturity.facts import (
    DELAY,
    GAP,
    DelayRuler,
    LabelFacts,
    delay_statistic,
    fit_delay_ruler,
    gap_statistic,
    label_facts,
    label_watch_specs,
)
from detectors.records import (
    DAY_US,
    Finding,
    FloatArray,
    IntArray,
    StreamSpec,
    Tier,
    Window,
    to_datetime,
)
from detectors.sums import Sum
from monitor.watching.progress import TickClock, reference_level
from monitor.watching.watch import Watch, ticks_of

SHARE = 0.1
"""Of the ticket budget, for both streams together, on top of what the evidence may use."""
LABELLED = ("loss", "calibration", "transfer")


@dataclass(slots=True, eq=False)
class LabelWatch:
    """Where the two streams stand. `moved_us` is since when delays have been unusual, if so."""

    clock: TickClock
    ruler: DelayRuler | None
    facts: LabelFacts = field(default_factory=LabelFacts)
    moved_us: int | None = None

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return self.clock.bank.specs

    def extras(self) -> dict[str, Any]:
        """What is saved of it besides the clock, as JSON can hold it."""
        return {
            "ruler": None if self.ruler is None else asdict(self.ruler),
            "facts": asdict(self.facts),
            "moved_us": self.moved_us,
        }

    @classmethod
    def restored(cls, clock: TickClock, extras: dict[str, Any]) -> LabelWatch:
        """Read back what `extras` gave, with the clock it belongs to."""
        ruler, facts = extras["ruler"], extras["facts"]
        return cls(
            clock,
            None
            if ruler is None
            else DelayRuler(
                tuple(ruler["ages_us"]), tuple(ruler["shares"]), ruler["mean"], ruler["sd"]
            ),
            LabelFacts(**{**facts, "by_age": tuple(facts["by_age"])}),
            extras["moved_us"],
        )


def open_label_watch(watch: Watch, reference: Window | None, tick_us: int) -> LabelWatch | None:
    """Start on the reference's ticks of `tick_us`; None where no label is followed."""
    if not watch.label_specs or watch.settings.tick_rows is not None:
        return None
    ruler = fit_delay_ruler(watch.reference, label_delay_us=watch.label_delay_us)
    sums = watch.profile.slice_sums[""]
    judged = float(sums[Sum.JUDGED])
    specs = label_watch_specs(
        ruler,
        task=watch.schema.task,
        mean_loss=float(sums[Sum.LOSS]) / judged if judged > 0.0 else None,
        share=SHARE,
    )
    if not specs:
        return None
    bank = start_bank(
        specs,
        tick_us=tick_us,
        budget=watch.settings.budget,
        holidays=watch.settings.holidays,
    )
    starts, y, v = _reference_ticks(watch, reference, specs, ruler, tick_us)
    if len(starts):
        bank = prime(bank, starts, y, v)
    return LabelWatch(TickClock(bank=bank, tick_us=tick_us, level=reference_level(y, v)), ruler)


def watching(
    pieces: Iterator[Window], watch: Watch, label_watch: LabelWatch | None
) -> Iterator[Window]:
    """The same pieces, their label facts added to the tick in progress as they pass."""
    for piece in pieces:
        if label_watch is not None:
            curve = watch.profile.ruler.curve
            seen = label_facts(piece, label_watch.ruler, curve, watch.schema.task)
            label_watch.facts = label_watch.facts.plus(seen)
        yield piece


def step_label_watch(
    label_watch: LabelWatch | None, start_us: int, instant_us: int
) -> list[Finding]:
    """Close a tick: tickets where delays or the gap have changed."""
    if label_watch is None:
        return []
    clock = label_watch.clock
    y, v = _values(label_watch.facts, label_watch.specs, label_watch.ruler)
    label_watch.facts = LabelFacts()
    clock.bank, alarms = advance(clock.bank, start_us, y, v)
    clock.remember(start_us, y, v)
    found = []
    for alarm in alarms:
        spec = label_watch.specs[alarm.stream]
        seen = clock.since_onset(alarm.stream, alarm.onset_us)
        effect = alarm.effect if seen is None or seen * alarm.effect <= 0.0 else seen
        delays = spec.stream.id == DELAY
        if delays and effect < 0.0:
            continue  # delays nearer to the reference's than its own ticks are no change
        if delays:
            label_watch.moved_us = min(alarm.onset_us, instant_us)
        found.append(
            Finding(
                kind="drift",
                ts=to_datetime(instant_us),
                onset=to_datetime(min(alarm.onset_us, instant_us)),
                stream=spec.stream.id,
                tier=Tier.TICKET,
                evidence=alarm.evidence,
                effect=effect,
                detail=_delay_words(effect) if delays else _gap_words(effect),
            )
        )
    _recover(label_watch)
    return found


def without_pages(label_watch: LabelWatch | None, findings: Sequence[Finding]) -> list[Finding]:
    """Findings on labels as they are told: while delays have moved, pages become tickets."""
    if label_watch is None or label_watch.moved_us is None:
        return list(findings)
    since = f"{to_datetime(label_watch.moved_us):%-d %b %H:%M}"
    why = f"not paged: label delays have moved since {since}, so these are not the usual rows"
    return [
        replace(finding, tier=Tier.TICKET, detail=f"{finding.detail} ({why})")
        if finding.tier is Tier.PAGE and finding.stream.startswith(LABELLED)
        else finding
        for finding in findings
    ]


def _recover(label_watch: LabelWatch) -> None:
    """Delays count as usual again when their last three days lie inside the margin."""
    if label_watch.moved_us is None:
        return
    places = [at for at, spec in enumerate(label_watch.specs) if spec.stream.id == DELAY]
    seen = label_watch.clock.recent_effect(places[0]) if places else None
    if seen is not None and seen[0] <= label_watch.specs[places[0]].delta_min:
        label_watch.moved_us = None


def _values(
    facts: LabelFacts, specs: Sequence[StreamSpec], ruler: DelayRuler | None
) -> tuple[FloatArray, FloatArray]:
    y, v = np.zeros(len(specs)), np.full(len(specs), np.inf)
    for at, spec in enumerate(specs):
        if spec.stream.id == DELAY:
            assert ruler is not None
            y[at], v[at] = delay_statistic(facts, ruler)
        elif spec.stream.id == GAP:
            y[at], v[at] = gap_statistic(facts)
    return y, v


def _reference_ticks(
    watch: Watch,
    reference: Window | None,
    specs: Sequence[StreamSpec],
    ruler: DelayRuler | None,
    tick_us: int,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Starts (T,), y and v (T, K) of the reference's ticks, those without rows between them."""
    empty = np.empty((0, len(specs)))
    if reference is None or reference.ts_us is None or not reference.rows:
        return np.empty(0, np.int64), empty, empty
    curve, task = watch.profile.ruler.curve, watch.schema.task
    ticks = [
        (start, label_facts(rows, ruler, curve, task))
        for start, rows in ticks_of(reference, tick_us)
    ]
    first = ticks[0][0]
    starts = np.arange(first, ticks[-1][0] + tick_us, tick_us, dtype=np.int64)
    y, v = np.zeros((len(starts), len(specs))), np.full((len(starts), len(specs)), np.inf)
    for start, facts in ticks:
        at = (start - first) // tick_us
        y[at], v[at] = _values(facts, specs, ruler)
    return starts, y, v


def _delay_words(effect: float) -> str:
    return (
        f"labels come at other times than in the reference: {effect:.0%} of them moved across one "
        "age (Kolmogorov-Smirnov, beyond chance)"
    )


def _gap_words(effect: float) -> str:
    way = "above" if effect >= 0.0 else "below"
    return (
        f"realised loss is {abs(effect):.3g} {way} what the scores let expect; no estimate without "
        "labels can see why: the rule behind the labels, or the calibration, has changed"
    )


def past_gaps(watch: Watch, rows: Window) -> FloatArray:
    """What estimates of mean loss missed on each day (d,) of rows whose labels have come."""
    curve, task = watch.profile.ruler.curve, watch.schema.task
    found = [
        gap_statistic(label_facts(day, None, curve, task)) for _, day in ticks_of(rows, DAY_US)
    ]
    return np.array([y for y, v in found if np.isfinite(v)])
