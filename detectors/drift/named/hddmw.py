"""HDDMW: an exponentially weighted mean against its past (Frias-Blanco et al. 2015), by river."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detectors.base import State, detector
from detectors.drift.river_twins import RiverTwins, bounded, share
from detectors.drift.vector_state import TwinState


@detector
@dataclass(frozen=True, slots=True)
class HddmW(RiverTwins):
    """Fires when a weighted mean of values in [0, 1] exceeds its lowest by McDiarmid's bound.

    `lambda_val` is the weight of the newest tick. A tick's standardised value is read as the
    share of a normal reference below it.
    """

    name: ClassVar[str] = "hddmw"
    knob: ClassVar[str] = "drift_confidence"
    knob_range: ClassVar[tuple[float, float]] = (1e-30, 0.9)
    state_type: ClassVar[type[State]] = TwinState

    drift_confidence: float = 0.005
    lambda_val: float = 0.1

    def __post_init__(self) -> None:
        share(self.name, "drift_confidence", self.drift_confidence)
        share(self.name, "lambda_val", self.lambda_val)

    def chart(self) -> Any:
        from river.drift.binary import HDDMW

        confidence = self.drift_confidence
        return HDDMW(confidence, confidence, self.lambda_val)  # type: ignore[no-untyped-call]

    def save(self, chart: Any) -> tuple[float, ...]:
        samples = (chart._total, chart._s1_incr, chart._s2_incr)
        told = [float(chart._incr_cutpoint)]
        for sample in samples:
            told += [float(sample.is_init), sample.ewma if sample.is_init else 0.0, sample.ibc]
        return tuple(told)

    def load(self, chart: Any, saved: Sequence[float]) -> None:
        chart._incr_cutpoint = saved[0]
        for at, name in enumerate(("_total", "_s1_incr", "_s2_incr")):
            seen, mean, ibc = saved[1 + 3 * at : 4 + 3 * at]
            sample = getattr(chart, name)
            if seen:
                sample.update(mean)
            sample._ibc = ibc

    def read(self, value: float) -> float:
        return bounded(value)
