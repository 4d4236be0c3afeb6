"""When to try again. One table of answers, so that every channel fails in the same way.

The schedule and the meaning of the status codes follow Standard Webhooks 1.0.0: a redirect is a
failure, 410 means "stop sending", 429, 502 and 504 mean "slower". Retry-After may stretch a wait,
never shorten it, and never beyond a day.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from alerts.plain import plain
from alerts.records import Outcome

WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
JITTER = 0.2
THROTTLED = frozenset({429, 502, 503, 504})
THROTTLED_HOLD = timedelta(seconds=5)
SILENT_HOLD = timedelta(seconds=1)
HOLD_LIMIT = timedelta(minutes=1)
"""A channel is held this long at its first failure, twice as long at each further one in a row.

A receiver that fails now and then is hardly slowed; one that is down is called once a minute.
"""
RETRY_AFTER_LIMIT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status, or an error in words. `permanent`: trying again cannot help.

    `accepted`: the receiver has the message although the status is none of 2xx.
    """

    status: int | None = None
    retry_after: str | None = None
    error: str = ""
    permanent: bool = False
    duration_ms: int = 0
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an attempt's reply means: how it ended, when to try next, and why, in words.

    `hold_until` is set where the trouble is the receiver's rather than the message's (it asked for
    less, or gave no answer): everything else for that channel had better wait until then too.
    """

    outcome: Outcome
    words: str
    next_at: datetime | None = None
    hold_until: datetime | None = None


def judge(
    reply: Reply, *, message_id: str, attempt: int, now: datetime, failures: int = 0
) -> Judgement:
    """Decide what follows the `attempt`-th try (from 0) of a message that ended in `reply`.

    `failures` is how often in a row the channel has been in trouble before.
    """
    if reply.permanent:
        return Judgement(Outcome.DEAD, plain(reply.error))
    status = reply.status
    if status is not None and (200 <= status < 300 or reply.accepted):
        return Judgement(Outcome.DELIVERED, _and(f"status {status}", reply.error))
    if status == 410:
        return Judgement(Outcome.DISABLED, "status 410: the receiver wants no more messages")
    words = plain(reply.error) if status is None else _status_words(status)
    if attempt >= len(WAITS):
        return Judgement(Outcome.DEAD, f"{words}; given up after {attempt + 1} attempts")
    wait = wait_after(message_id, attempt)
    hold: timedelta | None = None
    if status is None or status in THROTTLED:
        first = SILENT_HOLD if status is None else THROTTLED_HOLD
        hold = min(HOLD_LIMIT, first * 2 ** min(failures, 10))
    asked = parse_retry_after(reply.retry_after, now)
    if asked is not None:
        hold = max(hold or asked, asked)
    if hold is None:
        return Judgement(Outcome.RETRY, words, now + wait)
    return Judgement(Outcome.RETRY, words, now + max(wait, hold), now + hold)


def wait_after(message_id: str, attempt: int) -> timedelta:
    """The wait after the `attempt`-th failure, ± 20 %.

    The jitter comes from the message and the attempt: a fleet of messages spreads out, and a
    replay of one waits as long as it did.
    """
    digest = hashlib.sha256(f"{message_id}.{attempt}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return WAITS[attempt] * (1.0 + JITTER * (2.0 * share - 1.0))


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """The wait a Retry-After asks for, at most a day; None if absent, malformed or past."""
    if value is None or len(value) > 64:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = min(int(text), int(RETRY_AFTER_LIMIT.total_seconds()))
        return timedelta(seconds=seconds)
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError):
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    wait = instant - now
    return min(wait, RETRY_AFTER_LIMIT) if wait > timedelta(0) else None


def _status_words(status: int) -> str:
    if 300 <= status < 400:
        return f"status {status}: redirects are not followed; configure the final URL"
    return f"status {status}"


def _and(words: str, more: str) -> str:
    return f"{words}; {plain(more)}" if more else words
