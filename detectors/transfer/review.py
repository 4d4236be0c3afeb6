"""The verdict at a planned review: a group-sequential test spent over calendar time.

Where the date of the review is known beforehand, most of the error can be saved for it. The
bounds follow the O'Brien-Fleming-like spending function of Lan and DeMets (1983), solved by
numerical integration with the rows seen so far as information; the variance of the mean comes
from the lowest cosine coefficients of the day residuals, so days that follow each other do not
make it too small (Müller 2004; Lazarus, Lewis, Stock and Watson 2018). It is asymptotic and
holds for the scheduled looks only: simulated, .04 a side is .04-.06, up to .09 with few
strongly dependent days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from detectors.records import FloatArray, IntArray, TransferState
from detectors.transfer.dependence import autocorrelations

FEWEST_TICKS = 12
FEWEST_MINORITY = 20.0
DOUBLING_FROM = 48
DOUBLING_JUDGED = 96
DOUBLING_AUTOCORRELATION = 0.4
LEAST_INCREMENT = 1e-4


@dataclass(frozen=True, slots=True)
class Look:
    """One scheduled look. p-values are one-sided against the margin; `bound` is a z value.

    `crossed` is what the test says at this look alone; HELPS, HURTS or UNDETERMINED.
    """

    ticks: int
    elapsed: float
    rows: float
    mean: float
    se: float
    bound: float
    p_hurts: float
    p_helps: float
    crossed: TransferState
    early: TransferState
    freedom: int = 1

    @property
    def reach(self) -> float | None:
        """How far beyond the margin the mean must lie to be called at this look."""
        from scipy.special import ndtr, stdtrit

        share = float(ndtr(-self.bound))
        return -float(stdtrit(self.freedom, share)) * self.se if share > 0.0 else None

    def bound_of(self, state: TransferState) -> float | None:
        """The one-sided bound of the mean on the side of `state`, at this look's own error."""
        reach = self.reach
        if state not in (TransferState.HURTS, TransferState.HELPS) or reach is None:
            return None
        return self.mean - reach if state is TransferState.HURTS else self.mean + reach


@dataclass(frozen=True, slots=True)
class Review:
    """All looks taken and the word after the last: `so_far` until the review itself."""

    looks: tuple[Look, ...]
    state: TransferState
    so_far: bool
    decided: int | None
    """Index of the look that first said `state`, None while undetermined."""


def spent(elapsed: float, alpha: float) -> float:
    """Share of one-sided error used up when `elapsed` of the planned time has gone."""
    from scipy.special import ndtr, ndtri

    if elapsed <= 0.0:
        return 0.0
    root = np.sqrt(min(elapsed, 1.0))
    return float(2.0 * ndtr(ndtri(alpha / 2.0) / root))


def spending_bounds(
    information: Sequence[float] | FloatArray, elapsed: Sequence[float] | FloatArray, alpha: float
) -> tuple[float, ...]:
    """Critical z value of each look, given rows so far and the share of time elapsed.

    Both ascend. The chance that a Brownian motion observed at `information` ever exceeds its
    bounds up to look k is `spent(elapsed[k], alpha)`; look k uses nothing of later looks. The
    bound is infinite where the error available is too small to be represented.
    """
    return _bounds(tuple(map(float, information)), tuple(map(float, elapsed)), alpha)


@cache
def _legendre(points: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights on [-1, 1]; few sizes are asked for, and each is slow to find."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return nodes, weights


@lru_cache(maxsize=512)
def _bounds(
    information: tuple[float, ...], elapsed: tuple[float, ...], alpha: float
) -> tuple[float, ...]:
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    if not information:
        return ()
    scale = information[-1]
    times = np.array(information) / scale
    steps = np.diff(times, prepend=0.0)
    # nodes close enough together for the narrowest step of the motion
    points = int(np.clip(40.0 / np.sqrt((steps / times).min()), 200, 1200))
    nodes, node_weights = _legendre(-(-points // 100) * 100)
    at = np.zeros(1)
    mass = np.ones(1)
    bounds = []
    used = 0.0
    for time, step, share in zip(times, steps, elapsed, strict=True):
        root = np.sqrt(step)
        available = spent(share, alpha) - used

        def excess(
            c: float, at: FloatArray = at, mass: FloatArray = mass, root: float = root
        ) -> float:
            return float(mass @ ndtr((at - c) / root))

        low, high = -8.0 * np.sqrt(time), 38.0 * np.sqrt(time)
        if available <= max(excess(high), 1e-300):
            limit = np.inf
        elif len(at) == 1:
            limit = float(-ndtri(available)) * root
        else:
            target = np.log(available)
            limit = brentq(
                lambda c: np.log(max(excess(c), 1e-320)) - target,  # noqa: B023
                low,
                high,
                xtol=1e-9,
            )
        bounds.append(float(limit / np.sqrt(time)))
        if np.isfinite(limit):
            used += available
        top = min(limit, -low)
        grid = 0.5 * (top - low) * nodes + 0.5 * (top + low)
        kernel = np.exp(-0.5 * ((grid[:, None] - at[None, :]) / root) ** 2)
        density = kernel @ mass / (root * np.sqrt(2.0 * np.pi))
        at, mass = grid, density * node_weights * 0.5 * (top - low)
    return tuple(bounds)


def robust_mean(differences: FloatArray, rows: FloatArray) -> tuple[float, float, int]:
    """Mean difference per row, its standard error and degrees of freedom, from tick sums (T,).

    The long-run variance is the mean square of the B lowest type-II cosine coefficients of the
    residuals, B = min(max(6, T/6), T/2); under independence or short memory each is about the
    same chi-square, so mean / se is about t with B degrees of freedom.
    """
    from scipy.fft import dct

    T = len(differences)
    total = float(rows.sum())
    mean = float(differences.sum()) / total
    B = min(max(6, T // 6), T // 2)
    if B < 1:
        return mean, float("inf"), 1
    # scipy's type-II transform is twice the sum over cos(pi j (t + 1/2) / T)
    coefficients = np.sqrt(0.5 / T) * dct(differences - mean * rows, type=2)[1 : B + 1]
    se = float(np.sqrt(T * np.mean(coefficients**2))) / total
    return mean, se, B


def tick_factor(differences: FloatArray, rows: FloatArray) -> int:
    """How many day ticks make one: doubled from 48 on while the early autocorrelation is >= .4."""
    factor = 1
    while len(rows) // factor >= DOUBLING_FROM:
        judged = min(DOUBLING_JUDGED, len(rows) // factor) * factor
        starts = np.arange(0, judged, factor)
        means = np.add.reduceat(differences[:judged], starts) / np.add.reduceat(
            rows[:judged], starts
        )
        if autocorrelations(means)[-1] < DOUBLING_AUTOCORRELATION:
            break
        factor *= 2
    return factor


def planned_review(
    differences: FloatArray,
    rows: FloatArray,
    look_ticks: IntArray,
    elapsed: FloatArray,
    *,
    margin: float | FloatArray,
    alpha: float,
    minority: FloatArray | None = None,
) -> Review:
    """Look at day ticks at the scheduled times and say what has been decided.

    differences, rows, minority (T,) are sums per tick with rows > 0. look_ticks (K,) is how many
    ticks each look sees, elapsed (K,) the share of planned time gone; a look at 1 is the
    review. margin is in loss units, one for all or one for each look. No look is taken before
    12 ticks, 20 minority labels (unless `minority` is None) or without new rows; the error it
    would have spent goes to the next.
    """
    margins = np.broadcast_to(np.asarray(margin, dtype=np.float64), np.shape(look_ticks))
    rows_so_far = np.concatenate(([0.0], np.cumsum(rows)))
    minority_so_far = None if minority is None else np.concatenate(([0.0], np.cumsum(minority)))
    taken: list[int] = []
    for k, ticks in enumerate(look_ticks):
        seen = rows_so_far[look_ticks[taken[-1]]] if taken else 0.0
        enough = ticks >= FEWEST_TICKS and (
            minority_so_far is None or minority_so_far[ticks] >= FEWEST_MINORITY
        )
        if enough and rows_so_far[ticks] - seen > LEAST_INCREMENT * rows_so_far[ticks]:
            taken.append(k)
        elif enough and taken and elapsed[k] >= 1.0:
            # nothing new since the last look: the review is that look with all error to spend
            taken[-1] = k
    bounds = spending_bounds(
        [float(rows_so_far[look_ticks[k]]) for k in taken],
        [float(elapsed[k]) for k in taken],
        alpha,
    )
    looks: list[Look] = []
    for k, bound in zip(taken, bounds, strict=True):
        ticks = int(look_ticks[k])
        looks.append(
            _look(differences[:ticks], rows[:ticks], float(elapsed[k]), float(margins[k]), bound)
        )
    return _word(tuple(looks), margins[taken] if taken else np.empty(0))


def _look(
    differences: FloatArray, rows: FloatArray, elapsed: float, margin: float, bound: float
) -> Look:
    from scipy.special import ndtr, stdtr

    factor = tick_factor(differences, rows)
    starts = np.arange(0, len(rows), factor)
    d, n = np.add.reduceat(differences, starts), np.add.reduceat(rows, starts)
    mean, se, freedom = robust_mean(d, n)

    def tail(gap: float) -> float:
        if se > 0.0:
            return float(stdtr(freedom, -gap / se))
        return 0.0 if gap > 0.0 else 1.0

    p_hurts, p_helps = tail(mean - margin), tail(-mean - margin)
    limit = float(ndtr(-bound))
    crossed = TransferState.UNDETERMINED
    if p_hurts <= limit and mean > margin:
        crossed = TransferState.HURTS
    elif p_helps <= limit and mean < -margin:
        crossed = TransferState.HELPS
    half = len(d) // 2
    later = float(d[half:].sum()) / float(n[half:].sum())
    agrees = later > margin if crossed is TransferState.HURTS else later < -margin
    early = crossed if agrees else TransferState.UNDETERMINED
    return Look(
        ticks=len(d),
        elapsed=elapsed,
        rows=float(rows.sum()),
        mean=mean,
        se=se,
        bound=bound,
        p_hurts=p_hurts,
        p_helps=p_helps,
        crossed=crossed,
        early=early,
        freedom=freedom,
    )


def _word(looks: tuple[Look, ...], margins: FloatArray) -> Review:
    """The early word as looks go by, and the review word once the review has been held."""
    word, decided = TransferState.UNDETERMINED, None
    for k, look in enumerate(looks):
        held = look.elapsed >= 1.0
        said = look.crossed if held else look.early
        if said is not TransferState.UNDETERMINED:
            if said is not word:
                word, decided = said, k
        elif held and word is not TransferState.UNDETERMINED:
            sign = 1.0 if word is TransferState.HURTS else -1.0
            if sign * look.mean <= margins[k]:
                word, decided = TransferState.UNDETERMINED, None
        if held:
            return Review(looks[: k + 1], word, so_far=False, decided=decided)
    return Review(looks, word, so_far=bool(looks), decided=decided)
