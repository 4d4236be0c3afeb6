"""What a report says of an embedding beside its distribution: centres, the plane, the head.

Centres of classes and declared slices are held against the reference's, the reference's mean
taken off; rows against the plane that the reference spread over; the head in service against one
fitted anew on the embeddings that are served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.alignment.centroids import centroid_cosine
from detectors.alignment.embedded import (
    OFF_PLANE,
    TOWARDS_CLASS,
    EmbeddingMap,
    fit_map,
    other_rows,
)
from detectors.alignment.heads import FEWEST, FEWEST_OF_A_CLASS, Gap, head_gap
from detectors.alignment.staleness import other_width
from detectors.drift.column import ColumnComparison
from detectors.drift.compare import compare_columns
from detectors.records import (
    DAY_US,
    BoolArray,
    ColumnSpec,
    FloatArray,
    IntArray,
    Kind,
    Schema,
    State,
    Task,
    Window,
)

DROP = 0.05
"""A cosine that falls by less is no matter."""

GROUP_ROWS = 2_000
FEWEST_ROWS = 30
MOST_GROUPS = 12
BLOCKS = 20
FEWEST_BLOCKS = 5
HEAD_ROWS = 3_000
NEGATIVE_CLASSES = 3
"""So many centres that point the other way go with labels that mean something else."""

Z = 1.96
Masks = tuple[BoolArray, BoolArray]
"""Rows of the reference and rows of the current window."""

NAMES = {OFF_PLANE: "embedding off its plane", TOWARDS_CLASS: "embedding to its class"}


@dataclass(frozen=True, slots=True)
class Centroid:
    """The cosine of a group's centre to the reference's, with its .95 interval over days."""

    name: str
    state: State
    cosine: float
    ci: tuple[float, float]
    rows: int
    rows_needed: int
    words: str


@dataclass(frozen=True, slots=True)
class EmbeddingReport:
    """State and words of all, then the parts. `head` is None where labels or scores are few."""

    state: State
    words: str
    centroids: tuple[Centroid, ...] = ()
    head: Gap | None = None
    columns: tuple[ColumnComparison, ...] = ()


def embedding_report(
    reference: Window,
    current: Window,
    task: Task,
    slices: Mapping[str, Masks],
) -> EmbeddingReport | None:
    """Compare embeddings of two windows; None where either has none.

    `slices` are masks of rows of the reference and of the current window, by name.
    """
    if reference.embedding is None or current.embedding is None:
        return None
    if words := other_width(reference, current):
        return EmbeddingReport(State.DRIFT, words)
    mapped = fit_map(reference, task)
    if mapped is None:
        return EmbeddingReport(State.UNDETERMINED, "too few reference rows have an embedding")
    columns = row_columns(mapped, reference, current)
    groups = {**_classes(reference, current, mapped, task), **slices}
    centroids = tuple(
        found
        for name, (before, now) in list(groups.items())[:MOST_GROUPS]
        if (found := _centroid(name, reference, current, before, now, mapped.mean)) is not None
    )
    head = _head(current, task)
    return EmbeddingReport(*_summed_up(centroids, head, columns), centroids, head, columns)


def row_columns(
    mapped: EmbeddingMap, reference: Window, current: Window
) -> tuple[ColumnComparison, ...]:
    """The numbers that the map gives each row, compared as columns are.

    The reference's come from rows that neither plane nor centres were fitted on.
    """
    usual = other_rows(reference)
    before, now = mapped.numbers(usual), mapped.numbers(current)
    schema = Schema(Task.BINARY, tuple(ColumnSpec(NAMES[name], Kind.NUMERIC) for name in before))
    return compare_columns(
        Window(usual.rows, usual.ts_us, numeric={NAMES[k]: v for k, v in before.items()}),
        Window(current.rows, current.ts_us, numeric={NAMES[k]: v for k, v in now.items()}),
        schema,
    )


def _classes(
    reference: Window, current: Window, mapped: EmbeddingMap, task: Task
) -> dict[str, Masks]:
    """Rows of each label where both windows have labels of classes, else of each predicted one."""
    if task is Task.BINARY and reference.label is not None and current.label is not None:
        return {f"label {y}": (reference.label == y, current.label == y) for y in (0, 1)}
    before, now = mapped.class_of(reference), mapped.class_of(current)
    names = mapped.classes or ("scores up to the median", "scores above the median")
    return {
        name: (before == at, now == at) for at, name in enumerate(names) if (before == at).any()
    }


def _centroid(
    name: str,
    reference: Window,
    current: Window,
    before: BoolArray,
    now: BoolArray,
    mean: FloatArray,
) -> Centroid | None:
    was, _ = _group(reference, before)
    rows, block = _group(current, now)
    if min(len(was), len(rows)) < FEWEST_ROWS:
        return None
    found = centroid_cosine(rows, was, mean)
    usual = centroid_cosine(was, was, mean)
    kept = np.unique(block)
    undetermined = not (found.enough and usual.enough and len(kept) >= FEWEST_BLOCKS)
    if undetermined:
        needed = max(found.rows_needed, usual.rows_needed)
        words = f"{name}: {len(rows):,} rows; a centre as short as this needs {needed:,}"
        return Centroid(
            name, State.UNDETERMINED, found.cosine, (-1.0, 1.0), len(rows), needed, words
        )
    without = np.array([centroid_cosine(rows[block != one], was, mean).cosine for one in kept])
    error = float(np.sqrt((len(kept) - 1) / len(kept) * np.square(without - without.mean()).sum()))
    ci = max(-1.0, found.cosine - Z * error), min(1.0, found.cosine + Z * error)
    state = State.OK
    if found.cosine <= 1 - DROP and ci[1] < 1:
        state = State.DRIFT if ci[1] < 1 - DROP else State.WATCH
    words = f"{name}: {found.words}".replace("the source's centre", "the reference's centre")
    return Centroid(name, state, found.cosine, ci, len(rows), found.rows_needed, words)


def _group(window: Window, kept: BoolArray) -> tuple[FloatArray, IntArray]:
    """At most 2,000 rows (n, d) of a group, evenly spaced, and the block (n,) of each: its day."""
    assert window.embedding is not None
    at = np.flatnonzero(kept & np.isfinite(window.embedding).all(axis=1))
    if len(at) > GROUP_ROWS:
        at = at[np.linspace(0, len(at) - 1, GROUP_ROWS).round().astype(np.int64)]
    order = np.arange(len(at))
    block: IntArray = (order * BLOCKS // max(len(at), 1)).astype(np.int64)
    if window.ts_us is not None:
        days = window.ts_us[at] // DAY_US
        # Few days leave nothing to leave out; then stretches of rows stand in.
        if len(np.unique(days)) >= FEWEST_BLOCKS:
            block = _coarse(days)
    return window.embedding[at].astype(np.float64), block


def _coarse(days: IntArray) -> IntArray:
    """Days joined to at most 20 blocks."""
    _, place = np.unique(days, return_inverse=True)
    count = int(place.max()) + 1
    return np.asarray(place * min(BLOCKS, count) // count, dtype=np.int64)


def _head(current: Window, task: Task) -> Gap | None:
    if task is not Task.BINARY or current.score is None or current.label is None:
        return None
    assert current.embedding is not None
    known = np.isfinite(current.score) & np.isfinite(current.label)
    at = np.flatnonzero(known & np.isfinite(current.embedding).all(axis=1))
    if len(at) > HEAD_ROWS:
        at = at[np.linspace(0, len(at) - 1, HEAD_ROWS).round().astype(np.int64)]
    y = current.label[at]
    if len(y) < FEWEST or min((y == 0).sum(), (y == 1).sum()) < FEWEST_OF_A_CLASS:
        return None
    return head_gap(current.score[at], current.embedding[at].astype(np.float64), y)


def _summed_up(
    centroids: tuple[Centroid, ...], head: Gap | None, columns: tuple[ColumnComparison, ...]
) -> tuple[State, str]:
    states = [one.state for one in centroids] + [column.state for column in columns]
    said = [one.words for one in centroids if one.state in {State.DRIFT, State.WATCH}]
    if sum(one.cosine < 0 for one in centroids if one.state is State.DRIFT) >= NEGATIVE_CLASSES:
        said.insert(0, "several classes point the other way: labels may mean something else here")
    if head is not None and head.matters:
        states.append(State.WATCH)
        said.append(
            f"the head in service loses {head.difference:.3g} against one fitted anew on these "
            f"embeddings (of {head.against:.3g})"
        )
    said += [f"{c.name}: {c.detail}" for c in columns if c.state in {State.DRIFT, State.WATCH}]
    for ill in (State.DRIFT, State.WATCH):
        if ill in states:
            return ill, "; ".join(said)
    if State.OK in states:
        return State.OK, "rows lie where they did and centres point where they did"
    return State.UNDETERMINED, "too little data to tell"
