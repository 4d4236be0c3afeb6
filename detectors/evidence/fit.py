"""What the reference says about one stream: memory, noise share, scale.

Model: y = x'b + u + e; u is AR(1) with coefficient φ and variance s²·R·v̄, e has the known
variance s²·v (v̄ = median v). For every φ and R on a grid, x and y are whitened by the scalar
Kalman filter, b is fitted by t5 reweighting under its ridge prior and s by EM; φ and R are then
judged by restricted likelihood (Patterson and Thompson, 1971; Lange, Little and Taylor, 1989,
for the t). Ticks without data only let u decay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detectors.evidence.grids import PHI_GRID, RATIO_GRID
from detectors.kernels import njit
from detectors.records import FloatArray

# Degrees of freedom of the innovations.
NU = 5.0
REWEIGHTINGS = 3
SCALE_STEPS = 6
FEWEST_TICKS = 4


@dataclass(frozen=True, slots=True, eq=False)
class GridFit:
    """Per φ of the grid (G,): log-likelihood at its best R, that R, and the scale s."""

    log_likelihood: FloatArray
    ratio: FloatArray
    scale: FloatArray

    @property
    def weights(self) -> FloatArray:
        """Likelihood weights (G,) under a flat prior on the grid."""
        raised = np.exp(self.log_likelihood - self.log_likelihood.max())
        normalised: FloatArray = raised / raised.sum()
        return normalised


def fit_stream(
    columns: FloatArray,
    y: FloatArray,
    v: FloatArray,
    prior_mean: FloatArray,
    prior_sd: FloatArray,
    *,
    scale_floor: float = 0.9,
    scale_ceiling: float = math.inf,
) -> GridFit:
    """Fit one stream on consecutive ticks: columns (T, p), y and v (T,), prior (p,).

    A tick whose y or v is not finite has no data. With fewer than 4 ticks of data nothing can
    be said: all φ weigh the same.
    """
    seen = np.isfinite(y) & np.isfinite(v)
    if int(seen.sum()) < FEWEST_TICKS:
        grid = len(PHI_GRID)
        return GridFit(np.zeros(grid), np.full(grid, 0.4), np.ones(grid))
    at = np.flatnonzero(seen)
    rows = np.empty((len(at), columns.shape[1] + 1))
    rows[:, :-1] = columns[at]
    rows[:, -1] = y[at] - columns[at] @ prior_mean
    found = _fit_grid(
        rows,
        np.ascontiguousarray(v[at]),
        np.diff(at, prepend=at[0] - 1),
        1.0 / prior_sd**2,
        float(np.median(v[at])),
        PHI_GRID,
        RATIO_GRID,
        scale_floor,
        scale_ceiling,
    )
    return GridFit(*found)


@njit(cache=True, nogil=True)
def _whiten(rows, v, lag, phi, q, out, variance):  # type: ignore[no-untyped-def]
    """Innovations of every column of rows (T, c) over their sd; variance (T,) before scaling."""
    ticks, width = rows.shape
    state = np.zeros(width)
    settled = q / (1.0 - phi * phi)
    p = settled
    for t in range(ticks):
        if t > 0 and lag[t] > 1:
            faded = phi ** (lag[t] - 1)
            for c in range(width):
                state[c] *= faded
            p = settled + faded * faded * (p - settled)
        s = p + v[t]
        variance[t] = s
        gain = p / s
        inverse_sd = 1.0 / math.sqrt(s)
        for c in range(width):
            e = rows[t, c] - state[c]
            out[t, c] = e * inverse_sd
            state[c] = phi * (state[c] + gain * e)
        p = phi * phi * p * (1.0 - gain) + q


@njit(cache=True, nogil=True)
def _gram(z, weight, total):  # type: ignore[no-untyped-def]
    """Lower triangle of z'Wz (c, c), four ticks at a time."""
    ticks, width = z.shape
    total[:, :] = 0.0
    whole = ticks - ticks % 4
    for t in range(0, whole, 4):
        for i in range(width):
            a = weight[t] * z[t, i]
            b = weight[t + 1] * z[t + 1, i]
            c = weight[t + 2] * z[t + 2, i]
            d = weight[t + 3] * z[t + 3, i]
            for j in range(i + 1):
                total[i, j] += a * z[t, j] + b * z[t + 1, j] + c * z[t + 2, j] + d * z[t + 3, j]
    for t in range(whole, ticks):
        for i in range(width):
            a = weight[t] * z[t, i]
            for j in range(i + 1):
                total[i, j] += a * z[t, j]


@njit(cache=True, nogil=True)
def _ridge(total, precision, root, beta):  # type: ignore[no-untyped-def]
    """Solve (Z'WZ + diag precision) beta = Z'Wy in place; return the log determinant."""
    p = precision.shape[0]
    log_det = 0.0
    for i in range(p):
        for j in range(i + 1):
            x = total[i, j]
            if i == j:
                x += precision[i]
            for k in range(j):
                x -= root[i, k] * root[j, k]
            if i == j:
                root[i, i] = math.sqrt(max(x, 1e-300))
                log_det += 2.0 * math.log(root[i, i])
            else:
                root[i, j] = x / root[j, j]
    for i in range(p):
        x = total[p, i]
        for k in range(i):
            x -= root[i, k] * beta[k]
        beta[i] = x / root[i, i]
    for i in range(p - 1, -1, -1):
        x = beta[i]
        for k in range(i + 1, p):
            x -= root[k, i] * beta[k]
        beta[i] = x / root[i, i]
    return log_det


@njit(cache=True, nogil=True)
def _residuals(z, beta, out):  # type: ignore[no-untyped-def]
    ticks, width = z.shape
    for t in range(ticks):
        e = z[t, width - 1]
        for c in range(width - 1):
            e -= z[t, c] * beta[c]
        out[t] = e


@njit(cache=True, nogil=True)
def _fit_grid(rows, v, lag, precision, v_mid, phis, ratios, floor, ceiling):  # type: ignore[no-untyped-def]
    ticks, width = rows.shape
    p = width - 1
    grid = phis.shape[0]
    best = np.full(grid, -1e300)
    best_ratio = np.zeros(grid)
    best_scale = np.ones(grid)
    z = np.empty((ticks, width))
    variance = np.empty(ticks)
    weight = np.empty(ticks)
    e = np.empty(ticks)
    total = np.empty((width, width))
    root = np.zeros((p, p))
    beta = np.zeros(p)
    freedom = max(ticks - 0.7 * p, 0.5 * ticks)
    for i in range(grid):
        phi = phis[i]
        worse = 0
        for r in range(ratios.shape[0]):
            ratio = ratios[r]
            if ratio == 0.0 and phi > 0.0:
                continue
            _whiten(rows, v, lag, phi, ratio * v_mid * (1.0 - phi * phi), z, variance)
            weight[:] = 1.0
            _gram(z, weight, total)
            log_det = _ridge(total, precision, root, beta)
            s2 = 1.0
            for _ in range(REWEIGHTINGS):
                _residuals(z, beta, e)
                for _ in range(SCALE_STEPS):
                    squares = 0.0
                    for t in range(ticks):
                        squares += (NU + 1.0) * s2 * e[t] * e[t] / (NU * s2 + e[t] * e[t])
                    s2 = min(max(squares / freedom, floor * floor), ceiling * ceiling)
                for t in range(ticks):
                    weight[t] = (NU + 1.0) / (NU * s2 + e[t] * e[t])
                _gram(z, weight, total)
                log_det = _ridge(total, precision, root, beta)
            _residuals(z, beta, e)
            ll = -0.5 * log_det
            for t in range(ticks):
                ll -= 0.5 * math.log(variance[t] * s2)
                ll -= 0.5 * (NU + 1.0) * math.log1p(e[t] * e[t] / (NU * s2))
            for c in range(p):
                ll -= 0.5 * precision[c] * beta[c] * beta[c]
            if ll > best[i]:
                best[i] = ll
                best_ratio[i] = ratio
                best_scale[i] = math.sqrt(s2)
                worse = 0
            else:
                worse += 1
                if worse >= 3:
                    break
    return best, best_ratio, best_scale
