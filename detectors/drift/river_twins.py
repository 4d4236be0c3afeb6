"""River's methods for error rates, as detectors of ticks.

They read numbers in [0, 1] or bits, and most see rises only. A tick's standardised value goes in
as a bounded number or as the bit "this tick is high", and a twin reads the mirrored value, so
that falls are seen as well. River's objects are rebuilt from plain numbers at each step; none is
ever saved.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from detectors.drift.vector_state import TwinState
from detectors.records import FloatArray


class RiverTwins(ABC):
    """What the methods share; each says how its river object is made, saved and shown a value."""

    __slots__ = ()

    @abstractmethod
    def chart(self) -> Any:
        """A river object with the settings of this detector and no memory."""

    @abstractmethod
    def save(self, chart: Any) -> tuple[float, ...]:
        """The memory of a river object that has been shown a value and did not fire."""

    @abstractmethod
    def load(self, chart: Any, saved: Sequence[float]) -> None:
        """Give a new river object the memory `save` took."""

    @abstractmethod
    def read(self, value: float) -> float:
        """What river is shown of a standardised value."""

    def start(self, reference: FloatArray) -> TwinState:
        """Show the reference ticks; an alarm among them starts that side's memory again."""
        if not len(reference):
            return TwinState()
        up, down = self._shown(reference)
        return TwinState(self._saved(up), self._saved(down))

    def step(self, state: TwinState, value: float) -> tuple[TwinState, bool]:
        up = self._after(state.up, value)
        down = self._after(state.down, -value)
        if up is None or down is None:
            return TwinState(), True
        return TwinState(up, down), False

    def alarms(self, reference: FloatArray, path: FloatArray) -> int:
        """How often it fires on a path (T,), as stepping through it would."""
        up, down = self._shown(reference)
        if up.drift_detected:
            up = self.chart()
        if down.drift_detected:
            down = self.chart()
        fired = 0
        for value in path.tolist():
            up.update(self.read(value))
            down.update(self.read(-value))
            if up.drift_detected or down.drift_detected:
                fired += 1
                up, down = self.chart(), self.chart()
        return fired

    def _shown(self, reference: FloatArray) -> tuple[Any, Any]:
        up, down = self.chart(), self.chart()
        for value in reference.tolist():
            up.update(self.read(value))
            down.update(self.read(-value))
        return up, down

    def _after(self, saved: tuple[float, ...], value: float) -> tuple[float, ...] | None:
        """One side's memory after one more value, None where it fires."""
        chart = self.chart()
        if saved:
            self.load(chart, saved)
        chart.update(self.read(value))
        return None if chart.drift_detected else self.save(chart)

    def _saved(self, chart: Any) -> tuple[float, ...]:
        return () if chart.drift_detected else self.save(chart)


def bounded(value: float) -> float:
    """A standardised value in [0, 1]: the share of a normal reference below it."""
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def share(name: str, option: str, value: float) -> None:
    """ValueError unless an option lies strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{option} of {name} is {value}; it must lie between 0 and 1")


def whole(name: str, option: str, value: float, least: int = 1) -> None:
    """ValueError unless an option is a whole number from `least` on."""
    if value < least or not float(value).is_integer():
        raise ValueError(f"{option} of {name} is {value}; it must be a whole number >= {least}")
