"""What a notifier is: it turns a message into bytes for one channel. The shell sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from alerts.records import Message

CONSOLE_URL = "console:"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request, ready to send: the exact bytes, and the headers that sign them.

    `url` may hold a secret (a token in its path), so it is kept out of `repr`; so is the body,
    which holds the key of some services. `accepted` are statuses besides 2xx that mean the
    receiver has it: "there is one of this id already".
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"
    accepted: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Letter:
    """One e-mail, ready to send. `tls` is "starttls", "tls" (from the first byte) or "none"."""

    host: str
    port: int
    tls: str
    sender: str
    recipients: tuple[str, ...]
    body: bytes
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Relayed:
    """Title and text for the apprise library, which knows how to send to `url` (a secret)."""

    url: str = field(repr=False)
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """This message is nothing for this channel, and why; the delivery log says so."""

    why: str


Prepared = Outgoing | Letter | Relayed | Nothing


class Notifier(Protocol):
    """A configured channel.

    One that shows where an incident stands rather than what was said of it (a pager, a board)
    also has `follows_state = True`: of several waiting messages about an incident it gets only
    the newest, in whatever order they are tried.
    """

    @property
    def name(self) -> str:
        """What routes and the delivery log call it."""
        ...

    def prepare(self, message: Message, now: datetime) -> Prepared:
        """What to send for one attempt at wall-clock `now`. Pure; must not fail for any message."""
        ...


@runtime_checkable
class Refreshing(Protocol):
    """A channel whose receiver forgets what is not said again."""

    @property
    def resend_every_us(self) -> int:
        """How often to say it again."""
        ...

    def refresh(self, messages: Sequence[Message], now: datetime) -> Outgoing:
        """One request that says again where these open incidents stand. Pure."""
        ...


def follows_state(notifier: Notifier) -> bool:
    """Whether only the newest word on an incident matters to this channel."""
    return bool(getattr(notifier, "follows_state", False))


class ChannelError(ValueError):
    """A channel's configuration that cannot work. The text never holds a secret."""


def required(options: Mapping[str, object], key: str, channel: str) -> str:
    """A non-empty string option, or a ChannelError that names what is missing."""
    value = options.get(key)
    if not isinstance(value, str) or not value:
        msg = f"channel {channel!r} needs {key!r}, a non-empty string"
        raise ChannelError(msg)
    return value


def http_url(text: str, channel: str, what: str = "url") -> str:
    """An address that names a host over http or https; the error does not show it."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        msg = f"channel {channel!r}: {what} must start with https:// or http:// and name a host"
        raise ChannelError(msg)
    return text


def known(options: Mapping[str, object], allowed: frozenset[str], channel: str) -> None:
    """Refuse an option the channel does not have: a typo must not be ignored silently."""
    unknown = sorted(set(options) - allowed)
    if unknown:
        there_are = ", ".join(sorted(allowed)) or "none"
        msg = f"channel {channel!r} has no option {unknown[0]!r}; options: {there_are}"
        raise ChannelError(msg)
