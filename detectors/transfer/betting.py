"""Betting on the sign: evidence from per-event credits that may be read after every event.

In an interleaved design each event credits one model or neither. A bettor who puts the share λ
of their money on one side multiplies it by 1 + λ·credit; the mean over several λ is their
capital, and capital reaches 1/α with a chance of at most α where there is no such preference
(Ville). Waudby-Smith and Ramdas (2024), *Estimating means of bounded random variables by betting*.
"""

from __future__ import annotations

import numpy as np

from detectors.records import FloatArray

STAKES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)


def log_capital(credit: FloatArray, stakes: tuple[float, ...] = STAKES) -> FloatArray:
    """Log capital after each credit (n,) in [-1, 1], betting that their mean is above 0.

    ValueError for a credit outside [-1, 1], which could lose more than the stake.
    """
    if len(credit) and not np.all(np.abs(credit) <= 1.0):
        msg = f"a credit of {credit[np.argmax(np.abs(credit))]:g}; credits lie in [-1, 1]"
        raise ValueError(msg)
    paths = np.cumsum(np.log1p(np.multiply.outer(np.array(stakes), credit)), axis=1)
    return _mean_of(paths)


def log_capital_of_counts(
    wins: FloatArray,
    losses: FloatArray,
    ties: FloatArray,
    *,
    margin: float = 0.0,
    stakes: tuple[float, ...] = STAKES,
) -> FloatArray:
    """Log capital after each tick (T,), from how many events of it were won and lost.

    Bets that wins outnumber losses by more than `margin` of all events. Order inside a tick does
    not matter, as capital is a product.
    """
    stake = np.array(stakes)[:, None]
    scale = 1.0 + margin  # keeps what an event can cost within the stake
    steps = (
        wins * np.log1p(stake * (1.0 - margin) / scale)
        + losses * np.log1p(-stake * (1.0 + margin) / scale)
        + ties * np.log1p(-stake * margin / scale)
    )
    return _mean_of(np.cumsum(steps, axis=1))


def _mean_of(paths: FloatArray) -> FloatArray:
    if not paths.shape[1]:
        return np.empty(0)
    top = paths.max(axis=0)
    return np.asarray(top + np.log(np.exp(paths - top).mean(axis=0)))
