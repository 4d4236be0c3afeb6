"""What a verdict would have seen by now: the smallest harm that would have been called."""

from __future__ import annotations

POWER_Z = 0.8416
"""Normal quantile of .8: the harm is seen in four of five histories like this one."""


def minimum_detectable(*, reach: float, se: float, margin: float) -> float | None:
    """The difference, in loss units, that would have been called "hurts" by now with power .8.

    The word needs the estimate to lie `reach` beyond the margin; the estimate scatters by `se`.
    None while either is not finite.
    """
    found = margin + reach + POWER_Z * se
    return found if 0.0 < found < float("inf") else None


def power_words(minimum: float | None, baseline_loss: float | None) -> str:
    """As in: would have seen a harm of 3 % by now; "" where it is not known."""
    if minimum is None or baseline_loss is None or baseline_loss <= 0.0:
        return ""
    percent = 100.0 * minimum / baseline_loss
    shown = f"{percent:.1f}" if percent < 2.0 else f"{percent:,.0f}"
    return f"would have seen a harm of {shown} % by now"
