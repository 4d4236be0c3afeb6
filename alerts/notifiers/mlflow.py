"""MLflow: what became of a request stands as a tag on the model, by REST, without its client.

A message that names the version that serves tags that version where it is a whole number, as all
of MLflow's are; else the registered model, and the value says the version. Setting a tag again
changes nothing. The registered model bears Kedge's name of the model. A tag's key must stay what it
is when read as a path, so that no domain may bring a "/" into it.
https://mlflow.org/docs/latest/rest-api.html, limits and names: mlflow/utils/validation.py
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from alerts.bodies import encode
from alerts.notifiers.base import Nothing, Outgoing, http_url, known, required
from alerts.records import Message

OPTIONS = frozenset({"url", "username", "secret"})
PREFIX = "kedge.retraining"
VALUE_CHARACTERS = 5_000
KEY_CHARACTERS = 250


@dataclass(frozen=True, slots=True)
class Mlflow:
    """Sets `kedge.retraining.DOMAIN` on the tracking server at `url`."""

    name: str
    url: str
    authorization: str = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `url` and, where the server asks, `secret` and `username`; ChannelError."""
        known(options, OPTIONS, name)
        url = http_url(required(options, "url", name), name).rstrip("/")
        secret, user = str(options.get("secret", "")), str(options.get("username", ""))
        if secret and user:
            pair = base64.b64encode(f"{user}:{secret}".encode()).decode()
            return cls(name, url, f"Basic {pair}")
        return cls(name, url, f"Bearer {secret}" if secret else "")

    def prepare(self, message: Message, now: datetime) -> Outgoing | Nothing:
        if not message.type.about_training:
            return Nothing("only retraining requests are tagged")
        data: Mapping[str, Any] = message.body.get("data", {})
        version = str(data.get("version") or "")
        is_theirs = version.isascii() and version.isdigit()
        state = message.type.value.partition(".")[2]
        served = f" (version {version})" if version and not is_theirs else ""
        value = f"{state} {data.get('id', '')}{served}: {data.get('headline', '')}"
        body = {
            "name": message.deployment.model,
            "key": f"{PREFIX}.{_key(message.deployment.domain)}"[:KEY_CHARACTERS],
            "value": value[:VALUE_CHARACTERS],
        }
        what = "registered-models"
        if is_theirs:
            what, body = "model-versions", {**body, "version": version}
        headers = {"content-type": "application/json; charset=utf-8"}
        if self.authorization:
            headers["authorization"] = self.authorization
        return Outgoing(f"{self.url}/api/2.0/mlflow/{what}/set-tag", headers, encode(body))


def _key(domain: str) -> str:
    """A domain in the letters that a tag's key may have: others become "_"."""
    fits = "_-. "
    return "".join(c if (c.isascii() and c.isalnum()) or c in fits else "_" for c in domain)
