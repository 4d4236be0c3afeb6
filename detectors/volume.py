"""How many rows come in a day, against what is usual on that day of the week.

y is the log of a day's rows over the median of the reference's days of the same weekday: log 2 is
twice as many, and a weekend is nothing out of the ordinary. v is what chance gives a count of the
usual size, and at least a scatter of a fifth: less is of no use to anybody, and rows that come by
the clock would leave a loss a hundred sd away, where evidence takes it for one wild tick.

Whole days of UTC alone are judged: the hour of a clock change stays inside a day or nearly so, and
a day that is cut at either end of the rows is none. A day without rows is silence, which is told
as a state of its own (`alerts/arrival.py`); here it has no data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detectors.records import (
    DAY_US,
    HOUR_US,
    FloatArray,
    IntArray,
    Stream,
    StreamSpec,
    Tier,
    Window,
)

VOLUME = "rows.volume"
FEWEST_DAYS = 14
FEWEST_OF_A_WEEKDAY = 2
SCATTER = 0.2
"""A scatter of days (as a share) that is usual whatever the reference shows."""
GATE_SHARE = 0.3
"""Of the log of the factor that matters: a day inside it is no evidence (×1.23 for a factor of 2).

With all of it, a fall would have to be twice the factor before evidence grew; see `start_bank`.
"""
CUT_US = HOUR_US


@dataclass(frozen=True, slots=True)
class VolumeRuler:
    """Usual rows of each weekday, Monday first; 0 where the reference has too few to say."""

    usual: tuple[float, ...]

    def of(self, starts_us: IntArray) -> FloatArray:
        """The usual rows (d,) of days that start at `starts_us` (d,)."""
        # 1970-01-01 was a Thursday.
        usual: FloatArray = np.array(self.usual)[(starts_us // DAY_US + 3) % 7]
        return usual

    def scaled(self, factor: float) -> VolumeRuler:
        """The same week, with `factor` times the rows."""
        return VolumeRuler(tuple(factor * rows for rows in self.usual))


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """Rows by the day: starts_us (d,), one after another, with Σω and Σω² (d,) of their rows."""

    starts_us: IntArray
    weight: FloatArray
    weight2: FloatArray


def whole_days(window: Window) -> Days:
    """Every day from the first row to the last, those without rows among them.

    The first day is left out where it begins an hour later than any other, the last where it ends
    an hour earlier: such a day is cut. Without times there are none.
    """
    if window.ts_us is None or not window.rows:
        return Days(np.empty(0, np.int64), np.empty(0), np.empty(0))
    order = np.argsort(window.ts_us, kind="stable")
    ts, weight = window.ts_us[order], window.weights()[order]
    days, firsts = np.unique(ts // DAY_US, return_index=True)
    begins = ts[firsts] % DAY_US
    ends = ts[np.append(firsts[1:], len(ts)) - 1] % DAY_US
    sums = np.add.reduceat(weight, firsts), np.add.reduceat(weight**2, firsts)
    cut_first = len(days) > 1 and begins[0] > begins[1:].max() + CUT_US
    cut_last = len(days) > 1 and ends[-1] < ends[:-1].min() - CUT_US
    kept = slice(int(cut_first), len(days) - int(cut_last))
    days = days[kept]
    if not len(days):
        return Days(np.empty(0, np.int64), np.empty(0), np.empty(0))
    starts = np.arange(days[0], days[-1] + 1, dtype=np.int64)
    place = days - days[0]
    totals = np.zeros((2, len(starts)))
    totals[:, place] = [part[kept] for part in sums]
    return Days(starts * DAY_US, totals[0], totals[1])


def fit_volume_ruler(days: Days) -> VolumeRuler | None:
    """What is usual, from whole days of a reference; None with fewer than 14 that have rows."""
    seen = days.weight > 0.0
    if int(seen.sum()) < FEWEST_DAYS:
        return None
    weekday = (days.starts_us // DAY_US + 3) % 7
    usual = []
    for one in range(7):
        rows = days.weight[seen & (weekday == one)]
        usual.append(float(np.median(rows)) if len(rows) >= FEWEST_OF_A_WEEKDAY else 0.0)
    return VolumeRuler(tuple(usual))


def volume_statistics(days: Days, ruler: VolumeRuler) -> tuple[FloatArray, FloatArray]:
    """Y and v (d,) of days; v = inf for a day without rows, or of a weekday that has no usual."""
    usual = ruler.of(days.starts_us)
    known = (days.weight > 0.0) & (usual > 0.0)
    a_row = np.where(known, days.weight2 / np.where(known, days.weight, 1.0), 1.0)
    # Half a row on both sides: the log of a small count is then nearly unbiased.
    half = 0.5 * a_row
    y = np.where(known, np.log(days.weight + half) - np.log(usual + half), 0.0)
    v = np.where(known, np.maximum(SCATTER**2, a_row / (usual + half)), np.inf)
    return y, v


def volume_spec(factor: float, *, share: float) -> StreamSpec:
    """The stream, on the ticket tier: a fall to 1 / `factor` or a rise to `factor` matters."""
    return StreamSpec(Stream("rows", "volume", Tier.TICKET), share, math.log(factor))


def volume_words(rows: float, effect: float) -> str:
    """That a day has so many rows now, e^`effect` times what is usual."""
    ratio = math.exp(effect)
    way, by = ("fell", f"{ratio:.0%}") if ratio < 1.0 else ("rose", f"{ratio:.2g} times")
    by = by.replace("%", " %") + (" of" if ratio < 1.0 else "")
    return f"rows per day {way} to {by} what is usual, {_about(rows / ratio)} → {_about(rows)}"


def _about(rows: float) -> str:
    """A number of rows to three digits."""
    return f"{float(f'{rows:.3g}'):,.0f}" if rows >= 10.0 else f"{rows:.2g}"
