"""The section about retraining: who trains, how often it may be asked for, who has to agree."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from alerts.records import MessageType
from alerts.settings import RetrainingSettings, Scope
from monitor.config.sections import DurationUs, Section
from monitor.durations import parse_duration
from monitor.errors import did_you_mean

if TYPE_CHECKING:
    from monitor.config import Config

MACHINES = frozenset({"github_dispatch", "airflow", "mlflow"})
"""Kinds of channels that do what an approved request asks; nothing else is sent to them."""

ENDS = (
    MessageType.RETRAINING_VERIFIED,
    MessageType.RETRAINING_REFUTED,
    MessageType.RETRAINING_UNDECIDED,
)
ScopeName = Literal["slice", "domain", "all"]
_BUDGET = re.compile(r"^\s*(\d{1,4})\s*/\s*(.+)$")


def _budget(text: str) -> str:
    parse_requests(text)
    return text


def parse_requests(text: str) -> tuple[int, timedelta]:
    """A text such as 4 / 30d as a number of requests and a span.

    Raises:
        ValueError: it reads otherwise.
    """
    found = _BUDGET.match(text)
    if found is None:
        msg = f"'{text[:40]}' is no budget of requests; write it as in '4 / 30d'"
        raise ValueError(msg)
    span_us = parse_duration(found[2].replace(" ", ""), what="budget")
    return int(found[1]), timedelta(microseconds=span_us)


Requests = Annotated[str, AfterValidator(_budget)]


class RetrainingConfig(Section):
    """How often retraining may be asked for, in event time, and who has to agree."""

    channels: tuple[str, ...] = ()
    approval: Literal["auto", "human"] = "human"
    cooldowns: dict[ScopeName, DurationUs] = Field(default_factory=dict)
    budgets: dict[ScopeName, Requests] = Field(default_factory=dict)

    def settings(self) -> RetrainingSettings:
        """The same for the pure core; what is not said keeps its default."""
        plain = RetrainingSettings()
        cooldowns = {Scope(k): timedelta(microseconds=us) for k, us in self.cooldowns.items()}
        budgets = {Scope(k): parse_requests(text) for k, text in self.budgets.items()}
        return RetrainingSettings(
            approve_at_once=self.approval == "auto",
            cooldowns={**plain.cooldowns, **cooldowns},
            budgets={**plain.budgets, **budgets},
        )


def check_retraining(config: Config) -> None:
    """Raise ValueError for a channel that is not there."""
    names = [channel.name for channel in config.channels]
    for channel in config.retraining.channels:
        if channel not in names:
            hint = did_you_mean(channel, names)
            msg = f"retraining.channels: no channel '{channel[:80]}'.{hint}"
            raise ValueError(msg)


def told_besides(config: Config) -> dict[MessageType, tuple[str, ...]]:
    """The channels that hear of steps of training besides those that routes choose."""
    machines = tuple(config.retraining.channels)
    return {kind: machines for kind in (MessageType.RETRAINING_APPROVED, *ENDS) if machines}
