"""Prometheus Alertmanager: its v2 API, as Prometheus itself speaks it.

An alert is its labels; sending it again keeps it alive until `endsAt`. So the shell says again
every `resend_every` where open incidents stand, and each time the end moves on: if Kedge dies,
alerts go away after four missed turns. A change of severity is another alert to Alertmanager,
and the old one ends in the same way.
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from alerts import telling
from alerts.bodies import iso
from alerts.notifiers.base import ChannelError, Nothing, Outgoing, http_url, known, required
from alerts.plain import name as short
from alerts.records import Message, MessageType

OPTIONS = frozenset({"url", "secret", "username", "labels", "resend_every_us"})
RESEND_EVERY_US = 60_000_000
LIVES = 4
"""Turns an alert outlives without being said again: three lost requests change nothing."""
TEST_LIFE = timedelta(minutes=2)

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN = frozenset({"alertname", "model", "domain", "severity", "tier", "incident"})
_SHOWN = telling.INCIDENT_TYPES - {MessageType.ACKNOWLEDGED} | {MessageType.TEST}


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One Alertmanager. Every member of a cluster needs a channel of its own."""

    name: str
    url: str = field(repr=False)
    labels: tuple[tuple[str, str], ...] = ()
    authorization: str = field(default="", repr=False)
    resend_every_us: int = RESEND_EVERY_US

    follows_state = True

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `url` (its root), `labels` to add, and `secret` (a token, or a password)."""
        known(options, OPTIONS, name)
        url = http_url(required(options, "url", name), name).rstrip("/")
        given = options.get("labels") or {}
        labels = dict(given) if isinstance(given, Mapping) else {}
        for label in labels:
            if not _LABEL.fullmatch(str(label)) or label in _OWN:
                msg = f"channel {name!r}: {str(label)[:80]!r} cannot be a label of its own"
                raise ChannelError(msg)
        every = options.get("resend_every_us") or RESEND_EVERY_US
        return cls(
            name,
            f"{url}/api/v2/alerts",
            tuple((str(label), str(value)) for label, value in labels.items()),
            _authorization(str(options.get("username") or ""), str(options.get("secret") or "")),
            int(str(every)),
        )

    def prepare(self, message: Message, now: datetime) -> Outgoing | Nothing:
        if message.type not in _SHOWN:
            return Nothing(f"Alertmanager hears of incidents; this is a {message.type.value}")
        return self._post([self._alert(message, now)])

    def refresh(self, messages: Sequence[Message], now: datetime) -> Outgoing:
        """Every open incident once more, in one request."""
        return self._post([self._alert(message, now) for message in messages])

    def _post(self, alerts: list[dict[str, Any]]) -> Outgoing:
        headers = {"content-type": "application/json"}
        if self.authorization:
            headers["authorization"] = self.authorization
        body = json.dumps(alerts, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return Outgoing(self.url, headers, body.encode())

    def _alert(self, message: Message, now: datetime) -> dict[str, Any]:
        data = telling.data_of(message)
        links = telling.links(message)
        opened = _instant(data.get("opened_at"), message.created_at)
        # Event time may run behind the wall clock, and ahead of it by what the service admits.
        starts = min(opened, now)
        ends = now + LIVES * timedelta(microseconds=self.resend_every_us)
        if message.type is MessageType.RESOLVED:
            ends = max(starts, now)
        elif message.type is MessageType.TEST:
            ends = now + TEST_LIFE
        deployment = message.deployment
        labels = {
            **dict(self.labels),
            "alertname": "KedgeTest" if message.type is MessageType.TEST else "KedgeIncident",
            "model": short(deployment.model),
            "domain": short(deployment.domain),
            "severity": message.severity.value,
            "tier": message.tier.value,
            "incident": message.incident_id or message.id,
        }
        annotations = {
            "summary": telling.headline(message),
            "description": "\n".join(telling.evidence(message)),
            **{what.replace(" ", "_"): words for what, words in telling.facts(message)},
            "report_url": links.get("report", ""),
            "runbook_url": links.get("runbook", ""),
            "message": message.id,
        }
        alert: dict[str, Any] = {
            "labels": {label: value for label, value in labels.items() if value},
            "annotations": {label: value for label, value in annotations.items() if value},
            "startsAt": iso(starts),
            "endsAt": iso(ends),
        }
        if "incident" in links:
            alert["generatorURL"] = links["incident"]
        return alert


def _authorization(username: str, secret: str) -> str:
    if not secret:
        return ""
    if not username:
        return f"Bearer {secret}"
    return "Basic " + base64.b64encode(f"{username}:{secret}".encode()).decode()


def _instant(value: object, otherwise: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return otherwise
    return found if found.tzinfo is not None else otherwise
