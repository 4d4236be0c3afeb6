"""The retry schedule: what each reply means, how long a wait is, when to give up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.records import Outcome
from alerts.schedule import WAITS, Reply, judge, parse_retry_after, wait_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reply", "outcome", "words"),
    [
        (Reply(200), Outcome.DELIVERED, "status 200"),
        (Reply(204), Outcome.DELIVERED, "status 204"),
        (Reply(299), Outcome.DELIVERED, "status 299"),
        (Reply(101), Outcome.RETRY, "status 101"),
        (Reply(301), Outcome.RETRY, "not followed"),
        (Reply(304), Outcome.RETRY, "not followed"),
        (Reply(307, retry_after="10"), Outcome.RETRY, "not followed"),
        (Reply(400), Outcome.RETRY, "status 400"),
        (Reply(401), Outcome.RETRY, "status 401"),
        (Reply(404), Outcome.RETRY, "status 404"),
        (Reply(410), Outcome.DISABLED, "no more"),
        (Reply(429), Outcome.RETRY, "status 429"),
        (Reply(500), Outcome.RETRY, "status 500"),
        (Reply(999), Outcome.RETRY, "status 999"),
        (Reply(error="no reply within 10 s"), Outcome.RETRY, "no reply"),
        (Reply(error="refused: loopback", permanent=True), Outcome.DEAD, "refused"),
    ],
)
def test_what_a_reply_means(reply: Reply, outcome: Outcome, words: str) -> None:
    judgement = judge(reply, message_id="msg_1", attempt=0, now=NOW)
    assert judgement.outcome is outcome
    assert words in judgement.words
    assert (judgement.next_at is not None) == (outcome is Outcome.RETRY)


@pytest.mark.parametrize(
    ("reply", "first_s"),
    [(Reply(status), 5) for status in (429, 502, 503, 504)] + [(Reply(error="no reply"), 1)],
)
def test_a_channel_in_trouble_is_held_twice_as_long_each_time_up_to_a_minute(
    reply: Reply, first_s: int
) -> None:
    """A receiver that fails now and then is hardly slowed; one that is down is hardly called."""
    holds_s = []
    for failures in range(12):
        judgement = judge(reply, message_id="m", attempt=0, now=NOW, failures=failures)
        assert judgement.hold_until is not None
        assert judgement.next_at is not None
        assert judgement.next_at >= judgement.hold_until
        holds_s.append((judgement.hold_until - NOW).total_seconds())
    assert holds_s == [min(60.0, first_s * 2.0**failures) for failures in range(12)]


@pytest.mark.parametrize(
    ("reply", "hold_s"),
    [
        (Reply(500), None),
        (Reply(404), None),
        (Reply(503, retry_after="7200"), 7200),
        (Reply(500, retry_after="90"), 90),
        (Reply(429, retry_after="2"), 5),
        (Reply(error="no reply within 10 s"), 1),
        (Reply(200, retry_after="90"), None),
    ],
)
def test_a_channel_is_held_for_the_receivers_trouble_not_for_a_messages(
    reply: Reply, hold_s: int | None
) -> None:
    judgement = judge(reply, message_id="m", attempt=3, now=NOW)
    held = None if judgement.hold_until is None else judgement.hold_until - NOW
    assert held == (None if hold_s is None else timedelta(seconds=hold_s))


def test_a_message_is_given_up_after_the_eighth_attempt_in_about_a_day() -> None:
    now, attempt = NOW, 0
    instants = [now]
    while (judgement := judge(Reply(500), message_id="m", attempt=attempt, now=now)).next_at:
        now, attempt = judgement.next_at, attempt + 1
        instants.append(now)
    assert judgement.outcome is Outcome.DEAD
    assert "given up after 8 attempts" in judgement.words
    nominal_s = [5, 300, 1800, 7200, 18000, 36000, 36000]
    waits_s = [(later - earlier).total_seconds() for earlier, later in pairwise(instants)]
    assert len(waits_s) == len(nominal_s)
    assert all(0.8 * n <= w <= 1.2 * n for n, w in zip(nominal_s, waits_s, strict=True))


def test_waits_spread_out_evenly_over_messages_and_never_change() -> None:
    waits = sorted(wait_after(f"msg_{i}", 1) / WAITS[1] for i in range(2000))
    # Kolmogorov-Smirnov distance to the uniform law on [.8, 1.2], .01 level: 1.63 / sqrt(2000).
    distance = max(abs((w - 0.8) / 0.4 - i / 2000) for i, w in enumerate(waits))
    assert distance < 1.63 / 2000**0.5 + 1 / 2000
    assert wait_after("msg_1", 3) == wait_after("msg_1", 3) != wait_after("msg_2", 3)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("9" * 30, 86400),
        ("Thu, 01 Jan 2026 00:10:00 GMT", 600),
        ("Thu, 01 Jan 2026 01:10:00 +0100", 600),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86400),
        ("Wed, 31 Dec 2025 23:00:00 GMT", None),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("1e9", None),
        ("٣", None),
        ("soon", None),
        ("Thu, 99 Foo 2026 00:10:00 GMT", None),
        ("9" * 5000, None),
        ("\x00", None),
    ],
)
def test_retry_after_is_bounded_and_nonsense_is_ignored(
    value: str | None, seconds: int | None
) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(value, NOW) == expected


def test_retry_after_stretches_a_wait_and_never_shortens_it() -> None:
    asked = judge(Reply(503, retry_after="7200"), message_id="m", attempt=0, now=NOW)
    assert asked.next_at == NOW + timedelta(hours=2)
    eager = judge(Reply(503, retry_after="1"), message_id="m", attempt=4, now=NOW)
    assert eager.next_at is not None
    assert eager.next_at - NOW >= timedelta(hours=4)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_header_text_can_break_the_schedule(value: str) -> None:
    judgement = judge(Reply(429, retry_after=value), message_id="m", attempt=0, now=NOW)
    assert judgement.next_at is not None
    assert timedelta(seconds=4) <= judgement.next_at - NOW <= timedelta(hours=24)
