"""An interval for the mean loss difference that holds at every tick at once.

The tick means are taken as exchangeable Gaussian draws of unknown mean and scale; a normal
mixture over the mean divided by the scale gives an e-value whose inversion is an interval one
may read after every tick and stop at any time. It uses no burn-in and no known scale, and is
about three standard errors wide on each side. After Wang and Ramdas (2025), *Anytime-valid
t-tests and confidence sequences for Gaussian means with unknown variance*.

Where ticks may follow each other, the spread is taken `factors` times as large (`dependence.py`):
the interval only widens, so what holds for independent ticks goes on to hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

KAPPA = 4.0
"""Ticks' worth of prior: the mixture is narrowest near κ ticks of evidence."""

FEWEST_TICKS = 3


@dataclass(frozen=True, slots=True)
class Interval:
    """Mean and bounds; a bound that is still infinite is None."""

    mean: float | None
    lower: float | None
    upper: float | None
    ticks: int

    @property
    def half_width(self) -> float | None:
        if self.mean is None or self.upper is None:
            return None
        return self.upper - self.mean


@dataclass(frozen=True, slots=True, eq=False)
class Cumulative:
    """The interval after every tick, arrays (T,); bounds are infinite while nothing is known."""

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray

    def last(self) -> Interval:
        """The interval after all ticks."""
        ticks = len(self.mean)
        if not ticks:
            return Interval(None, None, None, 0)
        lower, upper = float(self.lower[-1]), float(self.upper[-1])
        return Interval(
            float(self.mean[-1]),
            lower if np.isfinite(lower) else None,
            upper if np.isfinite(upper) else None,
            ticks,
        )


def tick_t_path(
    means: FloatArray,
    counts: FloatArray,
    *,
    alpha: float,
    n_plan: float | None = None,
    kappa: float = KAPPA,
    factors: FloatArray | None = None,
) -> Cumulative:
    """Interval for the mean after each of T ticks, at level `alpha` per side.

    means (T,) are tick means, counts (T,) their rows, all above 0. `n_plan` is the planned
    number of rows in a tick, fixed before the data; None takes the first tick's. `factors` (T,)
    are long-run over plain variance, 1 where None.
    """
    if not len(means):
        return Cumulative(np.empty(0), np.empty(0), np.empty(0))
    w = counts / (counts[0] if n_plan is None else n_plan)
    shift = means[0]  # sums of squares about the first mean lose no digits
    x = means - shift
    ticks = np.arange(1.0, len(x) + 1.0)
    W = np.cumsum(w)
    centre = np.cumsum(w * x) / W
    variance = np.maximum(np.cumsum(w * x * x) / W - centre**2, 0.0)
    if factors is not None:
        variance = variance * factors
    q = 2.0 / ticks * (np.log(0.5 / alpha) + 0.5 * np.log((W + kappa) / kappa))
    k = -np.expm1(-q)
    room = W - (W + kappa) * k
    known = (room > 0.0) & (ticks >= FEWEST_TICKS)
    ratio = (W + kappa) * k / np.where(known, room, 1.0)
    half = np.where(known, np.sqrt(variance * np.maximum(ratio, 0.0)), np.inf)
    mean = centre + shift
    return Cumulative(mean, mean - half, mean + half)


def tick_t(
    means: FloatArray,
    counts: FloatArray,
    *,
    n_plan: float | None = None,
    alpha: float,
    kappa: float = KAPPA,
) -> Interval:
    """The interval after all ticks; see `tick_t_path`."""
    return tick_t_path(means, counts, alpha=alpha, n_plan=n_plan, kappa=kappa).last()


def tick_t_log_e(
    means: FloatArray,
    counts: FloatArray,
    mean: float,
    *,
    n_plan: float | None = None,
    kappa: float = KAPPA,
    factors: FloatArray | None = None,
) -> FloatArray:
    """Log e-value (T,) after each tick against "the mean is `mean`", two-sided.

    It reaches ln(1 / 2α) exactly when `mean` leaves the interval of level α per side. A
    mixture over the whole history, not a product over ticks: it cannot be restarted midway.
    """
    if not len(means):
        return np.empty(0)
    w = counts / (counts[0] if n_plan is None else n_plan)
    x = means - mean
    W = np.cumsum(w)
    S = np.cumsum(w * x)
    V = np.cumsum(w * x * x)
    if factors is not None:
        V = V + (factors - 1.0) * np.maximum(V - S * S / W, 0.0)
    spread = (W + kappa) * V
    share = np.divide(S * S, spread, out=np.zeros_like(S), where=spread > 0.0)
    ticks = np.arange(1.0, len(x) + 1.0)
    return np.asarray(0.5 * np.log(kappa / (W + kappa)) - 0.5 * ticks * np.log1p(-share))
