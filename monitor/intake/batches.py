"""What came in, once it is columns: batches of events or labels, and the rows that were refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.records import BoolArray, FloatArray, IntArray, Window
from monitor.ids import HashArray

SHOWN_REJECTIONS = 100
SHOWN_WARNINGS = 20
SHOWN_CHARACTERS = 80
TALLIED_FIELDS = 2_000


@dataclass(frozen=True, slots=True)
class Rejection:
    """One row that was not kept: which, what was wrong with it, and what to send instead.

    `index` counts from 0 in the body as it was sent. `value` is the offending value as text,
    cut at 80 characters, empty where the field was missing.
    """

    index: int
    id: str
    field: str
    value: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows were refused for one reason, and one value to look at."""

    count: int
    example: str


@dataclass(slots=True)
class Rejections:
    """Collects refused rows: all are counted, the first hundred are kept in full."""

    total: int = 0
    shown: list[Rejection] = field(default_factory=list)
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def add(self, rejection: Rejection, rows: int = 1) -> None:
        """Count `rows` rows refused like this one, and keep it if there is room."""
        self.total += rows
        if len(self.shown) < SHOWN_REJECTIONS:
            self.shown.append(rejection)
        key = (rejection.field, rejection.reason)
        if key in self.tallies or len(self.tallies) < TALLIED_FIELDS:
            known = self.tallies.get(key, Tally(0, rejection.value))
            self.tallies[key] = replace(known, count=known.count + rows)

    def add_rows(self, rows: IntArray, describe: Callable[[int], Rejection]) -> None:
        """Count `rows` (row numbers), all refused for one reason; describe as many as are shown."""
        if not len(rows):
            return
        room = max(1, min(len(rows), SHOWN_REJECTIONS - len(self.shown)))
        for row in rows[: room - 1]:
            self.add(describe(int(row)))
        self.add(describe(int(rows[room - 1])), rows=len(rows) - room + 1)


def refusal(index: int, id: str, field: str, value: object, reason: str, remedy: str) -> Rejection:  # noqa: A002 - the name it has on the wire
    """A `Rejection` whose texts are cut and safe to print on one line."""
    return Rejection(index, cut(id), cut(field), cut(value), _line(reason), _line(remedy))


def cut(value: object) -> str:
    """A value as text of at most 80 characters, without line breaks or control characters."""
    text = "" if value is None else str(value)
    shown = text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else "")
    return _line(shown)


def _line(text: str) -> str:
    """The text with what is not printable written out; a remedy may quote a name that was sent."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def first_warnings(warnings: Iterable[str]) -> tuple[str, ...]:
    """The first twenty, and a line that says how many more there were."""
    listed = list(warnings)
    more = len(listed) - SHOWN_WARNINGS
    return (*listed[:SHOWN_WARNINGS], *([f"and {more} more warnings"] if more > 0 else []))


@dataclass(frozen=True, slots=True)
class Refused:
    """The rows of one body that were not kept, and what the sender should know besides."""

    total: int = 0
    shown: tuple[Rejection, ...] = ()
    tallies: Mapping[tuple[str, str], Tally] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_rejections(cls, rejections: Rejections, warnings: Iterable[str] = ()) -> Refused:
        return cls(
            rejections.total,
            tuple(sorted(rejections.shown, key=lambda shown: shown.index)),
            dict(rejections.tallies),
            first_warnings(warnings),
        )


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Events that passed every check, as columns, with the hashes of their ids (n,)."""

    model: str
    window: Window
    id_hi: HashArray
    id_lo: HashArray
    refused: Refused = field(default_factory=Refused)

    @property
    def rows(self) -> int:
        return self.window.rows

    def take(self, rows: IntArray | BoolArray) -> EventBatch:
        """The same batch with fewer rows; what was refused stays as it was."""
        return replace(
            self, window=self.window.take(rows), id_hi=self.id_hi[rows], id_lo=self.id_lo[rows]
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabelBatch:
    """Labels that passed every check: hashes of event ids, values and when they were known."""

    model: str
    id_hi: HashArray
    id_lo: HashArray
    label: FloatArray
    label_ts_us: IntArray
    refused: Refused = field(default_factory=Refused)

    @property
    def rows(self) -> int:
        return len(self.label)

    def take(self, rows: IntArray | BoolArray) -> LabelBatch:
        """The same batch with fewer rows; what was refused stays as it was."""
        return replace(
            self,
            id_hi=self.id_hi[rows],
            id_lo=self.id_lo[rows],
            label=self.label[rows],
            label_ts_us=self.label_ts_us[rows],
        )


def no_hashes() -> HashArray:
    """The hashes of no rows."""
    return np.empty(0, np.uint64)
