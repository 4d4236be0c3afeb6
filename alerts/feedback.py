"""What people found out about an incident: whether its alarm was true or false."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from alerts.history import record
from alerts.plain import name, plain
from alerts.records import Change, Decision, Incident, Reason


class Verdict(StrEnum):
    """What an alarm was, in hindsight."""

    CORRECT = "correct"
    FALSE_ALARM = "false alarm"
    OTHER_CAUSE = "other cause"


@dataclass(frozen=True, slots=True)
class Judged:
    """Of so many incidents people judged `judged`, and called `false` of them false alarms."""

    incidents: int
    judged: int
    false: int

    def words(self) -> str:
        """As in "2 of 5 pages were called false by people"; "" where nobody has judged any."""
        if not self.judged:
            return ""
        noun = "page was" if self.incidents == 1 else "pages were"
        words = f"{self.false} of {self.incidents} {noun} called false by people"
        left = self.incidents - self.judged
        return f"{words}, {left} not judged" if left else words


def give_feedback(
    incident: Incident, *, by: str, now: datetime, verdict: Verdict | None, note: str = ""
) -> Decision:
    """Write down what was found out; the last verdict counts, every one stays in the history.

    ValueError where there is neither a verdict nor a note.
    """
    said = [verdict.value if verdict is not None else "", plain(note, 1_000)]
    words = ": ".join(part for part in said if part)
    if not words:
        msg = "feedback without words: give a verdict or a note"
        raise ValueError(msg)
    noted = record(incident, Change(now, "feedback", by=name(by), words=words))
    if verdict is not None:
        noted = replace(noted, verdict=verdict.value, verdict_by=name(by))
    return Decision((noted,), reasons=(Reason("noted", words, incident.id),))


def judged(incidents: Iterable[Incident]) -> Judged:
    """How people judged these incidents. "Other cause" is true: something was wrong."""
    verdicts = [incident.verdict for incident in incidents]
    return Judged(
        incidents=len(verdicts),
        judged=sum(verdict != "" for verdict in verdicts),
        false=verdicts.count(Verdict.FALSE_ALARM),
    )
