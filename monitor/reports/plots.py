"""Small plots as SVG text: pure functions of plain numbers, for the HTML report.

They carry classes only; colours, and their dark variants, are in the page's own style. A shape
never depends on colour alone: the reference is a wide pale bar or a dashed line, the current
window a narrow dark bar or a solid line with points. Every plot has a title and a description
that say in words what it shows. Text from data is escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from monitor.reports.numbers import clean, count, instant, number, share

Point = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """The drawing area: outer size and margins, in user units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def right_edge(self) -> float:
        return self.width - self.right

    @property
    def floor(self) -> float:
        return self.height - self.bottom

    def x(self, at: float) -> float:
        """0..1 across the area."""
        return self.left + at * (self.right_edge - self.left)

    def y(self, at: float) -> float:
        """0..1 up the area."""
        return self.floor - at * (self.floor - self.top)


def histogram(column: Mapping[str, Any], *, uid: str) -> str:
    """Shares of rows in each bin, reference behind current. Empty where there are no bins.

    `column` is a column of the report. Numbers get upright bars, categories lying ones with names.
    """
    bins = column["bins"]
    labels, before, after = bins["labels"], bins["reference"], bins["current"]
    if not labels or len(labels) != len(before) or len(labels) != len(after):
        return ""
    upright = column["kind"] == "numeric"
    body = _upright(labels, before, after) if upright else _lying(labels, before, after)
    most = max(range(len(labels)), key=lambda at: abs(after[at] - before[at]))
    said = (
        f"Share of rows by {'bin' if upright else 'value'}. The largest change is at "
        f"{clean(labels[most], 40)}: {share(before[most])} in the reference, "
        f"{share(after[most])} now."
    )
    width, height = (360, 150) if upright else (360, 22 + 18 * min(len(labels), MOST_VALUES))
    return svg(
        width, height, f"{clean(column['name'], 60)}: reference and current", said, body, uid
    )


MOST_VALUES = 8


def _upright(labels: Sequence[str], before: Sequence[float], after: Sequence[float]) -> str:
    frame = Frame(360, 150, 44, 6, 8, 24)
    top = max(*before, *after, 1e-12)
    step = (frame.right_edge - frame.left) / len(labels)
    parts = [_axis_share(frame, top)]
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        left = frame.left + at * step
        words = escape(f"{clean(labels[at], 40)}: {share(old)} → {share(new)}")
        parts.append(
            f"<g><title>{words}</title>"
            f"{_bar(left + 0.06 * step, 0.88 * step, old / top, frame, 'reference')}"
            f"{_bar(left + 0.30 * step, 0.40 * step, new / top, frame, 'current')}</g>"
        )
    parts.append(line(frame.left, frame.floor, frame.right_edge, frame.floor, "axis"))
    for at, anchor in _ticks(len(labels)):
        middle = frame.left + (at + 0.5) * step
        words = _bin_start(labels[at]) if anchor != "end" else _bin_end(labels[at])
        spot = {"start": frame.left, "end": frame.right_edge}.get(anchor, middle)
        parts.append(text(spot, frame.height - 8, words, anchor))
    return "".join(parts)


def _ticks(bars: int) -> list[tuple[int, str]]:
    return (
        [(0, "start"), (bars // 2, "middle"), (bars - 1, "end")]
        if bars > 2
        else [(at, "middle") for at in range(bars)]
    )


def _bin_start(label: str) -> str:
    return _edge(label.split(" to ")[0])


def _bin_end(label: str) -> str:
    return _edge(label.split(" to ")[-1])


def _edge(text: str) -> str:
    """The edge of a bin as people write it."""
    try:
        value = float(text)
    except ValueError:
        return clean(text, 12)
    return clean(text, 12) if 1e-4 <= abs(value) < 1e6 or value == 0.0 else number(value)


def _lying(labels: Sequence[str], before: Sequence[float], after: Sequence[float]) -> str:
    order = sorted(range(len(labels)), key=lambda at: -max(before[at], after[at]))[:MOST_VALUES]
    frame = Frame(360, 22 + 18 * len(order), 112, 44, 4, 18)
    top = max(max(before), max(after), 1e-12)
    parts = []
    for row, at in enumerate(order):
        y = frame.top + 18 * row
        old, new = before[at], after[at]
        words = escape(f"{clean(labels[at], 60)}: {share(old)} → {share(new)}")
        width = frame.right_edge - frame.left
        parts.append(
            f"<g><title>{words}</title>"
            f"{text(frame.left - 6, y + 12, _cut(labels[at]), 'end')}"
            f'<rect class="reference" x="{frame.left:.1f}" y="{y + 1:.1f}" '
            f'width="{width * old / top:.1f}" height="14"/>'
            f'<rect class="current" x="{frame.left:.1f}" y="{y + 5:.1f}" '
            f'width="{width * new / top:.1f}" height="6"/>'
            f"{text(frame.width - 2, y + 12, share(new), 'end')}</g>"
        )
    bottom = frame.top + 18 * len(order)
    parts.append(line(frame.left, frame.top, frame.left, bottom, "axis"))
    hidden = len(labels) - len(order)
    if hidden:
        parts.append(text(frame.left, bottom + 12, f"and {count(hidden, 'value')} more", "start"))
    return "".join(parts)


def _cut(label: str) -> str:
    """A category short enough for its place beside a bar."""
    shown = clean(label, 200)
    return shown if len(shown) <= 15 else f"{shown[:14]}…"


def _axis_share(frame: Frame, top: float) -> str:
    return text(frame.left - 5, frame.top + 8, share(top), "end") + text(
        frame.left - 5, frame.floor, "0", "end"
    )


def calibration_curve(points: Sequence[Point], *, uid: str, values: bool = False) -> str:
    """Observed share by mean score with 95 % intervals, the diagonal and the reference's curve.

    With `values` the axes are in units of the label (regression) instead of 0..1.
    """
    if not points:
        return ""
    frame = Frame(420, 340, 52, 12, 12, 46)
    known = [
        value
        for point in points
        for name in ("score", "observed", "lower", "upper", "reference")
        if (value := point[name]) is not None
    ]
    low, high = _limits(known, values=values)

    def at(value: float) -> float:
        return min(max((value - low) / (high - low), 0.0), 1.0)

    parts = [_grid(frame, low, high, values=values)]
    parts.append(line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "diagonal"))
    expected = [p for p in points if p["reference"] is not None and p["score"] is not None]
    if len(expected) > 1:
        spots = [(frame.x(at(p["score"])), frame.y(at(p["reference"]))) for p in expected]
        parts.append(_polyline(spots, "reference-line"))
    seen = [p for p in points if p["observed"] is not None and p["score"] is not None]
    parts.append(
        _polyline(
            [(frame.x(at(p["score"])), frame.y(at(p["observed"]))) for p in seen], "current-line"
        )
    )
    for point in seen:
        x, y = frame.x(at(point["score"])), frame.y(at(point["observed"]))
        words = (
            f"mean {'prediction' if values else 'score'} {number(point['score'])}: observed "
            f"{number(point['observed'])} [{number(point['lower'])}, {number(point['upper'])}], "
            f"{count(point['rows'], 'row')}"
        )
        whisker = ""
        if point["lower"] is not None and point["upper"] is not None:
            whisker = line(
                x, frame.y(at(point["lower"])), x, frame.y(at(point["upper"])), "whisker"
            )
        parts.append(
            f"<g><title>{escape(words)}</title>{whisker}"
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/></g>'
        )
    x_title = "predicted value" if values else "score"
    y_title = "observed value" if values else "observed share"
    parts.append(text(frame.x(0.5), frame.height - 8, x_title, "middle"))
    parts.append(
        f'<text class="label" text-anchor="middle" transform="translate(12 {frame.y(0.5):.0f}) '
        f'rotate(-90)">{y_title}</text>'
    )
    outside = sum(
        p["reference"] is not None
        and p["lower"] is not None
        and p["upper"] is not None
        and not p["lower"] <= p["reference"] <= p["upper"]
        for p in seen
    )
    said = (
        f"{count(len(seen), 'bin')} of scores; in {outside} of them the 95 % interval of what was "
        "observed leaves out what such a score meant before."
    )
    return svg(frame.width, frame.height, "Calibration curve", said, "".join(parts), uid)


def _limits(known: Sequence[float], *, values: bool) -> tuple[float, float]:
    if not values and known and max(known) > 0.3:
        return 0.0, 1.0
    low, high = min(known, default=0.0), max(known, default=1.0)
    if not values:
        return 0.0, max(high * 1.05, 1e-6)
    pad = 0.03 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - pad, high + pad


def _grid(frame: Frame, low: float, high: float, *, values: bool) -> str:
    parts = []
    for step in range(5):
        at = step / 4
        value = low + at * (high - low)
        words = number(value) if values or high < 1.0 else f"{value:g}"
        parts.append(line(frame.x(0), frame.y(at), frame.x(1), frame.y(at), "grid"))
        parts.append(text(frame.x(0) - 6, frame.y(at) + 4, words, "end"))
        anchor = {0: "start", 4: "end"}.get(step, "middle")
        parts.append(text(frame.x(at), frame.floor + 16, words, anchor))
    return "".join(parts)


def difference_over_time(points: Sequence[Point], *, margin: float | None, uid: str) -> str:
    """Transfer's loss difference after every tick with its anytime-valid band and ±margin.

    Below zero the transferred model is better. Parts of the band that are not bounded are left out.
    """
    told = [point for point in points if point["difference"] is not None]
    if len(told) < 2:
        return ""
    frame = Frame(720, 240, 62, 12, 12, 34)
    settled = [
        abs(point[name])
        for point in told[len(told) // 10 :]
        for name in ("lower", "upper", "difference")
        if point[name] is not None
    ]
    height = max(_quantile(settled, 0.95) * 1.1, 2.5 * (margin or 0.0), 1e-9)

    def x(at: int) -> float:
        return frame.x(at / (len(told) - 1))

    def y(value: float) -> float:
        return frame.y(0.5 + 0.5 * min(max(value / height, -1.0), 1.0))

    parts = []
    if margin:
        top, bottom = y(margin), y(-margin)
        parts.append(
            f'<rect class="margin" x="{frame.left:.1f}" y="{top:.1f}" '
            f'width="{frame.right_edge - frame.left:.1f}" height="{bottom - top:.1f}"/>'
        )
        parts.append(text(frame.right_edge - 4, top - 4, "+ margin", "end"))
    for value in (-height, 0.0, height):
        parts.append(line(frame.left, y(value), frame.right_edge, y(value), "grid"))
        parts.append(text(frame.left - 6, y(value) + 4, number(value, sign=True), "end"))
    bounded = [
        (at, p) for at, p in enumerate(told) if p["lower"] is not None and p["upper"] is not None
    ]
    if len(bounded) > 1:
        upper = [(x(at), y(p["upper"])) for at, p in bounded]
        lower = [(x(at), y(p["lower"])) for at, p in reversed(bounded)]
        spots = " ".join(f"{left:.1f},{high:.1f}" for left, high in upper + lower)
        parts.append(f'<polygon class="band" points="{spots}"/>')
    parts.append(
        _polyline([(x(at), y(p["difference"])) for at, p in enumerate(told)], "current-line")
    )
    parts.append(text(frame.left, frame.height - 8, instant(told[0]["ts"])[:10], "start"))
    parts.append(text(frame.right_edge, frame.height - 8, instant(told[-1]["ts"])[:10], "end"))
    parts.append(text(frame.left + 6, frame.top + 12, "from scratch better ↑", "start"))
    parts.append(text(frame.left + 6, frame.floor - 6, "transfer better ↓", "start"))
    last = told[-1]
    said = (
        f"At the end the difference is {number(last['difference'], sign=True)}, interval "
        f"{number(last['lower'], sign=True)} to {number(last['upper'], sign=True)}."
    )
    return svg(
        frame.width, frame.height, "Transfer difference over time", said, "".join(parts), uid
    )


def incident_timeline(
    incidents: Sequence[Mapping[str, Any]], *, since: str | None, until: str | None, uid: str
) -> str:
    """One bar an incident from its onset to its close, an arrow where it is open."""
    from datetime import datetime

    if not incidents:
        return ""

    def moment(text: str) -> float:
        return datetime.fromisoformat(text).timestamp()

    starts = [moment(one["onset"]) for one in incidents]
    ends = [moment(one["closed_at"] or one["updated_at"]) for one in incidents]
    low = min([*starts, *([moment(since)] if since else [])])
    high = max([*ends, *([moment(until)] if until else []), low + 1.0])
    frame = Frame(720, 30 + 22 * len(incidents), 8, 24, 6, 24)
    parts = []
    for row, one in enumerate(incidents):
        is_open = one["closed_at"] is None
        left = frame.x((starts[row] - low) / (high - low))
        end = high if is_open else ends[row]
        right = max(frame.x((end - low) / (high - low)), left + 4)
        y = frame.top + 22 * row
        kind = "page" if one["tier"] == "page" else "ticket"
        words = escape(
            f"{one['tier']}: {clean(one['mode'])}, {instant(one['onset'])} to "
            f"{'now' if is_open else instant(one['closed_at'])}"
        )
        parts.append(
            f'<g><title>{words}</title><rect class="incident {kind}" x="{left:.1f}" y="{y:.1f}" '
            f'width="{right - left:.1f}" height="14" rx="2"/>'
            + (text(right + 4, y + 12, "→", "start") if is_open else "")
            + _incident_name(frame, left, right, y + 11, f"{one['tier']}: {clean(one['mode'], 40)}")
            + "</g>"
        )
    parts.append(line(frame.left, frame.floor, frame.right_edge, frame.floor, "axis"))
    first, last = (_day(value) for value in (low, high))
    parts.append(text(frame.left, frame.height - 8, first, "start"))
    parts.append(text(frame.right_edge, frame.height - 8, last, "end"))
    still = sum(one["closed_at"] is None for one in incidents)
    said = f"{count(len(incidents), 'incident')}, {still} still open."
    return svg(frame.width, frame.height, "Incidents over time", said, "".join(parts), uid)


def _incident_name(frame: Frame, left: float, right: float, y: float, words: str) -> str:
    """Beside the bar, on the side that has room."""
    if right < frame.x(0.6):
        return text(right + 18, y, words, "start")
    if left > frame.x(0.4):
        return text(left - 6, y, words, "end")
    return text(left + 6, y, words, "start", "label inside")


def _day(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def interval_bar(
    estimate: float | None,
    bounds: Sequence[float | None],
    *,
    margin: float,
    uid: str,
    what: str,
) -> str:
    """One estimate with its interval on a line, zero in the middle, ±margin shaded."""
    if estimate is None:
        return ""
    frame = Frame(360, 54, 8, 8, 6, 20)
    ends = [abs(value) for value in (*bounds, estimate) if value is not None]
    reach = max([*ends, 2.0 * margin, 1e-12]) * 1.15

    def x(value: float) -> float:
        return frame.x(0.5 + 0.5 * min(max(value / reach, -1.0), 1.0))

    low, high = bounds
    left = frame.x(0) if low is None else x(low)
    right = frame.x(1) if high is None else x(high)
    middle = 0.5 * (frame.top + frame.floor)
    body = [
        rect("margin", x(-margin), frame.top, x(margin) - x(-margin), frame.floor - frame.top),
        line(x(0), frame.top, x(0), frame.floor, "axis"),
        line(left, middle, right, middle, "whisker wide"),
        f'<circle class="dot" cx="{x(estimate):.1f}" cy="{middle:.1f}" r="5"/>',
        text(frame.x(0), frame.height - 5, "← transfer better", "start"),
        text(x(0), frame.height - 5, "0", "middle"),
        text(frame.x(1), frame.height - 5, "from scratch better →", "end"),
    ]
    said = f"{what} {number(estimate, sign=True)}; shaded: too small to matter (±{number(margin)})."
    return svg(frame.width, frame.height, what, said, "".join(body), uid)


def _quantile(values: Sequence[float], share_below: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share_below * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def _bar(x: float, width: float, height: float, frame: Frame, kind: str) -> str:
    y = frame.y(height)
    return rect(kind, x, y, width, frame.floor - y)


def rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" {size}/>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _polyline(spots: Sequence[tuple[float, float]], kind: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return f'<polyline class="{kind}" points="{points}"/>'


def text(x: float, y: float, words: str, anchor: str, kind: str = "label") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def svg(width: float, height: float, title: str, said: str, body: str, uid: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{uid}-t {uid}-d"><title id="{uid}-t">{escape(title)}</title>'
        f'<desc id="{uid}-d">{escape(said)}</desc>{body}</svg>'
    )
