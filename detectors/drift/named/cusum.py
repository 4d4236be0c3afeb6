"""CUSUM: sums of what exceeds an allowance, both ways (Page 1954); for many streams at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import State, detector
from detectors.drift.bank_chart import BankChart
from detectors.drift.banks import CUSUM_WIDTH, step_cusum
from detectors.drift.vector_state import VectorState
from detectors.records import BoolArray, FloatArray


@detector
@dataclass(frozen=True, slots=True)
class Cusum(BankChart):
    """Fires when a sum of excesses beyond `allowance_sd` passes `limit_sd`.

    The allowance is half the smallest shift that matters. On independent normal ticks a limit of
    4 at an allowance of .5 fires once in 168, a limit of 5 once in 465 (published tables).
    """

    name: ClassVar[str] = "cusum"
    knob: ClassVar[str] = "limit_sd"
    knob_range: ClassVar[tuple[float, float]] = (400.0, 0.3)
    state_type: ClassVar[type[State]] = VectorState

    limit_sd: float = 8.0
    allowance_sd: float = 0.5

    def __post_init__(self) -> None:
        if self.limit_sd <= 0 or not self.allowance_sd >= 0:
            raise ValueError(
                f"cusum needs limit_sd > 0 and allowance_sd >= 0; it got {self.limit_sd} "
                f"and {self.allowance_sd}"
            )

    def width(self) -> int:
        return CUSUM_WIDTH

    def limit(self) -> float:
        return self.limit_sd

    def bank(self, memory: FloatArray, values: FloatArray, limits: FloatArray) -> BoolArray:
        return step_cusum(memory, values, limits, allowance=self.allowance_sd)
