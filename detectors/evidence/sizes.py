"""Whether a change that counts show is large enough to matter: of a rare rate, and of rows.

Sums are of an onset's ticks, or of all ticks with fading weights: the last ones by themselves. An
account waits while neither matters. What was gathered since the onset need only be as large as
what matters; the last ticks, which are looked at again and again, must be so beyond doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from scipy.special import expit, logit

from detectors.evidence.sparse import SMALLEST
from detectors.records import FloatArray

SURE_ERRORS = 2.0
"""A change of rows must exceed what matters by two of its standard errors: bets on rows have no
gate, and a thousand rows tell a shift too small to matter in one tick."""
SURE_LATELY = 4.0
"""The errors by which the last ticks must exceed it."""


class Size(Protocol):
    """How the sums (3,) of one stream are read."""

    def effect(self, sums: FloatArray) -> float:
        """The estimated change in units of y."""

    def matters(self, sums: FloatArray) -> bool:
        """Whether sums since an onset show a change that matters."""

    def surely(self, lately: FloatArray, decay: float) -> bool:
        """Whether sums with weights that fade by `decay` a tick show one beyond doubt."""


@dataclass(frozen=True, slots=True)
class RateSize:
    """Sums are events, trials and expected events.

    A change of log odds (`odds`) and one of the share matter if both are reached. `base`: the
    share in the reference where y is a step from it, else None. `excess`: dispersion over the
    binomial's.
    """

    odds: float
    share: float
    base: float | None
    excess: float

    def effect(self, sums: FloatArray) -> float:
        events, trials, expected = (float(part) for part in sums)
        if not trials > 0.0:
            return 0.0
        if self.base is None:
            return self._odds(events, trials, expected)
        step = events / trials - self._before(trials, expected)
        return step / max(self.base * (1.0 - self.base), SMALLEST)

    def matters(self, sums: FloatArray) -> bool:
        events, trials, expected = (float(part) for part in sums)
        if not trials > 0.0:
            return False
        step = events / trials - self._before(trials, expected)
        return abs(self._odds(events, trials, expected)) >= self.odds and abs(step) >= self.share

    def surely(self, lately: FloatArray, decay: float) -> bool:
        """Whether events lie beyond those of the nearest rate that matters by four errors of it."""
        events, trials, expected = (float(part) for part in lately)
        if not trials > 0.0:
            return False
        before = self._before(trials, expected)
        way = 1.0 if events > trials * before else -1.0
        by_odds = float(expit(logit(before) + way * self.odds))
        edge = way * max(way * by_odds, way * (before + way * self.share))
        if not 0.0 < edge < 1.0:
            return False
        # Fading weights w add up to Σw, and their squares to Σw / (1 + decay).
        error = math.sqrt(self.excess * trials * edge * (1.0 - edge) / (1.0 + decay))
        return way * (events - trials * edge) >= SURE_LATELY * error

    def _before(self, trials: float, expected: float) -> float:
        return min(max(expected / trials, SMALLEST), 1.0 - SMALLEST)

    def _odds(self, events: float, trials: float, expected: float) -> float:
        now = (events + 0.5) / (trials + 1.0)
        return float(logit(now) - logit(self._before(trials, expected)))


@dataclass(frozen=True, slots=True)
class RowSize:
    """Sums are y/v and 1/v; `least` is the practical effect, 0 for none."""

    least: float

    def effect(self, sums: FloatArray) -> float:
        return float(sums[0] / max(sums[1], SMALLEST))

    def matters(self, sums: FloatArray) -> bool:
        return not self.least > 0.0 or self._exceeds(sums, SURE_ERRORS, float(sums[1]))

    def surely(self, lately: FloatArray, decay: float) -> bool:
        return self._exceeds(lately, SURE_LATELY, float(lately[1]) * (1.0 + decay))

    def _exceeds(self, sums: FloatArray, errors: float, information: float) -> bool:
        return abs(self.effect(sums)) - errors / math.sqrt(max(information, SMALLEST)) >= self.least
