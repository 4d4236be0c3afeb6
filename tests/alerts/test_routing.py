"""Who hears what: the first fitting route decides, and a hole in the table loses nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.records import Message, MessageType, Severity
from alerts.routing import Route, channels_for
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
