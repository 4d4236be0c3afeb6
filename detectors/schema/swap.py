"""Two categories that have exchanged their names."""

from __future__ import annotations

import numpy as np

from detectors.records import MappingEntry, State
from detectors.schema.check import SWAP, SchemaCheck
from detectors.schema.pairs import show
from detectors.schema.profiles import Profiles

MARGIN = 10.0
"""Nats of log likelihood ratio, needed in both directions: one-way resemblance is common."""

FEWEST_SWAPPED = 15
"""Rows of each name: what a likelihood ratio of so few can say, its size says."""

NOISE_SD = 3.0
"""Profiles are estimates. Values that differ in little but chance resemble each other by as much as
k cells known from N rows can be wrong for n rows: about n / N √k nats each."""


def check_swap(column: str, profiles: Profiles) -> SchemaCheck | None:
    """Rows named `a` look like the reference's `b` and rows named `b` like its `a`."""
    before = {value: at for at, value in enumerate(profiles.reference_values)}
    misfit = profiles.misfit()
    rows_before, rows_now = profiles.rows()
    cells = profiles.reference.shape[1] - len(profiles.starts)
    looks_like: dict[str, tuple[str, float]] = {}
    for row, value in enumerate(profiles.current_values):
        if value not in before:
            continue
        best = int(np.argmin(misfit[row]))
        other = profiles.reference_values[best]
        if other != value:
            margin = float(misfit[row, before[value]] - misfit[row, best]) / 2
            known = 1 / rows_before[before[value]] + 1 / rows_before[best]
            noise = float(rows_now[row] * known * np.sqrt(cells))
            looks_like[value] = other, margin - NOISE_SD * noise
    found: list[tuple[float, str, str]] = []
    for value, (other, margin) in looks_like.items():
        back, back_margin = looks_like.get(other, ("", 0.0))
        if back == value and value < other and min(margin, back_margin) > MARGIN:
            found.append((min(margin, back_margin), value, other))
    if not found:
        return None
    strength, value, other = max(found)
    return SchemaCheck(
        column=column,
        check=SWAP,
        state=State.DRIFT,
        detail=f"in `{column}` rows named {show(value)} look like those once named "
        f"{show(other)}, and the other way round",
        proposal=f"{show(value)} and {show(other)} have probably exchanged their names",
        strength=strength,
        mapping=(
            MappingEntry(column, category=value, domain_category=other),
            MappingEntry(column, category=other, domain_category=value),
        ),
    )
