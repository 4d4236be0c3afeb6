"""Who hears what: the first fitting route decides, and a hole in the table loses nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from alerts.quiet import QuietHours
from alerts.records import Message, MessageType, Severity
from alerts.routing import (
    Destination,
    Escalation,
    Route,
    RoutingTable,
    channels_for,
    destinations,
    escalations,
    explain,
)
from detectors.records import Deployment, Tier
from tests.alerts.build import Story, diagnosis

ROUTES = (
    Route(("audit",), keep_on=True),
    Route(("mlops",), types=(MessageType.RETRAINING_REQUESTED,)),
    Route((), domains=("test-*",)),
    Route(("pager", "chat"), tiers=(Tier.PAGE,), severity=Severity.HIGH),
    Route(("tickets",), tiers=(Tier.TICKET,), models=("flights", "credit")),
)


def page() -> Message:
    return Story().see(0, diagnosis()).messages[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("audit", "pager", "chat")),
        ({"type": MessageType.RETRAINING_REQUESTED}, ("audit", "mlops")),
        ({"deployment": Deployment("flights", "test-1")}, ("audit",)),
        ({"tier": Tier.TICKET}, ("audit", "tickets")),
        ({"tier": Tier.TICKET, "deployment": Deployment("Flights", "x")}, ("audit",)),
        ({"severity": Severity.MEDIUM}, ("audit",)),
        ({"tier": Tier.LOG}, ()),
    ],
)
def test_the_table(change: dict[str, object], expected: tuple[str, ...]) -> None:
    message = replace(page(), **change)  # type: ignore[arg-type]
    assert channels_for(message, ROUTES, default=("fallback",)) == expected


def test_what_no_route_fits_goes_to_the_default_channels() -> None:
    routes = (Route(("tickets",), tiers=(Tier.TICKET,)),)
    assert channels_for(page(), routes, default=("all", "all")) == ("all",)
    assert channels_for(page(), (), default=("all",)) == ("all",)


# ---- when, and whom else

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 10, 23, tzinfo=UTC)
MORNING = datetime(2026, 1, 11, 7, tzinfo=UTC)
QUIET = QuietHours(time(22), time(7), "UTC")
ALL_QUIET = replace(QUIET, pages=True)


@pytest.mark.parametrize(
    ("tier", "now", "own", "by_route", "expected"),
    [
        (Tier.TICKET, NOON, QUIET, None, None),
        (Tier.TICKET, MIDNIGHT, QUIET, None, MORNING),
        (Tier.PAGE, MIDNIGHT, QUIET, None, None),
        (Tier.PAGE, MIDNIGHT, ALL_QUIET, None, MORNING),
        (Tier.TICKET, MIDNIGHT, None, QUIET, MORNING),
        (Tier.TICKET, MIDNIGHT, replace(QUIET, end=time(9)), QUIET, MORNING.replace(hour=9)),
    ],
)
def test_tickets_wait_for_the_morning_and_pages_only_if_told_so(
    tier: Tier,
    now: datetime,
    own: QuietHours | None,
    by_route: QuietHours | None,
    expected: datetime | None,
) -> None:
    message = replace(page(), tier=tier)
    table = RoutingTable(
        (Route(("desk",), quiet=by_route),), quiet={} if own is None else {"desk": own}
    )
    assert destinations(message, table, now) == (Destination("desk", expected),)


def test_a_channel_of_two_routes_waits_only_if_both_are_quiet() -> None:
    message = replace(page(), tier=Tier.TICKET)
    routes = (Route(("desk",), quiet=QUIET, keep_on=True), Route(("desk",)))
    assert destinations(message, RoutingTable(routes), MIDNIGHT) == (Destination("desk"),)


def test_a_message_about_several_domains_takes_the_route_of_any_of_them() -> None:
    group = replace(
        page(), deployment=Deployment("flights", ""), body={"data": {"domains": ["OO", "test-1"]}}
    )
    assert channels_for(group, ROUTES, default=()) == ("audit",)


def test_escalations_are_those_of_the_routes_taken_the_soonest_first() -> None:
    late, soon = (Escalation(timedelta(minutes=m), ("boss",)) for m in (60, 5))
    table = RoutingTable(
        (
            Route(("a",), escalation=late, keep_on=True),
            Route(("b",), escalation=soon),
            Route(("c",), escalation=replace(soon, channels=("never reached",))),
        )
    )
    assert escalations(page(), table) == (soon, late)
    assert escalations(replace(page(), tier=Tier.LOG), table) == ()


def test_an_explanation_names_every_route_up_to_the_one_that_decides() -> None:
    table = RoutingTable(ROUTES)
    said = explain(page(), table, NOON)
    assert said == (
        "route 1: fits, to audit; goes on",
        "route 2: passed over, type incident.opened is not retraining.requested",
        "route 3: passed over, domain OO is not test-*",
        "route 4: fits, to pager, chat",
        "→ audit: at once",
        "→ pager: at once",
        "→ chat: at once",
    )
