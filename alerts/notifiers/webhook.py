"""The generic webhook: the message body as JSON, signed as Standard Webhooks 1.0.0 asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from urllib.parse import urlsplit

from alerts.bodies import encode
from alerts.notifiers.base import ChannelError, Outgoing, known, required
from alerts.records import Message
from alerts.signature import Key, SecretError, signed_headers

OPTIONS = frozenset({"url", "secret", "secrets"})


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts to one URL. Several keys during a rotation make several signatures, newest first."""

    name: str
    url: str = field(repr=False)
    keys: tuple[Key, ...]

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `url` and `secret` (or `secrets`, newest first); raises ChannelError."""
        known(options, OPTIONS, name)
        url = required(options, "url", name)
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            msg = f"channel {name!r}: url must start with https:// or http:// and name a host"
            raise ChannelError(msg)
        secrets = options.get("secrets", options.get("secret"))
        listed = [secrets] if isinstance(secrets, str) else secrets
        if not isinstance(listed, list | tuple) or not listed:
            msg = f"channel {name!r} needs 'secret', for instance whsec_$(openssl rand -base64 32)"
            raise ChannelError(msg)
        try:
            keys = tuple(Key.parse(str(secret)) for secret in listed)
        except SecretError as error:
            msg = f"channel {name!r}: {error}"
            raise ChannelError(msg) from None
        return cls(name, url, keys)

    def prepare(self, message: Message, now: datetime) -> Outgoing:
        body = encode(message.body)
        headers = {
            "content-type": "application/json; charset=utf-8",
            **signed_headers(self.keys, message.id, now, body),
        }
        return Outgoing(self.url, headers, body)
