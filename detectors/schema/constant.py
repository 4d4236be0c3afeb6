"""A column that varied in the reference and now holds one value."""

from __future__ import annotations

from detectors.records import State
from detectors.schema.check import CONSTANT, SchemaCheck
from detectors.schema.pairs import CERTAIN, Pair

MIN_ROWS = 50


def check_constant(pair: Pair) -> SchemaCheck | None:
    """Found when so many equal values in a row could not come from the reference by chance."""
    before, now = pair.reference, pair.current
    if len(before.counts) < 2 or len(now.counts) != 1 or now.filled < MIN_ROWS:
        return None
    if before.top_share**now.filled > CERTAIN:
        return None
    return SchemaCheck(
        column=pair.name,
        check=CONSTANT,
        state=State.WATCH,
        detail=(
            f"`{pair.name}` is {now.top} wherever it is filled; the reference holds "
            f"{len(before.counts):,} values"
        ),
        strength=1.0 - before.top_share,
    )
