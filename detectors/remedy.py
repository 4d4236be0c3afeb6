"""Has a deed taken a harm away? One followed number before a change, while it hurt, and after.

The level that a deed is to bring back is the one expected now, not the one of an old reference: a
season that lowers everybody's loss would verify whatever was done. So a number without a level of
its own is held against the 28 days before the change; where a baseline's loss on the same rows is
known, the caller gives the difference to it instead, which no season moves.

Days are taken as a level a stretch and noise around it with one scale and one memory for all
stretches, so that three days after a deed are judged by the scatter of two months.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from detectors.records import DAY_US, BoolArray, FloatArray, IntArray

BEFORE_US = 28 * DAY_US
FEWEST_BEFORE = 7
FEWEST_AFTER = 3
FEWEST_FREEDOM = 5
LEVEL = 0.95
MOST_MEMORY = 0.9


class Answer(StrEnum):
    """What can be said of a deed so far."""

    WORKED = "worked"
    FAILED = "failed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A harm and what is left of it, in units of the number; errors are standard errors.

    `expected` is the level without harm, `ill` the one before the deed and `after` the mean of
    `days` days since. `harm` and `left` count away from what is expected, on the side on which it
    hurt. `freedom` is the noise's.
    """

    expected: float
    ill: float
    after: float
    harm: float
    harm_error: float
    left: float
    left_error: float
    days: int
    freedom: int

    @property
    def reach(self) -> float:
        """How many errors a number must lie off to be called so: Student's t, one-sided .05."""
        from scipy.special import stdtrit

        return float(stdtrit(max(self.freedom, 1), LEVEL))

    @property
    def gone(self) -> float:
        """Share of the harm that is gone."""
        return 1.0 - self.left / self.harm if self.harm else 0.0

    def shows_harm(self, margin: float) -> bool:
        """Whether there was a harm to take away: beyond the margin and beyond noise."""
        return abs(self.harm) > max(margin, self.reach * self.harm_error)


def remedy_of(
    start_us: IntArray,
    y: FloatArray,
    v: FloatArray,
    *,
    changed_us: int,
    served_us: int,
    fallback: float,
    fixed: float | None = None,
) -> Remedy | None:
    """What a deed did to a number followed by day: start_us, y and v (T,), v its known variance.

    The change began at `changed_us` and the deed serves from `served_us`; `fixed` is a level that
    no season moves, `fallback` the one used where under seven days lie before the change. None
    while a stretch has no day or the noise cannot be told.
    """
    known = np.isfinite(v) & (v > 0.0)
    start_us, y, v = start_us[known], y[known], v[known]
    before = (start_us >= changed_us - BEFORE_US) & (start_us < changed_us)
    while_ill = (start_us >= changed_us) & (start_us < served_us)
    after = start_us >= served_us
    if not while_ill.any() or not after.any():
        return None
    stretches = [part for part in (before, while_ill, after) if part.any()]
    noise = _noise(y, v, stretches)
    if noise is None:
        return None
    scale2, memory, freedom = noise
    own = fixed is None and int(before.sum()) >= FEWEST_BEFORE
    expected = _mean(y, v, before) if own else (fallback if fixed is None else fixed)
    doubt = _error2(v, before, scale2, memory) if own else 0.0
    ill, now = _mean(y, v, while_ill), _mean(y, v, after)
    sign = 1.0 if ill >= expected else -1.0
    return Remedy(
        expected=expected,
        ill=ill,
        after=now,
        harm=sign * (ill - expected),
        harm_error=float(np.sqrt(doubt + _error2(v, while_ill, scale2, memory))),
        left=sign * (now - expected),
        left_error=float(np.sqrt(doubt + _error2(v, after, scale2, memory))),
        days=int(after.sum()),
        freedom=freedom,
    )


def answer_of(remedy: Remedy, *, margin: float, late: bool, one_sided: bool) -> Answer:
    """Whether a harm has gone, looked at as often as one likes.

    Worked: back inside the margin, and more than half of the harm gone beyond noise. Failed, once
    it is `late`: outside the margin beyond noise, and less than half of it gone. `one_sided`:
    beyond what was expected, on the other side of the harm, is no harm.
    """
    off = remedy.left if one_sided else abs(remedy.left)
    reach = remedy.reach
    inside = off <= max(margin, reach * remedy.left_error)
    half_error = float(np.hypot(remedy.left_error, 0.5 * remedy.harm_error))
    if not remedy.shows_harm(margin):
        return Answer.OPEN
    halved = remedy.left + reach * half_error <= 0.5 * remedy.harm
    if remedy.days >= FEWEST_AFTER and inside and halved:
        return Answer.WORKED
    return Answer.FAILED if late and not inside and remedy.gone < 0.5 else Answer.OPEN


def _mean(y: FloatArray, v: FloatArray, part: BoolArray) -> float:
    return float(np.average(y[part], weights=1.0 / v[part]))


def _error2(v: FloatArray, part: BoolArray, scale2: float, memory: float) -> float:
    """Variance of a stretch's mean: exact for equal v and a memory that fades as ρ^k."""
    days = int(part.sum())
    lags = np.arange(1, days)
    stretched = 1.0 + 2.0 * float(((1.0 - lags / days) * memory**lags).sum())
    return scale2 * stretched / float((1.0 / v[part]).sum())


def _noise(
    y: FloatArray, v: FloatArray, stretches: list[BoolArray]
) -> tuple[float, float, int] | None:
    """Scale² of the days in units of v (at least 1), their lag-1 memory, degrees of freedom.

    The memory's estimate is too low by about (1 + 4ρ) / n for each stretch's own mean; half an
    error is added, because a memory that is missed costs more than one that is imagined.
    """
    squares, products, pairs, count = 0.0, 0.0, 0, 0
    for part in stretches:
        r = (y[part] - _mean(y, v, part)) / np.sqrt(v[part])
        squares += float(r @ r)
        products += float(r[1:] @ r[:-1])
        pairs += max(len(r) - 1, 0)
        count += len(r)
    freedom = count - len(stretches)
    if freedom < FEWEST_FREEDOM:
        return None
    rho = products / squares if squares > 0.0 else 0.0
    rho += (1.0 + 4.0 * max(rho, 0.0)) * len(stretches) / count + 0.5 / np.sqrt(max(pairs, 1))
    memory = float(np.clip(rho, 0.0, MOST_MEMORY))
    return max(squares / freedom, 1.0), memory, freedom
