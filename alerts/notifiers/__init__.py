"""One file a channel. `build` makes a configured notifier from a kind and its options.

A further kind is a callable `(name, options) -> Notifier` registered by an installed package under
the entry point group `kedge.notifiers`; it cannot replace one of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points

from alerts.notifiers.airflow import Airflow
from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.base import (
    CONSOLE_URL,
    ChannelError,
    Letter,
    Nothing,
    Notifier,
    Outgoing,
    Prepared,
    Refreshing,
    Relayed,
    follows_state,
)
from alerts.notifiers.console import Console
from alerts.notifiers.email import Email
from alerts.notifiers.github_dispatch import GithubDispatch
from alerts.notifiers.mlflow import Mlflow
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.relay import Apprise
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook

__all__ = [
    "CONSOLE_URL",
    "ChannelError",
    "Letter",
    "Nothing",
    "Notifier",
    "Outgoing",
    "Prepared",
    "Refreshing",
    "Relayed",
    "build",
    "follows_state",
    "kinds",
]

Factory = Callable[[str, Mapping[str, object]], Notifier]

GROUP = "kedge.notifiers"
BUILT_IN: dict[str, Factory] = {
    "webhook": Webhook.from_options,
    "slack": Slack.from_options,
    "pagerduty": PagerDuty.from_options,
    "alertmanager": Alertmanager.from_options,
    "email": Email.from_options,
    "apprise": Apprise.from_options,
    "github_dispatch": GithubDispatch.from_options,
    "airflow": Airflow.from_options,
    "mlflow": Mlflow.from_options,
    "console": Console.from_options,
}


def kinds() -> tuple[str, ...]:
    """Every kind of channel that can be configured here, sorted."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def build(kind: str, name: str, options: Mapping[str, object]) -> Notifier:
    """A notifier of `kind` called `name`; raises ChannelError saying what is wrong."""
    if kind in BUILT_IN:
        return BUILT_IN[kind](name, options)
    for point in entry_points(group=GROUP, name=kind):
        factory: Factory = point.load()
        return factory(name, options)
    available = kinds()
    close = get_close_matches(kind, available, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    msg = (
        f"channel {name!r} has the unknown kind {kind!r}; there are: {', '.join(available)}.{hint}"
    )
    raise ChannelError(msg)
