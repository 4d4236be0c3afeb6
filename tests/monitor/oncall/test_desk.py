"""Held, released, escalated, woken: on both databases, with a wall clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from alerts.closing import acknowledge, resolve_by_person
from alerts.quiet import QuietHours
from alerts.records import Attempt, Incident, MessageType, Outcome
from alerts.routing import Escalation, Route, RoutingTable
from alerts.settings import AlertSettings
from alerts.silences import Matcher, Silence, expire, make_silence
from detectors.records import Deployment, Mode, Tier
from monitor.oncall.deeds import carry_out
from monitor.oncall.desk import hush_waiting, tend
from monitor.oncall.dispatch import post
from monitor.oncall.grouping import group_model
from storage.deployments import register_deployment, register_model
from storage.engine import Database
from storage.groups import open_groups
from storage.incidents import get_incident, save_incidents
from storage.outbox import (
    claim_next,
    delivery_log,
    get_message,
    list_messages,
    mark_delivered,
    mark_failed,
)
from storage.silences import holds_of, save_silence
from tests.alerts.build import MAPPING, OO, Story, at, diagnosis
from tests.storage.conftest import (  # noqa: F401  # fixtures
    database,
    migrated_postgres,
    migrated_sqlite,
    postgres,
    postgres_url,
    sqlite,
)

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@dataclass
class Desk:
    """A database, a routing table, and a wall clock that only the test moves."""

    database: Database
    table: RoutingTable = field(
        default_factory=lambda: RoutingTable(
            default={Tier.PAGE: ("pager",), Tier.TICKET: ("desk",)}
        )
    )
    now: datetime = NOON
    story: Story = field(default_factory=Story)

    def see(self, hours: float, mode: Mode = Mode.CONCEPT_SHIFT, **fields: Any) -> Incident:
        """A tick's alarms, decided, saved and posted as the runner does."""
        decision = self.story.see(hours, diagnosis(mode, action=MAPPING), **fields)
        with self.database.write() as session:
            save_incidents(session, decision.incidents)
            for message in decision.messages:
                post(session, message, self.table, self.now)
        return decision.incidents[0]

    def silence(self, matcher: Matcher, lasts: timedelta = HOUR) -> Silence:
        made = make_silence(
            matcher, until=self.now + lasts, reason="migration", author="ann", now=self.now
        )
        with self.database.write() as session:
            save_silence(session, made)
            hush_waiting(session, self.now)
        return made

    def tend(self, after: timedelta = timedelta(0)) -> dict[str, int]:
        self.now += after
        counts = tend(self.database, self.table, AlertSettings(), self.now).counts
        return {deed: count for deed, count in counts.items() if count}

    def sent(self) -> list[tuple[str, str]]:
        """Deliver what is due: (channel, headline) each."""
        out: list[tuple[str, str]] = []
        while True:
            with self.database.write() as session:
                delivery = claim_next(session, now=self.now, lease=HOUR)
                if delivery is None:
                    return out
                attempt = Attempt(
                    delivery.message.id, delivery.channel, 0, self.now, Outcome.DELIVERED
                )
                mark_delivered(session, delivery, attempt)
            out.append((delivery.channel, str(delivery.message.body["data"]["headline"])))

    def do(self, incident: Incident, what: str, **fields: Any) -> None:
        deeds: dict[str, Any] = {"ack": acknowledge, "resolve": resolve_by_person}
        with self.database.write() as session:
            carry_out(
                session,
                incident.id,
                lambda i, when: deeds[what](i, by="ann", now=when, **fields),
                self.table,
                self.now,
            )
            stored = get_incident(session, incident.id)
        self.story.incidents[incident.id] = replace(stored, history=stored.history)


@pytest.fixture
def desk(database: Database) -> Desk:  # noqa: F811
    return Desk(database)


def test_what_is_silenced_says_so_in_the_log_and_is_told_once_when_the_silence_ends(
    desk: Desk,
) -> None:
    desk.silence(Matcher(domains=("OO",)))
    incident = desk.see(0)
    assert desk.sent() == []
    with desk.database.read() as session:
        (message,) = list_messages(session, incident.id)
        (line,) = delivery_log(session, message.id)
        (held,) = holds_of(session, incident.id)
    assert (line.outcome, line.channel) == (Outcome.HELD, "")
    assert line.words == "silenced by ann until 2026-01-10 13:00Z: migration"
    assert held.settled_at is None

    assert desk.tend(59 * MINUTE) == {}
    assert desk.tend(MINUTE) == {"told": 1}
    ((channel, headline),) = desk.sent()
    assert channel == "pager"
    assert headline.startswith("still open after a silence — flights/OO: concept shift")
    assert desk.tend(HOUR) == {}
    assert desk.sent() == []


def test_a_silence_that_a_person_ends_early_is_over_then(desk: Desk) -> None:
    silence = desk.silence(Matcher(domains=("OO",)), lasts=24 * HOUR)
    desk.see(0)
    with desk.database.write() as session:
        save_silence(session, expire(silence, by="bob", now=desk.now + MINUTE))
    assert desk.tend(MINUTE) == {"told": 1}
    assert len(desk.sent()) == 1


@pytest.mark.parametrize("deed", ["ack", "resolve"])
def test_what_somebody_has_or_what_is_over_is_not_told_after_a_silence(
    desk: Desk, deed: str
) -> None:
    desk.silence(Matcher(domains=("OO",)))
    incident = desk.see(0)
    desk.do(incident, deed)
    assert desk.tend(2 * HOUR) == {}
    assert desk.sent() == []


def test_another_silence_takes_over_where_the_first_ends(desk: Desk) -> None:
    desk.silence(Matcher(domains=("OO",)))
    desk.see(0)
    desk.now += 30 * MINUTE
    desk.silence(Matcher(models=("flights",)), lasts=2 * HOUR)
    desk.tend(30 * MINUTE)
    assert desk.sent() == []
    assert desk.tend(2 * HOUR) == {"told": 1}
    assert len(desk.sent()) == 1


def test_the_end_of_a_problem_reaches_whoever_was_told_of_it_through_a_silence_too(
    desk: Desk,
) -> None:
    """Else the pager stays red for ever."""
    incident = desk.see(0)
    assert [channel for channel, _ in desk.sent()] == ["pager"]
    desk.silence(Matcher(domains=("OO",)))
    desk.table = RoutingTable(default={Tier.PAGE: ("elsewhere",)})
    desk.do(incident, "resolve")
    ((channel, headline),) = desk.sent()
    assert channel == "pager"
    assert "resolved" in headline


def test_a_ticket_that_waits_for_the_morning_is_taken_back_by_a_new_silence(desk: Desk) -> None:
    night = QuietHours(time(11), time(18), "UTC")
    desk.table = RoutingTable(default={Tier.TICKET: ("desk",)}, quiet={"desk": night})
    ticket = desk.see(0, Mode.COVARIATE_SHIFT, tier=Tier.TICKET)
    assert desk.sent() == []
    desk.silence(Matcher(tiers=(Tier.TICKET,)), lasts=24 * HOUR)
    desk.now = NOON + 7 * HOUR
    assert desk.sent() == []
    with desk.database.read() as session:
        (held,) = holds_of(session, ticket.id)
    assert held.hold.words.startswith("silenced by ann")


def test_what_a_process_had_in_hand_when_it_died_is_not_taken_back(desk: Desk) -> None:
    """It may have arrived: who was told of it must be told of its end as well."""
    incident = desk.see(0)
    with desk.database.write() as session:
        assert claim_next(session, now=desk.now, lease=MINUTE) is not None
    desk.now += 2 * MINUTE
    desk.silence(Matcher(incidents=(incident.id,)))
    assert [channel for channel, _ in desk.sent()] == ["pager"]
    with desk.database.read() as session:
        assert holds_of(session, incident.id) == ()


def test_without_a_silence_the_ticket_arrives_in_the_morning_and_a_page_at_once(
    desk: Desk,
) -> None:
    night = QuietHours(time(11), time(18), "UTC")
    desk.table = RoutingTable(
        default={Tier.TICKET: ("desk",), Tier.PAGE: ("desk",)}, quiet={"desk": night}
    )
    desk.see(0, Mode.COVARIATE_SHIFT, tier=Tier.TICKET)
    assert desk.sent() == []
    desk.see(200)
    assert len(desk.sent()) == 1
    desk.now = NOON.replace(hour=18)
    assert len(desk.sent()) == 1


def test_a_fault_hushes_its_echo_which_is_told_when_the_fault_is_mended(desk: Desk) -> None:
    fault = desk.see(0, Mode.PIPELINE_FAULT)
    assert len(desk.sent()) == 1
    # Four days later, with alarms of other streams that begin then: an incident of its own.
    echo = desk.see(96, stream="prediction.mean")
    assert echo.id != fault.id
    assert desk.sent() == []
    with desk.database.read() as session:
        (held,) = holds_of(session, echo.id)
    assert held.hold.words.startswith(f"inhibited by {fault.id}: flights/OO: data-pipeline fault")
    assert desk.tend(HOUR) == {}
    desk.do(fault, "resolve")
    assert desk.tend(MINUTE) == {"told": 1}
    said = [headline for _, headline in desk.sent()]
    assert said[-1].startswith("still open now that its likely cause is mended — ")


def test_nobody_answers_so_others_are_told_once_and_all_hear_of_the_end(desk: Desk) -> None:
    escalation = Escalation(30 * MINUTE, ("second", "boss"))
    desk.table = RoutingTable((Route(("pager",), escalation=escalation),))
    incident = desk.see(0)
    assert [channel for channel, _ in desk.sent()] == ["pager"]
    assert desk.tend(29 * MINUTE) == {}
    assert desk.tend(MINUTE) == {"escalated": 1}
    assert sorted(channel for channel, _ in desk.sent()) == ["boss", "second"]
    assert desk.tend(24 * HOUR) == {}
    desk.do(incident, "resolve")
    assert sorted(channel for channel, _ in desk.sent()) == ["boss", "pager", "second"]


def test_an_acknowledgement_stops_escalation_until_it_runs_out(desk: Desk) -> None:
    escalation = Escalation(30 * MINUTE, ("second",))
    desk.table = RoutingTable((Route(("pager",), escalation=escalation),))
    incident = desk.see(0)
    desk.sent()
    desk.do(incident, "ack", until=NOON + 2 * HOUR)
    assert [channel for channel, _ in desk.sent()] == ["pager"]
    assert desk.tend(HOUR) == {}
    assert desk.tend(HOUR) == {"woken": 1}
    ((channel, headline),) = desk.sent()
    assert channel == "pager"
    assert headline.startswith("the acknowledgement by ann has run out — ")
    # Told anew: the clock of escalation starts anew as well.
    assert desk.tend(29 * MINUTE) == {}
    assert desk.tend(MINUTE) == {"escalated": 1}
    with desk.database.read() as session:
        history = get_incident(session, incident.id).history
    assert [change.what for change in history] == ["opened", "acknowledged", "snooze over"]


def test_nothing_escalates_out_of_a_silence_before_it_ends(desk: Desk) -> None:
    escalation = Escalation(30 * MINUTE, ("second",))
    desk.table = RoutingTable((Route(("pager",), escalation=escalation),))
    desk.see(0)
    desk.sent()
    desk.silence(Matcher(domains=("OO",)), lasts=2 * HOUR)
    assert desk.tend(HOUR) == {}
    assert desk.tend(HOUR) == {"escalated": 1}
    assert [channel for channel, _ in desk.sent()] == ["second"]


def test_two_desks_at_once_tell_once(desk: Desk) -> None:
    desk.silence(Matcher(domains=("OO",)))
    desk.see(0)
    other = Desk(desk.database, now=desk.now + 2 * HOUR)
    assert desk.tend(2 * HOUR) == {"told": 1}
    assert other.tend() == {}
    assert len(desk.sent()) == 1


def test_messages_that_time_brings_leave_the_incidents_own_count_alone(desk: Desk) -> None:
    """A replay knows no silence: the next message must have the id that it would give it."""
    desk.silence(Matcher(domains=("OO",)))
    incident = desk.see(0)
    desk.tend(2 * HOUR)
    alone = Story()
    alone.see(0, diagnosis(action=MAPPING))
    (expected,) = alone.see(48, diagnosis(action=MAPPING)).messages
    desk.see(48)
    with desk.database.read() as session:
        assert get_message(session, expected.id) is not None
        assert get_incident(session, incident.id).sequence == alone.only.sequence


def test_an_incident_of_another_deployment_is_not_hushed(desk: Desk) -> None:
    desk.silence(Matcher(domains=("DL",)))
    assert desk.see(0).deployment == OO == Deployment("flights", "OO")
    assert len(desk.sent()) == 1
    assert at(0) < NOON
    assert MessageType.RESOLVED.closes


# ---- several domains at once


def fleet(desk: Desk, *domains: str, hours: float = 0, **fields: Any) -> list[Incident]:
    """What a check of a model does when these domains fall ill: post each, then group."""
    made = []
    with desk.database.write() as session:
        register_model(session, "flights", desk.now)
        for domain in (*domains, "well"):
            register_deployment(session, Deployment("flights", domain), desk.now)
    for domain in domains:
        story = Story(Deployment("flights", domain))
        found = diagnosis(Mode.SCHEMA_MISMATCH, action=MAPPING, columns=("dep_hour",))
        decision = story.see(hours, found, **fields)
        with desk.database.write() as session:
            save_incidents(session, decision.incidents)
            for message in decision.messages:
                post(session, message, desk.table, desk.now)
        made.append(story.only)
    group_model(desk.database, "flights", desk.table, AlertSettings(), desk.now)
    return made


@pytest.fixture
def grouping(desk: Desk) -> Desk:
    desk.table = replace(desk.table, group_wait=timedelta(seconds=20))
    return desk


def group_in(desk: Desk) -> Incident:
    with desk.database.read() as session:
        ((group, _),) = open_groups(session, "flights")
    return group


def test_one_cause_in_several_domains_is_one_page_and_the_members_say_why_they_are_quiet(
    grouping: Desk,
) -> None:
    members = fleet(grouping, "OO", "DL", "AA")
    ((channel, headline),) = grouping.sent()
    assert channel == "pager"
    assert "in 3 domains at once (AA, DL, OO)" in headline
    with grouping.database.read() as session:
        for member in members:
            stored = get_incident(session, member.id)
            assert stored.history == member.history
            assert {held.hold.by for held in holds_of(session, member.id)} == {
                group_in(grouping).id
            }


def test_a_domain_that_is_ill_alone_is_told_at_the_end_of_the_check_and_not_later(
    grouping: Desk,
) -> None:
    fleet(grouping, "OO")
    assert {channel for channel, _ in grouping.sent()} == {"pager"}


def test_a_message_whose_check_never_ended_leaves_by_itself(grouping: Desk) -> None:
    with grouping.database.write() as session:
        register_model(session, "flights", grouping.now)
        for domain in ("OO", "well"):
            register_deployment(session, Deployment("flights", domain), grouping.now)
    grouping.see(0)
    assert grouping.sent() == []
    grouping.now += timedelta(seconds=20)
    assert len(grouping.sent()) == 1


def test_domains_that_follow_join_the_group_without_a_page_of_their_own(grouping: Desk) -> None:
    fleet(grouping, "OO", "DL")
    assert len(grouping.sent()) == 1
    fleet(grouping, "AA")
    assert grouping.sent() == []
    assert set(group_in(grouping).domains) == {"OO", "DL", "AA"}
    fleet(grouping, "UA")
    ((_, headline),) = grouping.sent()
    assert "in 4 domains at once" in headline


def test_a_group_ends_with_the_last_of_its_members_and_that_is_told_once(grouping: Desk) -> None:
    first, second = fleet(grouping, "OO", "DL")
    grouping.sent()
    grouping.do(first, "resolve")
    assert grouping.tend() == {}
    assert grouping.sent() == []
    grouping.do(second, "resolve")
    assert grouping.tend() == {"ended": 1}
    ((channel, headline),) = grouping.sent()
    assert channel == "pager"
    assert headline.startswith("flights: schema mismatch resolved — all 2 of its incidents are")
    assert grouping.tend() == {}


def test_a_group_is_silenced_and_routed_by_the_domains_it_names(grouping: Desk) -> None:
    grouping.table = replace(
        grouping.table, routes=(Route(("north",), domains=("DL",)), Route(("other",)))
    )
    grouping.silence(Matcher(domains=("OO",)))
    fleet(grouping, "OO", "DL")
    assert [channel for channel, _ in grouping.sent()] == ["north"]


def test_a_ticket_that_is_tried_again_at_night_waits_for_the_morning_and_a_page_does_not(
    desk: Desk,
) -> None:
    night = QuietHours(time(13), time(18), "UTC")
    desk.table = RoutingTable(
        default={Tier.TICKET: ("desk",), Tier.PAGE: ("desk",)}, quiet={"desk": night}
    )
    desk.see(0, Mode.COVARIATE_SHIFT, tier=Tier.TICKET)
    desk.see(200)
    with desk.database.write() as session:
        while (delivery := claim_next(session, now=desk.now, lease=HOUR)) is not None:
            again = desk.now + 2 * HOUR
            attempt = Attempt(
                delivery.message.id, "desk", 0, desk.now, Outcome.RETRY, next_at=again
            )
            mark_failed(session, delivery, attempt)
    assert desk.tend(90 * MINUTE) == {"put_off": 1}
    assert desk.tend(30 * MINUTE) == {}
    assert len(desk.sent()) == 1
    desk.now = NOON.replace(hour=18)
    assert len(desk.sent()) == 1
