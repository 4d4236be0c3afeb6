"""Which newcomers are followed, since when and how far their promise has come: words and JSON."""

from __future__ import annotations

from typing import Any

from detectors.newcomers import MOST, Born
from detectors.records import DAY_US, to_datetime
from monitor.watching.newcomers import Newcomer, Newcomers

NAMED = 4
PLURAL = {Born.SLICE: "slices", Born.COLUMN: "columns", Born.CATEGORY: "categories"}


def newcomer_words(newcomers: Newcomers | None) -> str:
    """Which newcomers are followed, since when and in what state; empty where none is."""
    if newcomers is None:
        return ""
    return "; ".join(filter(None, (_words(newcomers, born) for born in Born)))


def _words(newcomers: Newcomers, born: Born) -> str:
    joined = newcomers.of(born)
    if not joined:
        return ""
    names = [
        f"{one.name} since {to_datetime(one.since_us):%-d %b}, {one.maturity}" for one in joined
    ]
    shown = "; ".join(names[:NAMED]) + (
        f"; {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
    what, verb = (born.value, "is") if len(names) == 1 else (PLURAL[born], "are")
    waiting = newcomers.tally.waiting.get(born, 0)
    no_room = f"; {waiting:,} more are not: at most {MOST} are" if waiting else ""
    return f"{len(names)} {what} that the reference lacks {verb} followed too ({shown}){no_room}"


def newcomers_json(newcomers: Newcomers | None) -> dict[str, Any]:
    """The same as JSON, by kind and name; empty where none is followed."""
    if newcomers is None or not newcomers.joined:
        return {}
    return {
        "words": newcomer_words(newcomers),
        **{PLURAL[born]: {one.name: _line(one) for one in newcomers.of(born)} for born in Born},
        "no_room": {PLURAL[born]: newcomers.tally.waiting.get(born, 0) for born in Born},
    }


def _line(one: Newcomer) -> dict[str, Any]:
    bank = next(iter(one.clocks.values())).bank
    return {
        "since": to_datetime(one.since_us).isoformat(),
        "days": round(bank.age_us / DAY_US, 2),
        "state": one.maturity.value,
    }
