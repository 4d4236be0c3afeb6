"""Rows of a tick as sums that add up: what evidence reads and history keeps.

`summarise` counts columns and scores of all rows, when their event time closes;
`summarise_labels` adds label, loss, calibration and transfer sums of the rows whose label has
come, when their cohort closes. Neither touches the other's sums, so the two merge. Merging is
addition: associative and commutative, exact while weights are whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from detectors.alignment.embedded import DISCREPANCY
from detectors.cells import CategoricalCells, NumericCells
from detectors.packing import body_of, pack, unpack
from detectors.profile import (
    LOSS_COLUMN,
    PREDICTION_COLUMN,
    SCORE_COLUMN,
    Profile,
    categorical_column,
    fit_profile,
    followed_columns,
    numeric_column,
)
from detectors.records import FloatArray, Kind, Window
from detectors.slices import slice_codes
from detectors.sums import (
    ALL_ROWS,
    SLICE_SUMS,
    Sum,
    head_sums,
    label_sums,
    losses,
    seen_sums,
)
from detectors.transfer.sums import TransferSums

__all__ = [
    "ALL_ROWS",
    "PREDICTION_COLUMN",
    "SCORE_COLUMN",
    "SLICE_SUMS",
    "Profile",
    "Sum",
    "TickSummary",
    "fit_profile",
    "merge_summaries",
    "summarise",
    "summarise_labels",
    "transfer_sums",
]

MAGIC = b"KTS1"


@dataclass(frozen=True, slots=True, eq=False)
class TickSummary:
    """Sums over the rows whose event time lies in [start_us, end_us).

    `profile` is the fingerprint of the profile that counted; "" for a summary of nothing.
    `columns` holds (2, cells) of Σω and Σω², `slices` vectors laid out by `Sum`, "" being all
    rows and "@…" a further output of the model. `missing` columns were absent, or of the other
    kind, in every row that came; they are counted as null. `retyped` columns came as the other kind
    in some.
    """

    profile: str
    start_us: int
    end_us: int
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    slices: Mapping[str, FloatArray] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    retyped: frozenset[str] = frozenset()

    def sum(self, place: Sum, slice: str = ALL_ROWS) -> float:  # noqa: A002
        """One sum of a slice; 0 where the slice has no rows."""
        vector = self.slices.get(slice)
        return 0.0 if vector is None else float(vector[place])

    @property
    def rows(self) -> int:
        """Rows as they came, before weighting."""
        return int(self.sum(Sum.ROWS))

    @property
    def weight(self) -> float:
        """Rows that the sample stands for."""
        return self.sum(Sum.WEIGHT)

    @property
    def labelled_rows(self) -> int:
        return int(self.sum(Sum.LABELLED_ROWS))

    def merge(self, other: TickSummary) -> TickSummary:
        """Both together. Raises ValueError where they were counted with different cells."""
        if self.profile and other.profile and self.profile != other.profile:
            msg = (
                f"summaries of profiles {self.profile} and {other.profile} do not add up; "
                "summarise the rows again with one of them"
            )
            raise ValueError(msg)
        if self.rows and other.rows:
            missing = self.missing & other.missing
        else:
            missing = self.missing | other.missing
        return TickSummary(
            profile=self.profile or other.profile,
            start_us=min(self.start_us, other.start_us),
            end_us=max(self.end_us, other.end_us),
            columns=_added(self.columns, other.columns),
            slices=_added(self.slices, other.slices),
            missing=missing,
            retyped=self.retyped | other.retyped,
        )

    def to_bytes(self) -> bytes:
        header = {
            "profile": self.profile,
            "start_us": self.start_us,
            "end_us": self.end_us,
            "columns": list(self.columns),
            "slices": list(self.slices),
            "missing": sorted(self.missing),
            "retyped": sorted(self.retyped),
        }
        arrays = {f"c{at}": counts for at, counts in enumerate(self.columns.values())}
        vectors = list(self.slices.values())
        arrays["slices"] = np.stack(vectors) if vectors else np.empty((0, len(Sum)))
        return pack(MAGIC, body_of(header, arrays))

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Read what `to_bytes` wrote. Raises ValueError for anything else."""
        header, arrays = unpack(MAGIC, blob, "tick summary")
        return cls(
            profile=header["profile"],
            start_us=header["start_us"],
            end_us=header["end_us"],
            columns={name: arrays[f"c{at}"] for at, name in enumerate(header["columns"])},
            slices=dict(zip(header["slices"], arrays["slices"], strict=True)),
            missing=frozenset(header["missing"]),
            retyped=frozenset(header["retyped"]),
        )


def summarise(window: Window, profile: Profile, *, start_us: int, end_us: int) -> TickSummary:
    """Count a window's columns and scores. Labels are not looked at.

    A column that is absent counts as null in every row, so that the cells of every column add
    up to the rows. Two passes over a row per column, no Python per row.
    """
    if not window.rows:
        return TickSummary(profile.fingerprint, start_us, end_us)
    counts: dict[str, FloatArray] = {}
    missing, retyped = set(), set()
    weight = window.weight
    for spec in followed_columns(profile.schema):
        cells = profile.columns[spec.name]
        numbers = numeric_column(window, spec.name)
        words = categorical_column(window, spec.name)
        if isinstance(cells, NumericCells) and numbers is not None:
            counts[spec.name] = cells.count(numbers, weight)
            continue
        if isinstance(cells, CategoricalCells) and words is not None:
            counts[spec.name] = cells.count(words, weight)
            continue
        counts[spec.name] = _all_null(cells.size, window)
        missing.add(spec.name)
        if (words if spec.kind is Kind.NUMERIC else numbers) is not None:
            retyped.add(spec.name)
    if profile.embedding is not None:
        for name, numbers in profile.embedding.numbers(window).items():
            cells = profile.columns[name]
            assert isinstance(cells, NumericCells)
            counts[name] = cells.count(numbers, weight)
            if profile.embedding.rows(window) is None:
                missing.add(name)
                if window.embedding is not None:
                    retyped.add(name)
        counts[DISCREPANCY] = profile.embedding.kernel_sums(window)
    codes = slice_codes(window, profile.slices)
    sums = seen_sums(window, profile.ruler, codes, len(profile.slices))
    return TickSummary(
        profile=profile.fingerprint,
        start_us=start_us,
        end_us=end_us,
        columns=counts,
        slices=_named(sums, profile, Sum.ROWS),
        missing=frozenset(missing),
        retyped=frozenset(retyped),
    )


def summarise_labels(
    window: Window, profile: Profile, *, start_us: int, end_us: int
) -> TickSummary:
    """Sum label, loss, calibration and transfer over the rows that have a finite label.

    Rows without one are skipped, so a cohort may be passed whole. Of columns only the losses
    are counted.
    """
    codes = slice_codes(window, profile.slices)
    sums = label_sums(window, profile.ruler, codes, len(profile.slices))
    slices = _named(sums, profile, Sum.LABELLED_ROWS)
    if profile.schema.outputs:
        slices |= head_sums(window, profile.schema, profile.head_curves)
    return TickSummary(
        profile.fingerprint, start_us, end_us, columns=_losses(window, profile), slices=slices
    )


def merge_summaries(summaries: Iterable[TickSummary], start_us: int, end_us: int) -> TickSummary:
    """All of them together, as the summary of [start_us, end_us); of nothing, an empty one."""
    merged: TickSummary | None = None
    for summary in summaries:
        merged = summary if merged is None else merged.merge(summary)
    if merged is None:
        return TickSummary("", start_us, end_us)
    return replace(merged, start_us=start_us, end_us=end_us)


def transfer_sums(
    summaries: Sequence[TickSummary],
    slice: str = ALL_ROWS,  # noqa: A002
    *,
    label_rate: float | None = None,
) -> TransferSums:
    """What the transfer verdict reads, one entry per summary, in order of time.

    `rows` is Σω over the rows with both scores and a label. The rarer class, whose labels count
    as `minority`, follows from `label_rate` of the reference; without it from these rows.
    """
    ordered = sorted(summaries, key=lambda summary: summary.start_us)
    nothing = np.zeros(len(Sum))
    vectors = [summary.slices.get(slice, nothing) for summary in ordered]
    table = np.stack(vectors) if vectors else np.empty((0, len(Sum)))
    rows, ones = table[:, Sum.PAIRED_ROWS], table[:, Sum.PAIRED_ONES]
    if label_rate is None:
        label_rate = float(ones.sum() / max(1.0, rows.sum()))
    return TransferSums(
        start_us=np.array([summary.start_us for summary in ordered], dtype=np.int64),
        rows=table[:, Sum.PAIRED].copy(),
        difference=table[:, Sum.DIFFERENCE].copy(),
        difference2=table[:, Sum.DIFFERENCE2].copy(),
        baseline_loss=table[:, Sum.BASELINE_LOSS].copy(),
        minority=(rows - ones) if label_rate > 0.5 else ones.copy(),
    )


def _named(sums: FloatArray, profile: Profile, rows: Sum) -> dict[str, FloatArray]:
    """The vectors of all rows and of each slice that has any; the others need no space."""
    if not sums[0, rows]:
        return {}
    names = [ALL_ROWS, *(ref.name for ref in profile.slices)]
    return {name: sums[at] for at, name in enumerate(names) if sums[at, rows] > 0.0}


def _losses(window: Window, profile: Profile) -> dict[str, FloatArray]:
    """Cells of the losses of a window's judged rows; nothing where there are none."""
    cells = profile.columns.get(LOSS_COLUMN)
    if not isinstance(cells, NumericCells) or window.label is None or window.score is None:
        return {}
    labelled = np.flatnonzero(np.isfinite(window.label))
    loss = losses(profile.ruler.task, window.score[labelled], window.label[labelled])
    judged = np.isfinite(loss)
    if not judged.any():
        return {}
    weight = None if window.weight is None else window.weight[labelled][judged]
    return {LOSS_COLUMN: cells.count(loss[judged], weight)}


def _all_null(size: int, window: Window) -> FloatArray:
    counts = np.zeros((2, size))
    weight = window.weights()
    counts[:, 0] = weight.sum(), (weight * weight).sum()
    return counts


def _added(
    left: Mapping[str, FloatArray], right: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    added = dict(left)
    for name, array in right.items():
        added[name] = added[name] + array if name in added else array
    return added
