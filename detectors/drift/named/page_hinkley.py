"""Page-Hinkley: sum what exceeds the running mean (Page 1954), by river."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from detectors.base import JsonValue, State, detector
from detectors.records import FloatArray

if TYPE_CHECKING:
    from river.drift import PageHinkley as River
    from river.stats import Mean


@dataclass(frozen=True, slots=True)
class PageHinkleyState:
    """The sums of river's detector, in reference standard deviations. `lowest` None: none yet."""

    ticks: int = 0
    mean: float = 0.0
    increase: float = 0.0
    decrease: float = 0.0
    lowest_increase: float | None = None
    highest_decrease: float = -1.0

    def to_json(self) -> dict[str, JsonValue]:
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, JsonValue]) -> PageHinkleyState:
        def number(name: str) -> float:
            value = float(saved[name])  # type: ignore[arg-type]
            if not math.isfinite(value):
                raise ValueError(f"{name} of a Page-Hinkley state is {saved[name]!r}")
            return value

        return cls(
            ticks=int(number("ticks")),
            mean=number("mean"),
            increase=number("increase"),
            decrease=number("decrease"),
            lowest_increase=(
                None if saved["lowest_increase"] is None else number("lowest_increase")
            ),
            highest_decrease=number("highest_decrease"),
        )


@detector
@dataclass(frozen=True, slots=True)
class PageHinkley:
    """Fires when a sum of excesses over the running mean leaves its extreme by `threshold`.

    `delta` is taken off every excess: half the smallest shift that matters. Both are in reference
    standard deviations of a tick.
    """

    name: ClassVar[str] = "page_hinkley"
    knob: ClassVar[str] = "threshold"
    knob_range: ClassVar[tuple[float, float]] = (500.0, 0.5)
    state_type: ClassVar[type[State]] = PageHinkleyState

    threshold: float = 15.0
    delta: float = 0.25
    min_instances: float = 10
    alpha: float = 0.9999

    def __post_init__(self) -> None:
        if self.threshold <= 0 or self.delta < 0:
            raise ValueError(
                f"page_hinkley needs threshold > 0 and delta >= 0; it got {self.threshold} "
                f"and {self.delta}"
            )
        if not 0 < self.alpha <= 1 or self.min_instances < 1:
            raise ValueError(
                f"page_hinkley needs 0 < alpha <= 1 and min_instances >= 1; it got {self.alpha} "
                f"and {self.min_instances}"
            )

    def start(self, reference: FloatArray) -> PageHinkleyState:
        """Compare with the reference from the first tick on: its mean, but none of its sums."""
        rows = len(reference)
        return PageHinkleyState(ticks=rows, mean=float(reference.mean()) if rows else 0.0)

    def step(self, state: PageHinkleyState, value: float) -> tuple[PageHinkleyState, bool]:
        chart = self._chart(state)
        chart.update(value)  # type: ignore[no-untyped-call]
        if chart.drift_detected:
            return PageHinkleyState(), True
        return (
            PageHinkleyState(
                ticks=int(chart._x_mean.n),
                mean=float(chart._x_mean.get()),
                increase=float(chart._sum_increase),
                decrease=float(chart._sum_decrease),
                lowest_increase=float(chart._min_increase),
                highest_decrease=float(chart._max_decrease),
            ),
            False,
        )

    def alarms(self, reference: FloatArray, path: FloatArray) -> int:
        """How often it fires on a path (T,), as stepping through it would."""
        chart, fired = self._chart(self.start(reference)), 0
        for value in path.tolist():
            chart.update(value)  # type: ignore[no-untyped-call]
            if chart.drift_detected:
                fired += 1
                chart = self._chart(PageHinkleyState())
        return fired

    def _chart(self, state: PageHinkleyState) -> River:
        """River's detector with a memory."""
        mean, river = _river()
        chart = river(
            min_instances=int(self.min_instances),
            delta=self.delta,
            threshold=self.threshold,
            alpha=self.alpha,
        )
        chart._x_mean = mean._from_state(state.ticks, state.mean)
        chart._sum_increase = state.increase
        chart._sum_decrease = state.decrease
        if state.lowest_increase is not None:
            chart._min_increase = state.lowest_increase
        chart._max_decrease = state.highest_decrease  # type: ignore[assignment]
        return chart


@cache
def _river() -> tuple[type[Mean], type[River]]:
    """River's classes, imported when first needed: it takes longer than the rest of a command."""
    from river.drift import PageHinkley as River
    from river.stats import Mean

    return Mean, River
