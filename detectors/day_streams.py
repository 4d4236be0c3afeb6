"""Streams that are followed a second time, by the day: less their peers, and for slow change.

A stream and its difference from its peers share one stream's weight, half each: a fault of all
domains is invisible in differences, so a stream is never replaced by its difference. Slow-change
streams file tickets on a budget of their own, which is shared like that of pages: two thirds on
labels where there are any, the rest on predictions and columns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from detectors.records import StreamSpec, Tier
from detectors.streams import LABELLED_SHARE

COMPARED = frozenset({"prediction", "column", "loss", "calibration"})
"""What can be read of other domains by their rows alone; transfer needs their baselines."""
LABELLED = frozenset({"loss", "calibration", "transfer"})
OWN_SHARE = 0.5


def comparable(specs: Sequence[StreamSpec]) -> tuple[int, ...]:
    """Places of the streams that may have peers: of all rows, not of slices."""
    return tuple(
        place
        for place, spec in enumerate(specs)
        if spec.stream.signal in COMPARED and not spec.stream.slice
    )


def beside_peers(
    specs: Sequence[StreamSpec], compared: Collection[str]
) -> tuple[tuple[StreamSpec, ...], tuple[StreamSpec, ...]]:
    """The streams with what weight is left to them, and the differences of those in `compared`."""
    own = tuple(
        replace(spec, weight=spec.weight * OWN_SHARE) if spec.stream.id in compared else spec
        for spec in specs
    )
    differences = tuple(
        StreamSpec(replace(spec.stream, view="peers"), spec.weight * OWN_SHARE, spec.delta_min)
        for spec in specs
        if spec.stream.id in compared
    )
    return own, differences


def slow_streams(specs: Sequence[StreamSpec], *, labelled: bool) -> tuple[StreamSpec, ...]:
    """The streams of one clock that are followed for slow change.

    Weights add to one, or to one with those of the other clock where the model is `labelled`.
    """
    whole = [spec for spec in specs if not spec.stream.slice]
    signals = sorted({spec.stream.signal for spec in whole})
    if not signals:
        return ()
    share = 1.0
    if labelled:
        share = LABELLED_SHARE if set(signals) <= LABELLED else 1.0 - LABELLED_SHARE
    found = []
    for spec in whole:
        alike = sum(one.stream.signal == spec.stream.signal for one in whole)
        stream = replace(spec.stream, view="slow", tier=Tier.TICKET)
        found.append(StreamSpec(stream, share / len(signals) / alike, spec.delta_min))
    return tuple(found)


def source_of(stream_id: str) -> str:
    """The id of the stream that a view looks at."""
    return stream_id.partition("~")[0]
