"""A change put into history on purpose: what `kedge replay --inject` asks for.

`column:kind:size@time` with an optional end and domain:
`income:unit:100@2026-05-01..2026-05-08@north`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from detectors.records import to_us
from monitor.durations import parse_duration
from monitor.errors import UsageError, did_you_mean

NEEDS_SIZE = {
    "shift": "reference standard deviations, as in 0.5",
    "scale": "a factor on the distance from the mean, as in 1.5",
    "unit": "a factor on the value, as in 100",
    "odds": "a factor on the odds of the label, as in 1.65",
    "bias": "log odds added to the score, as in 0.3 (reference sd for a regression)",
}
SHARES = {
    "nulls": "share of rows that become null",
    "zero-fill": "share of rows that become 0",
    "unseen": "share of rows that get a value never seen",
    "flip": "share of labels that are turned round",
}
OTHERS = {
    "swap": "two values, as in swap:pro,team (or none: the two commonest); for a number, a column",
    "drop": "no size: the column no longer arrives",
}
KINDS = (*NEEDS_SIZE, *SHARES, *OTHERS)
FORM = "column:kind:size@time, as in income:shift:0.5@+20d"
_RELATIVE = re.compile(r"\+\d+(\.\d+)?\s*[a-z]+")
_SHARE = re.compile(r"(\d+(\.\d+)?)\s*%")
_ROW = re.compile(r"row\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant of the log: event time, time since its start, a share of it, or a row."""

    at_us: int | None = None
    after_us: int | None = None
    share: float | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Injection:
    """One change: of `column` ("label" and "score" too) by `kind`, from a moment on.

    `size` is a number, or for a swap the names; `domain` "" means every domain.
    """

    spec: str
    column: str
    kind: str
    size: float
    names: tuple[str, ...]
    since: Moment
    until: Moment | None
    domain: str


def parse_injection(text: str) -> Injection:
    """Read `column:kind:size@time[..until][@domain]`.

    Raises:
        UsageError: for anything else, with what would do.
    """
    what, at, when = text.partition("@")
    if not at:
        _refuse(text, f"write {FORM}")
    when, _, domain = when.partition("@")
    parts = what.rsplit(":", 2)
    if len(parts) == 2 or (len(parts) == 3 and parts[1] not in KINDS and parts[2] in KINDS):
        column, kind, size = what.rsplit(":", 1)[0], what.rsplit(":", 1)[1], ""
    elif len(parts) == 3:
        column, kind, size = parts
    else:
        _refuse(text, f"write {FORM}")
    if kind not in KINDS:
        _refuse(text, f"no kind '{kind}'; there are {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
    if not column:
        _refuse(text, "name a column, label or score first")
    number, names = _size(text, kind, size)
    first, dots, last = when.partition("..")
    return Injection(
        spec=text,
        column=column,
        kind=kind,
        size=number,
        names=names,
        since=_moment(text, first),
        until=_moment(text, last) if dots else None,
        domain=domain,
    )


def _size(text: str, kind: str, size: str) -> tuple[float, tuple[str, ...]]:
    if kind == "swap":
        return 1.0, tuple(name.strip() for name in size.split(",") if name.strip())
    if kind == "drop":
        if size:
            _refuse(text, "drop takes no size: write column:drop@time")
        return 1.0, ()
    if not size and kind in SHARES:
        return 1.0, ()
    try:
        number = float(size)
    except ValueError:
        number = float("nan")
    if kind in SHARES and not 0.0 < number <= 1.0:
        _refuse(text, f"the size of {kind} is a {SHARES[kind]}, above 0 and at most 1")
    if not abs(number) < float("inf"):
        _refuse(text, f"the size of {kind} is {NEEDS_SIZE[kind]}")
    if kind in {"odds", "scale", "unit"} and number <= 0.0 and kind != "unit":
        _refuse(text, f"the size of {kind} is {NEEDS_SIZE[kind]}, above 0")
    return number, ()


def _moment(text: str, when: str) -> Moment:
    when = when.strip()
    if found := _SHARE.fullmatch(when):
        return Moment(share=min(float(found[1]) / 100.0, 1.0))
    if found := _ROW.fullmatch(when):
        return Moment(row=int(found[1]))
    if _RELATIVE.fullmatch(when):
        return Moment(after_us=parse_duration(when[1:], what="time of --inject"))
    try:
        instant = datetime.fromisoformat(when)
    except ValueError:
        _refuse(
            text,
            f"the time '{when}' is none; give 2026-05-01, 2026-05-01T06:00Z, +20d after the start "
            "of the log, 50% of it, or row5000",
        )
    return Moment(at_us=to_us(instant if instant.tzinfo else instant.replace(tzinfo=UTC)))


def _refuse(text: str, words: str) -> NoReturn:
    msg = f"--inject {text}: {words}"
    raise UsageError(msg)
