"""Errors people read: one line that says what was given, what would do, and what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KedgeError(Exception):
    """Something a person can mend. The text is one line."""


class UsageError(KedgeError, ValueError):
    """The command was called in a way that cannot work (exit code 2)."""


class InputError(KedgeError, ValueError):
    """A file or a message does not hold what it should."""


class NotAllowedError(KedgeError):
    """The caller may not do this (exit code 4)."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """' Did you mean 'x'?' for the nearest known word, or nothing."""
    close = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def shortened(names: Iterable[str], limit: int = 12) -> str:
    """Names joined by commas, cut after `limit` with how many more there are."""
    listed = list(names)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
