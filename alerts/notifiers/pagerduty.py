"""PagerDuty Events API v2: trigger, acknowledge and resolve on one key for each incident.

`dedup_key` is the incident's id, so repeats and updates join one PagerDuty incident. PagerDuty
follows the state: an older word that comes late must not open again what a newer one closed.
https://developer.pagerduty.com/docs/events-api-v2/overview/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from alerts import telling
from alerts.bodies import encode
from alerts.notifiers.base import ChannelError, Nothing, Outgoing, http_url, known, required
from alerts.plain import name as short
from alerts.records import Message, MessageType, Severity

URL = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_CHARACTERS = 1_024
DEDUP_CHARACTERS = 255

SEVERITIES: Mapping[Severity, str] = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}
ACTIONS: Mapping[MessageType, str] = {
    MessageType.ACKNOWLEDGED: "acknowledge",
    MessageType.RESOLVED: "resolve",
}
"""What is not here triggers, which also updates what is open."""

_KEY = re.compile(r"[0-9A-Za-z]{32}")
_NOT_OURS = frozenset(
    {kind for kind in MessageType if kind.about_training} | {MessageType.MAPPING_REVIEW_REQUESTED}
)


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """One integration of one service, named by its routing key."""

    name: str
    key: str = field(repr=False)
    url: str = field(default=URL, repr=False)

    follows_state = True
    resolves_tests = True

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `secret`, the integration key, and `url` for other regions."""
        known(options, frozenset({"secret", "url"}), name)
        key = required(options, "secret", name)
        if not _KEY.fullmatch(key):
            msg = (
                f"channel {name!r}: the secret of PagerDuty is the key of an Events API v2 "
                f"integration, 32 letters and digits; this one has {len(key)} characters"
            )
            raise ChannelError(msg)
        return cls(name, key, http_url(str(options.get("url") or URL), name))

    def prepare(self, message: Message, now: datetime) -> Outgoing | Nothing:
        if message.type in _NOT_OURS:
            return Nothing(f"PagerDuty hears of incidents; this is a {message.type.value}")
        action = ACTIONS.get(message.type, "trigger")
        event: dict[str, Any] = {
            "routing_key": self.key,
            "event_action": action,
            "dedup_key": (message.incident_id or message.id)[:DEDUP_CHARACTERS],
        }
        if action == "trigger":
            event |= _alert(message)
        headers = {"content-type": "application/json; charset=utf-8"}
        return Outgoing(self.url, headers, encode(event))


def _alert(message: Message) -> dict[str, Any]:
    data = telling.data_of(message)
    links = telling.links(message)
    where = message.deployment
    details: dict[str, Any] = dict(telling.facts(message))
    details |= {"evidence": list(telling.evidence(message)), "message": message.id}
    diagnosis = data.get("diagnosis")
    mode = diagnosis.get("mode") if isinstance(diagnosis, Mapping) else None
    payload = {
        "summary": telling.headline(message, SUMMARY_CHARACTERS),
        "source": f"{short(where.model)}/{short(where.domain)}",
        "severity": SEVERITIES.get(message.severity, "error"),
        "timestamp": message.body.get("timestamp"),
        "component": short(where.model),
        "group": short(where.domain),
        "class": mode,
        "custom_details": details,
    }
    found: dict[str, Any] = {
        "payload": {key: value for key, value in payload.items() if value},
        "links": [{"href": link, "text": what} for what, link in links.items()],
        "client": "Kedge",
    }
    if "report" in links:
        found["client_url"] = links["report"]
    return found
