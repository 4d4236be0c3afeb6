"""The generic webhook: the message body as JSON, signed as Standard Webhooks 1.0.0 asks.

With `format = "cloudevents"` the same body travels as a CloudEvents 1.0 event in structured mode,
under the same signature: `id` is the webhook-id, so source + id name a message for ever.
https://github.com/cloudevents/spec
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from alerts.bodies import encode, fit
from alerts.notifiers.base import ChannelError, Outgoing, http_url, known, required
from alerts.records import Message
from alerts.signature import Key, SecretError, signed_headers

OPTIONS = frozenset({"url", "secret", "secrets", "format", "source"})
FORMATS = {
    "plain": "application/json; charset=utf-8",
    "cloudevents": "application/cloudevents+json; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts to one URL. Several keys during a rotation make several signatures, newest first."""

    name: str
    url: str = field(repr=False)
    keys: tuple[Key, ...]
    format: str = "plain"
    source: str = "kedge"

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `url` and `secret`; raises ChannelError.

        `secret` may hold several, newest first and separated by white space, and so may the list
        `secrets`: each signs, so that receivers can change over one by one.
        """
        known(options, OPTIONS, name)
        url = http_url(required(options, "url", name), name)
        secrets = options.get("secrets", options.get("secret"))
        listed = secrets.split() if isinstance(secrets, str) else secrets
        if not isinstance(listed, list | tuple) or not listed:
            msg = f"channel {name!r} needs 'secret', for instance whsec_$(openssl rand -base64 32)"
            raise ChannelError(msg)
        try:
            keys = tuple(Key.parse(str(secret)) for secret in listed)
        except SecretError as error:
            msg = f"channel {name!r}: {error}"
            raise ChannelError(msg) from None
        chosen = str(options.get("format") or "plain")
        if chosen not in FORMATS:
            msg = f"channel {name!r}: format must be one of {', '.join(FORMATS)}, not {chosen!r}"
            raise ChannelError(msg)
        return cls(name, url, keys, chosen, str(options.get("source") or "kedge"))

    def prepare(self, message: Message, now: datetime) -> Outgoing:
        body = encode(self._event(message) if self.format == "cloudevents" else message.body)
        headers = {
            "content-type": FORMATS[self.format],
            **signed_headers(self.keys, message.id, now, body),
        }
        return Outgoing(self.url, headers, body)

    def _event(self, message: Message) -> dict[str, Any]:
        """The CloudEvents envelope; `type` is the message's own, under "kedge."."""
        data = message.body.get("data")
        event = {
            "specversion": "1.0",
            "id": message.id,
            "source": self.source,
            "type": f"kedge.{message.type.value}",
            "subject": message.incident_id or message.id,
            "time": message.body.get("timestamp"),
            "datacontenttype": "application/json",
            "data": dict(data) if isinstance(data, Mapping) else {},
        }
        return fit({key: value for key, value in event.items() if value is not None})
