"""Silences: what a person asked not to be told, until when and why. Read by delivery alone.

A silence hides messages, not incidents: evidence, incidents and their history go on as without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from alerts.plain import name, plain
from alerts.records import Incident, Severity, silence_id
from detectors.records import Mode, Tier

LONGEST = timedelta(days=366)
"""What nobody wants to hear for longer is better said by a route."""


class SilenceError(ValueError):
    """A silence that would hide nothing, everything, or too long."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a silence hides: messages of incidents that fit every field; an empty one fits all.

    `models`, `domains` and `columns` are shell patterns; one fitting column is enough.
    """

    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ()
    severities: tuple[Severity, ...] = ()
    tiers: tuple[Tier, ...] = ()
    columns: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()

    def fits(self, incident: Incident) -> bool:
        deployment = incident.deployment
        domains = incident.domains or (deployment.domain,)
        return (
            (not self.models or _any_fits((deployment.model,), self.models))
            # A group is hidden only if each of its domains is.
            and (not self.domains or all(_any_fits((d,), self.domains) for d in domains))
            and (not self.modes or incident.mode in self.modes)
            and (not self.severities or incident.severity in self.severities)
            and (not self.tiers or incident.tier in self.tiers)
            and (not self.columns or _any_fits(incident.columns, self.columns))
            and (not self.incidents or incident.id in self.incidents)
        )

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, field.name) for field in fields(self))

    def words(self) -> str:
        """The same for people: "models loans, tiers ticket"."""
        parts = []
        for field in fields(self):
            values = getattr(self, field.name)
            if values:
                shown = " or ".join(name(str(getattr(v, "value", v))) for v in values)
                parts.append(f"{field.name} {shown}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence, from `starts_at` to `until` unless somebody ended it before. Wall clock."""

    id: str
    matcher: Matcher
    starts_at: datetime
    until: datetime
    reason: str
    author: str
    created_at: datetime
    expired_at: datetime | None = None
    expired_by: str = ""

    @property
    def ends_at(self) -> datetime:
        return self.until if self.expired_at is None else min(self.until, self.expired_at)

    def is_active(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at

    def words(self) -> str:
        """Who silenced it, until when and why."""
        until = f"{self.until:%Y-%m-%d %H:%M}Z"
        return f"silenced by {name(self.author)} until {until}: {plain(self.reason)}"


def make_silence(
    matcher: Matcher,
    *,
    until: datetime,
    reason: str,
    author: str,
    now: datetime,
    starts_at: datetime | None = None,
) -> Silence:
    """A new silence; SilenceError where it would hide nothing, everything or too long."""
    starts = max(starts_at or now, now)
    if matcher.is_empty:
        msg = "this silence would hide everything; name a model, domain, mode, tier or column"
        raise SilenceError(msg)
    if until <= starts:
        msg = f"this silence ends before it begins: until {until:%Y-%m-%d %H:%M}Z"
        raise SilenceError(msg)
    if until - now > LONGEST:
        msg = f"a silence lasts {LONGEST.days} days at most; a route with no channels lasts"
        raise SilenceError(msg)
    if not reason.strip():
        msg = "a silence needs a reason: whoever finds it must know whether it still holds"
        raise SilenceError(msg)
    return Silence(
        id=silence_id(matcher.words(), author, starts, until),
        matcher=matcher,
        starts_at=starts,
        until=until,
        reason=plain(reason, 1_000),
        author=name(author),
        created_at=now,
    )


def expire(silence: Silence, *, by: str, now: datetime) -> Silence:
    """End a silence now. One that is over already stays as it is."""
    if now >= silence.ends_at:
        return silence
    return replace(silence, expired_at=now, expired_by=name(by))


def silenced_by(incident: Incident, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """The silence that hides an incident's messages now: of several, the one that lasts longest."""
    fitting = [s for s in silences if s.is_active(now) and s.matcher.fits(incident)]
    return max(fitting, key=lambda s: (s.ends_at, s.id), default=None)


def _any_fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(one, pattern) for one in names for pattern in patterns)
