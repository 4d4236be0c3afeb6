"""Checks that look at values, not at encodings: the same for JSON, NDJSON, Arrow and files.

A decoder hands over a `Draft`: every row that has the right types, as columns. What comes back
is a batch of the rows that passed; each other row was refused once, for the first thing wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.records import (
    BoolArray,
    Categories,
    FloatArray,
    IntArray,
    Task,
    Window,
    to_datetime,
)
from monitor.api.limits import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS, MAX_TEXT_CHARACTERS
from monitor.errors import shortened
from monitor.ids import hash_texts
from monitor.intake.batches import EventBatch, LabelBatch, Refused, Rejection, Rejections, refusal

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NUL = re.compile("\0")
DEFAULT_DOMAIN = "default"
TS_REMEDY = "write RFC 3339 with a zone, as in 2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Draft:
    """Rows of the right types. All are (n,); `row_numbers` are positions in the body as sent.

    `ts_good` is False where `ts_text(row)` was no instant with a zone; `window.ts_us` is 0 there.
    """

    window: Window
    ids: Sequence[str]
    row_numbers: IntArray
    ts_good: BoolArray
    ts_text: Callable[[int], object]


@dataclass(slots=True)
class _Screen:
    """Which rows are still good, and the refusals of the others."""

    ids: Sequence[str]
    row_numbers: IntArray
    good: BoolArray
    rejections: Rejections

    def refuse(
        self,
        bad: BoolArray,
        field: str,
        value: Callable[[int], object],
        reason: str,
        remedy: str,
    ) -> None:
        """Refuse the rows where `bad`, unless they were refused before."""
        rows = np.flatnonzero(bad & self.good)
        if not len(rows):
            return
        self.good[rows] = False

        def describe(row: int) -> Rejection:
            index = int(self.row_numbers[row])
            return refusal(index, self.ids[row], field, value(row), reason, remedy)

        self.rejections.add_rows(rows, describe)


def screen_events(
    draft: Draft,
    *,
    model: str,
    task: Task,
    now_us: int,
    future_us: int,
    rejections: Rejections,
    warnings: Sequence[str] = (),
) -> EventBatch:
    """The rows of a draft that pass every check of values.

    Refused are: ids that are empty, longer than 200 characters or hold control characters; times
    without a zone or more than `future_us` past `now_us`; probabilities outside [0, 1]; weights
    not above 0; names over 200 and texts over 1,000 characters; a NUL in any text.
    """
    window = draft.window
    screen = _Screen(draft.ids, draft.row_numbers, np.ones(window.rows, np.bool_), rejections)
    _screen_ids(screen)
    assert window.ts_us is not None
    _screen_instants(screen, "ts", window.ts_us, draft.ts_good, draft.ts_text, now_us + future_us)
    for name in ("score", "baseline_score", "head_score", "full_score"):
        column: FloatArray | None = getattr(window, name)
        if column is not None and task is not Task.REGRESSION:
            outside = (column < 0) | (column > 1)
            remedy = f"a {name} of a {task} task is a probability: send a number from 0 to 1"
            screen.refuse(outside, name, column.__getitem__, "outside [0, 1]", remedy)
    if window.weight is not None:
        screen.refuse(
            ~(window.weight > 0),
            "weight",
            window.weight.__getitem__,
            "not above 0",
            "send 1 / the probability with which the row was kept",
        )
    clean = True
    for name in ("domain", "version", "arm", "cluster", "prediction"):
        names: Categories | None = getattr(window, name)
        if names is not None:
            clean &= _screen_texts(screen, name, names, MAX_NAME_CHARACTERS, _CONTROL)
    if window.domain is not None and "" in window.domain.values:
        nameless = window.domain.codes == window.domain.values.index("")
        remedy = f"name the domain, or leave it out: then it is '{DEFAULT_DOMAIN}'"
        screen.refuse(nameless, "domain", lambda _: "", "empty", remedy)
    for name, texts in window.categorical.items():
        clean &= _screen_texts(screen, name, texts, MAX_TEXT_CHARACTERS, _NUL)
    ids: Sequence[str] = draft.ids
    if not screen.good.all():
        rows = np.flatnonzero(screen.good)
        window, ids = compact(window.take(rows)), [ids[row] for row in rows.tolist()]
    elif not clean:  # texts in a dictionary on the wire that no row refers to
        window = compact(window)
    window = replace(window, domain=_with_default(window.domain, window.rows))
    hi, lo = hash_texts(model, ids)
    return EventBatch(model, window, hi, lo, Refused.from_rejections(rejections, warnings))


@dataclass(frozen=True, slots=True)
class LabelDraft:
    """Labels of the right types, (n,) each. `ts_good` as in `Draft`.

    `named` are those that came as the name of a class; NaN where there is no such class.
    """

    ids: Sequence[str]
    row_numbers: IntArray
    label: FloatArray
    ts_us: IntArray
    ts_good: BoolArray
    ts_text: Callable[[int], object]
    named: BoolArray | None = None


def screen_labels(
    draft: LabelDraft,
    *,
    model: str,
    task: Task,
    now_us: int,
    future_us: int,
    rejections: Rejections,
    warnings: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> LabelBatch:
    """The labels that pass every check of values.

    Ids and times as for events; the label is 0 or 1 unless the task is regression.
    """
    screen = _Screen(draft.ids, draft.row_numbers, np.ones(len(draft.ids), np.bool_), rejections)
    _screen_ids(screen)
    _screen_instants(screen, "ts", draft.ts_us, draft.ts_good, draft.ts_text, now_us + future_us)
    if task is not Task.REGRESSION:
        meaning = "1 where the predicted class was right, else 0"
        remedy = "send 0 or 1" if task is Task.BINARY else f"send {meaning}"
        wrong = (draft.label != 0) & (draft.label != 1)
        if classes:
            # 2 + k names the k-th class, see monitor/rows/named_classes.py
            meaning += f", or the true class by name: {shortened(classes)}"
            remedy = f"send {meaning}"
            if draft.named is not None:
                wrong &= ~(draft.named & np.isfinite(draft.label))
        screen.refuse(wrong, "label", draft.label.__getitem__, "not 0 or 1", remedy)
    rows = np.flatnonzero(screen.good)
    hi, lo = hash_texts(model, [draft.ids[row] for row in rows.tolist()])
    refused = Refused.from_rejections(rejections, warnings)
    return LabelBatch(model, hi, lo, draft.label[rows], draft.ts_us[rows], refused)


def _screen_ids(screen: _Screen) -> None:
    ids = screen.ids
    if not ids:
        return
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    remedy = f"ids are text of 1 to {MAX_ID_CHARACTERS} characters"
    screen.refuse(lengths == 0, "id", ids.__getitem__, "empty", remedy)
    screen.refuse(lengths > MAX_ID_CHARACTERS, "id", ids.__getitem__, "too long", remedy)
    if _CONTROL.search("".join(ids)):
        found = np.array([_CONTROL.search(text) is not None for text in ids])
        remedy = "ids hold no control characters"
        screen.refuse(found, "id", ids.__getitem__, "control character", remedy)


def _screen_instants(
    screen: _Screen,
    field: str,
    ts_us: IntArray,
    good: BoolArray,
    text: Callable[[int], object],
    latest_us: int,
) -> None:
    screen.refuse(~good, field, text, "not an instant with a zone", TS_REMEDY)
    screen.refuse(
        ts_us > latest_us,
        field,
        text,
        "in the future",
        f"times up to {to_datetime(latest_us):%Y-%m-%dT%H:%M:%SZ} are taken; check the clock",
    )


def _screen_texts(
    screen: _Screen, field: str, column: Categories, longest: int, banned: re.Pattern[str]
) -> bool:
    """Look at each distinct text once; whether all of them are good, those of no row as well."""
    values = column.values
    if not values or (max(map(len, values)) <= longest and not banned.search("".join(values))):
        return True
    too_long = np.array([*(len(text) > longest for text in values), False])
    holds_banned = np.array([*(banned.search(text) is not None for text in values), False])

    def value(row: int) -> object:
        return values[column.codes[row]]

    screen.refuse(
        too_long[column.codes], field, value, "too long", f"send at most {longest:,} characters"
    )
    screen.refuse(
        holds_banned[column.codes],
        field,
        value,
        "control character",
        "leave control characters out",
    )
    return False


def _with_default(domain: Categories | None, rows: int) -> Categories:
    """Every row in a domain: `default` where none was named."""
    if domain is None:
        return Categories(np.zeros(rows, np.int32), (DEFAULT_DOMAIN,))
    if not (domain.codes < 0).any():
        return domain
    values = domain.values
    if DEFAULT_DOMAIN not in values:
        values = (*values, DEFAULT_DOMAIN)
    code = values.index(DEFAULT_DOMAIN)
    return Categories(np.where(domain.codes < 0, np.int32(code), domain.codes), values)


def without_unused(column: Categories) -> Categories:
    """The same column without values that no row has, so that refused texts leave no trace."""
    used = np.unique(column.codes[column.codes >= 0])
    if len(used) == len(column.values):
        return column
    codes = np.full(len(column.values) + 1, -1, np.int32)
    codes[used] = np.arange(len(used), dtype=np.int32)
    return Categories(codes[column.codes], tuple(column.values[code] for code in used.tolist()))


def compact(window: Window) -> Window:
    """A window whose vocabularies hold only what its rows use."""

    def of(column: Categories | None) -> Categories | None:
        return None if column is None else without_unused(column)

    return replace(
        window,
        domain=of(window.domain),
        version=of(window.version),
        arm=of(window.arm),
        cluster=of(window.cluster),
        prediction=of(window.prediction),
        truth=of(window.truth),
        categorical={name: without_unused(c) for name, c in window.categorical.items()},
    )
