"""A vocabulary under new names: many rows in unseen values where many old ones have vanished."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np

from detectors.records import FloatArray, MappingEntry, State
from detectors.schema.check import RENAME, SchemaCheck
from detectors.schema.pairs import Pair, show
from detectors.schema.profiles import Profiles

UNSEEN = 0.2
VANISHED = 0.1
VANISHED_EACH = 0.01
MIN_ROWS = 50
COMPARED = 40
NAME_WEIGHT = 2.0
SHARE_WEIGHT = 0.5


def check_rename(pair: Pair, profiles: Profiles | None) -> SchemaCheck | None:
    """Unseen values hold .2 of the rows and vanished ones held .1; who is who is proposed.

    The proposal is the assignment (Hungarian method) with the least sum of misfit of profiles,
    difference of names and difference of shares. It is a guess for a person to check.
    """
    if min(pair.reference.filled, pair.current.filled) < MIN_ROWS:
        return None
    before, now = pair.shares
    unseen = {value: share for value, share in now.items() if value not in before}
    vanished = {
        value: share
        for value, share in before.items()
        if value not in now and share > VANISHED_EACH
    }
    new, old = sum(unseen.values()), sum(vanished.values())
    if new < UNSEEN or old < VANISHED:
        return None
    pairs = _matched(_commonest(unseen), _commonest(vanished), now, before, profiles)
    return SchemaCheck(
        column=pair.name,
        check=RENAME,
        state=State.DRIFT,
        detail=(
            f"{100 * new:.3g} % of the values of `{pair.name}` are unseen; values that held "
            f"{100 * old:.3g} % of the reference are gone"
        ),
        proposal="; ".join(
            f"{show(value)} is probably {show(other)}" for value, other in pairs[:5]
        ),
        strength=new,
        mapping=tuple(
            MappingEntry(pair.name, category=other, domain_category=value) for value, other in pairs
        ),
    )


def _commonest(shares: dict[str, float]) -> list[str]:
    return sorted(shares, key=lambda value: (-shares[value], value))[:COMPARED]


def _matched(
    unseen: list[str],
    vanished: list[str],
    now: dict[str, float],
    before: dict[str, float],
    profiles: Profiles | None,
) -> list[tuple[str, str]]:
    from scipy.optimize import linear_sum_assignment

    cost = _misfits(unseen, vanished, profiles)
    for row, value in enumerate(unseen):
        for column, other in enumerate(vanished):
            alike = SequenceMatcher(None, value.lower(), other.lower(), autojunk=False).ratio()
            cost[row, column] += NAME_WEIGHT * (1 - alike)
            cost[row, column] += SHARE_WEIGHT * abs(np.log(now[value] / before[other]))
    rows, columns = linear_sum_assignment(cost)
    found = [(unseen[row], vanished[column]) for row, column in zip(rows, columns, strict=True)]
    return sorted(found, key=lambda pair: -now[pair[0]])


def _misfits(unseen: list[str], vanished: list[str], profiles: Profiles | None) -> FloatArray:
    """Misfit per cell of the profile, 1 being noise; 1 where a value is too rare for a profile."""
    cost = np.ones((len(unseen), len(vanished)))
    if profiles is None:
        return cost
    misfit = profiles.misfit() / max(profiles.reference.shape[1] - len(profiles.starts), 1)
    row_of = {value: at for at, value in enumerate(profiles.current_values)}
    column_of = {value: at for at, value in enumerate(profiles.reference_values)}
    for row, value in enumerate(unseen):
        for column, other in enumerate(vanished):
            if value in row_of and other in column_of:
                cost[row, column] = misfit[row_of[value], column_of[other]]
    return cost
