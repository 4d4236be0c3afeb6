"""What a label-free estimate is, and which changes it cannot see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import DAY_US, FloatArray, IntArray, Window

FEWEST_DAYS = 8


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric of the current window. `realised` is the same metric where labels have come."""

    metric: str
    value: float | None
    ci: tuple[float | None, float | None]
    method: str
    realised: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Blindness:
    """How a method fares under each kind of change: ok, biased, blind, heuristic, unreliable."""

    method: str
    covariate: str
    label: str
    concept: str
    schema: str

    @property
    def words(self) -> str:
        return (
            f"{self.method}: {self.covariate} when inputs move, {self.label} when the label rate "
            f"moves, {self.concept} when the rule behind labels moves, {self.schema} after a "
            "schema fault"
        )


BLINDNESS: dict[str, Blindness] = {
    row.method: row
    for row in (
        Blindness("CBPE", "right if calibrated for each input", "biased", "blind", "unreliable"),
        Blindness("M-CBPE", "right inside the reference's inputs", "biased", "blind", "unreliable"),
        Blindness("DLE", "right inside the reference's inputs", "biased", "blind", "unreliable"),
        Blindness("BBSE", "biased", "right", "blind", "unreliable"),
        Blindness("RLLS", "biased", "right", "blind", "unreliable"),
        Blindness("ATC", "a rule of thumb", "a rule of thumb", "blind", "of no use"),
        Blindness("DoC", "a rule of thumb", "a rule of thumb", "blind", "of no use"),
    )
}
"""Which change blinds which method."""


def day_blocks(window: Window, index: IntArray) -> IntArray | None:
    """The day (n,) of rows `index`, counted from 0; None where fewer than eight to resample."""
    if window.ts_us is None:
        return None
    days, number = np.unique(window.ts_us[index] // DAY_US, return_inverse=True)
    return number.astype(np.int64) if len(days) >= FEWEST_DAYS else None


def resampled_rows(rows: int, block: IntArray | None, rng: np.random.Generator) -> FloatArray:
    """How often each of n rows is drawn (n,) in one bootstrap replicate: whole days, or rows."""
    if block is None:
        drawn: FloatArray = rng.multinomial(rows, np.full(rows, 1.0 / rows)).astype(np.float64)
        return drawn
    days = int(block.max()) + 1
    times = rng.multinomial(days, np.full(days, 1.0 / days)).astype(np.float64)
    return times[block]


def interval(draws: FloatArray, value: float) -> tuple[float | None, float | None]:
    """The 95 % percentile interval of finite draws, stretched to hold the value."""
    known = draws[np.isfinite(draws)]
    if len(known) < max(20, len(draws) // 2):
        return None, None
    lower, upper = np.quantile(known, [0.025, 0.975])
    return min(float(lower), value), max(float(upper), value)
