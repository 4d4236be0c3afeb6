"""What the transfer verdict needs of each tick of cohorts: sums that add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.records import DAY_US, BoolArray, FloatArray, IntArray, Task, Window
from detectors.transfer.loss import loss_of


@dataclass(frozen=True, slots=True, eq=False)
class TransferSums:
    """Sums over the rows of each base tick that have both scores and a label; arrays are (T,).

    A row belongs to the tick of its event time, whenever its label came. d is
    loss(transferred) - loss(baseline), ω the inverse inclusion probability. `start_us`
    ascends; ticks without rows may be left out or hold zeros. `minority` counts labels of the
    rarer class and is not read for regression.
    """

    start_us: IntArray
    rows: FloatArray
    difference: FloatArray
    difference2: FloatArray
    baseline_loss: FloatArray
    minority: FloatArray

    @classmethod
    def empty(cls) -> TransferSums:
        none = np.empty(0)
        return cls(np.empty(0, np.int64), none, none, none, none, none)

    def take(self, ticks: IntArray | BoolArray | slice) -> TransferSums:
        """The ticks at an index, mask or slice."""
        return TransferSums(
            self.start_us[ticks],
            self.rows[ticks],
            self.difference[ticks],
            self.difference2[ticks],
            self.baseline_loss[ticks],
            self.minority[ticks],
        )

    def grouped(self, first: IntArray) -> TransferSums:
        """Runs of consecutive ticks added up; `first` holds the index each run begins at."""
        if not len(first):
            return TransferSums.empty()
        return TransferSums(
            self.start_us[first],
            np.add.reduceat(self.rows, first),
            np.add.reduceat(self.difference, first),
            np.add.reduceat(self.difference2, first),
            np.add.reduceat(self.baseline_loss, first),
            np.add.reduceat(self.minority, first),
        )

    def filled(self) -> TransferSums:
        """Only the ticks that have rows."""
        return self.take(self.rows > 0.0)


def concat_sums(parts: Sequence[TransferSums]) -> TransferSums:
    """Sums of consecutive stretches of time, one after the other."""
    if not parts:
        return TransferSums.empty()
    return TransferSums(
        np.concatenate([part.start_us for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.difference for part in parts]),
        np.concatenate([part.difference2 for part in parts]),
        np.concatenate([part.baseline_loss for part in parts]),
        np.concatenate([part.minority for part in parts]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PairedRows:
    """The rows of a window that carry both scores and a label; arrays are (n,)."""

    index: IntArray
    difference: FloatArray
    baseline_loss: FloatArray
    weight: FloatArray
    label: FloatArray


def paired_rows(window: Window, *, task: Task) -> PairedRows | None:
    """Both losses on the same rows; None where no baseline is recorded at all.

    Where the design makes a contrast instead of a second score, that is read.
    """
    if window.contrast is not None:
        return _contrasted(window, window.contrast)
    if window.baseline_score is None or not np.isfinite(window.baseline_score).any():
        return None
    nothing = np.full(window.rows, np.nan)
    score = nothing if window.score is None else window.score
    label = nothing if window.label is None else window.label
    weight = window.weights()
    usable = np.isfinite(score) & np.isfinite(label) & np.isfinite(window.baseline_score)
    index = np.flatnonzero(usable & np.isfinite(weight) & (weight > 0.0))
    baseline = loss_of(task, window.baseline_score[index], label[index])
    transferred = loss_of(task, score[index], label[index])
    return PairedRows(index, transferred - baseline, baseline, weight[index], label[index])


def _contrasted(window: Window, contrast: FloatArray) -> PairedRows:
    label = np.full(window.rows, np.nan) if window.label is None else window.label
    weight = window.weights()
    usable = np.isfinite(contrast).all(axis=1) & np.isfinite(label) & (weight > 0.0)
    index = np.flatnonzero(usable & np.isfinite(weight))
    return PairedRows(index, contrast[index, 0], contrast[index, 1], weight[index], label[index])


def minority_mask(label: FloatArray, weight: FloatArray, *, task: Task) -> BoolArray:
    """Rows (n,) of the rarer class among these labels; none for regression."""
    if task is Task.REGRESSION or not len(label):
        return np.zeros(len(label), dtype=np.bool_)
    positive = label > 0.5
    common = float(weight[positive].sum()) * 2.0 > float(weight.sum())
    return ~positive if common else positive


def sums_of(window: Window, *, task: Task, tick_us: int = DAY_US) -> TransferSums | None:
    """Sums per tick of event time of a window with timestamps; None without baseline or time."""
    paired = paired_rows(window, task=task)
    if paired is None or window.ts_us is None:
        return None
    starts, tick = np.unique(window.ts_us[paired.index] // tick_us, return_inverse=True)
    minority = minority_mask(paired.label, paired.weight, task=task)

    def total(values: FloatArray) -> FloatArray:
        return np.bincount(tick, paired.weight * values, len(starts)).astype(np.float64)

    return TransferSums(
        start_us=(starts * tick_us).astype(np.int64),
        rows=total(np.ones(len(tick))),
        difference=total(paired.difference),
        difference2=total(paired.difference**2),
        baseline_loss=total(paired.baseline_loss),
        minority=np.bincount(tick[minority], minlength=len(starts)).astype(np.float64),
    )
