"""The console: one readable block a message, for a terminal or a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from alerts.notifiers.base import CONSOLE_URL, Outgoing, known
from alerts.plain import plain
from alerts.records import Message


@dataclass(frozen=True, slots=True)
class Console:
    """Writes text. The shell decides which stream `console:` is."""

    name: str

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        known(options, frozenset(), name)
        return cls(name)

    def prepare(self, message: Message, now: datetime) -> Outgoing:
        return Outgoing(CONSOLE_URL, {}, "\n".join([*_lines(message), "", ""]).encode())


def _lines(message: Message) -> list[str]:
    data: Mapping[str, Any] = message.body.get("data", {})
    lines = [
        f"[{message.tier.upper()}] {message.type} · {message.severity} · {_minute(message)}",
        f"  {plain(str(data.get('headline', '')))}",
    ]
    lines += [f"  - {plain(str(sentence))}" for sentence in data.get("evidence", ())]
    action = data.get("action")
    if action:
        lines.append(
            plain(f"do: {action['kind']} · scope {action['scope']} · {action['cadence']}").join(
                ("  ", "")
            )
        )
        lines.append(f"  worked if: {plain(str(action['falsified_by']))}")
    links: Mapping[str, str] = data.get("links", {})
    lines += [f"  {what}: {link}" for what, link in links.items()]
    lines.append(f"  id {message.id}")
    return lines


def _minute(message: Message) -> str:
    return f"{message.created_at:%Y-%m-%d %H:%M}Z"
