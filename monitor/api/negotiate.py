"""Which of several forms a caller would rather have, by its Accept header."""

from __future__ import annotations

from collections.abc import Sequence

HTML, MARKDOWN, JSON = "text/html", "text/markdown", "application/json"


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The offered media type with the highest quality; the first offered on a tie or a bad header.

    After RFC 9110 section 12.5.1, without media type parameters: the most specific range counts.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return offered[0]

    def quality(media: str) -> float:
        fitting = [
            (len(name.replace("*", "")), q)
            for name, q in ranges
            if name in {media, "*/*", f"{media.partition('/')[0]}/*"}
        ]
        return max(fitting)[1] if fitting else 0.0

    best = max(offered, key=quality)
    return best if quality(best) > 0 else offered[0]


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return name, 0.0
    return name, 1.0
