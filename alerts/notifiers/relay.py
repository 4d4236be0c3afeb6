"""Apprise: every service that library knows, by its URL, which is the secret.

An optional extra, `kedge[apprise]`. The library speaks for itself; the shell runs it in a process
of its own, with a deadline and the same table of refused addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from alerts import telling
from alerts.notifiers.base import ChannelError, Relayed, known, required
from alerts.records import Message

TEXT_CHARACTERS = 4_000
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Apprise:
    """One apprise URL."""

    name: str
    url: str = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `secret`, an apprise URL; raises ChannelError."""
        known(options, frozenset({"secret"}), name)
        url = required(options, "secret", name)
        if not _URL.fullmatch(url):
            msg = f"channel {name!r}: the secret must be one apprise URL, such as ntfy://topic"
            raise ChannelError(msg)
        return cls(name, url)

    def prepare(self, message: Message, now: datetime) -> Relayed:
        return Relayed(self.url, telling.subject(message), telling.text(message)[:TEXT_CHARACTERS])
