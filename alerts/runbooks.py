"""Which runbook page belongs to what is told: one rule for messages, pages and the files."""

from __future__ import annotations

import re

PATH = "/runbooks"


def slug(name: str) -> str:
    """A diagnosis mode or message type as the name of its page: "prior shift" is "prior-shift"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def runbook_link(name: str, public_url: str) -> str:
    """Where the page of a mode or message type is read."""
    return f"{public_url.rstrip('/')}{PATH}/{slug(name)}"
