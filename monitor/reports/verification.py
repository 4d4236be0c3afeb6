"""What a report says of mappings: whether a person stands behind how the domain is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alerts.mappings import MappingStatus, MappingVersion, waiting
from detectors.records import State

SHOWN = 20
TOLD = 3


def verification_json(versions: Sequence[MappingVersion]) -> dict[str, Any]:
    """`unverified` while one version waits, `verified` once all are decided, `none` without any."""
    open_now = waiting(versions)
    approved = [v for v in versions if v.status is MappingStatus.APPROVED]
    state = "unverified" if open_now else "verified" if versions else "none"
    shown = sorted((*open_now, *approved), key=lambda v: v.status is MappingStatus.APPROVED)
    return {
        "state": state,
        "words": _words(state, open_now, len(approved)),
        "waiting": len(open_now),
        "approved": len(approved),
        "mappings": [
            {"id": v.id, "version": v.version, "status": v.status.value, "says": v.words}
            for v in shown[:SHOWN]
        ],
    }


def held_state(state: State, verification: Mapping[str, Any]) -> State:
    """A domain with a mapping that nobody has verified is never just ok."""
    return State.WATCH if verification["state"] == "unverified" and state is State.OK else state


def with_verification(headline: str, verification: Mapping[str, Any]) -> str:
    """The headline, which says so while a mapping waits for a person."""
    if verification["state"] != "unverified":
        return headline
    number = verification["waiting"]
    waits = "a mapping waits" if number == 1 else f"{number} mappings wait"
    return f"{headline.removesuffix('.')}; unverified: {waits} for a person."


def _words(state: str, open_now: Sequence[MappingVersion], approved: int) -> str:
    if state == "none":
        return "nothing was ever mapped"
    if state == "verified":
        return f"{approved} approved and monitored, none waits"
    told = "; ".join(f"{v.words} ({v.id})" for v in open_now[:TOLD])
    more = len(open_now) - TOLD
    return f"to review: {told}" + (f" and {more} more" if more > 0 else "")
