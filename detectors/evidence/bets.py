"""Bets on single rows: how much likelier a row's cell is after a change than in the reference.

A stream is followed row by row where its rows are exchangeable (`audit.py`). Each alternative j
gives the cells of the reference, shares p (G,), other shares q_j; a row in cell b multiplies the
alternative's wealth by q_j(b) / p(b). Under p that averages one, so the product over any number of
rows is evidence, and a tick's rows enter as counts · log(q_j / p): no row is looked at by itself.

p is an estimate. Each factor is divided by 1 + √(χ²_j / n), χ²_j = Σ q_j² / p - 1, one standard
error of its mean over references of n rows. Measured at a nominal run length of 10,000 rows on
5,000 reference rows: 8,362 without, 20,870 with; at 1,000 rows single references stay far below,
so row mode asks for 5,000.

Bets for ordered cells move a normal score through them, widen it, or raise a tail, because shifts
show first in the tails. Bets on a bounded mean hold whatever else changes, after Waudby-Smith and
Ramdas (2024): a cell stands for its end that is worse for the bet. Bets on categories raise or
lower the odds of one cell, or follow the mix of the latest rows (a plug-in, known before the tick).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from detectors.records import BoolArray, FloatArray

SHIFTS = (0.1, 0.2, 0.4, 0.8, 1.4, 2.5)
WIDENINGS = (0.7, 0.85, 1.2, 1.5, 2.2)
TAILS = (0.02, 0.008, 0.003, 0.0005)
TAIL_FACTORS = (1.5, 2.5, 6.0, 20.0)
MOST_TAIL = 0.5
SHIFT_MASS, WIDENING_MASS, TAIL_MASS = 0.5, 0.2, 0.3
KEPT = 0.02
"""Share of p in every alternative, so that no row can ruin a bet."""
STAKES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
ODDS_FACTORS = (0.5, 2.0, 5.0)
WINDOWS_ROWS = (200.0, 2000.0)
"""A plug-in remembers about so many rows, with as many of the reference's to steady it."""
TILT_MASS = 0.5
HALF_COUNT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Bets:
    """Alternatives for the cells (G,) of one stream.

    `shares` are p; `log_ratio` (J, G) is log(q_j / p) with the correction for n reference rows
    taken off; `prior` (J,) sums to one with `plug_in` more of it for the bets on the latest rows.
    """

    shares: FloatArray
    log_ratio: FloatArray
    prior: FloatArray
    rows: float
    plug_in: float = 0.0

    @property
    def count(self) -> int:
        """Accounts, those of plug-in bets included."""
        return len(self.prior) + (len(WINDOWS_ROWS) if self.plug_in else 0)

    @property
    def every_prior(self) -> FloatArray:
        """Prior of every account, plug-ins last; sums to one."""
        if not self.plug_in:
            return self.prior
        each = np.full(len(WINDOWS_ROWS), self.plug_in / len(WINDOWS_ROWS))
        return np.concatenate([self.prior * (1.0 - self.plug_in), each])

    def log_evidence(self, counts: FloatArray, memory: FloatArray | None = None) -> FloatArray:
        """Log factors of a tick's counts (G,); `memory` (2, G) is what plug-ins remember."""
        logs: FloatArray = self.log_ratio @ counts
        if not self.plug_in:
            return logs
        assert memory is not None
        latest = np.array([window * self.shares for window in WINDOWS_ROWS]) + memory
        q = latest / latest.sum(axis=1, keepdims=True)
        return np.concatenate([logs, _log_ratios(self.shares, q, self.rows) @ counts])

    def remembered(self, memory: FloatArray, counts: FloatArray) -> FloatArray:
        """What plug-ins remember (2, G) after a tick's counts (G,)."""
        fade = np.exp(-counts.sum() / np.array(WINDOWS_ROWS))
        kept: FloatArray = fade[:, None] * memory + counts
        return kept


def ordered_bets(
    counts: FloatArray, *, shifts: bool = True, widths: bool = True, tails: bool = True
) -> Bets | None:
    """Bets on cells from low to high, reference counts (G,); None where nothing could be bet.

    Families that are left out leave their prior to the others, as do bets that change nothing.
    """
    p, rows = softened(counts), float(counts.sum())
    normal = ndtri(np.clip(np.cumsum(p)[:-1], 1e-12, 1.0 - 1e-12))
    families: list[tuple[float, list[FloatArray]]] = []
    if shifts:
        both = [sign * size for size in SHIFTS for sign in (1.0, -1.0)]
        families.append((SHIFT_MASS, [shifted(normal, d) for d in both]))
    if widths:
        families.append((WIDENING_MASS, [widened(normal, s) for s in WIDENINGS]))
    if tails:
        families.append((TAIL_MASS, list(_raised_tails(p))))
    return _bets(p, rows, families)


def mean_bets(counts: FloatArray, lowest: FloatArray, highest: FloatArray, mean: float) -> Bets:
    """Bets on a mean of values in [0, 1], whose cells (G,) lie between `lowest` and `highest`.

    Raises ValueError for a mean that is not inside (0, 1): there is nothing to bet on one side.
    """
    if not 0.0 < mean < 1.0:
        msg = f"a mean of {mean:g} leaves no room for bets; it must lie between 0 and 1"
        raise ValueError(msg)
    p, rows = softened(counts), float(counts.sum())
    low, high = np.clip(lowest, 0.0, 1.0), np.clip(highest, 0.0, 1.0)
    up = [1.0 + stake / mean * (low - mean) for stake in STAKES]
    down = [1.0 - stake / (1.0 - mean) * (high - mean) for stake in STAKES]
    factor = np.stack([*up, *down])
    spread = np.sqrt(((factor - 1.0) ** 2) @ p / rows)
    logs = np.log(factor) - np.log1p(spread)[:, None]
    return Bets(p, logs, np.full(len(logs), 1.0 / len(logs)), rows)


def mix_bets(counts: FloatArray) -> Bets | None:
    """Bets on unordered cells, reference counts (G,); None for a single cell."""
    if len(counts) < 2:
        return None
    p, rows = softened(counts), float(counts.sum())
    tilts = [
        np.where(np.arange(len(p)) == cell, p * factor, p)
        for cell in range(len(p))
        for factor in ODDS_FACTORS
    ]
    q = [tilt / tilt.sum() for tilt in tilts]
    found = _bets(p, rows, [(1.0, q)])
    assert found is not None
    return Bets(found.shares, found.log_ratio, found.prior, rows, plug_in=1.0 - TILT_MASS)


def softened(counts: FloatArray) -> FloatArray:
    """Shares (G,) of counts with half a row more in every cell, so that none is impossible."""
    raised = counts + HALF_COUNT
    shares: FloatArray = raised / raised.sum()
    return shares


def shifted(normal: FloatArray, shift: float) -> FloatArray:
    """Shares (G,) of cells with edges at normal scores (G - 1,) after a shift by `shift` sd."""
    return np.diff(ndtr(normal - shift), prepend=0.0, append=1.0)


def widened(normal: FloatArray, factor: float) -> FloatArray:
    """Shares (G,) of cells with edges at normal scores (G - 1,), the spread times `factor`."""
    return np.diff(ndtr(normal / factor), prepend=0.0, append=1.0)


def error_factor(shares: FloatArray, other: FloatArray, rows: float) -> FloatArray:
    """1 + √(χ² / n) of alternatives (J, G) against shares (G,) known from n rows."""
    excess = np.maximum((other**2 / shares).sum(axis=-1) - 1.0, 0.0)
    return np.asarray(1.0 + np.sqrt(excess / rows))


def _raised_tails(p: FloatArray) -> Iterable[FloatArray]:
    below, above = np.cumsum(p), np.cumsum(p[::-1])[::-1]
    slack = 1e-9
    for quantile in TAILS:
        for tail in (above <= quantile + slack, below <= quantile + slack):
            for factor in TAIL_FACTORS:
                raised = _raised(p, tail, factor)
                if raised is not None:
                    yield raised


def _raised(p: FloatArray, tail: BoolArray, factor: float) -> FloatArray | None:
    mass = float(p[tail].sum())
    if not mass > 0.0:
        return None
    wanted = min(mass * factor, max(MOST_TAIL, mass))
    return np.where(tail, p * wanted / mass, p * (1.0 - wanted) / (1.0 - mass))


def _bets(
    p: FloatArray, rows: float, families: list[tuple[float, list[FloatArray]]]
) -> Bets | None:
    kept = [(mass, q) for mass, q in families if q]
    if len(p) < 2 or not kept or not rows > 0.0:
        return None
    alternatives = np.stack([one for _, q in kept for one in q])
    prior = np.concatenate([np.full(len(q), mass / len(q)) for mass, q in kept])
    return Bets(p, _log_ratios(p, alternatives, rows), prior / prior.sum(), rows)


def _log_ratios(p: FloatArray, q: FloatArray, rows: float) -> FloatArray:
    """Log of q / p (J, G) for alternatives (J, G), some p kept in each, error taken off."""
    safe = (1.0 - KEPT) * q + KEPT * p
    logs: FloatArray = np.log(safe / p) - np.log(error_factor(p, safe, rows))[:, None]
    return logs
