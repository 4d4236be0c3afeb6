"""What a stored message says, in words, for channels that people read.

A body is JSON that went through the database: whatever is missing in it is left out, so that no
message can fail to be worded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alerts.plain import name, plain
from alerts.records import Message, MessageType

KINDS: Mapping[MessageType, str] = {
    MessageType.OPENED: "opened",
    MessageType.UPDATED: "update",
    MessageType.ACKNOWLEDGED: "taken",
    MessageType.RESOLVED: "resolved",
    MessageType.RETRAINING_REQUESTED: "retraining requested",
    MessageType.RETRAINING_APPROVED: "retraining approved",
    MessageType.RETRAINING_VERIFIED: "retraining worked",
    MessageType.RETRAINING_REFUTED: "retraining did not work",
    MessageType.RETRAINING_UNDECIDED: "nobody can say whether retraining worked",
    MessageType.MAPPING_REVIEW_REQUESTED: "mapping review requested",
    MessageType.SOURCE_QUIET: "source went quiet",
    MessageType.LABELS_MISSING: "no labels arriving",
    MessageType.TOO_LITTLE_DATA: "too little data",
    MessageType.TEST: "test",
}
"""What happened, in a word or two; a type that is not here is shown as it is called."""

INCIDENT_TYPES = frozenset(
    {
        MessageType.OPENED,
        MessageType.UPDATED,
        MessageType.ACKNOWLEDGED,
        MessageType.RESOLVED,
        MessageType.SOURCE_QUIET,
        MessageType.LABELS_MISSING,
        MessageType.TOO_LITTLE_DATA,
    }
)
"""Messages that say where an incident stands; the newest of them is all that matters."""

LINKS = ("incident", "report", "runbook", "request")


def data_of(message: Message) -> Mapping[str, Any]:
    """The `data` of a body; empty where there is none."""
    return _mapping(message.body.get("data"))


def headline(message: Message, limit: int = 300) -> str:
    """The sentence a message leads with."""
    words = data_of(message).get("headline")
    where = f"{name(message.deployment.model)}/{name(message.deployment.domain)}"
    return plain(str(words), limit) if words else f"{where}: {kind(message)}"


def kind(message: Message) -> str:
    """What happened, in a word or two."""
    return KINDS.get(message.type, message.type.value.replace(".", " ").replace("_", " "))


def subject(message: Message, limit: int = 150) -> str:
    """One line for lists and locked screens: how urgent, what happened, the headline."""
    return plain(f"[{message.tier.value.upper()}] {kind(message)} · {headline(message)}", limit)


def facts(message: Message) -> tuple[tuple[str, str], ...]:
    """What to know at a glance, as (what, words), the most useful first; at most six."""
    data = data_of(message)
    diagnosis, action = _mapping(data.get("diagnosis")), _mapping(data.get("action"))
    cause = _text(diagnosis, "mode")
    confidence = diagnosis.get("confidence")
    if cause and isinstance(confidence, int | float):
        cause = f"{cause} (confidence {confidence:.0%})"
    if cause and (second := _text(diagnosis, "runner_up")):
        cause = f"{cause}; else {second}"
    todo = _text(action, "kind")
    if todo:
        todo = ", ".join(
            part for part in (todo, _text(action, "scope"), _text(action, "cadence")) if part
        )
    given = (
        ("where", f"{name(message.deployment.model)}/{name(message.deployment.domain)}"),
        ("severity", f"{message.severity.value} ({message.tier.value})"),
        ("likely cause", cause),
        ("since", _text(data, "onset").replace("T", " ")[:16]),
        ("to do", todo),
        ("it worked if", _text(action, "falsified_by")),
    )
    return tuple((what, words) for what, words in given if words)


def evidence(message: Message, most: int = 5) -> tuple[str, ...]:
    """What was seen, a sentence each."""
    found = data_of(message).get("evidence")
    return tuple(plain(str(line)) for line in found[:most]) if isinstance(found, list) else ()


def links(message: Message) -> dict[str, str]:
    """Where to read on; only addresses that can be opened from elsewhere."""
    found = _mapping(data_of(message).get("links"))
    return {
        what: str(found[what])
        for what in LINKS
        if str(found.get(what, "")).startswith(("https://", "http://"))
    }


def text(message: Message) -> str:
    """The whole message as plain text, a line a thing."""
    lines = [headline(message), ""]
    lines += [f"{what}: {words}" for what, words in facts(message)]
    if seen := evidence(message):
        lines += ["", *(f"- {sentence}" for sentence in seen)]
    if found := links(message):
        lines += ["", *(f"{what}: {link}" for what, link in found.items())]
    return "\n".join([*lines, "", f"id {message.id}"])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return plain(value) if isinstance(value, str) else ""
