"""Whose name stands under a deed: one place, so that every route says it in the same way."""

from __future__ import annotations

from fastapi import Request

from alerts.plain import name
from monitor.api.access import author


def author_of(request: Request, given: str) -> str:
    """The author of a deed, safe to show: the token's name; what was given only without one."""
    del request
    return name(author(given))
