"""The demo's receiver believes what is signed, once, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook as PublishedWebhook

from alerts.signature import Key, signed_headers
from monitor.clock import SystemClock
from monitor.demo.receiver import Receiver, receiving
from monitor.demo.service import new_secret

BODY = json.dumps({"type": "incident.opened", "data": {"id": "inc_1"}}).encode()


@pytest.fixture
def secret() -> str:
    return new_secret()


@pytest.fixture
def receiver(secret: str) -> Iterator[Receiver]:
    with receiving(Key.parse(secret), SystemClock()) as started:
        yield started


def post(receiver: Receiver, headers: dict[str, str], body: bytes = BODY) -> int:
    with httpx2.Client(trust_env=False) as client:
        return client.post(receiver.url, content=body, headers=headers).status_code


def test_a_message_signed_by_the_published_library_is_accepted(
    receiver: Receiver, secret: str
) -> None:
    """The sender here is not Kedge: the receiver holds the standard, not our reading of it."""
    now = datetime.now(UTC)
    signature = PublishedWebhook(secret).sign("msg_1", now, BODY.decode())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    assert post(receiver, headers) == 204
    assert dict(receiver.types) == {"incident.opened": 1}


def test_what_is_kept_verifies_again_with_the_published_library(
    receiver: Receiver, secret: str
) -> None:
    """Headers and bytes are kept as they came."""
    post(receiver, signed_headers([Key.parse(secret)], "msg_1", datetime.now(UTC), BODY))
    (kept,) = receiver.accepted
    assert PublishedWebhook(secret).verify(kept.body, kept.headers) == json.loads(BODY)


def test_a_message_sent_again_counts_once(receiver: Receiver, secret: str) -> None:
    headers = signed_headers([Key.parse(secret)], "msg_1", datetime.now(UTC), BODY)
    assert [post(receiver, headers), post(receiver, headers)] == [204, 204]
    assert (len(receiver.accepted), receiver.repeated) == (1, 1)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        (signed_headers([Key.parse(new_secret())], "msg_1", datetime.now(UTC), BODY), BODY),
    ],
    ids=["unsigned", "another secret"],
)
def test_a_message_that_is_not_signed_with_our_secret_is_refused(
    receiver: Receiver, headers: dict[str, str], body: bytes
) -> None:
    assert post(receiver, headers, body) == 401
    assert receiver.accepted == []
    assert len(receiver.refused) == 1


def test_a_changed_body_and_an_old_message_are_refused(receiver: Receiver, secret: str) -> None:
    key, now = Key.parse(secret), datetime.now(UTC)
    assert post(receiver, signed_headers([key], "msg_1", now, BODY), BODY + b" ") == 401
    old = signed_headers([key], "msg_1", now - timedelta(minutes=6), BODY)
    assert post(receiver, old) == 401
    assert receiver.accepted == []


@pytest.mark.parametrize("body", [b"not json", b"[1]", b"{}"], ids=["text", "list", "no type"])
def test_a_signed_body_that_is_no_message_is_refused(
    receiver: Receiver, secret: str, body: bytes
) -> None:
    headers = signed_headers([Key.parse(secret)], "msg_1", datetime.now(UTC), body)
    assert post(receiver, headers, body) == 400
    assert receiver.accepted == []


def test_a_body_beyond_the_contract_is_not_read(receiver: Receiver, secret: str) -> None:
    body = b"x" * 20_001
    headers = signed_headers([Key.parse(secret)], "msg_1", datetime.now(UTC), body)
    assert post(receiver, headers, body) == 413
