"""Two AUCs on the same rows: DeLong's test, and Obuchowski's where rows come in clusters.

The AUC is the chance that a positive row scores above a negative one, ties counting half. Its
variance follows from the *placements*: for a positive row the share of negatives below it, for a
negative row the share of positives above it. DeLong, DeLong, Clarke-Pearson (1988); Obuchowski
(1997), *Nonparametric analysis of clustered ROC curve data*.

Over time an AUC of days is no mean of rows. `Ranks` makes it one: each row is placed among the
other class of the reference, and loses the share of it that it is on the wrong side of. The mean
over rows of the reference's mix is 1 - AUC; that is the projection DeLong's variance is of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import BoolArray, FloatArray, IntArray

FEWEST_RANKED = 20
"""Rows of either class that a rank is read off: below them one row is a step of 5 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """One model's scores in the reference, ascending, by class, and the share of ones."""

    ones: FloatArray
    zeros: FloatArray
    rate: float

    @classmethod
    def of(cls, score: FloatArray | None, label: FloatArray | None) -> Ranks | None:
        """From scores and labels (n,); None with under 20 rows of a class."""
        if score is None or label is None:
            return None
        known = np.isfinite(score) & np.isfinite(label)
        positive = label[known] > 0.5
        ones, zeros = np.sort(score[known][positive]), np.sort(score[known][~positive])
        if min(len(ones), len(zeros)) < FEWEST_RANKED:
            return None
        return cls(ones, zeros, len(ones) / len(positive))

    def losses(self, score: FloatArray, label: FloatArray) -> FloatArray:
        """Loss (n,): the share of the other class on the wrong side, each class counting half."""
        positive = label > 0.5
        above = 1.0 - _share_below(self.zeros, score)
        below = _share_below(self.ones, score)
        loss = np.where(positive, above / self.rate, below / (1.0 - self.rate)) / 2.0
        return np.where(np.isfinite(score) & np.isfinite(label), loss, np.nan)


def _share_below(others: FloatArray, score: FloatArray) -> FloatArray:
    """Share of ascending others that lie below each score, ties counting half."""
    left = np.searchsorted(others, score, side="left")
    right = np.searchsorted(others, score, side="right")
    return np.asarray(0.5 * (left + right) / len(others))


@dataclass(frozen=True, slots=True)
class AucComparison:
    """`difference` is first less second; `variance` is of the difference, 0 where they agree."""

    first: float
    second: float
    difference: float
    variance: float
    z: float
    p_value: float
    rows: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Normal interval of the difference."""
        from scipy.special import ndtri

        half = float(ndtri(0.5 + 0.5 * level)) * float(np.sqrt(self.variance))
        return self.difference - half, self.difference + half


def compare_auc(
    first: FloatArray, second: FloatArray, label: FloatArray, cluster: IntArray | None = None
) -> AucComparison | None:
    """Compare two scores (n,) of the same rows with labels (n,) 0 or 1.

    Rows without both scores and a label are left out. `cluster` (n,) names rows that depend on
    each other; -1 stands alone. None with fewer than two rows (clusters) of either class.
    """
    known = np.isfinite(first) & np.isfinite(second) & np.isfinite(label)
    positive = label[known] > 0.5
    if positive.sum() < 2 or (~positive).sum() < 2:
        return None
    one, other = _placements(first[known], positive), _placements(second[known], positive)
    auc = float(one[positive].mean()), float(other[positive].mean())
    gap = one - other
    if cluster is None:
        variance = gap[positive].var(ddof=1) / positive.sum()
        variance += gap[~positive].var(ddof=1) / (~positive).sum()
    else:
        found = _clustered(gap, positive, cluster[known])
        if found is None:
            return None
        variance = found
    difference = auc[0] - auc[1]
    z = difference / np.sqrt(variance) if variance > 0.0 else np.copysign(np.inf, difference)
    if difference == 0.0:
        z = 0.0
    from scipy.special import ndtr

    return AucComparison(
        *auc,
        difference=difference,
        variance=float(variance),
        z=float(z),
        p_value=float(2.0 * ndtr(-abs(z))),
        rows=int(known.sum()),
    )


def _placements(score: FloatArray, positive: BoolArray) -> FloatArray:
    """Of each row, the share of the other class on its right side; ties count half."""
    above, below = np.sort(score[positive]), np.sort(score[~positive])
    out = np.empty(len(score))
    for mask, others, sign in ((positive, below, 1.0), (~positive, above, -1.0)):
        share = _share_below(others, score[mask])
        out[mask] = share if sign > 0.0 else 1.0 - share
    return out


def _clustered(gap: FloatArray, positive: BoolArray, cluster: IntArray) -> float | None:
    alone = cluster.max(initial=-1) + 1 + np.arange(len(cluster))
    _, member = np.unique(np.where(cluster < 0, alone, cluster), return_inverse=True)
    groups = int(member.max()) + 1
    m, n = float(positive.sum()), float((~positive).sum())
    sums, with_class = [], []
    for mask in (positive, ~positive):
        count = np.bincount(member[mask], minlength=groups)
        total = np.bincount(member[mask], gap[mask], groups)
        sums.append(total - count * gap[mask].mean())
        with_class.append(int((count > 0).sum()))
    i10, i01 = with_class
    if i10 < 2 or i01 < 2:
        return None
    s10 = i10 / ((i10 - 1.0) * m) * float(sums[0] @ sums[0])
    s01 = i01 / ((i01 - 1.0) * n) * float(sums[1] @ sums[1])
    s11 = groups / (groups - 1.0) * float(sums[0] @ sums[1])
    return max(s10 / m + s01 / n + 2.0 * s11 / (m * n), 0.0)
