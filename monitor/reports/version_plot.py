"""One number of each version of a model as a curve with its intervals, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from monitor.reports.numbers import clean, number
from monitor.reports.plots import Frame, line, svg, text

WIDTH, HEIGHT = 440, 170
MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class VersionPoint:
    """A version's value with its interval; None where there is none."""

    version: str
    value: float
    low: float | None = None
    high: float | None = None


def version_curve(
    points: Sequence[VersionPoint], *, title: str, limit: float | None, said: str, uid: str
) -> str:
    """Versions from left to right, a dashed line at the limit; "" without points."""
    if not points:
        return ""
    ends = [end for p in points for end in (p.value, p.low, p.high) if end is not None]
    ends += [] if limit is None else [limit]
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 0.5
    low, high = low - room, high + room
    frame = Frame(WIDTH, HEIGHT, 52, 10, 8, 26)

    def y(value: float) -> float:
        return frame.y((value - low) / (high - low))

    step = 1 / max(len(points), 1)
    parts = [line(frame.left, frame.floor, frame.right_edge, frame.floor, "axis")]
    ends = [low + room, high - room]
    parts += [text(frame.left - 6, y(value) + 4, number(value), "end") for value in ends]
    if limit is not None:
        parts.append(line(frame.left, y(limit), frame.right_edge, y(limit), "diagonal"))
    every = max(1, -(-len(points) // MOST_NAMES))
    for at, point in enumerate(points):
        x = frame.x((at + 0.5) * step)
        bounds = "" if point.low is None else f" [{number(point.low)}, {number(point.high)}]"
        parts.append(
            f"<g><title>{escape(clean(point.version, 40))}: {number(point.value)}{bounds}</title>"
            f'<circle class="dot" cx="{x:.1f}" cy="{y(point.value):.1f}" r="4"/></g>'
        )
        if point.low is not None and point.high is not None:
            parts.append(line(x, y(point.low), x, y(point.high), "whisker"))
        if at % every == 0:
            parts.append(text(x, frame.floor + 16, clean(point.version, 12), "middle"))
    return svg(WIDTH, HEIGHT, title, said, "".join(parts), uid)
