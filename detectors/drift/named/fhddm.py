"""FHDDM: a sliding share against its highest (Pesaranghader and Viktor 2016), by river."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detectors.base import State, detector
from detectors.drift.river_twins import RiverTwins, bounded, share, whole
from detectors.drift.vector_state import TwinState

LONGEST = 2000
"""A longer window would make a memory that is written at every tick too large."""


@detector
@dataclass(frozen=True, slots=True)
class Fhddm(RiverTwins):
    """Fires when the mean of the last ticks falls below its highest by Hoeffding's bound.

    River's method watches a rate of right answers fall, so a rise is read mirrored: a tick's
    standardised value is taken as the share of a normal reference above it.
    """

    name: ClassVar[str] = "fhddm"
    knob: ClassVar[str] = "confidence_level"
    knob_range: ClassVar[tuple[float, float]] = (1e-60, 0.9)
    state_type: ClassVar[type[State]] = TwinState

    confidence_level: float = 1e-4
    sliding_window_size: float = 25

    def __post_init__(self) -> None:
        share(self.name, "confidence_level", self.confidence_level)
        whole(self.name, "sliding_window_size", self.sliding_window_size, least=2)
        if self.sliding_window_size > LONGEST:
            raise ValueError(
                f"sliding_window_size of fhddm is {self.sliding_window_size:g}; at most {LONGEST}"
            )

    def chart(self) -> Any:
        from river.drift.binary import FHDDM

        return FHDDM(int(self.sliding_window_size), self.confidence_level)

    def save(self, chart: Any) -> tuple[float, ...]:
        return (float(chart._u_max), float(chart.n_one), *chart._sliding_window)

    def load(self, chart: Any, saved: Sequence[float]) -> None:
        chart._u_max, chart.n_one = saved[0], saved[1]
        chart._sliding_window.extend(saved[2:])

    def read(self, value: float) -> float:
        return 1.0 - bounded(value)
