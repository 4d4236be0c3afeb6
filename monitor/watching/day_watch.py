"""What is followed by the day beside the evidence: differences from peers, and slow change.

One watch for each clock of a domain that has a reference of 14 days. Differences run where peers
qualify (`detectors/evidence/peers.py`) and their back-test passes; they take half the weight of
their streams. Slow change has a bank of its own, whose level hardly moves and which knows the
year if the reference does. Both read the same days as the evidence, at the same instants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.day_streams import beside_peers, comparable, slow_streams, source_of
from detectors.evidence.backtest import choose_walk
from detectors.evidence.bank import advance, prime, start_bank
from detectors.evidence.design import Design
from detectors.evidence.peers import Control, Peers, Series, choose_peers
from detectors.evidence.reference import daily_spread
from detectors.evidence.young import PROMISED_US
from detectors.records import (
    DAY_US,
    Finding,
    FloatArray,
    StreamSpec,
    Tier,
)
from detectors.streams import statistics
from detectors.summary import TickSummary, merge_summaries
from monitor.watching.alarms import LOSSES, finding_of
from monitor.watching.progress import TickClock, reference_level
from monitor.watching.reference_ticks import ClockName, reference_vectors, specs_of
from monitor.watching.watch import Watch

if TYPE_CHECKING:
    from monitor.watching.fleet import Fleet

YEAR_US = 365 * DAY_US
SLOW_WALK = 0.03
"""Daily sd a day; evidence lets its level walk .05. At 0 Beijing files a quarter more tickets, and
no more of the changes put in are found (benchmarks/detection/peers.py)."""


@dataclass(slots=True, eq=False)
class DayWatch:
    """One clock's streams by the day. `partial` holds the base ticks of the day in progress.

    `peers` says whom each stream is held against and why others are not; `profiles` by which
    reference each peer was counted then. `differences` and `slow` are None where nothing is
    followed so.
    """

    name: ClockName
    peers: Peers
    profiles: dict[str, str]
    differences: TickClock | None
    slow: TickClock | None
    knows_year: bool
    partial: TickSummary | None = None

    @property
    def clocks(self) -> tuple[TickClock, ...]:
        return tuple(clock for clock in (self.differences, self.slow) if clock is not None)

    def extras(self) -> dict[str, Any]:
        """What is saved besides the clocks, as MessagePack can hold it."""
        return {
            "name": self.name,
            "controls": {stream: asdict(one) for stream, one in self.peers.controls.items()},
            "why_not": dict(self.peers.why_not),
            "profiles": self.profiles,
            "has": [self.differences is not None, self.slow is not None],
            "knows_year": self.knows_year,
            "partial": None if self.partial is None else self.partial.to_bytes(),
        }

    @classmethod
    def restored(cls, clocks: list[TickClock], extras: dict[str, Any]) -> DayWatch:
        """Read back what `extras` gave, with the clocks that belong to it."""
        waiting = iter(clocks)
        differences, slow = (next(waiting) if has else None for has in extras["has"])
        partial = extras["partial"]
        controls = {
            stream: Control(
                peers=tuple(one["peers"]),
                centre=tuple(one["centre"]),
                spread=tuple(one["spread"]),
                own_spread=one["own_spread"],
                slope=one["slope"],
                correlation=one["correlation"],
            )
            for stream, one in extras["controls"].items()
        }
        return cls(
            name=extras["name"],
            peers=Peers(controls, extras["why_not"]),
            profiles=extras["profiles"],
            differences=differences,
            slow=slow,
            knows_year=extras["knows_year"],
            partial=None if partial is None else TickSummary.from_bytes(partial),
        )

    def own_specs(self, specs: tuple[StreamSpec, ...]) -> tuple[StreamSpec, ...]:
        """The streams with the weight that their differences leave them."""
        if self.differences is None:
            return specs
        return beside_peers(specs, self.peers.controls)[0]


def open_day_watch(
    watch: Watch,
    name: ClockName,
    base: Sequence[TickSummary],
    fleet: Fleet | None,
    *,
    span_us: tuple[int, int] | None = None,
) -> DayWatch | None:
    """Start on a reference's base ticks; None where there is nothing to follow by the day.

    `span_us` is the event time of the ticks where the reference itself has none.
    """
    specs = specs_of(watch, name)
    span = span_us or watch.reference_span_us
    if not specs or span is None or span[1] - span[0] < PROMISED_US - DAY_US:
        return None
    if watch.settings.tick_rows is not None or not base:
        return None
    reference = Series(*reference_vectors(watch.profile, specs, base, DAY_US))
    knows_year = int(reference.starts_us[-1] - reference.starts_us[0]) >= YEAR_US
    peers, profiles, differences = Peers(), {}, None
    if fleet is not None and watch.settings.peers:
        peers = _choose(watch, name, specs, reference, fleet)
        profiles = {domain: fleet.fingerprint(domain) for domain in peers.domains}
        peers, differences = _open_differences(watch, name, specs, reference, peers, fleet)
    slow = None
    if watch.settings.slow is not None:
        slow = _open_slow(watch, specs, reference)
    if differences is None and slow is None and not peers.why_not:
        return None
    return DayWatch(name, peers, profiles, differences, slow, knows_year)


def _choose(
    watch: Watch,
    name: ClockName,
    specs: tuple[StreamSpec, ...],
    reference: Series,
    fleet: Fleet,
) -> Peers:
    at = list(comparable(specs))
    streams = tuple(specs[place].stream.id for place in at)
    others = fleet.references(watch.deployment.domain, name, streams, DAY_US)
    own = Series(reference.starts_us, reference.y[:, at], reference.v[:, at])
    return choose_peers(own, others, streams)


def _open_differences(
    watch: Watch,
    name: ClockName,
    specs: tuple[StreamSpec, ...],
    reference: Series,
    peers: Peers,
    fleet: Fleet,
) -> tuple[Peers, TickClock | None]:
    """The bank of differences after its reference; peers without it where no walk is fit."""
    if not peers.controls:
        return peers, None
    _, differing = beside_peers(specs, peers.controls)
    streams = tuple(source_of(spec.stream.id) for spec in differing)
    others = fleet.references(watch.deployment.domain, name, streams, DAY_US)
    at = [place for place, spec in enumerate(specs) if spec.stream.id in peers.controls]
    y, v = (
        np.zeros((len(reference.starts_us), len(at))),
        np.empty((len(reference.starts_us), len(at))),
    )
    for column, (place, stream) in enumerate(zip(at, streams, strict=True)):
        control = peers.controls[stream]
        theirs = [others[peer].on(reference.starts_us) for peer in control.peers]
        y[:, column], v[:, column] = control.difference(
            reference.y[:, place],
            reference.v[:, place],
            np.stack([own_y[:, column] for own_y, _ in theirs], axis=1),
            np.stack([own_v[:, column] for _, own_v in theirs], axis=1),
        )
    raw = np.where(np.isfinite(reference.v), reference.y, np.nan)[:, at]
    walk_sd = daily_spread(Design(DAY_US), reference.starts_us, raw)
    settings = watch.settings
    walk = choose_walk(
        reference.starts_us,
        y,
        v,
        differing,
        settings.budget,
        tick_us=DAY_US,
        holidays=settings.holidays,
        walk_sd=walk_sd,
    )
    if walk.level_walk is None:
        why = f"differences from peers do not keep the budget on the reference ({walk.why_not})"
        return Peers({}, {**peers.why_not, **dict.fromkeys(streams, why)}), None
    bank = start_bank(
        differing,
        tick_us=DAY_US,
        budget=settings.budget,
        holidays=settings.holidays,
        level_walk=walk.level_walk,
        walk_sd=walk_sd,
    )
    bank = prime(bank, reference.starts_us, y, v)
    return peers, TickClock(bank=bank, tick_us=DAY_US, level=reference_level(y, v))


def _open_slow(watch: Watch, specs: tuple[StreamSpec, ...], reference: Series) -> TickClock | None:
    """The bank of slow change after its reference."""
    slow = slow_streams(specs, labelled=bool(watch.label_specs))
    at = _whole(specs)
    if not slow:
        return None
    pages = watch.settings.slow
    assert pages is not None
    bank = start_bank(
        slow,
        tick_us=DAY_US,
        budget=pages,
        holidays=watch.settings.holidays,
        level_walk=SLOW_WALK,
        yearly=True,
    )
    y, v = reference.y[:, at], reference.v[:, at]
    bank = prime(bank, reference.starts_us, y, v)
    return TickClock(bank=bank, tick_us=DAY_US, level=reference_level(y, v))


def _whole(specs: Sequence[StreamSpec]) -> list[int]:
    """Places of the streams of all rows."""
    return [place for place, spec in enumerate(specs) if not spec.stream.slice]


def step_day_watch(
    watch: Watch,
    days: DayWatch | None,
    summary: TickSummary,
    instant_us: int,
    fleet: Fleet | None,
) -> list[Finding]:
    """Add a base tick; at a day's end judge the day."""
    if days is None:
        return []
    days.partial = (
        summary
        if days.partial is None
        else merge_summaries([days.partial, summary], days.partial.start_us, summary.end_us)
    )
    return close_day(watch, days, instant_us, fleet) if summary.end_us % DAY_US == 0 else []


def close_day(watch: Watch, days: DayWatch, instant_us: int, fleet: Fleet | None) -> list[Finding]:
    """Judge the day in progress, whole or not; nothing where none has begun."""
    if days.partial is None:
        return []
    specs = specs_of(watch, days.name)
    start_us = days.partial.start_us // DAY_US * DAY_US
    end_us = days.partial.end_us
    if any(start_us <= (clock.bank.last_start_us or 0) for clock in days.clocks):
        # The day in which the reference ends and the live rows begin is the reference's.
        days.partial = None
        return []
    y, v = statistics(specs, watch.profile, days.partial)
    days.partial = None
    found: list[Finding] = []
    if days.differences is not None:
        at = [place for place, spec in enumerate(specs) if spec.stream.id in days.peers.controls]
        theirs = _peer_ticks(days, fleet, start_us, end_us, instant_us)
        dy, dv = _differences(days, specs, at, y, v, theirs)
        found += _advance(watch, days.differences, start_us, instant_us, dy, dv)
    if days.slow is not None:
        at = _whole(specs)
        slow = _advance(watch, days.slow, start_us, instant_us, y[at], v[at])
        found += [_slow_words(days, finding) for finding in slow]
    return found


def _peer_ticks(
    days: DayWatch, fleet: Fleet | None, start_us: int, end_us: int, instant_us: int
) -> dict[str, tuple[dict[str, int], FloatArray, FloatArray]]:
    """The same day of every peer that has one and is counted as it was when it was chosen."""
    found = {}
    for domain, fingerprint in days.profiles.items():
        if fleet is None or fleet.fingerprint(domain) != fingerprint:
            continue
        seen = fleet.tick(domain, days.name, start_us, end_us, instant_us)
        if seen is None:
            continue
        places, y, v = seen
        v = v.copy()
        for stream, place in places.items():
            if fleet.is_ill(domain, stream, instant_us):
                v[place] = np.inf
        found[domain] = (places, y, v)
    return found


def _differences(
    days: DayWatch,
    specs: Sequence[StreamSpec],
    at: Sequence[int],
    y: FloatArray,
    v: FloatArray,
    theirs: dict[str, tuple[dict[str, int], FloatArray, FloatArray]],
) -> tuple[FloatArray, FloatArray]:
    dy, dv = np.zeros(len(at)), np.full(len(at), np.inf)
    for column, place in enumerate(at):
        stream = specs[place].stream.id
        control = days.peers.controls[stream]
        peers_y, peers_v = (
            np.zeros((1, len(control.peers))),
            np.full((1, len(control.peers)), np.inf),
        )
        for p, peer in enumerate(control.peers):
            if peer in theirs and stream in theirs[peer][0]:
                places, other_y, other_v = theirs[peer]
                peers_y[0, p], peers_v[0, p] = other_y[places[stream]], other_v[places[stream]]
        seen_y, seen_v = control.difference(
            y[place : place + 1], v[place : place + 1], peers_y, peers_v
        )
        dy[column], dv[column] = seen_y[0], seen_v[0]
    return dy, dv


def _advance(
    watch: Watch, clock: TickClock, start_us: int, instant_us: int, y: FloatArray, v: FloatArray
) -> list[Finding]:
    clock.bank, alarms = advance(clock.bank, start_us, y, v)
    clock.remember(start_us, y, v)
    return [
        finding_of(
            alarm,
            clock.bank.specs,
            watch,
            instant_us,
            seen=clock.since_onset(alarm.stream, alarm.onset_us),
        )
        for alarm in alarms
    ]


def _slow_words(days: DayWatch, finding: Finding) -> Finding:
    """A slow-change finding with what its reference cannot know; a lower loss is only logged."""
    words = finding.detail
    if not days.knows_year:
        words += " (the reference is shorter than a year: its season is not known)"
    better = finding.stream.startswith(tuple(LOSSES)) and (finding.effect or 0.0) < 0.0
    return replace(finding, detail=words, tier=Tier.LOG if better else finding.tier)
