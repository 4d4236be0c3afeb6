"""Which runbook page belongs to what is told: one rule for messages, pages and the files."""

from __future__ import annotations

import re
from collections.abc import Iterable

from detectors.records import Mode

PATH = "/runbooks"
BY_STREAM = {"transfer.erosion": "benefit erosion"}
"""Streams that no diagnosis explains: two windows do not show what goes away over months."""

SAYS_LITTLE = frozenset({Mode.UNDETERMINED.value, Mode.BENIGN.value})


def slug(name: str) -> str:
    """A diagnosis mode or message type as the name of its page: "prior shift" is "prior-shift"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def runbook_link(name: str, public_url: str) -> str:
    """Where the page of a mode or message type is read."""
    return f"{public_url.rstrip('/')}{PATH}/{slug(name)}"


def page_of(what: str, streams: Iterable[str]) -> str:
    """What the page of an incident is about: its name, or its only stream where that tells more."""
    only = set(streams)
    if what in SAYS_LITTLE and len(only) == 1:
        return BY_STREAM.get(only.pop(), what)
    return what
