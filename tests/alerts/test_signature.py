"""Signatures agree with the official verifier; what it lets pass is refused here."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from alerts.signature import Key, SecretError, SignatureError, signed_headers, verify

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32))).decode()
# The package's own sample secret and its reference vector (test suite of the specification).
SAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_published_vector_is_reproduced() -> None:
    signature = Key.parse(SAMPLE).sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@settings(deadline=None)
@given(st.text(max_size=200))
def test_the_official_package_verifies_every_body(text: str) -> None:
    body = text.encode(errors="replace")
    now = datetime.now(UTC)
    headers = signed_headers([Key.parse(NEW)], "msg_1", now, body)
    Verifier(NEW).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Verifier(NEW).verify(body + b" ", headers, json_parse=False)


@pytest.mark.parametrize("hours", [-9.5, 0, 5.75])
def test_the_zone_of_the_clock_does_not_matter(hours: float) -> None:
    """The package itself signs the local time of a non-UTC clock as if it were UTC."""
    zone = timezone(timedelta(hours=hours))
    here = datetime.now(zone)
    headers = signed_headers([Key.parse(NEW)], "msg_1", here, b"{}")
    Verifier(NEW).verify(b"{}", headers)
    assert headers["webhook-timestamp"] == str(int(here.timestamp()))


def test_during_a_rotation_a_receiver_with_either_secret_believes() -> None:
    now = datetime.now(UTC)
    headers = signed_headers([Key.parse(NEW), Key.parse(OLD)], "msg_1", now, b"{}")
    for secret in (OLD, NEW):
        Verifier(secret).verify(b"{}", headers)
        assert verify([Key.parse(secret)], headers, b"{}", now=now) == "msg_1"
    with pytest.raises(SignatureError, match="no signature matches"):
        verify([Key.parse(SAMPLE)], headers, b"{}", now=now)


def test_our_verifier_accepts_what_the_package_signs() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": "v2,ignored v1a,ignored " + Verifier(NEW).sign("msg_1", now, "{}"),
    }
    assert verify([Key.parse(NEW)], headers, b"{}", now=now) == "msg_1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-id": "msg_2"}, "no signature matches"),
        ({"webhook-timestamp": "1"}, "s from now"),
        ({"webhook-timestamp": "nan"}, "whole number"),
        ({"webhook-timestamp": "1e9"}, "whole number"),
        ({"webhook-timestamp": "٣"}, "whole number"),
        ({"webhook-timestamp": "9" * 5000}, "whole number"),
        ({"webhook-signature": ""}, "no signature matches"),
        ({"webhook-signature": "v1,"}, "no signature matches"),
        ({"webhook-signature": "v1,é§"}, "no signature matches"),
    ],
)
def test_a_forged_message_is_refused(change: dict[str, str], why: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    keys = [Key.parse(NEW)]
    headers = signed_headers(keys, "msg_1", now, b"{}") | change
    with pytest.raises(SignatureError, match=why):
        verify(keys, headers, b"{}", now=now)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(header: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    headers = signed_headers([Key.parse(NEW)], "msg_1", now, b"{}")
    del headers[header]
    with pytest.raises(SignatureError, match=header):
        verify([Key.parse(NEW)], headers, b"{}", now=now)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_captured_message_cannot_be_played_again_later(seconds: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    keys = [Key.parse(NEW)]
    headers = signed_headers(keys, "msg_1", now, b"{}")
    with pytest.raises(SignatureError, match="from now"):
        verify(keys, headers, b"{}", now=now + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_QQ==",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_not base64 at all, is it, no!",
        "whsec_é" + "A" * 32,
        base64.b64encode(b"x" * 32).decode(),
    ],
)
def test_a_weak_or_malformed_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(SecretError) as caught:
        Key.parse(secret)
    tail = secret.removeprefix("whsec_")
    assert not tail or tail not in str(caught.value)


def test_a_key_does_not_show_itself() -> None:
    key = Key.parse(NEW)
    assert repr(key) == "Key()"
