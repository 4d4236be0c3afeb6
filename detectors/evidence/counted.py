"""Streams that are followed by counts: rare rates by the binomial law, or rows cell by cell.

Beside the filter, which judges one number a tick, a bank keeps accounts for streams whose ticks
are counts. They spend the same weight under the same budget (`budget.py`); the filter goes on
learning these streams and bets nothing on them. How a stream is followed is decided at each fit:

- *sparse*: a tick shows fewer than ten events (`sparse.py`);
- *row*: the audit of the reference found its rows exchangeable (`audit.py`, `bets.py`);
- *tick*: everything else, and a row stream after its first alarm, as the bets on its rows are
  held to the reference and would alarm for ever.

An account over its threshold waits while the change is not large enough to matter, as estimated
since the onset or beyond doubt from the last ticks by themselves (`filter.py` says why).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.evidence.audit import audit
from detectors.evidence.bets import Bets
from detectors.evidence.design import Design
from detectors.evidence.sizes import RateSize, RowSize, Size
from detectors.evidence.sparse import (
    MOST_LOG_E,
    REOPENED,
    SMALLEST,
    STEPS,
    Counted,
    Rates,
    Steps,
    expected_now,
    fit_rates,
    gates,
    is_sparse,
    learnt,
    log_evidence,
    standardised,
    widened,
)
from detectors.evidence.state import Betting, Pace, Ticks
from detectors.records import HOUR_US, BoolArray, FloatArray, IntArray

RICHEST = 1e9
FEWEST_TICKS = 12
MEMORIES = 2
BY_ALTERNATIVE = ("wealth", "onset", "run", "sums")


class Following(StrEnum):
    """How a stream is followed."""

    TICK = "tick"
    SPARSE = "sparse"
    ROW = "row"


@dataclass(frozen=True, slots=True, eq=False)
class CountRules:
    """What of the counts of K streams follows from the reference alone.

    `rate` (K,): has events among trials. `odds`, `share` (K,): the smallest changes that matter.
    `stepped` (K,): y is a step of log odds from the reference's share, not log odds. `bets` by
    stream, for those that could be followed row by row; `refused` says why others cannot.
    """

    rate: BoolArray
    odds: FloatArray
    share: FloatArray
    stepped: BoolArray
    bets: Mapping[int, Bets] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """T ticks of counts for K streams: events, trials and expected events (T, K).

    `cells` holds, tick by tick, the cell counts (G,) of the streams that `rules` has bets for.
    """

    rules: CountRules
    events: FloatArray
    trials: FloatArray
    expected: FloatArray
    cells: Sequence[Mapping[int, FloatArray]] = ()

    def part(self, ticks: slice) -> Counts:
        """Some of the ticks."""
        return Counts(
            self.rules,
            self.events[ticks],
            self.trials[ticks],
            self.expected[ticks],
            self.cells[ticks],
        )

    def rates(self, tick: int, at: IntArray) -> Counted:
        """The counts (S,) of the streams `at` in one tick."""
        return Counted(self.events[tick, at], self.trials[tick, at], self.expected[tick, at])


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """Wealth and runs of C counted streams with up to J alternatives each.

    wealth, onset (us), run (C, J), the log of a CUSUM; sums (C, J, 3) since the onset: events,
    trials and expected events of a sparse stream, y/v and 1/v of a row stream. lately (C, 3): the
    same sums with fading weights.
    seen_until (C,): the clock when there last was data, -1 before.
    """

    wealth: FloatArray
    onset: IntArray
    run: FloatArray
    sums: FloatArray
    lately: FloatArray
    seen_until: IntArray

    @classmethod
    def empty(cls, streams: int, alternatives: int) -> Account:
        shape = (streams, alternatives)
        return cls(
            wealth=np.zeros(shape),
            onset=np.zeros(shape, np.int64),
            run=np.zeros(shape),
            sums=np.zeros((*shape, 3)),
            lately=np.zeros((streams, 3)),
            seen_until=np.full(streams, -1, np.int64),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by name, for saving."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def copy(self) -> Account:
        return Account(**{name: array.copy() for name, array in self.arrays().items()})

    def take(self, at: BoolArray) -> Account:
        """The accounts at a mask."""
        return Account(**{name: array[at] for name, array in self.arrays().items()})


@dataclass(frozen=True, slots=True, eq=False)
class CountedStreams:
    """How K streams are followed and why, with what the counted ones among them have gathered.

    `at` (C,) are the counted streams in order; `rates` are of the sparse ones of them. `memory`
    is what plug-in bets remember, by stream. `history` keeps events, trials and expected events
    (T, R) of the streams that are rates, until the last scheduled fit.
    """

    following: tuple[Following, ...]
    why: tuple[str, ...]
    rates: Rates
    account: Account
    memory: Mapping[int, FloatArray] = field(default_factory=dict)
    history: tuple[NDArray[np.float32], ...] = ()

    @property
    def at(self) -> IntArray:
        return np.flatnonzero(np.array([f is not Following.TICK for f in self.following], bool))

    @property
    def sparse(self) -> IntArray:
        return np.flatnonzero(np.array([f is Following.SPARSE for f in self.following], bool))

    @property
    def rows(self) -> IntArray:
        """The streams that are followed row by row."""
        return np.flatnonzero(np.array([f is Following.ROW for f in self.following], bool))

    def filtered(self, weight: FloatArray) -> FloatArray:
        """The weights (K,) that the filter may bet: none for streams that are counted."""
        left = weight.copy()
        left[self.at] = 0.0
        return left


def nothing_counted(streams: int) -> CountedStreams:
    """All streams followed by ticks."""
    return CountedStreams(
        following=(Following.TICK,) * streams,
        why=("",) * streams,
        rates=Rates.none(),
        account=Account.empty(0, 0),
    )


def taken_in(counted: CountedStreams, counts: Counts | None, ticks: int) -> CountedStreams:
    """With the counts of `ticks` more ticks in the history; without counts they were empty."""
    if counts is None:
        if not counted.history:
            return counted
        rates = counted.history[0].shape[1]
        new = tuple(np.zeros((ticks, rates), np.float32) for _ in range(3))
    else:
        rate = counts.rules.rate
        parts = (counts.events, counts.trials, counts.expected)
        new = tuple(part[:, rate].astype(np.float32) for part in parts)
    if not counted.history:
        return replace(counted, history=new)
    joined = [np.concatenate(pair) for pair in zip(counted.history, new, strict=True)]
    return replace(counted, history=tuple(joined))


def fitted(
    counted: CountedStreams,
    rules: CountRules,
    design: Design,
    starts_us: IntArray,
    y: FloatArray,
    v: FloatArray,
    pace: Pace,
    *,
    reference: bool,
    keep: BoolArray,
) -> CountedStreams:
    """Decide how each of K streams is followed, and fit the rare rates: starts (T,), y, v (T, K).

    Rows are audited where these ticks are the `reference`; later, row streams stay what they are.
    Sparse streams to `keep` (K,) hold on to their fit: their history has a change in it.
    """
    following, why = list(counted.following), list(counted.why)
    for k, f in enumerate(counted.following):
        if f is Following.SPARSE:
            following[k], why[k] = Following.TICK, ""
        if not reference:
            continue
        following[k], why[k] = Following.TICK, rules.refused.get(k, "")
        if k in rules.bets:
            found = audit(y[:, k], v[:, k])
            following[k] = Following.ROW if found.passed else Following.TICK
            why[k] = found.words
    before = counted
    events, trials, expected = (part.astype(np.float64) for part in _padded(counted, len(y)))
    of_rates = np.flatnonzero(rules.rate)
    rare = is_sparse(events, trials, FEWEST_TICKS)
    for place in np.flatnonzero(rare):
        k = int(of_rates[place])
        a_tick = trials[:, place].sum() / max(1, int((trials[:, place] > 0).sum()))
        share = events[:, place].sum() / trials[:, place].sum()
        following[k] = Following.SPARSE
        why[k] = f"{min(share, 1 - share) * a_tick:.2g} events a tick expected, under ten"
    for k in of_rates[~rare]:
        if following[k] is Following.TICK and not why[k]:
            why[k] = "ten events a tick or more"
    rates = Rates.none(design.width)
    if rare.any():
        part = Counted(events[:, rare], trials[:, rare], expected[:, rare])
        rates = fit_rates(
            design.columns(starts_us),
            part,
            design.prior_sd(np.ones(1))[0],
            design.ticks_per_day,
            pace.sum_decay,
        )
    after = CountedStreams(
        following=tuple(following),
        why=tuple(why),
        rates=rates,
        account=Account.empty(0, 0),
        memory={k: m for k, m in counted.memory.items() if following[k] is Following.ROW},
        history=counted.history,
    )
    return _carried(after, before, rules, keep)


def _padded(counted: CountedStreams, ticks: int) -> tuple[FloatArray, ...]:
    """The history as long as the ticks that were seen: those before any count were empty."""
    if not counted.history:
        return tuple(np.zeros((ticks, 0)) for _ in range(3))
    return tuple(
        np.concatenate([np.zeros((ticks - len(part), part.shape[1]), part.dtype), part])
        for part in counted.history
    )


def _carried(
    after: CountedStreams, before: CountedStreams, rules: CountRules, keep: BoolArray
) -> CountedStreams:
    """Give `after` the accounts that its streams had, where they are followed as they were."""
    at = after.at
    accounts = [len(STEPS) if k in after.sparse else rules.bets[int(k)].count for k in at]
    account = Account.empty(len(at), max(accounts, default=0))
    was = {int(k): place for place, k in enumerate(before.at)}
    for place, k in enumerate(at):
        old = was.get(int(k))
        if old is None or after.following[k] is not before.following[k]:
            continue
        held = min(before.account.wealth.shape[1], account.wealth.shape[1])
        for name, array in account.arrays().items():
            part = (place, slice(held)) if name in BY_ALTERNATIVE else (place,)
            array[part] = before.account.arrays()[name][(old, *part[1:])]
    rates = after.rates
    old_rates = {int(k): place for place, k in enumerate(before.sparse)}
    mixed = rates.arrays()
    for place, k in enumerate(after.sparse):
        known = old_rates.get(int(k))
        if (
            known is not None
            and keep[k]
            and before.rates.season.shape[1:] == rates.season.shape[1:]
        ):
            for name, array in mixed.items():
                array[place] = before.rates.arrays()[name][known]
    return replace(after, rates=Rates(**mixed), account=account)


@dataclass(frozen=True, slots=True)
class CountedAlarm:
    """A counted stream over its threshold: M / A, onset and effect in units of y."""

    stream: int
    evidence: float
    onset_us: int
    effect: float


def stepped(
    counted: CountedStreams,
    counts: Counts,
    tick: int,
    ticks: Ticks,
    betting: Betting,
    pace: Pace,
    *,
    delta_min: FloatArray,
    muted_until: IntArray,
    power: float = 1.0,
) -> tuple[CountedStreams, tuple[CountedAlarm, ...]]:
    """Judge one tick of the counted streams. `power` ≤ 1 takes the tick for less than it shows."""
    at, sparse, rules = counted.at, counted.sparse, counts.rules
    clock = int(ticks.clock_us[tick])
    account = counted.account.copy()
    streams, most = account.wealth.shape
    logs = np.zeros((streams, most))
    prior = np.zeros((streams, most))
    sums = np.zeros((streams, 3))
    seen = np.zeros(streams, bool)
    place_of = {int(k): place for place, k in enumerate(at)}
    rates, memory = counted.rates, dict(counted.memory)

    if len(sparse):
        places = np.array([place_of[int(k)] for k in sparse])
        today = counts.rates(tick, sparse)
        eta = expected_now(rates, today, ticks.columns[tick])
        up, down = gates(
            eta, np.sqrt(rates.variance), Steps(rules.odds[sparse], rules.share[sparse])
        )
        ratio, possible = log_evidence(eta, up, down, today)
        z = standardised(eta, today)
        filled = today.trials > 0.0
        width, track = widened(
            rates, z, filled, pace.scale_rate, pace.correlation_rate, pace.sum_decay
        )
        ratio = ratio / (rates.excess * width)[:, None]
        chosen = len(STEPS)
        logs[places, :chosen] = np.minimum(ratio * power, MOST_LOG_E)
        prior[places, :chosen] = possible / chosen
        expected = today.trials / (1.0 + np.exp(-eta))
        sums[places] = np.stack([today.events, today.trials, expected], axis=1)
        seen[places] = filled
        rates = replace(learnt(rates, eta, today, pace.tick_hours / 24.0), track=track)

    for k in at:
        bets, place = rules.bets.get(int(k)), place_of[int(k)]
        if counted.following[k] is not Following.ROW or bets is None:
            continue
        cells = counts.cells[tick].get(int(k)) if counts.cells else None
        if cells is None or not cells.sum() > 0.0:
            continue
        remembered = memory.get(int(k), np.zeros((MEMORIES, len(bets.shares))))
        logs[place, : bets.count] = bets.log_evidence(cells, remembered) * power
        prior[place, : bets.count] = bets.every_prior
        if bets.plug_in:
            memory[int(k)] = bets.remembered(remembered, cells)
        y, v = ticks.y[tick, k], ticks.v[tick, k]
        if np.isfinite(v):
            sums[place] = np.array([y / v, 1.0 / v, 0.0])
        seen[place] = True

    muted = clock < muted_until[at]
    hours = np.full(streams, pace.tick_hours)
    known = (account.seen_until >= 0) & (account.seen_until < clock)
    hours[known] = np.minimum((clock - account.seen_until[known]) / HOUR_US, pace.longest_hours)
    account.seen_until[seen] = clock
    live = seen & ~muted
    weight = betting.weight[at] * betting.share[tick, betting.tier[at]]
    threshold = betting.threshold[at]
    grown = (account.wealth + (hours * weight)[:, None] * prior) * np.exp(np.clip(logs, -700, 700))
    bets_here = live[:, None] & (prior > 0.0)
    account.wealth[:] = np.where(
        bets_here, np.minimum(grown, RICHEST * threshold[:, None]), account.wealth
    )
    begins = bets_here & (account.run <= 0.0)
    account.onset[begins] = ticks.start_us[tick]
    account.sums[begins] = 0.0
    account.run[:] = np.where(bets_here, np.maximum(account.run, 0.0) + logs, account.run)
    account.sums[:] += np.where(bets_here[:, :, None], sums[:, None, :], 0.0)
    account.lately[seen] = pace.sum_decay * account.lately[seen] + sums[seen]

    alarms = []
    ended: list[int] = []
    total = account.wealth.sum(axis=1)
    variance = rates.variance.copy()
    excess = dict(zip(sparse.tolist(), rates.excess.tolist(), strict=True))
    for place in np.flatnonzero(live & (total >= threshold) & (threshold > 0.0)).tolist():
        k = int(at[place])
        sparse_one = counted.following[k] is Following.SPARSE
        size = _size(
            counts,
            tick,
            k,
            sparse=sparse_one,
            excess=excess.get(k, 1.0),
            least=float(delta_min[k]),
        )
        found = _what_matters(account, place, size, pace.sum_decay)
        if found is None:
            continue
        since, effect = found
        onset = int(account.onset[place, since])
        alarms.append(CountedAlarm(k, float(total[place] / threshold[place]), onset, effect))
        account.wealth[place] = account.run[place] = 0.0
        account.sums[place] = account.lately[place] = 0.0
        if counted.following[k] is Following.ROW:
            ended.append(k)
        else:
            variance[list(sparse).index(k)] += REOPENED
    after = replace(
        counted, rates=replace(rates, variance=variance), account=account, memory=memory
    )
    return _without_rows(after, ended), tuple(alarms)


def _size(counts: Counts, tick: int, k: int, *, sparse: bool, excess: float, least: float) -> Size:
    """How the sums of stream `k` are read."""
    if not sparse:
        return RowSize(least)
    rules = counts.rules
    share = float(counts.expected[tick, k] / max(counts.trials[tick, k], SMALLEST))
    base = share if rules.stepped[k] else None
    return RateSize(float(rules.odds[k]), float(rules.share[k]), base, excess)


def _what_matters(
    account: Account, place: int, size: Size, decay: float
) -> tuple[int, float] | None:
    """The alternative whose onset a change has, and its effect; None if none matters yet.

    A change that only the last ticks show has both from the richest alternative that sees as much
    since its own onset; if none does, the effect is what the last ticks show.
    """
    richest = np.argsort(-account.wealth[place], kind="stable")
    sums, lately = account.sums[place], account.lately[place]
    best = int(richest[0])
    if size.matters(sums[best]):
        return best, size.effect(sums[best])
    if not size.surely(lately, decay):
        return None
    effect = size.effect(lately)
    for j in richest.tolist():
        if size.effect(sums[j]) * effect > 0.0 and size.matters(sums[j]):
            return j, size.effect(sums[j])
    return best, effect


def _without_rows(counted: CountedStreams, ended: Sequence[int]) -> CountedStreams:
    """Streams whose rows have alarmed are followed by ticks from here on."""
    if not ended:
        return counted
    keep = np.array([int(k) not in ended for k in counted.at], bool)
    following, why = list(counted.following), list(counted.why)
    for k in ended:
        following[k], why[k] = Following.TICK, "rows no longer as in the reference: it has alarmed"
    return replace(
        counted,
        following=tuple(following),
        why=tuple(why),
        memory={k: m for k, m in counted.memory.items() if k not in ended},
        account=counted.account.take(keep),
    )
