"""Three times as many distinct values as before, or a third of them."""

from __future__ import annotations

import numpy as np

from detectors.records import Kind, State
from detectors.schema.check import CARDINALITY, SchemaCheck
from detectors.schema.pairs import Pair, Tally

RATIO = 3.0
MIN_ROWS = 50
DISCRETE = 50
"""Numbers with more distinct values than this are measurements, not codes."""


def check_cardinality(pair: Pair) -> SchemaCheck | None:
    """Compare how many distinct values equally many rows would show.

    The larger window is rarefied to the rows of the smaller (Hurlbert 1971), because distinct
    values grow with rows. A fall to few values is left to the check for constants.
    """
    before, now = pair.reference, pair.current
    rows = min(before.filled, now.filled)
    if rows < MIN_ROWS or (pair.kind is Kind.NUMERIC and len(before.counts) > DISCRETE):
        return None
    expected, seen = rarefied(before, rows), rarefied(now, rows)
    if seen < RATIO * expected and not (expected >= RATIO * seen and expected >= 2 * RATIO):
        return None
    return SchemaCheck(
        column=pair.name,
        check=CARDINALITY,
        state=State.WATCH,
        detail=(
            f"`{pair.name}` shows about {seen:,.0f} distinct values in {rows:,} rows; the "
            f"reference about {expected:,.0f}"
        ),
        strength=float(max(seen / expected, expected / seen)),
    )


def rarefied(tally: Tally, rows: int) -> float:
    """Distinct values to be expected in `rows` rows drawn from the tally without replacement."""
    left = tally.filled - rows
    if left <= 0:
        return float(len(tally.counts))
    from scipy.special import gammaln

    rest = tally.filled - tally.counts
    possible = rest >= rows
    log_none = (
        gammaln(rest[possible] + 1)
        + gammaln(left + 1)
        - gammaln(rest[possible] - rows + 1)
        - gammaln(tally.filled + 1)
    )
    return float(len(tally.counts) - np.exp(log_none).sum())
