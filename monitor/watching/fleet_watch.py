"""All domains of a model as one: the median of what they see, by the day, in tickets.

It stands beside the domains as a deployment without a domain, with incidents and a checkpoint of
its own: what moves the whole fleet is told once, with the source they share as the cause. It
begins on the day after the last reference of the fleet, reads the rows of each domain by the
rules of evidence, and knows nothing that evidence of the same day does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec
import numpy as np

from alerts.closing import note_margin, resolve_if_recovered
from alerts.lifecycle import decide
from alerts.records import Decision
from alerts.settings import AlertSettings
from detectors.actions import ALL_DOMAINS
from detectors.day_streams import comparable
from detectors.evidence.bank import ENGINE_VERSION, advance, prime, start_bank
from detectors.evidence.fleet_median import Median, fit_medians, median_days
from detectors.evidence.young import PROMISED_US
from detectors.records import (
    DAY_US,
    Action,
    Deployment,
    Diagnosis,
    Finding,
    FloatArray,
    Mode,
    StreamSpec,
    Tier,
    to_datetime,
)
from detectors.streams import effect_words
from monitor.watching.fleet import Fleet
from monitor.watching.judgement import Ledger
from monitor.watching.progress import TickClock, index_of, pack_clock, reference_level, unpack_clock

ACTION = Action(
    "investigate what all domains share",
    ALL_DOMAINS,
    "now",
    "the median of the domains returns inside its margin within 7 days of a fix at the source; if "
    "not, the world that all of them see has moved, and it is no fault",
)


@dataclass(slots=True, eq=False)
class FleetWatch:
    """Where the medians stand. `profiles` says by which reference each domain is counted."""

    medians: dict[str, Median]
    profiles: dict[str, str]
    clock: TickClock
    fingerprint: str

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(
            {
                "medians": {stream: asdict(one) for stream, one in self.medians.items()},
                "profiles": self.profiles,
                "clock": pack_clock(self.clock),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, fingerprint: str) -> FleetWatch:
        """Read back what `to_bytes` wrote."""
        stored: dict[str, Any] = msgspec.msgpack.decode(data)
        medians = {
            stream: Median(
                tuple(one["domains"]), tuple(one["centre"]), tuple(one["spread"]), one["unit"]
            )
            for stream, one in stored["medians"].items()
        }
        return cls(medians, stored["profiles"], unpack_clock(stored["clock"]), fingerprint)


def fleet_fingerprint(fleet: Fleet) -> str:
    """Changes whenever the stored medians no longer mean what they meant."""
    text = json.dumps(
        [
            sorted((name, fleet.fingerprint(name)) for name in fleet.counted),
            asdict(fleet.settings.budget),
            fleet.settings.holidays,
            ENGINE_VERSION,
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def open_fleet_watch(fleet: Fleet) -> FleetWatch | None:
    """Start on the references; None where fewer than three domains share 14 days of a stream."""
    specs = _specs(fleet)
    streams = tuple(specs)
    references = fleet.every_reference("feature", streams, DAY_US)
    medians = fit_medians(references, streams)
    if not medians:
        return None
    reference = median_days(medians, references, streams)
    seen = np.isfinite(reference.v).any(axis=1)
    if not seen.any() or np.ptp(reference.starts_us[seen]) < PROMISED_US - DAY_US:
        return None
    settings = fleet.settings
    bank = start_bank(
        tuple(
            StreamSpec(
                replace(specs[stream].stream, tier=Tier.TICKET, view="fleet"),
                1.0 / len(medians),
                specs[stream].delta_min,
            )
            for stream in medians
        ),
        tick_us=DAY_US,
        budget=settings.budget,
        holidays=settings.holidays,
        yearly=True,
    )
    clock = TickClock(
        bank=prime(bank, reference.starts_us, reference.y, reference.v),
        tick_us=DAY_US,
        next_us=int(reference.starts_us[-1]) + DAY_US,
        level=reference_level(reference.y, reference.v),
    )
    profiles = {name: fleet.fingerprint(name) for name in fleet.counted}
    return FleetWatch(medians, profiles, clock, fleet_fingerprint(fleet))


def _specs(fleet: Fleet) -> dict[str, StreamSpec]:
    """Streams of the domains by id, as the first of them that has each knows it."""
    found: dict[str, StreamSpec] = {}
    for name in fleet.counted:
        specs = fleet.specs(name, "feature")
        for place in comparable(specs):
            found.setdefault(specs[place].stream.id, specs[place])
    return found


def step_fleet(
    watch: FleetWatch, fleet: Fleet, *, watermark_us: int
) -> Iterator[tuple[int, tuple[Finding, ...]]]:
    """Judge every day that the watermark has passed, in order; the instant and what was found."""
    clock = watch.clock
    assert clock.next_us is not None
    while clock.next_us + DAY_US <= watermark_us:
        start_us, end_us = clock.next_us, clock.next_us + DAY_US
        y, v = _day(watch, fleet, start_us, end_us)
        clock.bank, alarms = advance(clock.bank, start_us, y, v)
        clock.remember(start_us, y, v)
        clock.next_us = end_us
        found = []
        for alarm in alarms:
            spec = clock.bank.specs[alarm.stream]
            seen = clock.since_onset(alarm.stream, alarm.onset_us)
            effect = alarm.effect if seen is None or seen * alarm.effect <= 0.0 else seen
            median = watch.medians[list(watch.medians)[alarm.stream]]
            found.append(
                Finding(
                    kind="drift",
                    ts=to_datetime(end_us),
                    onset=to_datetime(min(alarm.onset_us, end_us)),
                    stream=spec.stream.id,
                    tier=Tier.LOG if abs(effect) <= spec.delta_min else Tier.TICKET,
                    column=spec.stream.column,
                    evidence=alarm.evidence,
                    effect=effect,
                    detail=f"{effect_words(spec, effect)} in the median of "
                    f"{len(median.domains)} domains",
                )
            )
        yield end_us, tuple(found)


def _day(
    watch: FleetWatch, fleet: Fleet, start_us: int, end_us: int
) -> tuple[FloatArray, FloatArray]:
    ticks = {}
    for name, fingerprint in watch.profiles.items():
        if fleet.fingerprint(name) == fingerprint:
            seen = fleet.tick(name, "feature", start_us, end_us, end_us)
            if seen is not None:
                ticks[name] = seen
    y, v = np.zeros(len(watch.medians)), np.full(len(watch.medians), np.inf)
    for column, (stream, median) in enumerate(watch.medians.items()):
        each_y, each_v = (
            np.zeros((1, len(median.domains))),
            np.full((1, len(median.domains)), np.inf),
        )
        for at, name in enumerate(median.domains):
            if name in ticks and stream in ticks[name][0]:
                places, theirs_y, theirs_v = ticks[name]
                each_y[0, at], each_v[0, at] = theirs_y[places[stream]], theirs_v[places[stream]]
        middle, variance = median.of(each_y, each_v)
        y[column], v[column] = middle[0], variance[0]
    return y, v


def judge_fleet(
    watch: FleetWatch,
    model: str,
    findings: tuple[Finding, ...],
    ledger: Ledger,
    now_us: int,
    alerts: AlertSettings,
) -> list[Decision]:
    """What a day means for the incidents of the fleet as a whole; moves `ledger`."""
    now, deployment = to_datetime(now_us), Deployment(model, "")
    decisions: list[Decision] = []
    told = [finding for finding in findings if finding.tier is not Tier.LOG]
    if told:
        diagnosis = Diagnosis(
            mode=Mode.COVARIATE_SHIFT,
            confidence=1.0,
            runner_up=None,
            evidence=tuple(finding.detail for finding in told[:5]),
            action=ACTION,
            columns=tuple(dict.fromkeys(finding.column for finding in told if finding.column)),
        )
        decision = decide(
            deployment,
            findings=told,
            diagnosis=diagnosis,
            open_incidents=ledger.open,
            closed_incidents=ledger.closed,
            now=now,
            settings=alerts,
        )
        decisions.append(decision)
        ledger.apply(decision)
    places = index_of(watch.clock.bank.specs)
    for incident in ledger.open:
        answers = []
        for stream in incident.streams:
            seen = watch.clock.recent_effect(places[stream]) if stream in places else None
            if seen is not None:
                margin = watch.clock.bank.specs[places[stream]].delta_min
                answers.append(abs(seen[0]) <= max(margin, 1.64 * seen[1]))
        if not answers:
            continue
        noted = note_margin(incident, inside=all(answers), now=now)
        if noted != incident:
            decisions.append(Decision(incidents=(noted,)))
            ledger.apply(decisions[-1])
        decision = resolve_if_recovered(
            noted, inside_margin_since=noted.recovering_since, now=now, settings=alerts
        )
        decisions.append(decision)
        ledger.apply(decision)
    return decisions
