"""A run with people in it: they take, snooze, close, reopen, judge and silence incidents.

Messages follow routes, quiet hours and escalation, and retention takes old rows meanwhile. What
people do changes incidents, so these are not a replay's any more; what must hold then is that each
deed that was answered stands in the history, that nothing is told into a silence, and that in the
end whoever has to know of an open incident has been told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.closing import (
    IncidentClosedError,
    IncidentOpenError,
    acknowledge,
    reopen_by_person,
    resolve_by_person,
)
from alerts.feedback import Verdict, give_feedback
from alerts.holding import HoldKind
from alerts.records import Decision, Incident, IncidentKind, IncidentState
from alerts.silences import Matcher, Silence, expire, make_silence
from benchmarks.trust.stories import MODEL
from benchmarks.trust.world import World
from detectors.records import Tier
from monitor.config.oncall import alerts_of
from monitor.oncall.deeds import carry_out
from monitor.oncall.desk import hush_waiting
from storage.groups import group_of, members_of
from storage.incidents import get_incident, list_incidents
from storage.outbox import get_message
from storage.silences import get_silence, list_silences, save_silence, unsettled_holds
from storage.tables import DeliveryRow, MessageRow

KINDS = (IncidentKind.DRIFT, IncidentKind.GROUP)
LONGEST_SILENCE_H = 20.0

Do = Callable[[Incident, datetime], Decision]


@dataclass(frozen=True, slots=True)
class Done:
    """A deed that was answered: on which incident, what its history must say, by whom."""

    incident: str
    what: str
    by: str


@dataclass(slots=True, eq=False)
class PeopledWorld(World):
    """One run with people."""

    peopled: ClassVar[bool] = True
    done: list[Done] = field(default_factory=list)
    silenced: list[str] = field(default_factory=list)
    people: int = 0

    def jobs(self) -> tuple[Callable[[], None], ...]:
        return (self.check, self.deliver, self.tend, self.keep_house)

    def evening(self) -> None:
        for _ in range(self.rng.choice((1, 2, 3))):
            deed = self.rng.choice((self.work, self.work, self.silence, self.unsilence))
            deed()
            if self.rng.random() < 0.5:
                self.attempt(self.deliver)

    def aftermath(self) -> None:
        self.faults.armed = True
        for _ in range(self.rng.choice((1, 2))):
            self.attempt(self.deliver)
            self.evening()
            self.clock.instant += timedelta(hours=self.rng.uniform(0, 8))
            self.attempt(self.tend)
        self.faults.armed = False

    def keep_house(self) -> None:
        # Rows that were promised may go from here on, those of before the retention.
        self.prunable = self.story.late_values
        self.service().keep_house()

    # ---- deeds of people

    def work(self) -> None:
        """Somebody does something about an incident, and insists until it is answered."""
        chosen = self._any_incident()
        if chosen is None:
            return
        self.people += 1
        by = f"p{self.people}"
        settings = alerts_of(self.service().config)
        until = self.clock.now() + timedelta(hours=self.rng.uniform(1, 20))
        deeds: dict[str, Do] = {
            "acknowledged": lambda i, at: acknowledge(i, by=by, now=at, settings=settings),
            "snoozed": lambda i, at: acknowledge(i, by=by, now=at, until=until, settings=settings),
            "resolved": lambda i, at: resolve_by_person(i, by=by, now=at, settings=settings),
            "reopened": lambda i, at: reopen_by_person(i, by=by, now=at, settings=settings),
            "feedback": lambda i, at: give_feedback(i, by=by, now=at, verdict=Verdict.CORRECT),
        }
        name = self.rng.choice(list(deeds))
        answered: list[bool] = []

        def deed() -> None:
            answered[:] = [self._carry_out(chosen, deeds[name], members_too=name == "resolved")]

        self.insist(deed)
        self.counts["deeds of people"] += 1
        if answered[0]:
            self.done.append(Done(chosen, "acknowledged" if name == "snoozed" else name, by))

    def _carry_out(self, chosen: str, do: Do, *, members_too: bool) -> bool:
        """As the route does it; False where it was refused or changed nothing."""
        routing, wall = self.service().routing(), self.clock.now()
        try:
            with self.service().database.write() as session:
                for member in members_of(session, chosen) if members_too else ():
                    if get_incident(session, member).is_open:
                        carry_out(session, member, do, routing, wall)
                _, decision = carry_out(session, chosen, do, routing, wall)
        except (IncidentClosedError, IncidentOpenError):
            return False
        return bool(decision.incidents)

    def silence(self) -> None:
        """Somebody does not want to hear of a domain, or of one incident, for some hours."""
        chosen = self._any_incident()
        if chosen is None or self.rng.random() < 0.5:
            matcher = Matcher(domains=(self.rng.choice(self.story.domains),))
        else:
            matcher = Matcher(incidents=(chosen,))
        now = self.clock.now()
        until = now + timedelta(hours=self.rng.uniform(1, LONGEST_SILENCE_H))
        silence = make_silence(matcher, until=until, reason="work", author="people", now=now)

        def deed() -> None:
            with self.service().database.write() as session:
                save_silence(session, silence)
                hush_waiting(session, self.clock.now())

        self.insist(deed)
        self.silenced.append(silence.id)
        self.counts["silences"] += 1

    def unsilence(self) -> None:
        """Somebody wants to hear again."""
        if not self.silenced:
            return
        chosen = self.rng.choice(self.silenced)

        def deed() -> None:
            with self.service().database.write() as session:
                found = get_silence(session, chosen, lock=True)
                save_silence(session, expire(found, by="people", now=self.clock.now()))

        self.insist(deed)

    def _any_incident(self) -> str | None:
        """The id of one that there is. Looking has no faults here: a page is loaded again."""
        armed, self.faults.armed = self.faults.armed, False
        with self.service().database.read() as session:
            found = sorted(i.id for i in list_incidents(session, model=MODEL, kinds=KINDS))
        self.faults.armed = armed
        return self.rng.choice(found) if found else None

    # ---- the end

    def settle(self) -> None:
        """Until every silence, snooze and quiet hour is over and everybody has been told."""
        World.settle(self)
        for _ in range(3):
            self.clock.instant += timedelta(hours=LONGEST_SILENCE_H)
            self.tend()
            World.settle(self)
        self.keep_house()

    def _wrong_rows(self) -> list[str]:
        stored = self.stored()
        if stored != self.story.values - self.story.late_values:
            return [f"{len(stored)} rows are stored after retention"]
        return []

    def _wrong_work(
        self,
        incidents: frozenset[Any],
        messages: tuple[Any, ...],
        names: frozenset[str] | None,
    ) -> list[str]:
        wrong = []
        with self.service().database.read() as session:
            for one in self.done:
                lines = get_incident(session, one.incident).history
                if not any(line.what == one.what and line.by == one.by for line in lines):
                    wrong.append(f"{one.incident} was {one.what} by {one.by}, and nobody knows")
            wrong += self._told_into_silence(session)
            wrong += self._untold(session)
        if missing := {one[0] for one in self.story.incidents} - {one[0] for one in incidents}:
            # Closed by hand, an incident may come again under another name, but none vanishes.
            wrong += [] if self.done else [f"{len(missing)} incidents are missing"]
        return wrong

    def _told_into_silence(self, session: Session) -> list[str]:
        """Messages that were given to a channel while a silence hid their incident."""
        silences = list_silences(session, limit=1_000)
        query = (
            select(MessageRow.id, MessageRow.incident_id, MessageRow.enqueued_at)
            .join(DeliveryRow, DeliveryRow.message_id == MessageRow.id)
            .distinct()
        )
        wrong = []
        for message_id, incident_id, enqueued_at in session.execute(query):
            message = get_message(session, message_id)
            if message is None or message.type.follows or message.type.about_training:
                continue
            incident = get_incident(session, incident_id)
            if any(_hides(silence, incident, enqueued_at) for silence in silences):
                wrong.append(f"{message_id} was told into a silence")
        return wrong

    def _untold(self, session: Session) -> list[str]:
        """Open incidents of which nobody has been told, though nothing holds that back."""
        holds = unsettled_holds(session)
        wrong = [
            f"{held.message_id} is held by {held.hold.by}, which is over"
            for held in holds
            if held.hold.kind not in {HoldKind.GROUP, HoldKind.INHIBITION}
            or not get_incident(session, held.hold.by).is_open
        ]
        held_back = {held.incident_id for held in holds}
        received = {name for name, _host, _body in self.wire.taken}
        for incident in list_incidents(session, model=MODEL, kinds=KINDS, limit=1_000):
            if incident.state is not IncidentState.OPEN or incident.tier is Tier.LOG:
                continue
            group = group_of(session, incident.id)
            spoken_for = incident.id in held_back or (group is not None and group.is_open)
            own = session.scalars(
                select(MessageRow.id).where(MessageRow.incident_id == incident.id)
            )
            if not spoken_for and not received & set(own):
                wrong.append(f"nobody was told of {incident.id}, which is open")
        return wrong


def _hides(silence: Silence, incident: Incident, at: datetime) -> bool:
    return silence.is_active(at) and silence.matcher.fits(incident)
