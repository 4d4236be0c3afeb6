"""What a notifier is: it turns a message into bytes for one channel. The shell sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from alerts.records import Message

CONSOLE_URL = "console:"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request, ready to send: the exact bytes, and the headers that sign them.

    `url` may hold a secret (a token in its path), so it is kept out of `repr`.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    method: str = "POST"


class Notifier(Protocol):
    """A configured channel."""

    @property
    def name(self) -> str:
        """What routes and the delivery log call it."""
        ...

    def prepare(self, message: Message, now: datetime) -> Outgoing:
        """The request for one attempt at wall-clock `now`. Pure; must not fail for any message."""
        ...


class ChannelError(ValueError):
    """A channel's configuration that cannot work. The text never holds a secret."""


def required(options: Mapping[str, object], key: str, channel: str) -> str:
    """A non-empty string option, or a ChannelError that names what is missing."""
    value = options.get(key)
    if not isinstance(value, str) or not value:
        msg = f"channel {channel!r} needs {key!r}, a non-empty string"
        raise ChannelError(msg)
    return value


def known(options: Mapping[str, object], allowed: frozenset[str], channel: str) -> None:
    """Refuse an option the channel does not have: a typo must not be ignored silently."""
    unknown = sorted(set(options) - allowed)
    if unknown:
        there_are = ", ".join(sorted(allowed)) or "none"
        msg = f"channel {channel!r} has no option {unknown[0]!r}; options: {there_are}"
        raise ChannelError(msg)
