"""A feature that the source had and this domain has not: null or one default nearly everywhere."""

from __future__ import annotations

from detectors.records import MappingEntry, State
from detectors.schema.check import ABSENT, SchemaCheck
from detectors.schema.pairs import Pair

REFERENCE_BELOW = 0.95
CURRENT_FROM = 0.99
"""At .9 natural cases would be dropped: in many columns nine rows in ten are alike.

Rows that are filled after all count against it only beyond what one in a hundred gives by chance:
of 294 rows three may be.
"""

FILLED_FROM = 0.1
"""A column that was nearly always null before cannot be said to have gone."""

MIN_ROWS = 30
CHANCE = 1e-3
LEVEL = 0.05


def check_absent(pair: Pair) -> SchemaCheck | None:
    before, now = pair.reference, pair.current
    if now.rows < MIN_ROWS or before.rows < MIN_ROWS:
        return None
    once_filled = before.null_share <= 1.0 - FILLED_FROM
    if once_filled and _emptied(before.null_share, now.null_share, now.rows):
        what = f"null in {100 * now.null_share:.3g} % of rows"
        was = f"{100 * before.null_share:.3g} % in the reference"
        strength = now.null_share - before.null_share
    elif now.filled >= MIN_ROWS and _emptied(before.top_share, now.top_share, now.filled):
        what = f"{now.top} in {100 * now.top_share:.3g} % of filled rows"
        was = f"the commonest value of the reference has {100 * before.top_share:.3g} %"
        strength = now.top_share - before.top_share
    else:
        return None
    return SchemaCheck(
        column=pair.name,
        check=ABSENT,
        state=State.DRIFT,
        detail=f"`{pair.name}` is {what}; {was}",
        proposal=f"`{pair.name}` is probably not filled here",
        strength=strength,
        mapping=(MappingEntry(pair.name, absent=True),),
    )


def _emptied(before: float, now: float, rows: int) -> bool:
    if before >= REFERENCE_BELOW or before ** (CURRENT_FROM * rows) >= CHANCE:
        return False
    return now >= CURRENT_FROM or _by_chance(round((1 - now) * rows), rows)


def _by_chance(others: int, rows: int) -> bool:
    """Whether so many other rows, or more, come of one in a hundred more often than .05."""
    from scipy.special import bdtrc

    return bool(bdtrc(others - 1, rows, 1 - CURRENT_FROM) > LEVEL)
