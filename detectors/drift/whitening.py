"""What is left of a followed number when its season and its memory are taken out.

A textbook detector takes ticks for independent. So it is shown innovations: y less the season,
through the Kalman filter of METHODS section 2.3 (AR(1) noise plus sampling noise of known
variance), over their sd. The model is fitted once on the reference and frozen, so that drift
cannot teach it; a lasting shift stays visible in every later innovation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from detectors.evidence.design import Design
from detectors.evidence.fit import NU, fit_stream
from detectors.evidence.grids import PHI_GRID
from detectors.evidence.pooling import cautious_index, pool
from detectors.kernels import njit
from detectors.records import FloatArray, IntArray

FEWEST_TICKS = 30
MEMORY_CAP = 50_000
SCALE_FLOOR = 0.05
REWEIGHTINGS = 4


@dataclass(frozen=True, slots=True, eq=False)
class SignalTicks:
    """A number a tick: starts_us, y and its sampling variance v (T,); `tick_us` 0: rows are ticks.

    A tick whose y or v is not finite has no data. v is 1 throughout where it is not known.
    """

    starts_us: IntArray
    y: FloatArray
    v: FloatArray
    tick_us: int

    def __len__(self) -> int:
        return len(self.y)

    @property
    def seen(self) -> FloatArray:
        """The values of the ticks that have data."""
        return self.y[np.isfinite(self.y) & np.isfinite(self.v)]


def signal_ticks(
    y: FloatArray,
    v: FloatArray | None = None,
    starts_us: IntArray | None = None,
    *,
    tick_us: int = 0,
) -> SignalTicks:
    """Ticks one after the other unless their starts are given; without v, all weigh the same."""
    values = np.asarray(y, dtype=np.float64)
    starts = np.arange(len(values), dtype=np.int64) if starts_us is None else starts_us
    variance = np.ones(len(values)) if v is None else np.asarray(v, dtype=np.float64)
    return SignalTicks(starts, values, variance, tick_us if starts_us is not None else 0)


@dataclass(frozen=True, slots=True)
class Whitener:
    """The frozen model of a number and where its filter stands.

    `beta` are season coefficients, `phi` and `noise` the memory's correlation and innovation
    variance, `scale` multiplies every sd. `spread` is the reference sd of y less its season.
    `level` and `variance` are the filter's prediction for the tick after `last_us`.
    """

    tick_us: int
    beta: tuple[float, ...]
    phi: float
    noise: float
    scale: float
    spread: float
    level: float = 0.0
    variance: float = 0.0
    last_us: int | None = None

    @property
    def settled(self) -> float:
        """Variance of the memory when nothing has been seen for long."""
        return self.noise / (1.0 - self.phi * self.phi)

    def season(self, starts_us: IntArray) -> FloatArray:
        """What is expected of ticks (T,) but for memory and noise."""
        expected: FloatArray = Design(self.tick_us).columns(starts_us) @ np.array(self.beta)
        return expected


def fit_whitener(ticks: SignalTicks) -> Whitener:
    """Fit season, memory and scale on reference ticks.

    With fewer than 30 ticks of data, or a constant, the season is a level and there is no memory.
    """
    design = Design(ticks.tick_us)
    at = np.flatnonzero(np.isfinite(ticks.y) & np.isfinite(ticks.v))
    y, v = ticks.y[at], ticks.v[at]
    sd = float(np.std(y)) if len(y) else 0.0
    if len(y) < max(FEWEST_TICKS, 2 * design.width) or not sd > 1e-9 * (1.0 + abs(float(y[0]))):
        return _plain(ticks.tick_us, design.width, y, v, sd)
    columns = design.columns(ticks.starts_us[at])
    lag = _lags(ticks, at)
    # In units of the number's own spread, so that one prior and one grid suit every signal.
    y, v, centre = y / sd, np.maximum(v / sd**2, 1e-6), float(np.median(y)) / sd
    prior_mean = np.zeros(design.width)
    prior_mean[0] = centre
    prior_sd = design.prior_sd(np.array([1.0]))[0]
    fit = fit_stream(columns, y, v, prior_mean, prior_sd, scale_floor=SCALE_FLOOR)
    place = int(cautious_index(pool(fit.weights[None, :]))[0])
    phi, scale = float(PHI_GRID[place]), float(fit.scale[place])
    noise = float(fit.ratio[place] * np.median(v) * (1.0 - phi**2))
    beta = _season(columns, y, v, lag, phi, noise, scale, prior_mean, prior_sd)
    left = y - columns @ beta
    fitted = Whitener(
        tick_us=ticks.tick_us,
        beta=tuple((sd * beta).tolist()),
        phi=phi,
        noise=noise * sd**2,
        scale=scale,
        spread=sd * max(float(np.std(left)), 1e-12),
    )
    z, _ = whiten_ticks(replace(fitted, variance=fitted.settled), ticks)
    z = z[np.isfinite(z)]
    # The fit's scale is that of a t with five degrees of freedom; charts expect an sd of 1.
    fitted = replace(fitted, scale=scale * max(float(np.std(z)), 1e-6))
    return replace(fitted, variance=fitted.settled)


def _plain(tick_us: int, width: int, y: FloatArray, v: FloatArray, sd: float) -> Whitener:
    mean = float(np.mean(y)) if len(y) else 0.0
    noise = float(np.median(v)) if len(v) else 1.0
    spread = sd if sd > 0.0 and math.isfinite(sd) else 1.0
    scale = spread / math.sqrt(noise) if noise > 0.0 else 1.0
    return Whitener(tick_us, (mean, *(0.0,) * (width - 1)), 0.0, 0.0, scale, spread)


def whiten(model: Whitener, start_us: int, y: float, v: float = 1.0) -> tuple[Whitener, float]:
    """One tick's innovation over its sd, and the filter moved past it."""
    one = SignalTicks(np.array([start_us], np.int64), np.array([y]), np.array([v]), model.tick_us)
    z, moved = whiten_ticks(model, one)
    return moved, float(z[0])


def whiten_ticks(model: Whitener, ticks: SignalTicks) -> tuple[FloatArray, Whitener]:
    """Innovations (T,) of ticks in order, NaN without data, and the filter moved past them."""
    at = np.flatnonzero(np.isfinite(ticks.y) & np.isfinite(ticks.v))
    out = np.full(len(ticks), np.nan)
    if not len(at):
        return out, model
    left = ticks.y[at] - model.season(ticks.starts_us[at])
    lag = _lags(ticks, at, model.last_us)
    z, level, variance = _filter(
        left, ticks.v[at], lag, model.phi, model.noise, model.level, model.variance
    )
    out[at] = z / model.scale
    moved = replace(
        model, level=float(level), variance=float(variance), last_us=int(ticks.starts_us[at[-1]])
    )
    return out, moved


def simulate(
    model: Whitener, starts_us: IntArray, v: FloatArray, innovations: FloatArray
) -> FloatArray:
    """A path (T,) of the model on consecutive ticks, driven by standardised `innovations` (T,)."""
    driven = _drive(innovations * model.scale, v, model.phi, model.noise, model.settled)
    path: FloatArray = driven + model.season(starts_us)
    return path


def _lags(ticks: SignalTicks, at: IntArray, last_us: int | None = None) -> IntArray:
    """Ticks from each tick with data to the one before it; the first counts from `last_us`."""
    starts = ticks.starts_us[at]
    unit = ticks.tick_us or 1
    before = starts[:1] - unit if last_us is None else np.array([last_us])
    lag: IntArray = np.clip(np.diff(starts, prepend=before) // unit, 1, MEMORY_CAP)
    return lag


def _season(
    columns: FloatArray,
    y: FloatArray,
    v: FloatArray,
    lag: IntArray,
    phi: float,
    noise: float,
    scale: float,
    prior_mean: FloatArray,
    prior_sd: FloatArray,
) -> FloatArray:
    """Season coefficients (p,) by least squares on whitened columns, t5 weights, ridge prior."""
    settled = noise / (1.0 - phi * phi)
    target = y - columns @ prior_mean
    white = np.empty((len(y), columns.shape[1] + 1))
    for place in range(columns.shape[1] + 1):
        column = columns[:, place] if place < columns.shape[1] else target
        # A linear filter: each column passes through it by itself.
        white[:, place] = _filter(np.ascontiguousarray(column), v, lag, phi, noise, 0.0, settled)[0]
    x, z = white[:, :-1] / scale, white[:, -1] / scale
    precision = np.diag(1.0 / prior_sd**2)
    weight = np.ones(len(z))
    beta: FloatArray = np.zeros(x.shape[1])
    for _ in range(REWEIGHTINGS):
        gram = x.T @ (weight[:, None] * x) + precision
        beta = np.asarray(np.linalg.solve(gram, x.T @ (weight * z)), dtype=np.float64)
        weight = (NU + 1.0) / (NU + (z - x @ beta) ** 2)
    found: FloatArray = beta + prior_mean
    return found


@njit(cache=True, nogil=True)
def _filter(left, v, lag, phi, noise, level, variance):  # type: ignore[no-untyped-def]
    """Innovations over their sd before scaling, and the prediction for the next tick."""
    settled = noise / (1.0 - phi * phi)
    z = np.empty(left.shape[0])
    for t in range(left.shape[0]):
        if lag[t] > 1:
            faded = phi ** (lag[t] - 1)
            level *= faded
            variance = settled + faded * faded * (variance - settled)
        s = max(variance + v[t], 1e-300)
        e = left[t] - level
        gain = variance / s
        z[t] = e / math.sqrt(s)
        level = phi * (level + gain * e)
        variance = phi * phi * variance * (1.0 - gain) + noise
    return z, level, variance


@njit(cache=True, nogil=True)
def _drive(z, v, phi, noise, variance):  # type: ignore[no-untyped-def]
    """The filter run backwards: from innovations to the path they belong to."""
    path = np.empty(z.shape[0])
    level = 0.0
    for t in range(z.shape[0]):
        s = max(variance + v[t], 1e-300)
        e = z[t] * math.sqrt(s)
        gain = variance / s
        path[t] = level + e
        level = phi * (level + gain * e)
        variance = phi * phi * variance * (1.0 - gain) + noise
    return path
