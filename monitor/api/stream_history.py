"""One stream over time, read from stored tick summaries: y and its sampling variance a tick."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from detectors.profile import Profile
from detectors.records import Deployment, Settings, Stream, StreamSpec, to_datetime, to_us
from detectors.streams import feature_streams, label_streams, statistics_of
from detectors.summary import TickSummary
from monitor.api.errors import RequestRefusedError
from monitor.api.look_up import unknown
from monitor.reports.forms import finite, iso
from monitor.watching.named import COLUMN_STATISTICS, SIGNALS
from monitor.watching.watch import BASE_TICK_US
from storage.references import Role, active_reference, load_profile
from storage.summaries import Clock, read_summaries


def stream_history(
    session: Session,
    deployment: Deployment,
    stream: str,
    settings: Settings,
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    detectors: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The last `limit` base ticks of a stream with `since <= ts < until`, oldest first.

    Raises:
        RequestRefusedError: 404 for an unknown stream, with the nearest known one; 409 where the
            deployment has no fitted reference, so that its ticks cannot be read back.
    """
    profile = _profile(session, deployment)
    features = feature_streams(profile, settings)
    labels = label_streams(profile, settings) if profile.schema.has_label else ()
    clock, spec = _find(stream, features, labels)
    tick_us = settings.tick_us or BASE_TICK_US
    stored = read_summaries(
        session,
        deployment,
        clock,
        profile.fingerprint,
        tick_us=tick_us,
        since_us=None if since is None else to_us(since),
        until_us=None if until is None else to_us(until),
    )
    kept = deque(stored, maxlen=limit)
    y, v = statistics_of((spec,), profile, [TickSummary.from_bytes(tick.body) for tick in kept])
    points = [
        {
            "ts": iso(to_datetime(tick.start_us)),
            "y": finite(value) if math.isfinite(variance) else None,
            "v": finite(variance),
        }
        for tick, value, variance in zip(kept, y[:, 0].tolist(), v[:, 0].tolist(), strict=True)
    ]
    return {
        "stream": spec.stream.id,
        "signal": spec.stream.signal,
        "statistic": spec.stream.statistic,
        "column": spec.stream.column or None,
        "slice": spec.stream.slice or None,
        "tier": spec.stream.tier.value,
        "clock": clock.value,
        "tick_seconds": tick_us // 1_000_000,
        "smallest_effect": spec.delta_min,
        "detectors": [one for one in detectors if _reads(one["signal"], spec.stream)],
        "points": points,
    }


def _reads(signal: str, stream: Stream) -> bool:
    """Whether a named detector on `signal` follows this stream."""
    if signal in SIGNALS:
        return SIGNALS[signal] == stream.id
    return stream.column == signal and stream.statistic in COLUMN_STATISTICS


def _profile(session: Session, deployment: Deployment) -> Profile:
    """The cells that the deployment's summaries were cut by."""
    for role in (Role.ONBOARDING, Role.SOURCE):
        reference = active_reference(session, deployment, role)
        if reference is None:
            continue
        body = load_profile(session, reference.id)
        if body is not None:
            return Profile.from_bytes(body)
        break
    raise RequestRefusedError(
        409,
        f"{deployment} has no fitted reference, so its ticks cannot be read back",
        "add one with `kedge reference add`; its cells are fitted at the next check",
    )


def _find(
    stream: str, features: tuple[StreamSpec, ...], labels: tuple[StreamSpec, ...]
) -> tuple[Clock, StreamSpec]:
    for clock, specs in ((Clock.FEATURE, features), (Clock.LABEL, labels)):
        for spec in specs:
            if spec.stream.id == stream:
                return clock, spec
    raise unknown("stream", stream, [spec.stream.id for spec in (*features, *labels)])
