"""Page-Hinkley with a running mean, both ways; our own, for many streams at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import State, detector
from detectors.drift.bank_chart import BankChart
from detectors.drift.banks import PAGE_HINKLEY_WIDTH, step_page_hinkley
from detectors.drift.vector_state import VectorState
from detectors.records import BoolArray, FloatArray


@detector
@dataclass(frozen=True, slots=True)
class PageHinkleyBank(BankChart):
    """Fires when a sum of excesses over the running mean leaves its extreme by `limit_sd`.

    What river's does without forgetting (alpha 1), faster; `delta_sd` is half the smallest shift
    that matters.
    """

    name: ClassVar[str] = "page_hinkley_bank"
    knob: ClassVar[str] = "limit_sd"
    knob_range: ClassVar[tuple[float, float]] = (500.0, 0.5)
    state_type: ClassVar[type[State]] = VectorState

    limit_sd: float = 15.0
    delta_sd: float = 0.25

    def __post_init__(self) -> None:
        if self.limit_sd <= 0 or not self.delta_sd >= 0:
            raise ValueError(
                f"page_hinkley_bank needs limit_sd > 0 and delta_sd >= 0; it got {self.limit_sd} "
                f"and {self.delta_sd}"
            )

    def width(self) -> int:
        return PAGE_HINKLEY_WIDTH

    def limit(self) -> float:
        return self.limit_sd

    def bank(self, memory: FloatArray, values: FloatArray, limits: FloatArray) -> BoolArray:
        return step_page_hinkley(memory, values, limits, delta=self.delta_sd)
