"""What a stream's value is measured in: scales and groups that follow from the profile alone."""

from __future__ import annotations

import numpy as np

from detectors.cells import FIRST_VALUE, NULL, OTHER, UNSEEN, NumericCells
from detectors.profile import Profile
from detectors.records import FloatArray, IntArray, Task
from detectors.shares import ShareScale
from detectors.sums import ALL_ROWS, Scale, Sum

MIX_SHARE = 0.01
MIX_CELLS = 30
"""A mix compares the 30 commonest values with at least 1 % each, and the rest as one."""
PRIOR_ROWS = 20.0
LOSS_SD = 0.5
"""Stands in for the sd of a log loss where the reference has no labels; the filter then scales."""


def share_of(profile: Profile, column: str, statistic: str) -> ShareScale:
    """The reference value of a column's null, unseen, spike or value share."""
    if statistic == "null_share":
        return ShareScale.of(profile.null_share(column))
    cells = profile.columns[column]
    if statistic == "unseen_share":
        return ShareScale.of(0.0 if isinstance(cells, NumericCells) else cells.unseen_rate)
    counts = profile.counts[column][0]
    cell = FIRST_VALUE if statistic == "value_share" else main_spike(profile, column)
    return ShareScale.of(float(counts[cell] / counts[1:].sum()))


def main_spike(profile: Profile, column: str) -> int:
    """The cell of a numeric column's heaviest spike."""
    cells = profile.columns[column]
    assert isinstance(cells, NumericCells)
    return 1 + int(np.argmax(profile.counts[column][0, 1 : 1 + len(cells.spikes)]))


def mix_groups(profile: Profile, column: str) -> tuple[IntArray, FloatArray]:
    """The group (cells,) of each cell of a categorical column, -1 for null, and group shares.

    A rest too small to be a group of its own joins the rarest one. Values beyond the cells are
    part of the rest: those with cells were chosen for their rows in the reference, so between the
    two a shift is only the reference's luck.
    """
    counts = profile.counts[column][0]
    shares = counts[1:] / max(float(counts[1:].sum()), np.finfo(float).tiny)
    common = np.argsort(-shares, kind="stable")[:MIX_CELLS]
    common = common[(shares[common] >= MIX_SHARE) & (common + 1 != UNSEEN) & (common + 1 != OTHER)]
    groups = np.full(len(counts), len(common), dtype=np.int64)
    groups[1 + common] = np.arange(len(common))
    if len(common) and 1.0 - shares[common].sum() < MIX_SHARE:
        groups[groups == len(common)] = len(common) - 1
    groups[NULL] = -1
    return groups, np.bincount(groups[1:], weights=shares).astype(np.float64)


def loss_scale(profile: Profile) -> Scale:
    """Mean and sd of one row's loss; a stand-in where the reference has none or no spread."""
    if profile.loss is not None and profile.loss.sd > 0.0:
        return profile.loss
    if profile.schema.task is Task.REGRESSION:
        spread = profile.ruler.score.sd
        return Scale(0.0, spread * spread or 1.0)
    return Scale(0.0, LOSS_SD)


def difference_scale(profile: Profile) -> Scale:
    """Scale of one row's loss difference; the loss's own where the reference has no baseline."""
    known = profile.difference
    return known if known is not None and known.sd > 0.0 else loss_scale(profile)


_MOMENTS = {
    "prediction.mean": (Sum.SCORED, Sum.SCORE, Sum.SCORE2),
    "loss.mean": (Sum.JUDGED, Sum.LOSS, Sum.LOSS2),
    "transfer.difference": (Sum.PAIRED, Sum.DIFFERENCE, Sum.DIFFERENCE2),
}


def slice_variance(profile: Profile, statistic: str, slice: str) -> float:  # noqa: A002
    """Variance of one row of a slice in the reference, in units of that of all rows.

    It is drawn to 1 by 20 rows, so that a slice of few labels does not trust its own. What a
    curve tells, as for calibration, needs no such scale: 1.
    """
    if statistic not in _MOMENTS:
        return 1.0
    mass, first, second = _MOMENTS[statistic]

    def moments(vector: FloatArray) -> tuple[float, float]:
        if not vector[mass] > 0.0:
            return 0.0, 0.0
        mean = vector[first] / vector[mass]
        return float(vector[mass]), max(0.0, float(vector[second] / vector[mass] - mean * mean))

    _, whole = moments(profile.slice_sums[ALL_ROWS])
    rows, own = moments(profile.slice_sums.get(slice, np.zeros(len(Sum))))
    if not whole > 0.0:
        return 1.0
    return (rows * own / whole + PRIOR_ROWS) / (rows + PRIOR_ROWS)


def rank_scores(profile: Profile, column: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centred mid-rank and distance from ½ of each cell, (2, cells), 0 for null; sd, kurtosis (2,).

    A normal column that shifts by δ sd moves its mean mid-rank by .977 δ sd of a mid-rank, one
    that widens by a tenth its mean distance from ½ by .105 sd of that distance.
    """
    cells = profile.columns[column]
    assert isinstance(cells, NumericCells)
    counts = profile.counts[column]
    ranks = cells.ranks(counts)
    both = np.stack([ranks, np.abs(ranks - 0.5)])
    both[:, NULL] = 0.0
    mass = counts[0].copy()
    mass[NULL] = 0.0
    mass /= max(float(mass.sum()), np.finfo(float).tiny)
    centred = both - (both @ mass)[:, None]
    centred[:, NULL] = 0.0
    variance = centred**2 @ mass
    with np.errstate(all="ignore"):
        kurtosis = np.where(variance > 0.0, centred**4 @ mass / variance**2, 3.0)
    return centred, np.sqrt(variance), kurtosis
