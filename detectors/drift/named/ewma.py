"""EWMA: an exponentially weighted average (Roberts 1959); our own, for many streams at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import State, detector
from detectors.drift.bank_chart import BankChart
from detectors.drift.banks import EWMA_WIDTH, step_ewma
from detectors.drift.vector_state import VectorState
from detectors.records import BoolArray, FloatArray


@detector
@dataclass(frozen=True, slots=True)
class Ewma(BankChart):
    """Fires when the average is `limit_sd` of its own settled deviations from the reference.

    `weight` is that of the newest tick. On independent normal ticks a weight of .1 and a limit of
    2.814 fire once in 500 (Lucas and Saccucci 1990).
    """

    name: ClassVar[str] = "ewma"
    knob: ClassVar[str] = "limit_sd"
    knob_range: ClassVar[tuple[float, float]] = (60.0, 0.3)
    state_type: ClassVar[type[State]] = VectorState

    limit_sd: float = 4.0
    weight: float = 0.1

    def __post_init__(self) -> None:
        if self.limit_sd <= 0 or not 0 < self.weight <= 1:
            raise ValueError(
                f"ewma needs limit_sd > 0 and 0 < weight <= 1; it got {self.limit_sd} "
                f"and {self.weight}"
            )

    def width(self) -> int:
        return EWMA_WIDTH

    def limit(self) -> float:
        return self.limit_sd

    def bank(self, memory: FloatArray, values: FloatArray, limits: FloatArray) -> BoolArray:
        return step_ewma(memory, values, limits, weight=self.weight)
