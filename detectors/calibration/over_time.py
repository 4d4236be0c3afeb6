"""Evidence over time against probabilities, where it is known which rows share an outcome.

Rows of one cluster (a match, a race, a day) share an outcome, whatever their dependence. The
average of their e-values is an e-value; those of different clusters are multiplied. So a thousand
forecasts of one match count as one, and nothing has to be learnt of the noise: the null is that a
probability is right given the past. After Henzi and Ziegel (2022) and Arnold, Henzi and Ziegel
(2023); averages after Vovk and Wang (2021).

Two questions are followed. *Has it changed?* bets within the page budget on shifts and tilts of
log odds beyond the practical effect: a likelihood ratio against the nearest one that is too small
to matter, so that it is at most 1 in expectation for all of those. *Was it ever right?* is asked
once, at 5 %, of all rows together, where scores are held against outcomes.

Where the scores of a cluster add up to its outcome, as those of a race with one winner, the level
is right by design and only tilts are bet on; slices keep their shifts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.calibration.cluster import group_means, log_ratio
from detectors.calibration.rows import log_odds, sigmoid
from detectors.records import CodeArray, FloatArray, IntArray
from detectors.sums import Curve

SHIFTS = (0.1, 0.2, 0.4, 0.8, -0.1, -0.2, -0.4, -0.8)
TILTS = (0.6, 0.8, 1.25, 1.6)
SHIFT_GATE = 0.05
TILT_GATES = (0.85, 1.15)
ALTERNATIVES = len(SHIFTS) + len(TILTS)
MOVES = (-2.0, -1.2, -0.6, -0.2, 0.0, 0.2, 0.6, 1.2, 2.0)
NOT_MOVED = MOVES.index(0.0)
SHIFT_SUMS = 2 + len(MOVES)
VERDICT_SHIFTS = (0.2, 0.4, -0.2, -0.4)
VERDICT_ALPHA = 0.05
SUM_CONSTRAINED = 0.2
"""Below this dispersion of Σ(y - p) per cluster the scores add up to the outcome by design."""
FEWEST_CLUSTERS = 20
LARGEST_MEAN_OF_ONE = 1.5
"""With fewer rows a cluster than this on average, a cluster is mostly one row."""
NEVER = np.iinfo(np.int64).min
SAFE = 1e-3
"""Scores are read as no surer than one in a thousand: beyond, one surprise would decide alone."""


@dataclass(frozen=True, slots=True, eq=False)
class ForecastTick:
    """What the clusters of a tick say of all rows (place 0) and of S - 1 slices.

    log_e (S, J) are sums over clusters; `clusters` (S,) how many there were, and verdict (c, 4)
    what each of them says of all rows, in order of time. sums (k, S) count every cluster as one
    row: see `shift_of`. `squares` and `implied` are Σ over clusters of (Σ(y - p))² and Σp(1 - p) of
    all rows as they came.
    """

    log_e: FloatArray
    verdict: FloatArray
    clusters: FloatArray
    sums: FloatArray
    rows: int
    squares: float
    implied: float


def row_log_e(p: FloatArray, y: FloatArray, centre: float) -> FloatArray:
    """Log e-values (n, J) of labels y (n,) against probabilities p (n,), gated.

    `centre` is the log odds around which scores are tilted.
    """
    z = log_odds(np.clip(p, SAFE, 1.0 - SAFE))
    away = z - centre
    gates = [TILT_GATES[0] if tilt < 1.0 else TILT_GATES[1] for tilt in TILTS]
    shifted = [log_ratio(z + s, z + np.sign(s) * SHIFT_GATE, y) for s in SHIFTS]
    tilted = [
        log_ratio(centre + tilt * away, centre + gate * away, y)
        for tilt, gate in zip(TILTS, gates, strict=True)
    ]
    return np.stack([*shifted, *tilted], axis=1)


def row_verdict_log_e(p: FloatArray, y: FloatArray) -> FloatArray:
    """Log e-values (n, 4) against "exactly right", for shifts of ±.2 and ±.4."""
    z = log_odds(np.clip(p, SAFE, 1.0 - SAFE))
    return np.stack([log_ratio(z + shift, z, y) for shift in VERDICT_SHIFTS], axis=1)


def read_tick(
    p: FloatArray,
    y: FloatArray,
    cluster: IntArray,
    slices: list[CodeArray],
    *,
    places: int,
    centre: float,
    cost: FloatArray | None = None,
    discount: float = 1.0,
) -> ForecastTick:
    """Average within clusters, multiply over them: for all rows and each slice.

    `cluster` (n,) numbers the clusters from 0 in order of time. `slices` holds, for every
    declaration, the place (n,) of a row's slice among `places`, or -1. `cost` (J,) is a log taken
    off each cluster's e-value: the price of a null that was estimated. `discount` divides the log:
    how much more clusters scatter from day to day than they would alone.
    """
    e = np.exp(np.column_stack([row_log_e(p, y, centre), row_verdict_log_e(p, y)]))
    moved = log_odds(np.clip(p, SAFE, 1.0 - SAFE))[:, None] + np.array(MOVES)
    expected, columns = sigmoid(moved), e.shape[1]
    cost = np.zeros(ALTERNATIVES) if cost is None else cost
    size = 1 + places
    log_e, verdict = np.zeros((size, ALTERNATIVES)), np.zeros((0, len(VERDICT_SHIFTS)))
    clusters, sums = np.zeros(size), np.zeros((SHIFT_SUMS, size))
    squares = implied = 0.0
    many = int(cluster.max()) + 1 if len(cluster) else 1
    whole: list[CodeArray | None] = [None, *slices]
    for code in whole:
        inside = np.arange(len(p)) if code is None else np.flatnonzero(code >= 0)
        if not len(inside):
            continue
        at = np.zeros(len(inside), np.int64) if code is None else code[inside].astype(np.int64) + 1
        if many == len(p):
            # every row is its own cluster
            order = np.argsort(cluster[inside], kind="stable")
            inside, of, group = inside[order], at[order], np.arange(len(inside))
        else:
            pairs, group = np.unique(at * many + cluster[inside], return_inverse=True)
            of = pairs // many
        gap, sure = y[inside] - p[inside], p[inside] * (1.0 - p[inside])
        means = group_means(np.column_stack([e[inside], gap, sure, expected[inside]]), group)
        gaps, rest = means[:, columns], means[:, columns + 2 :]
        np.add.at(log_e, of, (np.log(means[:, :ALTERNATIVES]) - cost) / discount)
        np.add.at(clusters, of, 1.0)
        parts = np.column_stack([gaps + rest[:, NOT_MOVED], gaps**2, rest])
        np.add.at(sums.T, of, parts)
        if code is None:
            verdict = np.log(means[:, ALTERNATIVES:columns]) / discount
            squares = float(np.square(gaps * np.bincount(group)).sum())
            implied = float(sure.sum())
    return ForecastTick(log_e, verdict, clusters, sums, len(p), squares, implied)


def shift_of(sums: FloatArray) -> tuple[float, float] | None:
    """The shift of log odds that makes as many events expected as there were, and its error.

    sums (k,) are Σy, Σ(y - p)² and Σp at each of `MOVES`, between which p is read on a line. Beyond
    them the shift is not told apart from the last.
    """
    observed, spread, expected = float(sums[0]), float(sums[1]), sums[2:]
    if not np.ptp(expected) > 0.0:
        return None
    at = float(np.interp(observed, expected, MOVES))
    step = 0.1
    around = np.interp([at - step, at + step], MOVES, expected)
    information = float(np.ptp(around)) / (2.0 * step)
    return at, float(np.sqrt(spread)) / max(information, 1e-12)


def estimated_null_cost(p: FloatArray, centre: float, clusters: float) -> FloatArray:
    """What an e-value must give up (J,) a cluster where p (n,) was learnt from so many clusters.

    ln(1 + √(χ² / n)), χ² the mean squared likelihood ratio less 1: at most 1 on average over
    references of this size.
    """
    if not len(p) or not clusters > 0.0:
        return np.full(ALTERNATIVES, np.inf)
    up, down = (np.exp(row_log_e(p, np.full(len(p), outcome), centre)) for outcome in (1.0, 0.0))
    squared = p[:, None] * up**2 + (1.0 - p)[:, None] * down**2
    mean = p[:, None] * up + (1.0 - p)[:, None] * down
    chi2 = np.maximum((squared - mean**2).mean(axis=0), 0.0)
    return np.asarray(np.log1p(np.sqrt(chi2 / clusters)), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """What has been staked and won so far: log wealth (S, J) in hours, -inf where nothing is.

    `onset_us` and `run` (S, J) say since when each bet has been winning. `muted_until_us` and
    `last_us` (S,) are instants, NEVER where there was none.
    `verdict` (4,) is the log e-value since the first row and `verdict_most` the most that its mean
    has been, after any cluster: that may be looked at, and it is told once.
    The last four count multi-row clusters: clusters, rows, Σ(Σ(y - p))² and Σp(1 - p).
    """

    wealth: FloatArray
    onset_us: IntArray
    run: FloatArray
    muted_until_us: IntArray
    last_us: IntArray
    verdict: FloatArray
    verdict_most: float = 0.0
    clusters: float = 0.0
    rows: float = 0.0
    squares: float = 0.0
    implied: float = 0.0

    @property
    def sum_constrained(self) -> bool:
        """Whether the clusters so far say that scores add up to the outcome by design."""
        if self.clusters < FEWEST_CLUSTERS or self.rows < LARGEST_MEAN_OF_ONE * self.clusters:
            return False
        return self.implied > 0.0 and self.squares / self.implied < SUM_CONSTRAINED

    @property
    def never_right(self) -> bool:
        """Whether the evidence against "these scores are right" has ever reached 1 / α."""
        return bool(self.verdict_most >= np.log(1.0 / VERDICT_ALPHA))


@dataclass(frozen=True, slots=True)
class ForecastAlarm:
    """A followed place (0 is all rows) whose evidence, M / A, has reached 1, and since when."""

    place: int
    evidence: float
    onset_us: int


def start_forecasts(places: int) -> Forecasts:
    """Nothing staked yet, for all rows and `places` slices."""
    size = 1 + places
    return Forecasts(
        wealth=np.full((size, ALTERNATIVES), -np.inf),
        onset_us=np.zeros((size, ALTERNATIVES), np.int64),
        run=np.zeros((size, ALTERNATIVES)),
        muted_until_us=np.full(size, NEVER, np.int64),
        last_us=np.full(size, NEVER, np.int64),
        verdict=np.zeros(len(VERDICT_SHIFTS)),
    )


def follow(
    before: Forecasts,
    tick: ForecastTick,
    *,
    start_us: int,
    stake: FloatArray,
    threshold: float,
    mute_us: int,
) -> tuple[Forecasts, tuple[ForecastAlarm, ...]]:
    """One tick of the budgeted evidence: M ← (M + stake)·E, an alarm at M ≥ threshold.

    stake (S,) are hours of the budget for this tick. A place without clusters in the tick stands
    still. After an alarm a place is silent for `mute_us`.
    """
    prior = np.full(ALTERNATIVES, 1.0 / ALTERNATIVES)
    priors = np.tile(prior, (len(stake), 1))
    if before.sum_constrained:
        tilts = np.where(np.arange(ALTERNATIVES) >= len(SHIFTS), 1.0 / len(TILTS), 0.0)
        priors[0] = tilts
    bets = (tick.clusters > 0.0) & (start_us >= before.muted_until_us)
    with np.errstate(divide="ignore"):
        staked = np.log(stake)[:, None] + np.log(priors)
    log_e = np.where(bets[:, None], tick.log_e, 0.0)
    wealth = np.where(bets[:, None], np.logaddexp(before.wealth, staked) + log_e, before.wealth)
    if before.sum_constrained:
        wealth[0, : len(SHIFTS)] = -np.inf
    run = before.run + log_e
    began = np.where(before.run <= 0.0, start_us, before.onset_us)
    onset, run = np.where(run <= 0.0, start_us, began), np.maximum(run, 0.0)
    total = np.array([_logsumexp(row) for row in wealth])
    alarms, muted = [], before.muted_until_us.copy()
    for place in np.flatnonzero(total >= np.log(threshold)):
        best = int(np.argmax(wealth[place]))
        evidence = float(np.exp(min(total[place] - np.log(threshold), 700.0)))
        alarms.append(ForecastAlarm(int(place), evidence, int(onset[place, best])))
        wealth[place], run[place] = -np.inf, 0.0
        muted[place] = start_us + mute_us
    path = before.verdict + np.cumsum(tick.verdict, axis=0)
    mean = [_logsumexp(row) - np.log(len(row)) for row in path]
    after = replace(
        before,
        wealth=wealth,
        onset_us=onset.astype(np.int64),
        run=run,
        muted_until_us=muted,
        verdict=path[-1] if len(path) else before.verdict,
        verdict_most=float(max(before.verdict_most, *mean, -np.inf)),
        last_us=np.where(tick.clusters > 0.0, start_us, before.last_us),
        clusters=before.clusters + float(tick.clusters[0]),
        rows=before.rows + tick.rows,
        squares=before.squares + tick.squares,
        implied=before.implied + tick.implied,
    )
    return after, tuple(alarms)


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """What a score is held to: itself, or the reference's `curve` at a `cost` (J,) a cluster.

    `discount` is how much more clusters scatter from day to day than they would alone.
    """

    centre: float
    cost: FloatArray
    curve: Curve | None = None
    discount: float = 1.0

    def probability(self, score: FloatArray) -> FloatArray:
        """The probability (n,) that labels are held to."""
        p = score if self.curve is None else self.curve.apply(score)
        return np.clip(p, SAFE, 1.0 - SAFE)


def null_of(score: FloatArray, curve: Curve | None, clusters: float, discount: float = 1.0) -> Null:
    """The null for scores like (n,) these; a curve was learnt from so many clusters of labels."""
    held = Null(0.0, np.zeros(ALTERNATIVES), curve, discount)
    p = held.probability(score[np.isfinite(score)])
    centre = float(log_odds(np.array(p.mean()))) if len(p) else 0.0
    if curve is None:
        return replace(held, centre=centre)
    return replace(held, centre=centre, cost=estimated_null_cost(p, centre, clusters))


def _logsumexp(values: FloatArray) -> float:
    top = float(values.max())
    return top if np.isinf(top) else top + float(np.log(np.exp(values - top).sum()))
