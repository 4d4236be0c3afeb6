"""The sections about people: routes, quiet hours, how incidents speak again."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, model_validator

from alerts.arrival import ArrivalSettings
from alerts.quiet import QuietHours
from alerts.records import Message, MessageType, Severity
from alerts.routing import Escalation, Route, RoutingTable, explain
from alerts.settings import AlertSettings
from detectors.records import Deployment, Tier
from monitor.config.retraining import MACHINES, told_besides
from monitor.config.sections import DurationUs, Section
from monitor.durations import parse_duration
from monitor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from monitor.config import Config, ModelConfig

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _clock(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return time.fromisoformat(value)
    except ValueError:
        msg = f"'{value[:40]}' is no time of day; write it as in '22:00'"
        raise ValueError(msg) from None


Clock = Annotated[time, BeforeValidator(_clock)]


class QuietHoursConfig(Section):
    """When messages wait. Pages do not, unless `pages` says so."""

    start: Clock
    end: Clock
    zone: str = "UTC"
    days: tuple[Day, ...] = ()
    pages: bool = False

    @model_validator(mode="after")
    def _sound(self) -> QuietHoursConfig:
        if self.start == self.end:
            msg = f"quiet hours from {self.start:%H:%M} to {self.end:%H:%M} are none or all"
            raise ValueError(msg)
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            msg = "quiet hours are times of the wall clock in `zone`; leave the offset out"
            raise ValueError(msg)
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            msg = f"no time zone '{self.zone[:80]}'; write it as in 'Europe/Berlin'"
            raise ValueError(msg) from None
        if set(self.days) == set(_DAYS):
            msg = "quiet on every day of the week is never; leave some days out"
            raise ValueError(msg)
        return self

    def quiet(self) -> QuietHours:
        """The same for the pure core."""
        days = tuple(sorted(_DAYS.index(day) for day in set(self.days)))
        return QuietHours(self.start, self.end, self.zone, days, self.pages)


class RouteConfig(Section):
    """Who hears of what. The first route that fits decides, unless it keeps on."""

    name: str = Field("", max_length=100)
    channels: tuple[str, ...]
    severity: Severity = Severity.LOW
    tiers: tuple[Literal["page", "ticket"], ...] = ()
    types: tuple[MessageType, ...] = ()
    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    keep_on: bool = False
    quiet_hours: QuietHoursConfig | None = None
    escalate_after: DurationUs | None = None
    escalate_to: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> RouteConfig:
        if (self.escalate_after is None) != (not self.escalate_to):
            msg = "escalate_after and escalate_to belong together; give both or neither"
            raise ValueError(msg)
        return self

    def route(self) -> Route:
        """The same for the pure core."""
        escalation = None
        if self.escalate_after is not None:
            after = timedelta(microseconds=self.escalate_after)
            escalation = Escalation(after, self.escalate_to)
        return Route(
            channels=self.channels,
            tiers=tuple(map(Tier, self.tiers)),
            types=self.types,
            models=self.models,
            domains=self.domains,
            severity=self.severity,
            keep_on=self.keep_on,
            name=self.name,
            quiet=None if self.quiet_hours is None else self.quiet_hours.quiet(),
            escalation=escalation,
        )


class IncidentsConfig(Section):
    """How often an open incident speaks again (event time), and what becomes one of several."""

    reminder: DurationUs = Field(parse_duration("1d", what="reminder"))
    ticket_reminder: DurationUs = Field(parse_duration("7d", what="ticket_reminder"))
    group: bool = True
    group_wait: DurationUs = Field(parse_duration("20s", what="group_wait"))


def check_routes(config: Config) -> None:
    """Raise ValueError for a route to a channel that is not there."""
    names = [channel.name for channel in config.channels]
    for number, route in enumerate(config.routes, start=1):
        for channel in (*route.channels, *route.escalate_to):
            if channel not in names:
                hint = did_you_mean(channel, names)
                msg = f"route {route.name or number}: no channel '{channel[:80]}'.{hint}"
                raise ValueError(msg)


def routing_of(config: Config) -> RoutingTable:
    """The table that a configuration means. A channel's own tiers hold where no route fits."""
    return RoutingTable(
        routes=tuple(route.route() for route in config.routes),
        default={
            tier: tuple(
                c.name for c in config.channels if tier.value in c.tiers and c.kind not in MACHINES
            )
            for tier in (Tier.PAGE, Tier.TICKET)
        },
        quiet={
            channel.name: channel.quiet_hours.quiet()
            for channel in config.channels
            if channel.quiet_hours is not None
        },
        group_wait=timedelta(
            microseconds=config.incidents.group_wait if config.incidents.group else 0
        ),
        besides=told_besides(config),
    )


def alerts_of(config: Config) -> AlertSettings:
    """How incidents speak, under this configuration."""
    return AlertSettings(
        public_url=config.service.base_url,
        reminder=timedelta(microseconds=config.incidents.reminder),
        ticket_reminder=timedelta(microseconds=config.incidents.ticket_reminder),
        retraining=config.retraining.settings(),
    )


def arrivals_of(model: ModelConfig) -> ArrivalSettings:
    """When a model's rows and labels are missed."""
    quiet, labels = (
        None if us is None else timedelta(microseconds=us)
        for us in (model.quiet_after, model.labels_after)
    )
    return ArrivalSettings(quiet, labels, model.few_rows)


def explain_route(
    config: Config, place: str, tier: str, severity: str | None, kind: str, now: datetime
) -> tuple[str, ...]:
    """The way of a message about "model/domain" through the routes, in sentences.

    Raises:
        UsageError: if the place is not "model/domain" or there is no such type of message.
    """
    model, slash, domain = place.partition("/")
    if not (model and slash and domain):
        msg = f"--explain {place[:80]}: write it as MODEL/DOMAIN, as in delays/DL"
        raise UsageError(msg)
    types = [choice.value for choice in MessageType]
    if kind not in types:
        msg = f"--type {kind[:80]}: no such message.{did_you_mean(kind, types)}"
        raise UsageError(msg)
    usual = Severity.HIGH if tier == "page" else Severity.LOW
    message = Message(
        id="msg_explained",
        type=MessageType(kind),
        deployment=Deployment(model, domain),
        incident_id="",
        tier=Tier(tier),
        severity=usual if severity is None else Severity(severity),
        body={},
        created_at=now,
    )
    said = f"{message.severity.value} {tier} of {place}, {kind}:"
    return (said, *explain(message, routing_of(config), now))
