"""Slices that the reference did not have: they join the evidence with their rows, and leave it.

A value of a declared slicing column that no followed slice has is counted by the day. Once a day
brings it in enough rows, that day is its reference and its streams run in banks of their own, as
young as it is, with the memory of the older streams lent to them. From that instant on all slices
that joined share a tenth of what the page tier has, and the older streams bet that much less. One
that is silent for four weeks leaves, and what it had goes back; both are known before the next
tick, so the budget holds. Everything reads event time alone, so a replay says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detectors.evidence.bank import Bank, advance, betting_share, prime, start_bank
from detectors.evidence.fleet import fleet_prior
from detectors.evidence.young import PROMISED_US
from detectors.profile import SCORE_COLUMN, Profile
from detectors.records import DAY_US, Finding, StreamSpec, Tier, Window, concat_windows, to_datetime
from detectors.slices import (
    SLICE_ROWS,
    SLICE_SHARE,
    SliceRef,
    slice_codes,
    slice_counts,
    slice_name,
)
from detectors.streams import feature_streams, label_streams, statistics
from detectors.summary import merge_summaries
from detectors.sums import ALL_ROWS, seen_sums
from monitor.rows.base import RowSource
from monitor.watching.alarms import finding_of
from monitor.watching.progress import Progress, TickClock, reference_level
from monitor.watching.reference_ticks import (
    SUMMARISE,
    ClockName,
    reference_summaries,
    reference_vectors,
)
from monitor.watching.watch import Watch

SHARE = 0.1
"""Of what the older streams may bet on the page tier, for all slices that joined together."""
MOST = 20
SILENT_US = 28 * DAY_US
MOST_NAMES = 1_000
"""A day in which a declaration has more unknown values than this brings no slices."""
Key = tuple[tuple[str, ...], tuple[str, ...]]
"""Columns of a declaration and the value in each."""


@dataclass(slots=True, eq=False)
class Newcomer:
    """A slice that joined at `since_us`, and had rows last in the tick that ended at `seen_us`."""

    profile: Profile
    since_us: int
    seen_us: int
    clocks: dict[ClockName, TickClock]

    @property
    def name(self) -> str:
        return self.profile.slices[0].name


@dataclass(slots=True, eq=False)
class Newcomers:
    """Rows of the day in progress by unknown slice, and the slices that joined before."""

    counts: dict[Key, int] = field(default_factory=dict)
    rows: int = 0
    joined: list[Newcomer] = field(default_factory=list)
    left: int = 0

    @property
    def clocks(self) -> tuple[TickClock, ...]:
        return tuple(clock for one in self.joined for clock in one.clocks.values())

    def extras(self) -> dict[str, Any]:
        """What is saved besides the clocks, as MessagePack can hold it."""
        return {
            "counts": [[list(c), list(v), rows] for (c, v), rows in self.counts.items()],
            "rows": self.rows,
            "left": self.left,
            "joined": [
                [one.profile.to_bytes(), one.since_us, one.seen_us, list(one.clocks)]
                for one in self.joined
            ],
        }

    @classmethod
    def restored(cls, clocks: Sequence[TickClock], extras: dict[str, Any]) -> Newcomers:
        """Read back what `extras` gave, with the clocks in the order of `clocks`."""
        waiting = iter(clocks)
        return cls(
            counts={(tuple(c), tuple(v)): rows for c, v, rows in extras["counts"]},
            rows=extras["rows"],
            joined=[
                Newcomer(
                    Profile.from_bytes(profile),
                    since_us,
                    seen_us,
                    {name: next(waiting) for name in names},
                )
                for profile, since_us, seen_us, names in extras["joined"]
            ],
            left=extras["left"],
        )


def open_newcomers(watch: Watch) -> Newcomers | None:
    """None where no slices are declared, or ticks are row counts."""
    profile = watch.profile
    if not profile.schema.slices or watch.settings.tick_rows is not None:
        return None
    return Newcomers() if profile.schema.has_score else None


def noticing(
    pieces: Iterator[Window],
    watch: Watch,
    newcomers: Newcomers | None,
    name: ClockName,
    start_us: int,
    end_us: int,
) -> Iterator[Window]:
    """The same pieces of a base tick, counted on their way for slices that joined or may."""
    for piece in pieces:
        if newcomers is not None:
            if name == "feature":
                _count(newcomers, watch, piece)
            for one in newcomers.joined:
                clock = one.clocks.get(name)
                if clock is not None:
                    seen = SUMMARISE[name](piece, one.profile, start_us=start_us, end_us=end_us)
                    parts = [seen] if clock.partial is None else [clock.partial, seen]
                    clock.partial = merge_summaries(parts, parts[0].start_us, end_us)
        yield piece


def _count(newcomers: Newcomers, watch: Watch, piece: Window) -> None:
    known = {(ref.columns, ref.values) for ref in watch.profile.slices}
    known |= {(ref.columns, ref.values) for one in newcomers.joined for ref in one.profile.slices}
    newcomers.rows += piece.rows
    for columns in dict.fromkeys(watch.profile.schema.slices):
        for values, rows in slice_counts(piece, columns, most=MOST_NAMES).items():
            if (columns, values) not in known:
                key = (columns, values)
                newcomers.counts[key] = newcomers.counts.get(key, 0) + rows


def step_newcomers(
    watch: Watch, newcomers: Newcomers | None, name: ClockName, start_us: int, instant_us: int
) -> list[Finding]:
    """Judge the tick that begins at `start_us` of every slice that joined before it began."""
    found: list[Finding] = []
    for one in [] if newcomers is None else newcomers.joined:
        clock = one.clocks.get(name)
        if clock is None:
            continue
        specs = clock.bank.specs
        y, v = np.zeros(len(specs)), np.full(len(specs), np.inf)
        if clock.partial is not None:
            y, v = statistics(specs, one.profile, clock.partial)
            if clock.partial.slices.get(one.name) is not None:
                one.seen_us = max(one.seen_us, clock.partial.end_us)
        clock.partial = None
        clock.bank, alarms = advance(clock.bank, start_us, y, v)
        clock.remember(start_us, y, v)
        for alarm in alarms:
            seen = clock.since_onset(alarm.stream, alarm.onset_us)
            finding = finding_of(alarm, specs, watch, instant_us, seen=seen)
            since = f"{to_datetime(one.since_us):%-d %b}"
            words = f"{finding.detail} (a new slice, followed since {since})"
            found.append(replace(finding, detail=words))
    return found


def close_newcomers_day(watch: Watch, progress: Progress, rows: RowSource, end_us: int) -> None:
    """At the end of a day of the tick clock: let slices in and out, and share the weight anew."""
    newcomers = progress.newcomers
    if newcomers is None or end_us % DAY_US:
        return
    staying = [one for one in newcomers.joined if end_us - one.seen_us <= SILENT_US]
    newcomers.left += len(newcomers.joined) - len(staying)
    newcomers.joined = staying
    needed = max(SLICE_ROWS, SLICE_SHARE * newcomers.rows)
    ready = sorted(
        (key for key, count in newcomers.counts.items() if count >= needed),
        key=lambda key: (-newcomers.counts[key], key),
    )
    newcomers.counts, newcomers.rows = {}, 0
    ready = ready[: MOST - len(staying)]
    if ready:
        pieces = rows.rows(end_us - DAY_US, end_us, labels_by_us=None)
        day = concat_windows(list(pieces))
        newcomers.joined += [_join(watch, progress, day, key, end_us) for key in ready]
    _share_out(progress)


def _join(watch: Watch, progress: Progress, day: Window, key: Key, end_us: int) -> Newcomer:
    """A slice with the day that brought it as its reference."""
    columns, values = key
    ref = SliceRef(slice_name(columns, values), columns, values, 0)
    codes = slice_codes(day, (ref,))
    sums = seen_sums(day, watch.profile.ruler, codes, 1)[1]
    ref = replace(ref, rows=int((codes[0] >= 0).sum()))
    profile = _profile_of(watch.profile, ref, sums)
    clocks: dict[ClockName, TickClock] = {}
    for name, specs in (
        ("feature", feature_streams(profile, watch.settings)),
        ("label", label_streams(profile, watch.settings) if watch.label_specs else ()),
    ):
        own = tuple(spec for spec in specs if spec.stream.slice)
        if own:
            older = progress.feature if name == "feature" else progress.label
            clocks[name] = _clock(watch, profile, name, own, older, day)  # type: ignore[index,arg-type]
    return Newcomer(profile, end_us, end_us, clocks)


def _profile_of(profile: Profile, ref: SliceRef, sums: np.ndarray[Any, Any]) -> Profile:
    """The domain's profile with this one slice, and of its columns only the score."""
    kept = [name for name in profile.columns if name.startswith(SCORE_COLUMN[0])]
    return replace(
        profile,
        schema=replace(profile.schema, columns=(), slices=(ref.columns,)),
        columns={name: profile.columns[name] for name in kept},
        counts={name: profile.counts[name] for name in kept},
        slices=(ref,),
        slice_sums={ALL_ROWS: profile.slice_sums[ALL_ROWS], ref.name: sums},
        too_small=(),
        too_small_count=0,
    )


def _clock(
    watch: Watch,
    profile: Profile,
    name: ClockName,
    specs: tuple[StreamSpec, ...],
    older: TickClock,
    day: Window,
) -> TickClock:
    """One clock of a slice; that of scores has seen the ticks of its first day.

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
    starts, y, v = reference_vectors(
        profile, specs, [] if name == "label" else reference_summaries(
            profile, name, day, older.tick_us
        ), older.tick_us,
    )  # fmt: skip
    if len(starts):
        bank = prime(bank, starts, y, v)
    return TickClock(bank=bank, tick_us=older.tick_us, level=reference_level(y, v))


def _share_out(progress: Progress) -> None:
    """Older streams keep nine tenths while slices have joined; those share the rest equally."""
    assert progress.newcomers is not None
    joined = progress.newcomers.joined
    older = [progress.feature, progress.label]
    older += [days.differences for days in progress.days if days.differences is not None]
    for clock in older:
        clock.bank = betting_share(clock.bank, 1.0 - SHARE if joined else 1.0)
    freed = SHARE * sum(_page_weight(clock.bank) for clock in older)
    for one in joined:
        own = sum(_page_weight(clock.bank) for clock in one.clocks.values())
        for clock in one.clocks.values():
            clock.bank = betting_share(clock.bank, freed / len(joined) / own if own else 0.0)


def _page_weight(bank: Bank) -> float:
    """What the streams of a bank would bet on the page tier if they bet all."""
    return sum(spec.weight for spec in bank.specs if spec.stream.tier is Tier.PAGE)


def newcomer_words(newcomers: Newcomers | None) -> str:
    """Which slices joined and since when; empty where none did."""
    if newcomers is None or not newcomers.joined:
        return ""
    names = [f"{one.name} since {to_datetime(one.since_us):%-d %b}" for one in newcomers.joined]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    what = "slice that the reference lacks is" if len(names) == 1 else "slices it lacks are"
    return f"{len(names)} {what} followed too ({shown})"
