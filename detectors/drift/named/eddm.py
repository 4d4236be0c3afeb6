"""EDDM: errors that come closer together (Baena-Garcia et al. 2006), by river."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detectors.base import State, detector
from detectors.drift.river_twins import RiverTwins, share, whole
from detectors.drift.vector_state import TwinState


@detector
@dataclass(frozen=True, slots=True)
class Eddm(RiverTwins):
    """Fires when the distance of high ticks, mean and two sd, is below `beta` of its largest.

    A tick is high beyond `cut_sd` reference standard deviations. Its published default of .9
    fires on nearly every quiet stream; calibrate it, and prefer another.
    """

    name: ClassVar[str] = "eddm"
    knob: ClassVar[str] = "beta"
    knob_range: ClassVar[tuple[float, float]] = (0.05, 0.999)
    state_type: ClassVar[type[State]] = TwinState

    beta: float = 0.7
    warm_start: float = 30
    cut_sd: float = 1.0

    def __post_init__(self) -> None:
        share(self.name, "beta", self.beta)
        whole(self.name, "warm_start", self.warm_start)

    def chart(self) -> Any:
        from river.drift.binary import EDDM

        beta = self.beta
        return EDDM(int(self.warm_start), beta, beta)

    def save(self, chart: Any) -> tuple[float, ...]:
        distance = chart._error_distances
        return (
            float(chart._n),
            float(chart._last_error),
            float(chart._n_errors),
            float(chart._p2s_prime_max),
            float(distance.mean.n),
            distance.mean.get(),
            distance._S,
        )

    def load(self, chart: Any, saved: Sequence[float]) -> None:
        from river.stats import Mean

        chart._n, chart._last_error, chart._n_errors = (int(number) for number in saved[:3])
        chart._p2s_prime_max = saved[3]
        chart._error_distances.mean = Mean._from_state(saved[4], saved[5])
        chart._error_distances._S = saved[6]

    def read(self, value: float) -> float:
        return float(value > self.cut_sd)
