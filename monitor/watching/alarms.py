"""Alarms of a bank as records that people and rules can read."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.alignment.embedded import SHOWN
from detectors.evidence.bank import Alarm
from detectors.profile import Profile
from detectors.records import Finding, StreamSpec, Tier, to_datetime
from detectors.streams import effect_words
from monitor.watching.watch import Watch

LOSSES = frozenset({"loss", "transfer"})


def finding_of(
    alarm: Alarm,
    specs: Sequence[StreamSpec],
    watch: Watch,
    instant_us: int,
    *,
    seen: float | None = None,
    profile: Profile | None = None,
) -> Finding:
    """An alarm of the bank as a record people and rules can read.

    A lower loss wakes nobody, and a stream that is back where its reference was is only logged.
    `seen` is how far the stream has been from its reference since the onset. It is the effect
    that is told where it has the alarm's sign: the alarm's own is an estimate of the step, large
    where ticks remember each other. `profile` is what the stream is held to, if not the watch's.
    """
    spec = specs[alarm.stream]
    effect = alarm.effect if seen is None or seen * alarm.effect <= 0.0 else seen
    tier = alarm.tier
    if tier is Tier.PAGE and spec.stream.signal in LOSSES and alarm.effect < 0.0:
        tier = Tier.TICKET
    if seen is not None and abs(seen) <= spec.delta_min:
        tier = Tier.LOG
    return Finding(
        kind="drift",
        ts=to_datetime(instant_us),
        onset=to_datetime(min(alarm.onset_us, instant_us)),
        stream=spec.stream.id,
        tier=tier,
        column=SHOWN.get(spec.stream.column, spec.stream.column),
        slice=spec.stream.slice,
        evidence=alarm.evidence,
        effect=effect,
        detail=effect_words(spec, effect, profile or watch.profile),
    )
