"""What each stream may inject, and the evidence at which it alarms: the one knob.

If E is an e-value under the null, wealth M ← (M + w)·E injects w an hour, and an alarm at M ≥ A
hours spends A of it. So the expected number of false alarms up to H hours is at most H·Σw / A,
under any dependence between streams and with resets. After Shin, Ramdas and Rinaldo,
"E-detectors" (2023), with error-over-patience control (Dandapanthula and Ramdas, 2025).

With fitted memory, a learnt level and trackers this is no theorem for real streams: there the
rate is measured, by the back-test and by `benchmarks/detection/no_change.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.evidence.design import Design
from detectors.evidence.state import Betting, Pace, pace
from detectors.records import DAY_US, HOUR_US, Budget, FloatArray, IntArray, StreamSpec, Tier

PAGE_ROW, OTHER_ROW = 0, 1
SCALE_HALF_LIFE_DAYS = 14.0
CORRELATION_HALF_LIFE_DAYS = 28.0
# Chance alone moves long-run over short-run variance by .2; that it only ever widens would cost
# evidence on every stream. Beyond 1.1, wandering streams page too often (no_change.py).
CORRELATION_SLACK = 1.1
SHORTEST_WINDOW = 8.0
MUTE_DAYS = 7
MUTE_TICKS = 14
LONGEST_GAP_HOURS = 24.0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Per stream (K,): weight an hour, alarm threshold in hours, tier row, practical effect."""

    weight: FloatArray
    threshold: FloatArray
    tier: IntArray
    delta_min: FloatArray

    @classmethod
    def of(
        cls,
        specs: Sequence[StreamSpec],
        budget: Budget,
        *,
        page_share: float = 1.0,
        ticket_share: float = 1.0,
    ) -> Self:
        """Streams of the page tier bet `page_share` of their weight, the others `ticket_share`.

        Raises ValueError if a weight or practical effect is negative or a tier overspends.
        """
        weight = np.array([spec.weight for spec in specs], dtype=np.float64)
        delta_min = np.array([spec.delta_min for spec in specs], dtype=np.float64)
        for name, numbers in (("weight", weight), ("delta_min", delta_min)):
            wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
            if wrong.size:
                spec = specs[wrong[0]]
                msg = f"{name} of stream {spec.stream.id} is {numbers[wrong[0]]}; give one ≥ 0"
                raise ValueError(msg)
        for tier in Tier:
            total = sum(spec.weight for spec in specs if spec.stream.tier is tier)
            if total > 1 + 1e-9:
                msg = f"weights of tier {tier} add up to {total:.6g}; a tier has 1 to share"
                raise ValueError(msg)
        rows = [PAGE_ROW if spec.stream.tier is Tier.PAGE else OTHER_ROW for spec in specs]
        shares = np.where(np.array(rows, np.int64) == PAGE_ROW, page_share, ticket_share)
        return cls(
            weight=weight * shares,
            threshold=np.array(
                [budget.threshold_hours(spec.stream.tier) for spec in specs], dtype=np.float64
            ),
            tier=np.array(rows, dtype=np.int64),
            delta_min=delta_min,
        )

    def betting(self, share: FloatArray) -> Betting:
        """The plan with the share (T, 2) of page and other weights allowed at each tick."""
        return Betting(self.weight, self.threshold, self.tier, share)


def pace_of(design: Design) -> Pace:
    """Memories and muting for a tick length. Row ticks count as one hour of budget each.

    A stream that was silent is credited with the hours since its last data, at most a day or
    two ticks: less than its due, so the budget holds.
    """
    ticks = design.ticks_per_day
    tick_hours = 24.0 / ticks
    by_ticks = not design.timed or design.tick_us >= DAY_US
    tick_us = design.tick_us if design.timed else HOUR_US
    return pace(
        scale_half_life=SCALE_HALF_LIFE_DAYS * ticks,
        correlation_half_life=CORRELATION_HALF_LIFE_DAYS * ticks,
        window=max(SHORTEST_WINDOW, ticks),
        correlation_slack=CORRELATION_SLACK,
        tick_hours=tick_hours,
        longest_hours=max(LONGEST_GAP_HOURS, 2.0 * tick_hours),
        mute_us=MUTE_TICKS * tick_us if by_ticks else MUTE_DAYS * DAY_US,
    )
