"""Routes and quiet hours as people write them: what they mean, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alerts.quiet import QuietHours
from alerts.records import Severity
from alerts.routing import Escalation, Route
from detectors.records import Tier
from monitor.cli import cli
from monitor.config import Config, parse_config
from monitor.config.oncall import alerts_of, explain_route, routing_of
from monitor.errors import InputError, UsageError

NIGHT = {"start": "22:00", "end": "07:00", "zone": "Europe/Berlin", "days": ["sun", "sat"]}
CHANNELS = [
    {"name": "pager", "kind": "console", "tiers": ["page"]},
    {"name": "desk", "kind": "console", "quiet_hours": NIGHT},
]
NOON = datetime(2026, 1, 7, 12, tzinfo=UTC)


def config(*routes: dict[str, Any], **sections: Any) -> Config:
    return parse_config({"channels": CHANNELS, "routes": list(routes), **sections}, source="k.toml")


def test_a_route_means_what_it_says() -> None:
    table = routing_of(
        config(
            {
                "channels": ["pager"],
                "severity": "high",
                "tiers": ["page"],
                "domains": ["vt-*"],
                "escalate_after": "30min",
                "escalate_to": ["desk"],
            }
        )
    )
    assert table.routes == (
        Route(
            ("pager",),
            tiers=(Tier.PAGE,),
            domains=("vt-*",),
            severity=Severity.HIGH,
            escalation=Escalation(timedelta(minutes=30), ("desk",)),
        ),
    )
    assert table.default == {Tier.PAGE: ("pager", "desk"), Tier.TICKET: ("desk",)}
    assert table.quiet == {"desk": QuietHours(time(22), time(7), "Europe/Berlin", (5, 6))}


def test_reminders_are_as_configured() -> None:
    said = alerts_of(config(incidents={"reminder": "4h"}))
    assert (said.reminder, said.ticket_reminder) == (timedelta(hours=4), timedelta(days=7))


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({"channels": ["pagr"]}, "no channel 'pagr'. Did you mean 'pager'?"),
        ({"channels": [], "escalate_to": ["pager"]}, "give both or neither"),
        ({"channels": [], "severity": "hihg"}, "Did you mean 'high'?"),
        ({"channels": [], "typs": []}, "unknown key 'routes.0.typs'. Did you mean 'types'?"),
        ({"channels": [], "quiet_hours": {**NIGHT, "zone": "Mars"}}, "no time zone 'Mars'"),
        ({"channels": [], "quiet_hours": {**NIGHT, "zone": "../../etc/passwd"}}, "no time zone"),
        ({"channels": [], "quiet_hours": {**NIGHT, "start": "25:00"}}, "'25:00' is no time of day"),
        ({"channels": [], "quiet_hours": {**NIGHT, "end": "22:00"}}, "are none or all"),
        ({"channels": [], "quiet_hours": {**NIGHT, "start": "22:00Z"}}, "leave the offset out"),
        ({"channels": [], "quiet_hours": {**NIGHT, "zon": "UTC"}}, "Did you mean 'zone'?"),
    ],
)
def test_a_route_that_cannot_be_is_refused_in_one_line(route: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as refused:
        config(route)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_explanation_starts_with_what_was_asked() -> None:
    routed = config({"channels": ["desk"], "tiers": ["ticket"], "name": "tickets"})
    said = explain_route(routed, "loans/north", "page", None, "incident.opened", NOON)
    assert said[0] == "high page of loans/north, incident.opened:"
    assert said[1] == "route tickets: passed over, tier page is not ticket"
    assert said[-2:] == ("→ pager: at once", "→ desk: at once")
    with pytest.raises(UsageError, match="MODEL/DOMAIN"):
        explain_route(routed, "loans", "page", None, "incident.opened", NOON)
    with pytest.raises(UsageError, match=r"Did you mean 'incident.opened'"):
        explain_route(routed, "loans/north", "page", None, "incident.openned", NOON)


def test_the_command_explains(tmp_path: Path) -> None:
    file = tmp_path / "kedge.toml"
    file.write_text(
        '[[channels]]\nname = "pager"\nkind = "console"\n[[routes]]\nchannels = ["pager"]\n'
    )
    told = CliRunner().invoke(
        cli, ["check-config", "--config", str(file), "--explain", "loans/north", "--tier", "ticket"]
    )
    assert told.exit_code == 0, told.output
    assert "low ticket of loans/north, incident.opened:\nroute 1: fits, to pager\n" in told.output
    assert told.output.endswith("→ pager: at once\nfine\n")
