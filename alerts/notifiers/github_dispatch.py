"""GitHub: an approved retraining starts a workflow by a repository_dispatch event.

The API takes at most 10 keys at the top of `client_payload` and an event type of at most 100
characters, answers 204, and has no idempotency: the id stands in the payload, so that the workflow
can see a repeat (`concurrency: ${{ github.event.client_payload.id }}`).
https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from alerts.bodies import encode
from alerts.notifiers.base import ChannelError, Nothing, Outgoing, http_url, known, required
from alerts.records import Message, MessageType

OPTIONS = frozenset({"url", "secret"})
EVENT_TYPE = "kedge-retraining"
PAYLOAD_KEYS = (
    "id",
    "model",
    "domain",
    "headline",
    "action",
    "window",
    "diagnosis",
    "evidence",
    "test",
    "links",
)
"""Ten, which is as many as the API takes."""


@dataclass(frozen=True, slots=True)
class GithubDispatch:
    """Posts to `https://api.github.com/repos/OWNER/NAME/dispatches` with a token."""

    name: str
    url: str
    token: str = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `url` and `secret`, a token with contents: write; raises ChannelError."""
        known(options, OPTIONS, name)
        url = http_url(required(options, "url", name), name)
        if not url.endswith("/dispatches"):
            msg = (
                f"channel {name!r}: url must end in /repos/OWNER/NAME/dispatches, as in "
                "https://api.github.com/repos/acme/models/dispatches"
            )
            raise ChannelError(msg)
        return cls(name, url, required(options, "secret", name))

    def prepare(self, message: Message, now: datetime) -> Outgoing | Nothing:
        if message.type is not MessageType.RETRAINING_APPROVED:
            return Nothing("only approved retraining requests start a workflow")
        data = message.body.get("data", {})
        payload = {key: data.get(key) for key in PAYLOAD_KEYS}
        headers = {
            "accept": "application/vnd.github+json",
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json; charset=utf-8",
            "user-agent": "kedge",
            "x-github-api-version": "2022-11-28",
        }
        body = encode({"event_type": EVENT_TYPE, "client_payload": payload})
        return Outgoing(self.url, headers, body)
