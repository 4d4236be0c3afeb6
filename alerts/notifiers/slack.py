"""Slack: an incoming webhook with blocks. The URL is the secret.

Limits are those of Slack's reference of blocks: 50 blocks a message, 150 characters a header,
3,000 a section, 10 fields of 2,000. What was posted cannot be changed later, so each message
stands for itself and leads on by links. One message a second: see `pace`.
https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from alerts import telling
from alerts.bodies import encode
from alerts.notifiers.base import Outgoing, http_url, known, required
from alerts.records import Message, MessageType, Severity

HEADER_CHARACTERS = 150
SECTION_CHARACTERS = 3_000
FIELD_CHARACTERS = 2_000
FIELDS = 10

_COLOURLESS = "⚪"
_MARKS: Mapping[Severity, str] = {
    Severity.CRITICAL: "🔴",
    Severity.HIGH: "🟠",
    Severity.MEDIUM: "🟡",
    Severity.LOW: _COLOURLESS,
}
_DONE = frozenset({MessageType.RESOLVED})


@dataclass(frozen=True, slots=True)
class Slack:
    """Posts to the channel that the incoming webhook was made for."""

    name: str
    url: str = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `secret`, the whole URL of the incoming webhook; raises ChannelError."""
        known(options, frozenset({"secret"}), name)
        return cls(name, http_url(required(options, "secret", name), name, "the secret, a URL,"))

    def prepare(self, message: Message, now: datetime) -> Outgoing:
        body = {
            "text": escaped(telling.subject(message, 300), 600),
            "blocks": list(_blocks(message)),
        }
        return Outgoing(self.url, {"content-type": "application/json; charset=utf-8"}, encode(body))


def escaped(text: str, limit: int) -> str:
    """Text that Slack shows as it is: no mention, link or channel can be made of it.

    Cut before escaping doubles it, so that no entity is cut in half.
    """
    kept = text
    while len(done := _entities(kept)) > limit:
        kept = kept[: len(kept) - max(1, (len(done) - limit) // 5)]
    return done


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(message: Message) -> Iterable[dict[str, Any]]:
    mark = "✅" if message.type in _DONE else _MARKS.get(message.severity, _COLOURLESS)
    title = f"{mark} {telling.subject(message, HEADER_CHARACTERS - 10)}"
    yield {"type": "header", "text": {"type": "plain_text", "text": title[:HEADER_CHARACTERS]}}
    yield _section(escaped(telling.headline(message), SECTION_CHARACTERS))
    fields = [
        _markdown(f"*{what}*\n{escaped(words, FIELD_CHARACTERS - 100)}")
        for what, words in telling.facts(message)[:FIELDS]
    ]
    if fields:
        yield {"type": "section", "fields": fields}
    if seen := telling.evidence(message):
        each = (SECTION_CHARACTERS - 100) // len(seen)
        yield _section("\n".join(f"• {escaped(sentence, each - 3)}" for sentence in seen))
    found = [f"<{_address(link)}|{what}>" for what, link in telling.links(message).items()]
    if found:
        yield _section(" · ".join(found)[:SECTION_CHARACTERS])
    yield {"type": "context", "elements": [_markdown(f"id {escaped(message.id, 200)}")]}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _markdown(text)}


def _markdown(text: str) -> dict[str, Any]:
    # verbatim: addresses and names in the data do not become links or mentions.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _address(link: str) -> str:
    """A link that cannot end its own mark-up."""
    return link.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E").replace("&", "&amp;")
