"""When an incident speaks, resolves and asks for retraining. Spans are event time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Scope(StrEnum):
    """How much a retraining changes: cooldowns and budgets are kept for each."""

    SLICE = "slice"
    DOMAIN = "domain"
    ALL = "all"

    @classmethod
    def of(cls, words: str) -> Scope:
        """The scope of an action by its words: "slice x", "this domain", "all domains"."""
        if words.startswith("slice"):
            return cls.SLICE
        return cls.ALL if words == "all domains" else cls.DOMAIN


@dataclass(frozen=True, slots=True)
class RetrainingSettings:
    """How often retraining may be asked for, in event time, and whether a person has to agree.

    `cooldowns` is the least time between two requests for the same action; `budgets` how many
    requests of a scope a deployment (of all domains: a model) may have in a span.
    """

    approve_at_once: bool = False
    cooldowns: Mapping[Scope, timedelta] = field(
        default_factory=lambda: {
            Scope.SLICE: timedelta(days=7),
            Scope.DOMAIN: timedelta(days=7),
            Scope.ALL: timedelta(days=30),
        }
    )
    budgets: Mapping[Scope, tuple[int, timedelta]] = field(
        default_factory=lambda: {
            Scope.SLICE: (4, timedelta(days=30)),
            Scope.DOMAIN: (4, timedelta(days=30)),
            Scope.ALL: (1, timedelta(days=90)),
        }
    )


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """The defaults are for ticks of an hour to a day.

    `overlap` is how far apart two runs of alarms may lie and still be one change; onsets are
    estimates. What begins more than `same_change` after an incident in other streams is another
    change, however long the first stays open. `worse_factor` is in evidence, which grows
    exponentially under a change, so tenfold is a few ticks of a large one. A page is said again
    after `reminder`, a ticket after `ticket_reminder`. `min_confidence` guards automatic
    retraining only. `public_url` is where links point; empty makes them relative.
    """

    overlap: timedelta = timedelta(days=1)
    same_change: timedelta = timedelta(days=14)
    reminder: timedelta = timedelta(days=1)
    ticket_reminder: timedelta = timedelta(days=7)
    worse_factor: float = 10.0
    worse_wait: timedelta = timedelta(hours=6)
    recovery: timedelta = timedelta(days=3)
    reopen_within: timedelta = timedelta(days=1)
    retraining: RetrainingSettings = RetrainingSettings()
    min_confidence: float = 0.6
    public_url: str = ""
