"""Several categories that now come under the name of one: a parent in place of its leaves."""

from __future__ import annotations

import numpy as np

from detectors.records import MappingEntry, State
from detectors.schema.check import PARENT, SchemaCheck
from detectors.schema.pairs import Pair, show
from detectors.schema.profiles import Profiles

GROWTH = 1.1
GONE = 0.1
FEWEST_EXPECTED = 8
"""A leaf of which fewer rows were expected may be missing by chance."""

MIN_LEAVES = 2
RESIDUAL_TV = 0.1
MOST_LEAVES = 40


def check_parent(pair: Pair, profiles: Profiles) -> SchemaCheck | None:
    """A value has grown, two or more have gone, and its rows are a mixture of them all.

    The mixture is fitted by non-negative least squares; what it leaves unexplained is total
    variation, averaged over fields.
    """
    before, now = pair.shares
    expected = pair.current.filled
    gone = [
        value
        for value in profiles.reference_values
        if now.get(value, 0.0) < GONE * before[value]
        and before[value] * expected >= FEWEST_EXPECTED
    ]
    if len(gone) < MIN_LEAVES:
        return None
    from scipy.optimize import nnls

    place = {value: at for at, value in enumerate(profiles.reference_values)}
    reference, current = profiles.shares()
    found: list[tuple[float, str]] = []
    for row, value in enumerate(profiles.current_values):
        if value not in place or value in gone or now[value] <= GROWTH * before[value]:
            continue
        leaves = reference[[place[value], *(place[leaf] for leaf in gone)]].T
        weights, _ = nnls(leaves, current[row])
        left = float(np.abs(leaves @ weights - current[row]).sum() / 2 / len(profiles.starts))
        if left < RESIDUAL_TV:
            found.append((now[value] - before[value], value))
    if not found:
        return None
    strength, value = max(found)
    names = ", ".join(show(leaf) for leaf in gone[:5])
    return SchemaCheck(
        column=pair.name,
        check=PARENT,
        state=State.DRIFT,
        detail=(
            f"in `{pair.name}` {show(value)} has grown from {100 * before[value]:.3g} % to "
            f"{100 * now[value]:.3g} % while {len(gone)} values are gone"
        ),
        proposal=f"{show(value)} probably holds {names} as well",
        strength=strength,
        mapping=tuple(
            MappingEntry(pair.name, category=leaf, domain_category=value)
            for leaf in gone[:MOST_LEAVES]
        ),
    )
