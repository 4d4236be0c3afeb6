"""Which regressors explain a stream's season, and how far each may reach before data speak.

Hours and weekdays are UTC. The number of harmonics of the day is what the tick can resolve,
at most 11: (n - 1) // 2 for n ticks a day. Two harmonics of the year are for references that have
seen a year: before, they cannot be told from a level that moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import DAY_US, FloatArray, IntArray

MAX_HARMONICS = 11
LEVEL_SD = 100.0
DAY_SD = 0.3
WEEK_SD = 0.3
YEAR_US = 365.2425 * DAY_US
YEARLY_SPREADS = (1.0, 0.5)
"""Prior sd of the first and second harmonic of the year, in spreads of the stream."""


@dataclass(frozen=True, slots=True)
class Design:
    """Regressors of one tick length, with the year's or without.

    `tick_us` 0 means ticks are row counts: a level only.
    """

    tick_us: int
    yearly: bool = False

    @property
    def timed(self) -> bool:
        return self.tick_us > 0

    @property
    def harmonics(self) -> int:
        if not self.timed or self.tick_us >= DAY_US:
            return 0
        return min(MAX_HARMONICS, (DAY_US // self.tick_us - 1) // 2)

    @property
    def half_day(self) -> bool:
        """Two ticks a day resolve a day and a night, though no full harmonic."""
        return self.timed and self.tick_us < DAY_US and self.harmonics == 0

    @property
    def weekend(self) -> bool:
        return self.timed and self.tick_us < DAY_US

    @property
    def weekdays(self) -> bool:
        return self.tick_us == DAY_US

    @property
    def years(self) -> int:
        """How many harmonics of the year there are."""
        return len(YEARLY_SPREADS) if self.yearly and self.timed else 0

    @property
    def width(self) -> int:
        """p, the number of regressors, the level included: 24 hourly, 4 at 6 h, 7 daily.

        The year adds 4.
        """
        week = self.weekend + 6 * self.weekdays
        return 1 + 2 * self.harmonics + self.half_day + week + 2 * self.years

    @property
    def ticks_per_day(self) -> float:
        """Ticks a day; row ticks count as one an hour."""
        return DAY_US / self.tick_us if self.timed else 24.0

    def columns(self, starts_us: IntArray) -> FloatArray:
        """The regressors (T, p) of ticks that start at `starts_us` (T,)."""
        columns = [np.ones(len(starts_us))]
        if self.timed:
            day, within = np.divmod(starts_us, DAY_US)
            angle = 2.0 * np.pi * (within / DAY_US)
            weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
            for k in range(1, self.harmonics + 1):
                columns += [np.cos(k * angle), np.sin(k * angle)]
            if self.half_day:
                columns.append(np.cos(angle))
            if self.weekend:
                columns.append((weekday >= 5).astype(np.float64))
            if self.weekdays:
                sunday = (weekday == 6).astype(np.float64)
                columns += [(weekday == j).astype(np.float64) - sunday for j in range(6)]
            turn = 2.0 * np.pi * (starts_us / YEAR_US % 1.0)
            for k in range(1, self.years + 1):
                columns += [np.cos(k * turn), np.sin(k * turn)]
        return np.ascontiguousarray(np.stack(columns, axis=1))

    def prior_sd(self, spread: FloatArray) -> FloatArray:
        """Prior sd (K, p) of the coefficients, for streams whose values spread by `spread` (K,).

        The level is diffuse; harmonic k has .3 / k and the week .3, which suits log odds and
        standardised means. A stream in smaller units gets at most twice its own spread.
        """
        shape = [LEVEL_SD]
        for k in range(1, self.harmonics + 1):
            shape += [DAY_SD / k, DAY_SD / k]
        shape += [DAY_SD] * self.half_day + [WEEK_SD] * (self.weekend + 6 * self.weekdays)
        unit = np.minimum(1.0, 2.0 * spread / DAY_SD)
        sd = np.multiply.outer(unit, np.array(shape))
        yearly = np.repeat(YEARLY_SPREADS[: self.years], 2)
        return np.concatenate([sd, np.multiply.outer(spread, yearly)], axis=1)
