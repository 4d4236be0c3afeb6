"""Which channels hear of a message, and when. The first route that fits decides, like a firewall.

Everything here is read when a message is put into the outbox: a new table changes what comes, not
what is on its way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from alerts.quiet import QuietHours
from alerts.records import Message, MessageType, Severity
from detectors.records import Tier


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to tell besides, once nobody has acknowledged for so long."""

    after: timedelta
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Messages that fit every field go to `channels`; an empty field fits everything.

    `models` and `domains` are shell patterns ("vt-*"); a message about several domains fits if
    one of them does. `keep_on` lets later routes add theirs. `quiet` holds for this route's
    channels besides their own quiet hours.
    """

    channels: tuple[str, ...]
    tiers: tuple[Tier, ...] = ()
    types: tuple[MessageType, ...] = ()
    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    severity: Severity = Severity.LOW
    keep_on: bool = False
    name: str = ""
    quiet: QuietHours | None = None
    escalation: Escalation | None = None

    def fits(self, message: Message) -> bool:
        return self.misfit(message) == ""

    def misfit(self, message: Message) -> str:
        """Why a message does not take this route, "" if it does."""
        if self.tiers and message.tier not in self.tiers:
            return f"tier {message.tier.value} is not {_or(self.tiers)}"
        if self.types and message.type not in self.types:
            return f"type {message.type.value} is not {_or(self.types)}"
        if self.models and not _any_fits([message.deployment.model], self.models):
            return f"model {message.deployment.model} is not {_or(self.models)}"
        domains = domains_of(message)
        if self.domains and not _any_fits(domains, self.domains):
            return f"domain {', '.join(domains)} is not {_or(self.domains)}"
        if message.severity.rank < self.severity.rank:
            return f"severity {message.severity.value} is below {self.severity.value}"
        return ""


@dataclass(frozen=True, slots=True)
class Destination:
    """A channel that gets a message, not before an instant if that is set. Wall clock."""

    channel: str
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Routes in order, who hears of a tier that no route fits, and when channels are quiet.

    `group_wait` is how long a message about one of several domains waits for the others; zero
    does not group. `besides` names channels that hear of a type whatever the routes say.
    """

    routes: tuple[Route, ...] = ()
    default: Mapping[Tier, tuple[str, ...]] = field(default_factory=dict)
    quiet: Mapping[str, QuietHours] = field(default_factory=dict)
    group_wait: timedelta = timedelta(0)
    besides: Mapping[MessageType, tuple[str, ...]] = field(default_factory=dict)


def channels_for(
    message: Message, routes: Sequence[Route], default: Sequence[str]
) -> tuple[str, ...]:
    """The names of the channels that get a message, each once, in order.

    Without a fitting route a message goes to `default`: a hole in the table must not lose a page.
    A route with no channels silences what fits it, on purpose. The log tier goes nowhere.
    """
    if message.tier is Tier.LOG:
        return ()
    taken = fitting(message, routes)
    if not taken:
        return tuple(dict.fromkeys(default))
    return tuple(dict.fromkeys(channel for route in taken for channel in route.channels))


def fitting(message: Message, routes: Sequence[Route]) -> tuple[Route, ...]:
    """The routes a message takes: up to the first that fits and does not keep on."""
    taken = []
    for route in routes:
        if route.fits(message):
            taken.append(route)
            if not route.keep_on:
                break
    return tuple(taken)


def destinations(message: Message, table: RoutingTable, now: datetime) -> tuple[Destination, ...]:
    """Who gets a message, each once, and from when on: quiet hours put off, they never drop."""
    default = table.default.get(message.tier, ())
    taken = fitting(message, table.routes)
    found = []
    routed = channels_for(message, table.routes, default)
    for channel in dict.fromkeys((*routed, *table.besides.get(message.type, ()))):
        # A channel of two routes waits only if both do.
        by_route = [_waits(message, r.quiet, now) for r in taken if channel in r.channels]
        own = _waits(message, table.quiet.get(channel), now)
        route_waits = None if None in by_route else min(filter(None, by_route), default=None)
        waits = [instant for instant in (own, route_waits) if instant is not None]
        found.append(Destination(channel, max(waits, default=None)))
    return tuple(found)


def quiet_until(message: Message, channel: str, table: RoutingTable, now: datetime) -> datetime:
    """When a channel may be told of a message: now, or the end of the channel's quiet hours."""
    return _waits(message, table.quiet.get(channel), now) or now


def escalations(message: Message, table: RoutingTable) -> tuple[Escalation, ...]:
    """The escalations of the routes a message took, the soonest first."""
    if message.tier is Tier.LOG:
        return ()
    found = [route.escalation for route in fitting(message, table.routes)]
    return tuple(sorted((e for e in found if e is not None), key=lambda e: (e.after, e.channels)))


def explain(message: Message, table: RoutingTable, now: datetime) -> tuple[str, ...]:
    """The way of a message through the table in sentences, for `kedge check-config --explain`."""
    if message.tier is Tier.LOG:
        return ("the log tier is told to nobody",)
    lines = []
    taken = fitting(message, table.routes)
    for number, route in enumerate(table.routes, start=1):
        called = f"route {route.name or number}"
        if route in taken:
            goes = ", ".join(route.channels) or "nobody, on purpose"
            lines.append(f"{called}: fits, to {goes}{'; goes on' if route.keep_on else ''}")
            if route.escalation is not None:
                minutes = route.escalation.after.total_seconds() / 60
                others = ", ".join(route.escalation.channels)
                lines.append(f"  after {minutes:g} min unacknowledged also to {others}")
            if not route.keep_on:
                break
        else:
            lines.append(f"{called}: passed over, {route.misfit(message)}")
    if not taken:
        lines.append("no route fits: the channels that name this tier")
    for destination in destinations(message, table, now):
        when = "at once"
        if destination.not_before is not None:
            when = f"quiet now, not before {destination.not_before:%Y-%m-%d %H:%M} UTC"
        lines.append(f"→ {destination.channel}: {when}")
    if not channels_for(message, table.routes, table.default.get(message.tier, ())):
        lines.append("→ nobody")
    return tuple(lines)


def domains_of(message: Message) -> list[str]:
    """The domains a message is about: one, or the members of a group."""
    if message.deployment.domain:
        return [message.deployment.domain]
    data = message.body.get("data", {})
    return [str(domain) for domain in data.get("domains", ())] or [""]


def _waits(message: Message, quiet: QuietHours | None, now: datetime) -> datetime | None:
    if quiet is None or (message.tier is Tier.PAGE and not quiet.pages):
        return None
    return quiet.ends(now)


def _any_fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _or(choices: Sequence[object]) -> str:
    return " or ".join(str(getattr(choice, "value", choice)) for choice in choices)
