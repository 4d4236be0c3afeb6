"""Names and sentences from outside, made safe to show.

Domains, columns and categories are written by whoever sends events. Control characters forge log
lines and headers, bidirectional overrides reverse what a reader sees, lone surrogates cannot be
encoded. Escaping for a format (HTML, Slack) is the business of the channel that writes it.
"""

from __future__ import annotations

import unicodedata

NAME_CHARACTERS = 120
SENTENCE_CHARACTERS = 400

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACE = frozenset({"Zs", "Zl", "Zp"})


def plain(text: str, limit: int = SENTENCE_CHARACTERS) -> str:
    """One line of at most `limit` characters without control, format or unassigned ones.

    White space becomes a single space, an unsafe character U+FFFD, and a cut ends in "…".
    """
    # 4 x limit bounds the work on a hostile megabyte; collapsing spaces never needs more to fill.
    head = text[: 4 * limit]
    words = "".join(_replacement(character) for character in head).split()
    line = " ".join(words)
    if len(line) <= limit and len(head) == len(text):
        return line
    return line[: limit - 1].rstrip() + "…"


def name(text: str) -> str:
    """A model, domain, column or stream name, short enough for a headline."""
    return plain(text, NAME_CHARACTERS)


def _replacement(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in _SPACE:
        return " "
    return "�" if category in _UNSAFE else character
