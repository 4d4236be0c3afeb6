"""Which channels hear of a message. The first route that fits decides, like a firewall's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from alerts.records import Message, MessageType, Severity
from detectors.records import Tier


@dataclass(frozen=True, slots=True)
class Route:
    """Messages that fit every field go to `channels`; an empty field fits everything.

    `models` and `domains` are shell patterns ("vt-*"). `keep_on` lets later routes add theirs.
    """

    channels: tuple[str, ...]
    tiers: tuple[Tier, ...] = ()
    types: tuple[MessageType, ...] = ()
    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    severity: Severity = Severity.LOW
    keep_on: bool = False

    def fits(self, message: Message) -> bool:
        deployment = message.deployment
        return (
            (not self.tiers or message.tier in self.tiers)
            and (not self.types or message.type in self.types)
            and (not self.models or any(fnmatchcase(deployment.model, m) for m in self.models))
            and (not self.domains or any(fnmatchcase(deployment.domain, d) for d in self.domains))
            and message.severity.rank >= self.severity.rank
        )


def channels_for(
    message: Message, routes: Sequence[Route], default: Sequence[str]
) -> tuple[str, ...]:
    """The names of the channels that get a message, each once, in order.

    Without a fitting route a message goes to `default`: a hole in the table must not lose a page.
    A route with no channels silences what fits it, on purpose. The log tier goes nowhere.
    """
    if message.tier is Tier.LOG:
        return ()
    chosen: list[str] = []
    fitted = False
    for route in routes:
        if route.fits(message):
            fitted = True
            chosen.extend(route.channels)
            if not route.keep_on:
                break
    return tuple(dict.fromkeys(chosen if fitted else default))
