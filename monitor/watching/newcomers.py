"""Streams that the reference did not have: they join the evidence with their rows, and leave it.

Values of declared slices, columns and categories are counted by the day: `detectors/newcomers.py`.
The day that brings one in is its reference, and its streams run in banks of their own, as young as
it is, with the memory of the older streams lent to them. When 14 days have been seen, their level
becomes what it is held to. From the instant it joins, the newcomers of a tier share a tenth of what
the tier has, and the older streams bet that much less. One that is silent for four weeks leaves,
and what it had goes back; both are known before the next tick, so the budget holds. Everything
reads event time alone, so a replay says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detectors.evidence.bank import Bank, advance, betting_share, prime, start_bank
from detectors.evidence.fleet import fleet_prior
from detectors.evidence.young import PROMISED_US
from detectors.newcomers import (
    SHARE,
    SILENT_US,
    Born,
    Key,
    Tally,
    column_summary,
    has_rows,
    key_of,
    new_in,
    newcomer_profile,
    newcomer_streams,
)
from detectors.profile import Profile
from detectors.records import (
    DAY_US,
    Finding,
    Maturity,
    StreamSpec,
    Tier,
    Window,
    concat_windows,
    to_datetime,
)
from detectors.streams import statistics
from detectors.summary import TickSummary, merge_summaries
from monitor.rows.base import RowSource
from monitor.watching.alarms import finding_of
from monitor.watching.progress import Progress, TickClock, reference_level
from monitor.watching.reference_ticks import SUMMARISE, ClockName, Summariser, reference_vectors
from monitor.watching.watch import Watch, ticks_of


@dataclass(slots=True, eq=False)
class Newcomer:
    """What joined at `since_us`, and had rows last in the tick that ended at `seen_us`."""

    key: Key
    profile: Profile
    since_us: int
    seen_us: int
    clocks: dict[ClockName, TickClock]

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def maturity(self) -> Maturity:
        """How far its budget has come, by the rows it has had: the day that brought it included."""
        return next(iter(self.clocks.values())).bank.maturity

    def summariser(self, name: ClockName) -> Summariser:
        """What reads rows of one clock for it; of a column only its cells are needed."""
        return SUMMARISE[name] if self.key.born is Born.SLICE else column_summary


@dataclass(slots=True, eq=False)
class Newcomers:
    """Rows of the day in progress by newcomer, and those that joined before."""

    tally: Tally = field(default_factory=Tally)
    joined: list[Newcomer] = field(default_factory=list)
    left: int = 0

    @property
    def clocks(self) -> tuple[TickClock, ...]:
        return tuple(clock for one in self.joined for clock in one.clocks.values())

    def of(self, born: Born) -> list[Newcomer]:
        """Those of one kind that are followed."""
        return [one for one in self.joined if one.key.born is born]

    def extras(self) -> dict[str, Any]:
        """What is saved besides the clocks, as MessagePack can hold it."""
        return {
            "tally": self.tally.to_dict(),
            "left": self.left,
            "joined": [
                [one.profile.to_bytes(), one.since_us, one.seen_us, list(one.clocks), *one.key]
                for one in self.joined
            ],
        }

    @classmethod
    def restored(cls, clocks: Sequence[TickClock], extras: dict[str, Any]) -> Newcomers:
        """Read back what `extras` gave, with the clocks in the order of `clocks`."""
        waiting = iter(clocks)
        joined = []
        for stored, since_us, seen_us, names, *key in extras["joined"]:
            profile = Profile.from_bytes(stored)
            own = {name: next(waiting) for name in names}
            joined.append(Newcomer(_key_of(profile, key), profile, since_us, seen_us, own))
        # An earlier build counted slices only, for the day in progress.
        tally = Tally.restored(extras["tally"]) if "tally" in extras else Tally()
        return cls(tally=tally, joined=joined, left=extras["left"])


def _key_of(profile: Profile, stored: Sequence[Any]) -> Key:
    """A saved key; what an earlier build saved had none and is a slice."""
    if stored:
        return key_of(*stored)
    (ref,) = profile.slices
    return Key(Born.SLICE, ref.columns, ref.values)


def open_newcomers(watch: Watch) -> Newcomers | None:
    """None where ticks are row counts: those have no days."""
    return Newcomers() if watch.settings.tick_rows is None else None


def noticing(
    pieces: Iterator[Window],
    watch: Watch,
    newcomers: Newcomers | None,
    name: ClockName,
    start_us: int,
    end_us: int,
) -> Iterator[Window]:
    """The same pieces of a base tick, counted on their way for those that joined or may."""
    besides = _no_features(watch)
    for piece in pieces:
        if newcomers is not None:
            if name == "feature":
                newcomers.tally.rows += piece.rows
                newcomers.tally.add(new_in(piece, watch.profile, besides=besides))
            for one in newcomers.joined:
                clock = one.clocks.get(name)
                if clock is not None:
                    make = one.summariser(name)
                    seen = make(piece, one.profile, start_us=start_us, end_us=end_us)
                    parts = [seen] if clock.partial is None else [clock.partial, seen]
                    clock.partial = merge_summaries(parts, parts[0].start_us, end_us)
        yield piece


def _no_features(watch: Watch) -> frozenset[str]:
    """Columns that rows may have and that say nothing new: a mapping's, or the baseline's."""
    mapped = {one.entry.here for one in watch.mappings}
    propensity = watch.settings.baseline.propensity
    return frozenset(mapped | ({propensity} if propensity else set()))


def step_newcomers(
    watch: Watch, newcomers: Newcomers | None, name: ClockName, start_us: int, instant_us: int
) -> list[Finding]:
    """Judge the tick that begins at `start_us` of all that joined before it began."""
    found: list[Finding] = []
    for one in [] if newcomers is None else newcomers.joined:
        clock = one.clocks.get(name)
        if clock is None:
            continue
        specs = clock.bank.specs
        y, v = np.zeros(len(specs)), np.full(len(specs), np.inf)
        if clock.partial is not None:
            y, v = statistics(specs, one.profile, clock.partial)
            if has_rows(one.key, clock.partial):
                one.seen_us = max(one.seen_us, clock.partial.end_us)
        clock.partial = None
        clock.bank, alarms = advance(clock.bank, start_us, y, v)
        clock.remember(start_us, y, v)
        for alarm in alarms:
            seen = clock.since_onset(alarm.stream, alarm.onset_us)
            finding = finding_of(alarm, specs, watch, instant_us, seen=seen, profile=one.profile)
            found.append(replace(finding, detail=f"{finding.detail} ({_about(one)})"))
    return found


def _about(one: Newcomer) -> str:
    since = f"a new {one.key.born}, followed since {to_datetime(one.since_us):%-d %b}"
    young = one.maturity is Maturity.PROVISIONAL
    return f"{since}, {one.maturity}" if young else since


def close_newcomers_day(watch: Watch, progress: Progress, rows: RowSource, end_us: int) -> None:
    """At the end of a day of the tick clock: let some in and out, and share the weight anew."""
    newcomers = progress.newcomers
    if newcomers is None or end_us % DAY_US:
        return
    staying = [one for one in newcomers.joined if end_us - one.seen_us <= SILENT_US]
    newcomers.left += len(newcomers.joined) - len(staying)
    newcomers.joined = staying
    joining = newcomers.tally.close_day(one.key for one in staying)
    if joining:
        pieces = rows.rows(end_us - DAY_US, end_us, labels_by_us=None)
        day = concat_windows(list(pieces))
        newcomers.joined += [_join(watch, progress, day, key, end_us) for key in joining]
    for clock in newcomers.clocks:
        _hold_to_first_days(clock)
    _share_out(progress)


def _join(watch: Watch, progress: Progress, day: Window, key: Key, end_us: int) -> Newcomer:
    """A newcomer with the day that brought it as its reference."""
    profile = newcomer_profile(key, watch.profile, day)
    streams = newcomer_streams(key, profile, watch.settings, labelled=bool(watch.label_specs))
    one = Newcomer(key, profile, end_us, end_us, {})
    older: dict[ClockName, TickClock] = {"feature": progress.feature, "label": progress.label}
    for name, elder in older.items():
        if specs := streams.get(name):
            base = [] if name == "label" else _ticks(one, day, elder.tick_us)
            one.clocks[name] = _clock(watch, profile, specs, elder, base)
    return one


def _ticks(one: Newcomer, day: Window, tick_us: int) -> list[TickSummary]:
    """The ticks of the day that brought a newcomer in, read as its later ones will be."""
    make = one.summariser("feature")
    return [
        make(rows, one.profile, start_us=start, end_us=start + tick_us)
        for start, rows in ticks_of(day, tick_us)
    ]


def _clock(
    watch: Watch,
    profile: Profile,
    specs: tuple[StreamSpec, ...],
    older: TickClock,
    base: Sequence[TickSummary],
) -> TickClock:
    """One clock of a newcomer; that of features has seen the ticks of its first day.

    The older streams lend what they know, unless they are too young themselves to page.
    """
    lends = older.bank.prior is not None or older.bank.age_us >= PROMISED_US
    bank = start_bank(
        specs,
        tick_us=older.tick_us,
        budget=watch.settings.budget,
        holidays=watch.settings.holidays,
        prior=fleet_prior([older.bank]) if lends else None,
    )
    starts, y, v = reference_vectors(profile, specs, base, older.tick_us)
    if len(starts):
        bank = prime(bank, starts, y, v)
    return TickClock(bank=bank, tick_us=older.tick_us, level=reference_level(y, v))


def _hold_to_first_days(clock: TickClock) -> None:
    """Once 14 days have been seen, what they were like is what a change is told against."""
    bank = clock.bank
    if not bank.history or bank.first_us is None or bank.age_us < PROMISED_US:
        return
    starts = np.concatenate([part.starts_us for part in bank.history])
    first = starts < bank.first_us + PROMISED_US
    y = np.concatenate([part.y for part in bank.history])[first]
    v = np.concatenate([part.v for part in bank.history])[first]
    clock.level = reference_level(y, v)


def _share_out(progress: Progress) -> None:
    """In each tier older streams keep nine tenths while others have joined; those share the rest.

    Every newcomer of a tier gets the same.
    """
    assert progress.newcomers is not None
    joined = progress.newcomers.joined
    older = [progress.feature, progress.label]
    older += [days.differences for days in progress.days if days.differences is not None]
    shares, freed = {}, {}
    for tier in (Tier.PAGE, Tier.TICKET):
        members = sum(one.key.tier is tier for one in joined)
        shares[tier] = 1.0 - SHARE if members else 1.0
        whole = sum(_weight(clock.bank, tier) for clock in older)
        freed[tier] = SHARE * whole / members if members else 0.0
    for clock in older:
        clock.bank = betting_share(clock.bank, shares[Tier.PAGE], shares[Tier.TICKET])
    for one in joined:
        tier = one.key.tier
        own = sum(_weight(clock.bank, tier) for clock in one.clocks.values())
        share = freed[tier] / own if own else 0.0
        for clock in one.clocks.values():
            clock.bank = betting_share(clock.bank, share, share)


def _weight(bank: Bank, tier: Tier) -> float:
    """What the streams of a bank would bet on a tier if they bet all."""
    return sum(spec.weight for spec in bank.specs if spec.stream.tier is tier)
