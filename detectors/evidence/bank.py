"""All streams of one clock of one deployment: reference in, ticks in, alarms out.

A bank is a value: every function returns a new one, and the old one still works. It keeps the
ticks it has seen until the last scheduled fit at 56 days of age, then only the filter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from detectors.evidence.budget import Plan, pace_of
from detectors.evidence.calendars import HOLIDAY_VARIANCE, around_holidays
from detectors.evidence.counted import (
    CountedStreams,
    Counts,
    fitted,
    nothing_counted,
    stepped,
    taken_in,
)
from detectors.evidence.design import Design
from detectors.evidence.fleet import FleetPrior
from detectors.evidence.grids import PHI_GRID
from detectors.evidence.reference import LEVEL_WALK, learn_reference, ticks_from
from detectors.evidence.state import (
    ACTIVE,
    DELTA_MIN,
    GATE,
    PHI,
    RESET,
    Betting,
    FilterState,
    Ticks,
)
from detectors.evidence.young import (
    FIRST_BET_US,
    KNOWN_SCALE_US,
    PROMISED_US,
    REFITS_US,
    ROW_TICK_AGE_US,
    maturity_at,
    refits_done,
    shares_at,
)
from detectors.records import (
    DAY_US,
    HOUR_US,
    BoolArray,
    Budget,
    FloatArray,
    IntArray,
    Maturity,
    StreamSpec,
    Tier,
)

# Part of every checkpoint's fingerprint: raise it when the same ticks would give other evidence.
ENGINE_VERSION = 5

WANDERING_PHI = 0.95
# Memory that a reference of two weeks shows too little of, and four weeks enough: at φ = .9 it was
# .97 pages where 1 was allowed, and .21 (benchmarks/detection/no_change.py).
SHORT_US = 28 * DAY_US
WANDERING_PHI_SHORT = 0.85
WANDERING_LIKELY = 0.5
WANDERING_SHARE = 0.1
STRAYS_FROM = 0.25
STRAYING_US = 30 * DAY_US
STRAYING_ROW_TICKS = 100
SMALLEST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Alarm:
    """Evidence of one stream over its threshold.

    `evidence` is M / A, at least 1; `onset_us` the start of the tick from which the best
    alternative has been winning; `effect` the estimated step in units of y, signed.
    """

    stream: int
    evidence: float
    onset_us: int
    effect: float
    tier: Tier


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Ticks as they entered: starts_us (T,), y and v (T, K)."""

    starts_us: IntArray
    y: FloatArray
    v: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """K streams and what is known of them. Build with `start_bank`, save with `to_bytes`."""

    specs: tuple[StreamSpec, ...]
    tick_us: int
    budget: Budget
    holidays: str | None
    row_ticks: bool
    scale_floor: float
    standing_doubt: str
    prior: FleetPrior | None
    plan: Plan
    page_share: float = 1.0
    ticket_share: float = 1.0
    level_walk: float = LEVEL_WALK
    walk_sd: FloatArray | None = None
    yearly: bool = False
    gate_share: float = 1.0
    ticks: int = 0
    live: bool = False
    first_us: int | None = None
    until_us: int | None = None
    last_start_us: int | None = None
    state: FilterState | None = None
    phi_weights: NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, len(PHI_GRID)), np.float32)
    )
    alarmed: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))
    history: tuple[History, ...] = ()
    counted: CountedStreams = field(default_factory=lambda: nothing_counted(0))

    @property
    def design(self) -> Design:
        return Design(0 if self.row_ticks else self.tick_us, self.yearly)

    @property
    def age_us(self) -> int:
        """Span of event time of the rows seen, the reference included."""
        if self.first_us is None or self.until_us is None:
            return 0
        return self.until_us - self.first_us

    @property
    def maturity(self) -> Maturity:
        """How far the promise has come; ticks of rows never get beyond provisional."""
        reached = maturity_at(self.age_us)
        late = self.row_ticks and reached is Maturity.GUARANTEED
        return Maturity.PROVISIONAL if late else reached

    @property
    def wealth(self) -> FloatArray:
        """Evidence M (K,) of every stream, in hours; it alarms at its threshold."""
        if self.state is None:
            return np.zeros(len(self.specs))
        wealth: FloatArray = self.state.wealth.sum(axis=1)
        wealth[self.counted.at] = self.counted.account.wealth.sum(axis=1)
        return wealth

    @property
    def guaranteed(self) -> bool:
        """Whether the false-alarm budget is promised at this moment."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why the budget of pages is not promised, in words; empty where it is."""
        return "; ".join(self._doubts(Tier.PAGE))

    @property
    def why_not_tickets(self) -> str:
        """Why the budget of tickets is not promised, in words; empty where it is."""
        return "; ".join(self._doubts(Tier.TICKET))

    def _doubts(self, tier: Tier) -> list[str]:
        doubts = []
        if self.row_ticks:
            doubts.append("ticks are row counts, so no rate in time can be promised")
        elif self.age_us < PROMISED_US:
            days = self.age_us / DAY_US
            doubts.append(f"only {days:.1f} days of event time so far; the budget needs 14")
        if self.standing_doubt:
            doubts.append(self.standing_doubt)
        of_tier = np.array([spec.stream.tier is tier for spec in self.specs], np.bool_)
        if self._remembers_long(of_tier):
            doubts.append(
                f"{tier.value} streams mostly remember more than {WANDERING_PHI_SHORT:.2f} from "
                "tick to tick, which a reference under 28 days shows too little of"
            )
        wandering = self.wandering & of_tier
        if wandering.any():
            doubts.append(
                f"the reference is too short or the series wanders: {int(wandering.sum())} of "
                f"{int(of_tier.sum())} {tier.value} streams remember more than "
                f"{WANDERING_PHI:.2f} from tick to tick; use a longer tick or a longer reference"
            )
        return doubts

    def _remembers_long(self, of_tier: BoolArray) -> bool:
        """Whether streams of a tier remember more than a reference under 28 days can show.

        By weight they are likelier than not of φ ≥ .85, taken together: one of a few may look so.
        """
        if self.state is None or self.row_ticks or self.age_us >= SHORT_US:
            return False
        weight = np.where(of_tier & (self.state.model[:, ACTIVE] > 0), self.plan.weight, 0.0)
        weight = self.counted.filtered(weight)
        likely = self.phi_weights[:, PHI_GRID >= WANDERING_PHI_SHORT].sum(axis=1)
        return bool(weight @ likely > WANDERING_LIKELY * weight.sum())

    @property
    def wandering(self) -> BoolArray:
        """Streams (K,) likelier than not of φ ≥ .95, where they hold over a tenth of a tier.

        Below that share, even ten times the promised rate on them only doubles the total. The
        cautious φ of the filter would flag any stream whose memory is merely unknown. So would
        φ alone: a stream of pure sampling noise fits every φ, and one that strays in a month by
        less than half the error of a single tick need not be feared.
        """
        none = np.zeros(len(self.specs), np.bool_)
        if self.state is None:
            return none
        betting = (self.state.model[:, ACTIVE] > 0) & (self.counted.filtered(self.plan.weight) > 0)
        long_memory = self.phi_weights[:, PHI_GRID >= WANDERING_PHI].sum(axis=1)
        wanders = (long_memory >= WANDERING_LIKELY) & betting & (self._strays() >= STRAYS_FROM)
        counted = none.copy()
        for row in np.unique(self.plan.tier):
            of_tier = self.plan.tier == row
            total = self.plan.weight[of_tier & betting].sum()
            if self.plan.weight[of_tier & wanders].sum() > WANDERING_SHARE * total:
                counted |= of_tier & wanders
        return counted

    def _strays(self) -> FloatArray:
        """Variance (K,) that memory adds in 30 days (or 100 row ticks), over that of one tick.

        Read off the steady gain κ of the filter, which for a slow wanderer of innovation variance
        q in sampling variance v solves q / v = κ² / (1 - κ).
        """
        assert self.state is not None
        phi, gate = self.state.model[:, PHI], self.state.model[:, GATE]
        practical = self.state.model[:, DELTA_MIN]
        response = np.where(practical > 0, gate / np.where(practical > 0, practical, 1.0), 0.0)
        response = np.clip(response, 1e-9, 1.0)
        gain = (1.0 - phi) * (1.0 - response) / (response * np.maximum(phi, 1e-9))
        gain = np.clip(gain, 0.0, 1.0 - 1e-9)
        ticks = STRAYING_ROW_TICKS if self.row_ticks else STRAYING_US / self.tick_us
        strays: FloatArray = ticks * gain**2 / (1.0 - gain)
        return strays

    def to_bytes(self) -> bytes:
        """The whole bank as MessagePack; `from_bytes` gives back the same bits."""
        from detectors.evidence.checkpoint import encode

        return encode(self)

    @staticmethod
    def from_bytes(blob: bytes) -> Bank:
        """Raises ValueError for bytes that are damaged or of another engine version."""
        from detectors.evidence.checkpoint import decode

        return decode(blob)


def start_bank(
    specs: Sequence[StreamSpec],
    *,
    tick_us: int,
    budget: Budget,
    holidays: str | None = None,
    row_ticks: bool = False,
    scale_floor: float = 0.9,
    why_not: str = "",
    prior: FleetPrior | None = None,
    level_walk: float = LEVEL_WALK,
    walk_sd: FloatArray | None = None,
    yearly: bool = False,
    gate_share: float = 1.0,
) -> Bank:
    """A bank that has seen nothing.

    `row_ticks` (or `tick_us` 0) says that ticks are row counts. `scale_floor` bounds s from
    below; .3 suits sampling variances that are guesses. `why_not` is a standing reason against
    the promise, such as a failed back-test. A `prior` of another tick length is refused.
    `level_walk` is how many daily sd a level may move in a day: of the stream itself, or
    `walk_sd` (K,). `yearly` adds two harmonics of the year. `gate_share` is how much of a practical
    effect still counts as no change tick by tick; less than 1 finds what is just beyond it, and an
    alarm waits for an estimate beyond the whole effect as before.
    Raises ValueError for a negative tick, a bad weight, or an unknown holiday calendar.
    """
    if tick_us < 0:
        msg = f"a tick of {tick_us} us; give a positive length, or 0 for ticks of rows"
        raise ValueError(msg)
    if prior is not None and prior.tick_us != tick_us:
        msg = f"a fleet prior of {prior.tick_us} us ticks cannot serve ticks of {tick_us} us"
        raise ValueError(msg)
    if holidays is not None:
        around_holidays(np.zeros(1, np.int64), holidays)
    return Bank(
        specs=tuple(specs),
        tick_us=tick_us,
        budget=budget,
        holidays=holidays,
        row_ticks=row_ticks or tick_us == 0,
        scale_floor=scale_floor,
        standing_doubt=why_not,
        prior=prior,
        plan=Plan.of(specs, budget),
        level_walk=level_walk,
        walk_sd=walk_sd,
        yearly=yearly,
        gate_share=gate_share,
        alarmed=np.zeros(len(specs), np.bool_),
        counted=nothing_counted(len(specs)),
    )


def betting_share(bank: Bank, page_share: float, ticket_share: float = 1.0) -> Bank:
    """The bank with the streams of each tier betting a share of their weights from the next tick.

    What they have earned stays. Who shares weights so has to add up what all bet.
    """
    plan = Plan.of(bank.specs, bank.budget, page_share=page_share, ticket_share=ticket_share)
    return replace(bank, plan=plan, page_share=page_share, ticket_share=ticket_share)


def prime(
    bank: Bank, starts_us: IntArray, y: FloatArray, v: FloatArray, counts: Counts | None = None
) -> Bank:
    """Take in reference ticks: starts_us (T,), y and v (T, K), in order, v infinite where empty.

    Nothing is bet on them. From 48 hours of age the streams are fitted. With `counts` of the same
    ticks, rare rates are followed by the binomial law and, where an audit allows it, rows by cells.
    Raises ValueError for shapes that disagree, ticks out of order, or a bank already live.
    """
    if bank.live:
        msg = "this bank already follows live ticks; start a new one for a new reference"
        raise ValueError(msg)
    if bank.ticks and not bank.history:
        msg = "the reference of this bank is complete at 56 days; give all its ticks in one call"
        raise ValueError(msg)
    starts_us, y, v = checked_ticks(bank, starts_us, y, v)
    if not len(starts_us):
        return bank
    taken = _aged(bank, starts_us, y, v, len(starts_us))
    taken = replace(
        taken,
        history=(*bank.history, History(starts_us, y, v)),
        counted=taken_in(bank.counted, counts, len(starts_us)),
    )
    return _refit(taken, counts) if taken.age_us >= FIRST_BET_US else taken


def advance(
    bank: Bank, start_us: int, y: FloatArray, v: FloatArray, counts: Counts | None = None
) -> tuple[Bank, tuple[Alarm, ...]]:
    """Judge one live tick: y and v (K,). Returns the next bank and the alarms of this tick.

    Ticks that were never given count as empty ones. Raises ValueError for a tick that does not
    lie after the last live one.
    """
    y, v = np.asarray(y, np.float64), np.asarray(v, np.float64)
    after, found = advance_block(bank, np.array([start_us], np.int64), y[None], v[None], counts)
    return after, tuple(alarm for _, alarm in found)


def advance_block(
    bank: Bank, starts_us: IntArray, y: FloatArray, v: FloatArray, counts: Counts | None = None
) -> tuple[Bank, tuple[tuple[int, Alarm], ...]]:
    """Judge live ticks one after another, as `advance` would, in compiled code.

    starts_us (T,), y and v (T, K), `counts` of the same ticks; without them streams that are
    counted have no data. Returns the next bank and (tick index, alarm) pairs.
    """
    starts_us, y, v = checked_ticks(bank, starts_us, y, v)
    found: list[tuple[int, Alarm]] = []
    done = 0
    while done < len(starts_us):
        ages = _ages(bank, starts_us[done:], y[done:], v[done:])
        count = _until_refit(bank, ages)
        part = slice(done, done + count)
        these = None if counts is None else counts.part(part)
        bank, alarms = _follow(bank, starts_us[part], y[part], v[part], ages[:count], these)
        found += [(done + tick, alarm) for tick, alarm in alarms]
        done += count
    return bank, tuple(found)


def _follow(
    bank: Bank,
    starts_us: IntArray,
    y: FloatArray,
    v: FloatArray,
    ages: IntArray,
    counts: Counts | None,
) -> tuple[Bank, list[tuple[int, Alarm]]]:
    """Ticks between two scheduled fits, and the fit that falls due with the last of them."""
    state, alarmed, counted = bank.state, bank.alarmed.copy(), bank.counted
    found: list[tuple[int, int, float, int, float]] = []
    if state is not None:
        state = state.copy()
        ticks = ticks_from(
            bank.design,
            starts_us,
            y,
            v,
            before_us=bank.last_start_us,
            count_before=bank.ticks,
        )
        betting = bank.plan.betting(shares_at(ages, fleet=bank.prior is not None))
        counted, found = _judge(bank, state, ticks, betting, counts)
    alarms = []
    for tick, stream, evidence, onset_us, effect in found:
        tier = bank.specs[stream].stream.tier
        alarms.append((tick, Alarm(stream, evidence, onset_us, effect, tier)))
        alarmed[stream] = True
    keeps = refits_done(bank.age_us) < len(REFITS_US)
    after = _aged(bank, starts_us, y, v, len(starts_us))
    after = replace(
        after,
        live=True,
        state=state,
        alarmed=alarmed,
        history=(*bank.history, History(starts_us, y, v)) if keeps else (),
        counted=taken_in(counted, counts, len(starts_us))
        if keeps
        else replace(counted, history=()),
    )
    if refits_done(after.age_us) > refits_done(bank.age_us):
        after = _refit(after, counts)
    return after, alarms


def _judge(
    bank: Bank, state: FilterState, ticks: Ticks, betting: Betting, counts: Counts | None
) -> tuple[CountedStreams, list[tuple[int, int, float, int, float]]]:
    """Move `state` through the ticks; (tick, stream, M / A, onset us, effect) of every alarm.

    Where streams are counted the ticks go one by one, as an alarm of theirs mutes the filter.
    """
    from detectors.evidence.filter import follow

    counted, pace = bank.counted, pace_of(bank.design)
    if counts is None or not len(counted.at):
        left = replace(betting, weight=counted.filtered(betting.weight))
        return counted, follow(state, ticks, left, pace)
    near = np.zeros(len(ticks.start_us), np.bool_)
    if bank.holidays is not None and not bank.row_ticks:
        near = around_holidays(ticks.start_us, bank.holidays)
    found: list[tuple[int, int, float, int, float]] = []
    for tick in range(len(ticks.start_us)):
        weight = counted.filtered(betting.weight)
        one = replace(betting, weight=weight, share=betting.share[tick : tick + 1])
        muted_before = state.muted_until.copy()
        seen = [(tick, *rest[1:]) for rest in follow(state, ticks.part(tick), one, pace)]
        counted, alarms = stepped(
            counted,
            counts,
            tick,
            ticks,
            betting,
            pace,
            delta_min=bank.plan.delta_min,
            muted_until=muted_before,
            power=1.0 / HOLIDAY_VARIANCE if near[tick] else 1.0,
        )
        for alarm in alarms:
            state.muted_until[alarm.stream] = ticks.clock_us[tick] + pace.mute_us
            state.cov[alarm.stream, 2] += state.model[alarm.stream, RESET]
            seen.append((tick, alarm.stream, alarm.evidence, alarm.onset_us, alarm.effect))
        found += sorted(seen)
    return counted, found


def _refit(bank: Bank, counts: Counts | None) -> Bank:
    """Fit every stream on all ticks so far and run the filter through them again.

    Evidence, muting and runs go on as they were; a stream that may bet only now begins to. After
    14 days a stream that has alarmed keeps its fit: its history holds a change, which a fit would
    take for long memory.
    """
    starts_us = np.concatenate([part.starts_us for part in bank.history])
    y = np.concatenate([part.y for part in bank.history])
    v = np.concatenate([part.v for part in bank.history])
    young = bank.age_us < KNOWN_SCALE_US
    before = bank.state
    learnt = learn_reference(
        bank.design,
        ticks_from(bank.design, starts_us, y, v),
        pace=pace_of(bank.design),
        delta_min=bank.plan.delta_min,
        scale_floor=1.0 if young else bank.scale_floor,
        scale_ceiling=1.0 if young else math.inf,
        names=[spec.stream.id for spec in bank.specs],
        prior=bank.prior,
        level_walk=bank.level_walk,
        walk_sd=bank.walk_sd,
        gate_share=bank.gate_share,
    )
    state, weights, alarmed = learnt.state, learnt.phi_weights, bank.alarmed
    settled = refits_done(bank.age_us) > refits_done(PROMISED_US)
    if before is not None:
        alarmed = bank.alarmed if settled else np.zeros_like(bank.alarmed)
        state = replace(
            state,
            wealth=before.wealth,
            onset=before.onset,
            runs=before.runs,
            muted_until=np.where(
                (state.model[:, ACTIVE] > 0) & (before.model[:, ACTIVE] == 0),
                np.maximum(before.muted_until, _next_clock_us(bank)),
                before.muted_until,
            ),
        )
        state = _mixed(state, before, alarmed)
        weights = np.where(alarmed[:, None], bank.phi_weights, weights)
    counted = bank.counted
    if counts is not None:
        counted = fitted(
            counted,
            counts.rules,
            bank.design,
            starts_us,
            y,
            v,
            pace_of(bank.design),
            reference=not bank.live,
            keep=alarmed,
        )
    last = refits_done(bank.age_us) == len(REFITS_US)
    joined = () if last else (History(starts_us, y, v),)
    return replace(
        bank,
        state=state,
        phi_weights=weights,
        alarmed=alarmed,
        history=joined,
        counted=replace(counted, history=()) if last else counted,
    )


def _next_clock_us(bank: Bank) -> int:
    """Where a stream that may bet from now on begins to: what it missed was others' to bet."""
    if bank.design.timed:
        return (bank.last_start_us or 0) + bank.tick_us
    return bank.ticks * HOUR_US


def _mixed(new: FilterState, old: FilterState, keep: BoolArray) -> FilterState:
    """`new`, with the streams of `keep` (K,) taken from `old`."""
    if not keep.any():
        return new
    before = old.arrays()
    mixed = {}
    for name, array in new.arrays().items():
        mixed[name] = np.where(keep.reshape(-1, *[1] * (array.ndim - 1)), before[name], array)
    return replace(new, **mixed)


def _until_refit(bank: Bank, ages: IntArray) -> int:
    """How many ticks go by up to and with the one that makes the next fit due."""
    done = refits_done(bank.age_us)
    if done == len(REFITS_US):
        return len(ages)
    due = np.flatnonzero(ages >= REFITS_US[done])
    return int(due[0]) + 1 if due.size else len(ages)


def _spans(bank: Bank, starts_us: IntArray) -> tuple[IntArray, int]:
    """Where ticks begin on the clock of age, and how long one is on it."""
    if bank.row_ticks:
        return (bank.ticks + np.arange(len(starts_us))) * ROW_TICK_AGE_US, ROW_TICK_AGE_US
    return starts_us, bank.tick_us


def _ages(bank: Bank, starts_us: IntArray, y: FloatArray, v: FloatArray) -> IntArray:
    """Age (T,) after each tick: from the first data ever to the latest so far."""
    begins, length = _spans(bank, starts_us)
    seen = (np.isfinite(y) & np.isfinite(v)).any(axis=1) | (y.shape[1] == 0)
    nothing = np.iinfo(np.int64).min
    until = np.maximum.accumulate(np.where(seen, begins + length, nothing))
    if bank.until_us is not None:
        until = np.maximum(until, bank.until_us)
    first = bank.first_us
    if first is None:
        if not seen.any():
            return np.zeros(len(starts_us), np.int64)
        first = int(begins[seen.argmax()])
    return np.where(until == nothing, 0, until - first).astype(np.int64)


def _aged(bank: Bank, starts_us: IntArray, y: FloatArray, v: FloatArray, count: int) -> Bank:
    """The bank with its clocks moved past these ticks."""
    begins, length = _spans(bank, starts_us)
    seen = np.flatnonzero((np.isfinite(y) & np.isfinite(v)).any(axis=1) | (y.shape[1] == 0))
    first, until = bank.first_us, bank.until_us
    if seen.size:
        first = int(begins[seen[0]]) if first is None else first
        latest = int(begins[seen[-1]]) + length
        until = latest if until is None else max(until, latest)
    return replace(
        bank,
        ticks=bank.ticks + count,
        first_us=first,
        until_us=until,
        last_start_us=int(starts_us[-1]),
    )


def checked_ticks(
    bank: Bank, starts_us: IntArray, y: FloatArray, v: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Copies with shapes and order checked, holidays and the smallest variance applied."""
    starts_us = np.array(starts_us, np.int64)
    y, v = np.array(y, np.float64), np.array(v, np.float64)
    expected = (len(starts_us), len(bank.specs))
    if y.shape != expected or v.shape != expected:
        msg = f"y is {y.shape} and v {v.shape}; {expected[0]} ticks of {expected[1]} streams fit"
        raise ValueError(msg)
    if np.any(v < 0):
        msg = "a sampling variance below 0; give infinity where a tick has no data"
        raise ValueError(msg)
    if not bank.row_ticks and len(starts_us):
        before = bank.last_start_us if bank.live or bank.ticks else None
        steps = np.diff(starts_us)
        late_first = bank.live and before is not None and starts_us[0] <= before
        if late_first or np.any(steps <= 0):
            msg = "ticks must come in order, each start after the last one; sort them first"
            raise ValueError(msg)
    seen = np.isfinite(y) & np.isfinite(v)
    v = np.where(seen, np.maximum(v, SMALLEST_VARIANCE), np.inf)
    y = np.where(seen, y, 0.0)
    if bank.holidays is not None and not bank.row_ticks and len(starts_us):
        near = around_holidays(starts_us, bank.holidays)
        v = np.where(near[:, None], v * HOLIDAY_VARIANCE, v)
    return starts_us, y, v
