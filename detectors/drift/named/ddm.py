"""DDM: an error rate that leaves its lowest (Gama et al. 2004), by river."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detectors.base import State, detector
from detectors.drift.river_twins import RiverTwins, whole
from detectors.drift.vector_state import TwinState


@detector
@dataclass(frozen=True, slots=True)
class Ddm(RiverTwins):
    """Fires when the share of high ticks since the start leaves its lowest by so many of its sd.

    A tick is high beyond `cut_sd` reference standard deviations. The share is over everything
    since the last alarm, so a long quiet stretch makes it slow, and most of its false alarms
    come early: calibrate it, and prefer another.
    """

    name: ClassVar[str] = "ddm"
    knob: ClassVar[str] = "drift_threshold"
    knob_range: ClassVar[tuple[float, float]] = (40.0, 0.3)
    state_type: ClassVar[type[State]] = TwinState

    drift_threshold: float = 3.0
    warm_start: float = 30
    cut_sd: float = 1.0

    def __post_init__(self) -> None:
        whole(self.name, "warm_start", self.warm_start)
        if self.drift_threshold <= 0:
            raise ValueError(f"drift_threshold of ddm is {self.drift_threshold}; it must be > 0")

    def chart(self) -> Any:
        from river.drift.binary import DDM

        threshold = self.drift_threshold
        return DDM(int(self.warm_start), threshold, threshold)

    def save(self, chart: Any) -> tuple[float, ...]:
        lowest = (-1.0, -1.0) if chart._p_min is None else (chart._p_min, chart._s_min)
        return (float(chart._p.n), chart._p.get(), *lowest)

    def load(self, chart: Any, saved: Sequence[float]) -> None:
        from river.stats import Mean

        chart._p = Mean._from_state(saved[0], saved[1])
        if saved[2] >= 0.0:
            chart._p_min, chart._s_min = saved[2], saved[3]
            chart._ps_min = chart._p_min + chart._s_min

    def read(self, value: float) -> float:
        return float(value > self.cut_sd)
