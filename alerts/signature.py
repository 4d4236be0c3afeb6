"""Standard Webhooks 1.0.0 signatures: HMAC-SHA-256 over "id.timestamp.body", version v1.

The bytes signed are the bytes sent. During a rotation every key signs, so that a receiver may hold
the old secret or the new one. https://github.com/standard-webhooks/standard-webhooks
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

PREFIX = "whsec_"
KEY_BYTES = (24, 64)
TOLERANCE = timedelta(minutes=5)

_MAKE_ONE = "make one with `openssl rand -base64 32`"


class SecretError(ValueError):
    """A webhook secret that would not protect anything. The text never holds the secret."""


class SignatureError(ValueError):
    """A webhook that must not be believed."""


@dataclass(frozen=True, slots=True)
class Key:
    """One signing key. Its bytes are kept out of `repr`, and so out of logs and tracebacks."""

    raw: bytes = field(repr=False)

    @classmethod
    def parse(cls, secret: str) -> Self:
        """Read "whsec_" followed by base64 of 24 to 64 bytes; refuses anything else."""
        if not secret.startswith(PREFIX):
            msg = f"a webhook secret must start with {PREFIX!r}"
            raise SecretError(msg)
        try:
            raw = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            msg = f"the webhook secret after {PREFIX!r} is not base64; {_MAKE_ONE}"
            raise SecretError(msg) from None
        if not KEY_BYTES[0] <= len(raw) <= KEY_BYTES[1]:
            msg = (
                f"a webhook secret must hold {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes, "
                f"this one holds {len(raw)}; {_MAKE_ONE}"
            )
            raise SecretError(msg)
        return cls(raw)

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The signature of one message, as "v1,<base64>"."""
        signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
        digest = hmac.new(self.raw, signed, hashlib.sha256).digest()
        return "v1," + base64.b64encode(digest).decode()


def signed_headers(
    keys: Sequence[Key], message_id: str, at: datetime, body: bytes
) -> dict[str, str]:
    """The three headers of one attempt. `at` is this attempt's wall-clock instant, aware."""
    timestamp = int(at.timestamp())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(key.sign(message_id, timestamp, body) for key in keys),
    }


def verify(
    keys: Sequence[Key],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> str:
    """Return the webhook-id of a genuine, recent message; raise SignatureError for any other.

    Recent means within `tolerance` of `now` either way, which bounds how long a captured message
    can be played again.
    """
    lowered = {key.lower(): value for key, value in headers.items()}
    try:
        message_id, stamp, signatures = (
            lowered[f"webhook-{part}"] for part in ("id", "timestamp", "signature")
        )
    except KeyError as missing:
        msg = f"the header {missing.args[0]} is missing"
        raise SignatureError(msg) from None
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        msg = "webhook-timestamp is not a whole number of seconds"
        raise SignatureError(msg)
    age = now.timestamp() - int(stamp)
    if abs(age) > tolerance.total_seconds():
        msg = f"webhook-timestamp is {age:+.0f} s from now, more than {tolerance} is not believed"
        raise SignatureError(msg)
    passed = [part.encode() for part in signatures.split(" ") if part.startswith("v1,")]
    expected = [key.sign(message_id, int(stamp), body).encode() for key in keys]
    # Every pair is compared, each in constant time, so timing does not tell which key came close.
    matches = [hmac.compare_digest(wanted, given) for wanted in expected for given in passed]
    if not any(matches):
        msg = "no signature matches: another secret, or the body was changed on its way"
        raise SignatureError(msg)
    return message_id
