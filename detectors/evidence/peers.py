"""A domain held against its peers: what moves all of them is taken out of each.

A stream that goes up and down with those of other domains is followed a second time, less what its
peers say: y - g s c. Here c is the median over peers of their values, each in sd from its mean in
the reference, s the sd of the stream itself, and g a slope near 1. A median, so that one ill peer
cannot move it. All is fixed on the reference: who the peers are, means, sd and slope.

Peers are the five domains whose stream correlates most, each by .5 or more; where all do, the fleet
is alike and all of them count, up to a dozen. They serve where the stream correlates with
their median by .7 or more. The slope is a ridge estimate with prior N(1, .5²). This is
difference-in-differences (Ashenfelter and Card, 1985) with a synthetic control of equal weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.records import FloatArray, IntArray

FEWEST_TICKS = 20
"""Ticks that two domains must share in the reference: of fewer, a correlation may be chance."""
FEWEST_PEERS = 2
FEWEST_DOMAINS = FEWEST_PEERS + 1
MOST_PEERS = 12
BEST_PEERS = 5
LEAST_LIKENESS = 0.5
LEAST_CORRELATION = 0.7
SLOPE_PRIOR_SD = 0.5
SMALLEST_SD = 1e-9
MEDIAN_VARIANCE = np.pi / 2.0
"""Variance of a median over that of a mean, for normal values."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Ticks of one domain: starts_us (T,), y and v (T, K); v infinite where there is no data."""

    starts_us: IntArray
    y: FloatArray
    v: FloatArray

    def on(self, starts_us: IntArray) -> tuple[FloatArray, FloatArray]:
        """y, NaN where there is no data, and v, on another clock's ticks (S, K)."""
        y = np.full((len(starts_us), self.y.shape[1]), np.nan)
        v = np.full(y.shape, np.inf)
        _, here, there = np.intersect1d(
            self.starts_us, starts_us, assume_unique=True, return_indices=True
        )
        y[there], v[there] = self.y[here], self.v[here]
        return np.where(np.isfinite(v), y, np.nan), v


@dataclass(frozen=True, slots=True)
class Control:
    """How one stream is held against its peers. `centre` and `spread` are one a peer."""

    peers: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    own_spread: float
    slope: float
    correlation: float

    def difference(
        self, y: FloatArray, v: FloatArray, peers_y: FloatArray, peers_v: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The stream less its peers: y and v (T,), those of the peers (T, P) → y, v (T,).

        A tick at which fewer than two peers have data is empty.
        """
        control, variance = median_of(peers_y, peers_v, self.centre, self.spread)
        unit = self.own_spread * self.slope
        seen = np.isfinite(v) & np.isfinite(y) & np.isfinite(control)
        difference = np.where(seen, y, 0.0) - unit * np.where(seen, control, 0.0)
        return difference, np.where(seen, v + unit**2 * variance, np.inf)


@dataclass(frozen=True, slots=True)
class Peers:
    """The streams of a domain that have peers, by id, and why the others have none."""

    controls: Mapping[str, Control] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """Every domain that is a peer of some stream, in order of name."""
        return tuple(sorted({name for one in self.controls.values() for name in one.peers}))


def median_of(
    y: FloatArray, v: FloatArray, centre: Sequence[float], spread: Sequence[float]
) -> tuple[FloatArray, FloatArray]:
    """Median (T,) over domains of y (T, P), each in sd from its mean, and its sampling variance.

    NaN and infinite where fewer than two domains have data.
    """
    sd = np.asarray(spread)
    seen = np.isfinite(y) & np.isfinite(v)
    count = seen.sum(axis=1)
    enough = count >= FEWEST_PEERS
    middle, variance = np.full(len(y), np.nan), np.full(len(y), np.inf)
    if enough.any():
        away = np.where(seen, (y - np.asarray(centre)) / sd, np.nan)[enough]
        middle[enough] = np.nanmedian(away, axis=1)
        total = np.where(seen, v / sd**2, 0.0)[enough].sum(axis=1)
        variance[enough] = MEDIAN_VARIANCE * total / count[enough] ** 2
    return middle, variance


def choose_peers(own: Series, others: Mapping[str, Series], streams: Sequence[str]) -> Peers:
    """Which streams have peers, by reference ticks alone; columns (K,) follow `streams`.

    Only ticks of the domain's own reference are read, so nothing after it counts. The same
    references give the same peers, in whatever order they come.
    """
    names = sorted(others)
    own_y = np.where(np.isfinite(own.v), own.y, np.nan)
    theirs = [others[name].on(own.starts_us) for name in names]
    controls, why_not = {}, {}
    for k, stream in enumerate(streams):
        y = np.stack([y[:, k] for y, _ in theirs], axis=1) if names else np.empty((len(own_y), 0))
        v = np.stack([v[:, k] for _, v in theirs], axis=1) if names else np.empty((len(own_y), 0))
        found = _control(own_y[:, k], y, v, names)
        if isinstance(found, str):
            why_not[stream] = found
        else:
            controls[stream] = found
    return Peers(controls, why_not)


def _control(own: FloatArray, y: FloatArray, v: FloatArray, names: list[str]) -> Control | str:
    """The control of one stream (T,) by the others' (T, P), or why there is none."""
    both = np.isfinite(own)[:, None] & np.isfinite(y)
    shared = both.sum(axis=0)
    if int((shared >= FEWEST_TICKS).sum()) < FEWEST_PEERS:
        few = f"{FEWEST_TICKS} ticks of its reference"
        return f"fewer than {FEWEST_PEERS} domains share {few}"
    if np.nanstd(own) < SMALLEST_SD:
        return "it does not vary in the reference"
    likeness = np.array([correlation(own, y[:, p]) for p in range(len(names))])
    likeness[shared < FEWEST_TICKS] = -1.0
    # Equal likeness, to the ninth decimal, is broken by name: no order of summing decides.
    ranked = sorted(range(len(names)), key=lambda p: (-round(float(likeness[p]), 9), names[p]))
    alike = [p for p in ranked if likeness[p] >= LEAST_LIKENESS]
    chosen = sorted(alike[: MOST_PEERS if len(alike) == len(names) else BEST_PEERS])
    if len(chosen) < FEWEST_PEERS:
        return f"fewer than {FEWEST_PEERS} domains move with it (correlation {LEAST_LIKENESS:g})"
    at = [names[p] for p in chosen]
    centre, spread = np.nanmean(y[:, chosen], axis=0), np.nanstd(y[:, chosen], axis=0)
    middle, _ = median_of(y[:, chosen], v[:, chosen], centre, spread)
    together = correlation(own, middle)
    if not together >= LEAST_CORRELATION:
        return (
            f"it moves with the median of its peers by {together:.2f} only; "
            f"{LEAST_CORRELATION:g} is needed"
        )
    own_spread = float(np.nanstd(own))
    return Control(
        peers=tuple(at),
        centre=tuple(map(float, centre)),
        spread=tuple(map(float, spread)),
        own_spread=own_spread,
        slope=_slope((own - np.nanmean(own)) / own_spread, middle),
        correlation=together,
    )


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's correlation over the ticks (T,) that both have; 0 where either is constant."""
    both = np.isfinite(a) & np.isfinite(b)
    if int(both.sum()) < FEWEST_TICKS:
        return 0.0
    a, b = a[both] - a[both].mean(), b[both] - b[both].mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > SMALLEST_SD**2 else 0.0


def _slope(own: FloatArray, control: FloatArray) -> float:
    """Posterior mean of the slope of own (T,) on control, both about 0 with sd about 1."""
    both = np.isfinite(own) & np.isfinite(control)
    x, y = control[both] - control[both].mean(), own[both] - own[both].mean()
    noise = max(float(np.mean((y - x) ** 2)), SMALLEST_SD)
    prior = 1.0 / SLOPE_PRIOR_SD**2
    return float((x @ y / noise + prior) / (x @ x / noise + prior))
