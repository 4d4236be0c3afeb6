"""What the reference did not have: new slices, new columns, new categories, and when they join.

A *slice* is a value of a declared slicing column, a *category* one of any other categorical column
of the reference, a *column* one that the reference has not at all. Each is counted by the day. A
slice joins after a day that brings 50 rows and .5 % of all. A column or a category waits for such a
day that is not its first, because what began at noon is half missing from that day.

A day with over 1,000 new names of one kind and place, or 20,000 in all, is one of garbage: it
brings none of these, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np

from detectors.cells import CategoricalCells, NumericCells
from detectors.profile import (
    SCORE_COLUMN,
    Profile,
    categorical_column,
    fit_profile,
    numeric_column,
)
from detectors.records import (
    DAY_US,
    ColumnSpec,
    FloatArray,
    Kind,
    Schema,
    Settings,
    Stream,
    StreamSpec,
    Task,
    Tier,
    Window,
)
from detectors.slices import (
    SLICE_ROWS,
    SLICE_SHARE,
    SliceRef,
    slice_codes,
    slice_counts,
    slice_name,
)
from detectors.streams import feature_streams, label_streams, value_share_step
from detectors.summary import TickSummary
from detectors.sums import ALL_ROWS, seen_sums

SHARE = 0.1
"""Of what the older streams of a tier may bet, for all newcomers of that tier together."""
MOST = 20
"""Of each kind, so many are followed at once."""
SILENT_US = 28 * DAY_US
MOST_NAMES = 1_000
MOST_KEYS = 20_000


class Born(StrEnum):
    """What kind of newcomer it is."""

    SLICE = "slice"
    COLUMN = "column"
    CATEGORY = "category"


class Key(NamedTuple):
    """A newcomer: columns of a declaration and the value in each; of a column its kind."""

    born: Born
    columns: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.columns[0] if self.born is Born.COLUMN else slice_name(*self[1:])

    @property
    def tier(self) -> Tier:
        """What its alarms do: what only moves wakes nobody."""
        return Tier.PAGE if self.born is Born.SLICE else Tier.TICKET

    @property
    def place(self) -> tuple[Born, tuple[str, ...]]:
        """What it is one of many of."""
        return self.born, () if self.born is Born.COLUMN else self.columns


@dataclass(slots=True, eq=False)
class Tally:
    """Rows of the day in progress by newcomer. `before` came on the day before.

    `places` counts names by place; where there are too many their rows are no longer counted.
    `waiting` is how many of each kind there was no room for when the last day ended.
    """

    rows: int = 0
    counts: dict[Key, int] = field(default_factory=dict)
    places: dict[tuple[Born, tuple[str, ...]], int] = field(default_factory=dict)
    before: frozenset[Key] = frozenset()
    waiting: dict[Born, int] = field(default_factory=dict)

    def add(self, found: Iterable[tuple[Key, int]]) -> None:
        """Count rows of newcomers, unless the day has brought too many names."""
        for key, rows in found:
            if key in self.counts:
                self.counts[key] += rows
                continue
            names = self.places.get(key.place, 0)
            if names > MOST_NAMES or sum(self.places.values()) > MOST_KEYS:
                continue
            self.places[key.place] = names + 1
            self.counts[key] = rows
            if names + 1 > MOST_NAMES:
                crowd = key.place
                self.counts = {k: n for k, n in self.counts.items() if k.place != crowd}
            if sum(self.places.values()) > MOST_KEYS:
                self.counts = {}

    def close_day(self, followed: Iterable[Key]) -> list[Key]:
        """End the day: those that join, the largest first, at most 20 followed of each kind."""
        followed = list(followed)
        names = {(key.born, key.name) for key in followed}
        room = {born: MOST - sum(key.born is born for key in followed) for born in Born}
        needed = max(SLICE_ROWS, SLICE_SHARE * self.rows)
        self.waiting = {}
        joining: list[Key] = []
        for key in sorted(self.counts, key=lambda key: (-self.counts[key], key)):
            known = key.born is Born.SLICE or key in self.before
            if self.counts[key] < needed or not known or (key.born, key.name) in names:
                continue
            if room[key.born] > 0:
                joining.append(key)
                names.add((key.born, key.name))
                room[key.born] -= 1
            else:
                self.waiting[key.born] = self.waiting.get(key.born, 0) + 1
        self.before = frozenset(key for key in self.counts if key.born is not Born.SLICE)
        self.rows, self.counts, self.places = 0, {}, {}
        return joining

    def to_dict(self) -> dict[str, Any]:
        """As MessagePack can hold it; equal tallies give equal bytes."""
        return {
            "rows": self.rows,
            "counts": [[*_listed(key), self.counts[key]] for key in sorted(self.counts)],
            "places": [[b, list(c), self.places[b, c]] for b, c in sorted(self.places)],
            "before": [_listed(key) for key in sorted(self.before)],
            "waiting": dict(sorted(self.waiting.items())),
        }

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        return cls(
            rows=stored["rows"],
            counts={key_of(*key): rows for *key, rows in stored["counts"]},
            places={(Born(b), tuple(c)): n for b, c, n in stored["places"]},
            before=frozenset(key_of(*key) for key in stored["before"]),
            waiting={Born(born): n for born, n in stored["waiting"].items()},
        )


def key_of(born: str, columns: Iterable[str], values: Iterable[str]) -> Key:
    """A key from its parts as they are stored."""
    return Key(Born(born), tuple(columns), tuple(values))


def _listed(key: Key) -> list[Any]:
    return [key.born.value, list(key.columns), list(key.values)]


def new_in(
    window: Window, profile: Profile, *, besides: frozenset[str] = frozenset()
) -> Iterator[tuple[Key, int]]:
    """Everything in a window that a reference did not have, with its rows.

    `besides` names columns that are no features, though rows have them.
    """
    schema = profile.schema
    if schema.has_score:
        followed = {(ref.columns, ref.values) for ref in profile.slices}
        for columns in dict.fromkeys(schema.slices):
            for values, rows in slice_counts(window, columns, most=MOST_NAMES).items():
                if (columns, values) not in followed:
                    yield Key(Born.SLICE, columns, values), rows
    sliced = {columns[0] for columns in schema.slices if len(columns) == 1}
    for name in schema.categorical:
        cells, words = profile.columns[name], window.categorical.get(name)
        if words is None or name in sliced or not isinstance(cells, CategoricalCells):
            continue
        if cells.values:
            for value, rows in cells.unseen(words).items():
                yield Key(Born.CATEGORY, (name,), (value,)), rows
    known = {column.name for column in schema.recorded.columns} | besides
    for name, numbers in window.numeric.items():
        if name not in known and (rows := int(np.isfinite(numbers).sum())):
            yield Key(Born.COLUMN, (name,), (Kind.NUMERIC.value,)), rows
    for name, words in window.categorical.items():
        if name not in known and (rows := int((words.codes >= 0).sum())):
            yield Key(Born.COLUMN, (name,), (Kind.CATEGORICAL.value,)), rows


def newcomer_profile(key: Key, profile: Profile, day: Window) -> Profile:
    """A newcomer's own reference: what the rows of the day that brought it in are like."""
    match key.born:
        case Born.SLICE:
            return _slice_profile(key, profile, day)
        case Born.COLUMN:
            return _column_profile(day, key.columns[0], Kind(key.values[0]))
        case Born.CATEGORY:
            fitted = _column_profile(day, key.columns[0], Kind.CATEGORICAL)
            only = CategoricalCells(key.values, np.empty(0, np.uint64), open=True, unseen_rate=1.0)
            words = categorical_column(day, key.columns[0])
            assert words is not None
            counts = only.count(words, day.weight)
            (name,) = key.columns
            return replace(fitted, columns={name: only}, counts={name: counts})


def newcomer_streams(
    key: Key, profile: Profile, settings: Settings, *, labelled: bool
) -> dict[str, tuple[StreamSpec, ...]]:
    """The streams of a newcomer by clock; their weights are of its own tier, as if it were alone.

    A slice is followed as other slices are and a column as other columns; a category by its share.
    """
    if key.born is Born.COLUMN:
        return {"feature": feature_streams(profile, settings)}
    if key.born is Born.CATEGORY:
        (column,) = key.columns
        stream = Stream("column", "value_share", Tier.TICKET, column, slice=key.name)
        return {"feature": (StreamSpec(stream, 1.0, value_share_step(profile, column)),)}
    clocks = {
        "feature": feature_streams(profile, settings),
        "label": label_streams(profile, settings) if labelled else (),
    }
    own = {
        name: tuple(spec for spec in specs if spec.stream.slice) for name, specs in clocks.items()
    }
    return {name: specs for name, specs in own.items() if specs}


def column_summary(window: Window, profile: Profile, *, start_us: int, end_us: int) -> TickSummary:
    """The cells of the one column of a newcomer's profile; null where the rows have it not."""
    if not window.rows:
        return TickSummary(profile.fingerprint, start_us, end_us)
    ((name, cells),) = profile.columns.items()
    numbers, words = numeric_column(window, name), categorical_column(window, name)
    if isinstance(cells, NumericCells):
        held = np.full(window.rows, np.nan) if numbers is None else numbers
        counts = cells.count(held, window.weight)
    elif words is not None:
        counts = cells.count(words, window.weight)
    else:
        weight = window.weights()
        counts = np.zeros((2, cells.size))
        counts[:, 0] = weight.sum(), (weight * weight).sum()
    return TickSummary(profile.fingerprint, start_us, end_us, columns={name: counts})


def has_rows(key: Key, summary: TickSummary) -> bool:
    """Whether a newcomer was seen in a tick that was summarised with its profile."""
    if key.born is Born.SLICE:
        return summary.slices.get(key.name) is not None
    counts = summary.columns.get(key.columns[0])
    if counts is None:
        return False
    return bool(counts[0, -1 if key.born is Born.CATEGORY else 1 :].sum() > 0.0)


def _column_profile(day: Window, name: str, kind: Kind) -> Profile:
    """A profile of one column of a window and of nothing else."""
    schema = Schema(
        task=Task.BINARY,
        columns=(ColumnSpec(name, kind),),
        has_score=False,
        has_baseline=False,
        has_label=False,
    )
    kept = {name}
    thin = Window(
        rows=day.rows,
        weight=day.weight,
        numeric={n: column for n, column in day.numeric.items() if n in kept},
        categorical={n: column for n, column in day.categorical.items() if n in kept},
    )
    fitted = fit_profile(thin, schema)
    cells = fitted.columns[name]
    if isinstance(cells, CategoricalCells) and len(cells.rest):
        # It goes into every checkpoint: what has no cell of its own is not remembered one by one.
        counts = fitted.counts[name]
        cells = replace(cells, rest=np.empty(0, np.uint64), open=True)
        fitted = replace(fitted, columns={name: cells}, counts={name: counts})
    return fitted


def _slice_profile(key: Key, profile: Profile, day: Window) -> Profile:
    """The domain's profile with this one slice, and of its columns only the score."""
    ref = SliceRef(key.name, key.columns, key.values, 0)
    codes = slice_codes(day, (ref,))
    sums: FloatArray = seen_sums(day, profile.ruler, codes, 1)[1]
    ref = replace(ref, rows=int((codes[0] >= 0).sum()))
    kept = [name for name in profile.columns if name.startswith(SCORE_COLUMN[0])]
    return replace(
        profile,
        schema=replace(profile.schema, columns=(), slices=(ref.columns,)),
        columns={name: profile.columns[name] for name in kept},
        counts={name: profile.counts[name] for name in kept},
        slices=(ref,),
        slice_sums={ALL_ROWS: profile.slice_sums[ALL_ROWS], ref.name: sums},
        too_small=(),
        too_small_count=0,
    )
