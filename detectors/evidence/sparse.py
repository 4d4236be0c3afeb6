"""Rates of which a tick shows few events, judged by the binomial law itself.

Where a tick expects fewer than ten events, log odds and their variance are no Gaussian number. So
a tick of x events among n rows multiplies the wealth of alternative j by the likelihood ratio

    E_j = exp(x (η₁ - η₀) - n (ln(1 + e^η₁) - ln(1 + e^η₀))),

with η₀ on the edge of what does not matter: the log odds expected now, moved by the gate ε. For
every rate on the near side of that edge E_j averages at most one, exactly and for every n. If rows
have different rates r_i (scores, for calibration), n and their mean give a ratio that is smaller
still: Σ ln(1 + r_i a) ≤ n ln(1 + r̄ a), the logarithm being concave.

ε = max(.05, practical effect, standard error of the expected log odds). The last is the error of
the reference. An ε of 0 would give 3.3 pages where one was allowed, at 30 rows a tick and noise of
memory .6: the gate also takes up noise that no model has.

The expected log odds are those of the reference by hour and weekday (binomial regression, ridge),
on a level that goes on learning as slowly as that of other streams. Rates that scatter more than
binomially in the reference, or later, or remember each other, have log E divided by their excess:
a likelihood ratio to a power below one still averages at most one. No tick is worth more than the
largest bet on an ordinary stream, so that one wild tick cannot page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from detectors.records import BoolArray, FloatArray, IntArray

FEW_EVENTS = 10.0
STEPS = np.array([0.1, 0.2, 0.4, 0.8, 1.4, 2.4, 4.0])
STEPS = np.concatenate([STEPS, -STEPS])
"""Alternatives in log odds beyond the gate, up and down."""
LEAST_GATE = 0.05
MOST_LOG_E = 7.87
"""Log of what a tick at eight standard deviations is worth to the bets of other streams."""
LEVEL_SD = 2.0
LEVEL_WALK = 0.05
REGRESSIONS = 12
MOST_LEARNT = 0.5
REOPENED = 1.0
"""Variance of the level after an alarm, in log odds: it is to be learnt anew."""
SPIKE = 3.0
SMALLEST = 1e-9
LEAST_REFERENCE = 0.3
LEAST_SHORT = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """What is known of S rates.

    level, variance (S,): log odds against the reference's share and their error. season (S, p - 1).
    excess (S,): dispersion in the reference over the binomial's, at least 1. walk (S,): variance
    the level gains a day. track (S, 5) as of the filter: scale now and in the reference, long- and
    short-run variance, decayed sum.
    """

    level: FloatArray
    variance: FloatArray
    season: FloatArray
    excess: FloatArray
    walk: FloatArray
    track: FloatArray

    @classmethod
    def none(cls, width: int = 1) -> Rates:
        """No rates at all, for regressors (p,)."""
        empty = np.empty(0)
        season, track = np.empty((0, width - 1)), np.empty((0, 5))
        return cls(empty, empty, season, empty, empty, track)

    def arrays(self) -> dict[str, FloatArray]:
        """Every array by name, for saving and for mixing."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def take(self, at: IntArray | BoolArray) -> Rates:
        """The rates at an index or mask."""
        return Rates(**{name: array[at] for name, array in self.arrays().items()})


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """One tick of S rates (S,): events among trials, and the events the reference expects."""

    events: FloatArray
    trials: FloatArray
    expected: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What matters, per rate (S,): a change of log odds and one of the share; both must."""

    odds: FloatArray
    share: FloatArray


def is_sparse(events: FloatArray, trials: FloatArray, fewest_ticks: int) -> BoolArray:
    """Which of S rates show fewer than ten events, or non-events, a tick: (T, S) → (S,)."""
    filled = (trials > 0.0).sum(axis=0)
    total = trials.sum(axis=0)
    share = events.sum(axis=0) / np.maximum(total, SMALLEST)
    rare = np.minimum(share, 1.0 - share) * total / np.maximum(filled, 1)
    return np.asarray((filled >= fewest_ticks) & (rare < FEW_EVENTS))


def expected_now(rates: Rates, tick: Counted, columns: FloatArray) -> FloatArray:
    """Expected log odds (S,) of a tick with regressors (p,), before its events are looked at."""
    base = np.clip(tick.expected / np.maximum(tick.trials, SMALLEST), 1e-6, 1.0 - 1e-6)
    return np.asarray(logit(base) + rates.level + rates.season @ columns[1:])


def gates(eta: FloatArray, error: FloatArray, steps: Steps) -> tuple[FloatArray, FloatArray]:
    """How far up and down (S,) a change of log odds from `eta` does not matter.

    Down is infinite where the share itself is smaller than the change of it that matters.
    """
    share = expit(eta)
    least = np.maximum(np.maximum(LEAST_GATE, steps.odds), error)
    up_to, down_to = share + steps.share, share - steps.share
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(up_to < 1.0, logit(np.minimum(up_to, 1.0)) - eta, np.inf)
        down = np.where(down_to > 0.0, eta - logit(np.maximum(down_to, 0.0)), np.inf)
    return np.maximum(least, up), np.maximum(least, down)


def log_evidence(
    eta: FloatArray, up: FloatArray, down: FloatArray, tick: Counted
) -> tuple[FloatArray, BoolArray]:
    """Log ratios (S, J) of a tick, and which of them are bets at all."""
    near = np.where(STEPS > 0.0, up[:, None], -down[:, None])
    possible = np.isfinite(near) & (tick.trials > 0.0)[:, None]
    edge = eta[:, None] + np.where(possible, near, 0.0)
    far = edge + STEPS
    logs = tick.events[:, None] * (far - edge) - tick.trials[:, None] * (
        np.logaddexp(0.0, far) - np.logaddexp(0.0, edge)
    )
    return np.where(possible, logs, 0.0), possible


def standardised(eta: FloatArray, tick: Counted) -> FloatArray:
    """Pearson residual (S,) of a tick; far outliers are drawn in, by more than one event."""
    share = expit(eta)
    mean = tick.trials * share
    variance = np.maximum(mean * (1.0 - share), SMALLEST)
    reach = SPIKE * np.sqrt(variance + 1.0)
    return np.asarray(np.clip(tick.events - mean, -reach, reach) / np.sqrt(variance))


def widened(
    rates: Rates, z: FloatArray, seen: BoolArray, scale: float, correlation: float, decay: float
) -> tuple[FloatArray, FloatArray]:
    """How far log E is to be divided (S,), known before the tick, and the next `track` (S, 5).

    The trackers of the filter: excess scale f², and λ, long-run over short-run variance.
    """
    now, before, long_run, short_run, total = rates.track.T
    f2 = np.maximum(1.0, now / before)
    narrow = 1.0 - decay * decay
    memory = np.maximum(1.0, long_run * narrow / short_run)
    width = f2 * memory
    plain = z / np.sqrt(f2)
    total = decay * total + plain
    after = np.stack(
        [
            now + scale * (z * z - now),
            before,
            long_run + correlation * (np.minimum(total**2, SPIKE**2 * width / narrow) - long_run),
            short_run + correlation * (plain**2 - short_run),
            total,
        ],
        axis=1,
    )
    return width, np.where(seen[:, None], after, rates.track)


def learnt(rates: Rates, eta: FloatArray, tick: Counted, days: float) -> Rates:
    """The level after a tick of `days` (0 of it in a fit): one Newton step, then the walk."""
    share = expit(eta)
    power = 1.0 / rates.excess
    information = power * tick.trials * share * (1.0 - share)
    variance = 1.0 / (1.0 / rates.variance + information)
    score = power * (tick.events - tick.trials * share)
    moved = np.clip(variance * score, -MOST_LEARNT, MOST_LEARNT)
    return Rates(
        level=rates.level + moved,
        variance=variance + rates.walk * days,
        season=rates.season,
        excess=rates.excess,
        walk=rates.walk,
        track=rates.track,
    )


def fit_rates(
    columns: FloatArray, ticks: Counted, prior_sd: FloatArray, ticks_per_day: float, decay: float
) -> Rates:
    """Binomial regression of S rates on T ticks: columns (T, p), counts (T, S), prior (p,)."""
    events, trials, expected = ticks.events, ticks.trials, ticks.expected
    streams, width = events.shape[1], columns.shape[1]
    base = logit(np.clip(expected / np.maximum(trials, SMALLEST), 1e-6, 1.0 - 1e-6))
    sd = prior_sd.copy()
    sd[0] = LEVEL_SD
    precision = np.diag(1.0 / sd**2)
    beta = np.zeros((streams, width))
    hessian = np.broadcast_to(precision, (streams, width, width))
    squares = (columns[:, :, None] * columns[:, None, :]).reshape(len(columns), width * width)
    for _ in range(REGRESSIONS):
        share = expit(base + columns @ beta.T)
        gradient = (events - trials * share).T @ columns - beta @ precision
        information = trials * share * (1.0 - share)
        hessian = (information.T @ squares).reshape(streams, width, width) + precision
        beta = beta + np.clip(np.linalg.solve(hessian, gradient[..., None])[..., 0], -2.0, 2.0)
    share = expit(base + columns @ beta.T)
    seen = trials > 0.0
    eta = np.where(seen, base + columns @ beta.T, 0.0)
    z = np.stack(
        [
            standardised(eta[t], Counted(events[t], trials[t], expected[t]))
            for t in range(len(columns))
        ]
    )
    filled = np.maximum(seen.sum(axis=0), 1)
    excess = np.maximum(1.0, np.where(seen, z * z, 0.0).sum(axis=0) / filled)
    daily = (trials * share * (1.0 - share)).sum(axis=0) / filled * ticks_per_day
    covariance = np.linalg.inv(hessian)
    return Rates(
        level=beta[:, 0],
        variance=excess * covariance[:, 0, 0],
        season=beta[:, 1:],
        excess=excess,
        walk=LEVEL_WALK**2 * excess / np.maximum(daily, SMALLEST),
        track=_first_track(np.where(seen, z, 0.0), seen, excess, decay),
    )


def _first_track(z: FloatArray, seen: BoolArray, excess: FloatArray, decay: float) -> FloatArray:
    """Trackers (S, 5) as the last three quarters of the reference leave them."""
    later = np.arange(len(z))[:, None] >= len(z) // 4
    counted = np.maximum((seen & later).sum(axis=0), 1)
    scale = np.where(seen & later, z * z, 0.0).sum(axis=0) / counted
    total = np.zeros(z.shape[1])
    squares = np.zeros(z.shape[1])
    widest = SPIKE**2 / (1.0 - decay * decay) * excess
    for t in range(len(z)):
        total = np.where(seen[t], decay * total + z[t], total)
        squares += np.where(seen[t] & later[t], np.minimum(total**2, widest), 0.0)
    reference = np.maximum(scale, LEAST_REFERENCE)
    short_run = np.maximum(scale, LEAST_SHORT)
    return np.stack([reference, reference, squares / counted, short_run, total], axis=1)
