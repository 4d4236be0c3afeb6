"""HDDMA: a mean against its lowest, by Hoeffding's bound (Frias-Blanco et al. 2015), by river."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detectors.base import State, detector
from detectors.drift.river_twins import RiverTwins, bounded, share
from detectors.drift.vector_state import TwinState


@detector
@dataclass(frozen=True, slots=True)
class HddmA(RiverTwins):
    """Fires when a mean of values in [0, 1] exceeds its lowest by Hoeffding's bound.

    A tick's standardised value is read as the share of a normal reference below it. The bound
    holds for independent values of any shape, which makes it wide: calibrate it.
    """

    name: ClassVar[str] = "hddma"
    knob: ClassVar[str] = "drift_confidence"
    knob_range: ClassVar[tuple[float, float]] = (1e-30, 0.9)
    state_type: ClassVar[type[State]] = TwinState

    drift_confidence: float = 0.001

    def __post_init__(self) -> None:
        share(self.name, "drift_confidence", self.drift_confidence)

    def chart(self) -> Any:
        from river.drift.binary import HDDMA

        return HDDMA(self.drift_confidence, self.drift_confidence)  # type: ignore[no-untyped-call]

    def save(self, chart: Any) -> tuple[float, ...]:
        means = (chart._z, chart._x_min, chart._x_max)
        return tuple(number for mean in means for number in (float(mean.n), mean.get()))

    def load(self, chart: Any, saved: Sequence[float]) -> None:
        from river.stats import Mean

        for at, name in enumerate(("_z", "_x_min", "_x_max")):
            setattr(chart, name, Mean._from_state(saved[2 * at], saved[2 * at + 1]))

    def read(self, value: float) -> float:
        return bounded(value)
