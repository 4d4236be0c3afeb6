"""What each kind of channel needs and may have, and the options its notifier is built from."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerts.notifiers import kinds
from alerts.pace import DEFAULTS, Pace
from monitor.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from monitor.config import ChannelConfig

SECRETS = ("secret_env", "secret_file")
SPECIFIC = frozenset(
    {
        "url",
        "format",
        "host",
        "port",
        "tls",
        "username",
        "sender",
        "to",
        "labels",
        "resend_every",
        "options",
        *SECRETS,
    }
)
"""Keys that only some kinds have; any other key of a channel is for all of them."""

TAKES: Mapping[str, frozenset[str]] = {
    "webhook": frozenset({"url", "format", *SECRETS}),
    "slack": frozenset(SECRETS),
    "pagerduty": frozenset({"url", *SECRETS}),
    "alertmanager": frozenset({"url", "username", "labels", "resend_every", *SECRETS}),
    "email": frozenset({"host", "port", "tls", "username", "sender", "to", *SECRETS}),
    "apprise": frozenset(SECRETS),
    "github_dispatch": frozenset({"url", *SECRETS}),
    "airflow": frozenset({"url", *SECRETS}),
    "mlflow": frozenset({"url", "username", *SECRETS}),
    "console": frozenset(),
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "webhook": ("url", "secret"),
    "slack": ("secret",),
    "pagerduty": ("secret",),
    "alertmanager": ("url",),
    "email": ("host", "sender", "to"),
    "apprise": ("secret",),
    "github_dispatch": ("url", "secret"),
    "airflow": ("url", "secret"),
    "mlflow": ("url",),
}
OTHERS = frozenset({"url", "options", *SECRETS})
"""What a kind from an installed package may have."""

HOLDS: Mapping[str, str] = {
    "webhook": "a whsec_… secret",
    "slack": "the URL of the incoming webhook",
    "pagerduty": "the integration key",
    "alertmanager": "a bearer token, or the password of username",
    "email": "the password of username",
    "apprise": "one apprise URL",
    "github_dispatch": "a token that may write contents",
    "airflow": "a token of its API",
    "mlflow": "a token, or the password of username",
}


def check_channel(channel: ChannelConfig) -> None:
    """Refuse a channel that cannot work.

    Raises:
        ValueError: one line that says what is wrong with it.
    """
    known = kinds()
    if channel.kind not in known:
        msg = (
            f"channel {channel.name}: '{channel.kind[:80]}' is not a kind of channel; there are: "
            f"{', '.join(known)}.{did_you_mean(channel.kind, known)}"
        )
        raise ValueError(msg)
    takes = TAKES.get(channel.kind, OTHERS)
    for key in sorted(_given(channel) - takes):
        has = ", ".join(sorted(takes)) or "none of its own"
        msg = f"channel {channel.name}: {channel.kind} has no {key}; its keys: {has}"
        raise ValueError(msg)
    if channel.secret_env and channel.secret_file:
        msg = f"channel {channel.name}: give secret_env or secret_file, one of them"
        raise ValueError(msg)
    for key in NEEDS.get(channel.kind, ()):
        if key == "secret" and not (channel.secret_env or channel.secret_file):
            holds = HOLDS[channel.kind]
            msg = f"channel {channel.name}: give secret_env or secret_file, which holds {holds}"
            raise ValueError(msg)
        if key != "secret" and not getattr(channel, key):
            msg = f"channel {channel.name}: {channel.kind} needs {key}"
            raise ValueError(msg)
    if channel.url and not channel.url.startswith(("http://", "https://")):
        msg = f"channel {channel.name}: url must start with https:// or http://"
        raise ValueError(msg)
    pace_of(channel)
    for network in channel.allow_networks:
        ipaddress.ip_network(network)


def _given(channel: ChannelConfig) -> set[str]:
    """The keys of single kinds that say something other than their default."""
    fields = type(channel).model_fields
    return {
        key
        for key in channel.model_fields_set & SPECIFIC
        if getattr(channel, key) != fields[key].get_default(call_default_factory=True)
    }


def pace_of(channel: ChannelConfig) -> Pace | None:
    """How fast the channel may be called: its own rate, or that of its kind."""
    return Pace.parse(channel.rate) if channel.rate else DEFAULTS.get(channel.kind)


def secret_of(channel: ChannelConfig) -> str:
    """What the named environment variable or file holds.

    Raises:
        InputError: if it is empty or missing.
    """
    if channel.secret_env:
        value = os.environ.get(channel.secret_env, "").strip()
        where = f"environment variable {channel.secret_env}"
    else:
        path = Path(channel.secret_file)
        value = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        where = f"file {channel.secret_file}"
    if not value:
        holds = HOLDS.get(channel.kind, "its secret")
        msg = f"channel {channel.name}: {where} holds no secret; put {holds} there"
        raise InputError(msg)
    return value


def notifier_options(channel: ChannelConfig, base_url: str) -> dict[str, object]:
    """What the notifier of this kind is built from; keys that were not given are left out.

    Raises:
        InputError: if the secret is missing.
    """
    given: dict[str, Any] = {
        key: getattr(channel, key)
        for key in _given(channel) - {*SECRETS, "options", "resend_every"}
    }
    if channel.kind == "alertmanager":
        given["resend_every_us"] = channel.resend_every
    if channel.secret_env or channel.secret_file:
        given["secret"] = secret_of(channel)
    if channel.kind == "webhook" and channel.format == "cloudevents":
        given["source"] = base_url
    return {**channel.options, **given}
