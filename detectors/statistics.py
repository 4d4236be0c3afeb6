"""The value of every stream in a tick, and the sampling variance that value is known to have.

For each stream y is its statistic and v the variance that sampling alone gives it under the
reference; Kish's effective rows n = (Σω)² / Σω² take the place of counts. A stream without data
has y = 0 and v = infinity. Nothing here is ever NaN.

| statistic | y | v |
|---|---|---|
| mean | (z̄ - reference) / sd of the score | σ²(1 + k/n) / n |
| location | mean mid-rank of a column under the reference, centred, / its reference sd | same |
| spread | mean distance of the mid-rank from ½, centred, / its reference sd | same |
| null, unseen, spike and value share | log odds, see `detectors/shares.py` | there |
| mix | √Σ(q-p)²/(p+½/n) less its mean under the reference: Cohen's w | 1 / (2n) |
| discrepancy | ‖mean features - reference‖ / √V less its mean there, V = trΣ | 1 / (2νn) |
| loss | (mean loss - reference) / reference sd of one row | σ²(1 + k/n) / n |
| in the large | Σω(y-r) / Σωr(1-r), r the recalibrated score | (Σω²r(1-r) + ¼ω̄²) / (Σωr(1-r))² |
| output | the same of a class probability, a quantile, a mean or an sd | same |
| difference | mean paired loss difference / its reference sd | σ²(1 + k/n) / n |

In means k = max(0, kurtosis - 3) / 4. A mean of few heavy-tailed rows is far from normal, and its
plain variance makes the t likelihood ratio that reads it no e-value: its mean is 18 for single
log losses, 15 for rare events, 7 for a gamma of shape .1. With k it is at most 1 for all of these
at every n, and nothing changes for normal rows or large n. σ² is 1 for all rows; for a slice it
is the slice's own reference variance in units of that of all rows, drawn to 1 by 20 rows.

*In the large* is the first Newton step of the calibration intercept, which unlike the intercept
is finite in a tick without events; the ¼ is half an event, which is what k is for rare events.

*Mix* uses Fisher's √(2χ²): nearly normal from one degree of freedom on, and in units of an
effect size, so that a smallest effect has one meaning for ten rows and for a million. (The
Wilson-Hilferty cube root is as normal, but its value for a fixed change grows like n^⅓ and no
smallest effect can be stated for it.) Half an event in each cell keeps rare cells from raising
alarms by themselves: without it the mean t likelihood ratio at n = 100 is 9, with it 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from detectors.alignment.embedded import DISCREPANCY
from detectors.cells import FIRST_VALUE, NULL, UNSEEN
from detectors.profile import Profile
from detectors.records import FloatArray, IntArray, Stream, StreamSpec
from detectors.scales import (
    difference_scale,
    loss_scale,
    main_spike,
    mix_groups,
    rank_scores,
    share_of,
    slice_variance,
)
from detectors.shares import HALF_EVENT, share_statistics
from detectors.summary import TickSummary
from detectors.sums import HEAD, Sum

MIX_ROWS = 5.0
"""Below five effective rows a mix says nothing."""
HALF = 0.5


def statistics(
    specs: Sequence[StreamSpec], profile: Profile, summary: TickSummary
) -> tuple[FloatArray, FloatArray]:
    """Y and v (K,) of the streams `specs` in one tick.

    Pass the same `specs` object for every tick: what depends on it and the profile alone is
    worked out once. Raises ValueError where the summary was counted with another profile.
    """
    return _plan(specs, profile).read(summary)


def statistics_of(
    specs: Sequence[StreamSpec], profile: Profile, summaries: Iterable[TickSummary]
) -> tuple[FloatArray, FloatArray]:
    """Y and v (T, K) of the streams in each of T ticks."""
    plan = _plan(specs, profile)
    pairs = [plan.read(summary) for summary in summaries]
    if not pairs:
        return np.empty((0, len(specs))), np.empty((0, len(specs)))
    return np.stack([y for y, _ in pairs]), np.stack([v for _, v in pairs])


def rate_counts(
    specs: Sequence[StreamSpec], profile: Profile, summary: TickSummary
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Events, trials and the events the reference expects (K,) of the streams that are rates.

    Shares of columns, and outcomes against recalibrated scores. Counts are of effective rows; a
    stream that is no rate, or has no rows, has no trials.
    """
    return _plan(specs, profile).counts(summary)


@dataclass(frozen=True, eq=False)
class _SlicePart:
    """Streams (k,) of one statistic that are read from slices: their places and slice rows."""

    statistic: str
    streams: IntArray
    slices: IntArray
    variance: FloatArray


@dataclass(frozen=True, eq=False)
class _Plan:
    """What of the streams depends on the profile alone, laid out as long vectors.

    All cells of the columns in use stand in one vector (C,); column q begins at `starts[q]`.
    """

    profile: Profile
    streams: int
    slice_names: tuple[str, ...]
    slice_parts: tuple[_SlicePart, ...]
    columns: tuple[str, ...]
    sizes: tuple[int, ...]
    starts: IntArray
    ranks: FloatArray  # (2, C): centred mid-ranks, centred distances from one half
    rank_streams: IntArray  # (R,)
    rank_rows: IntArray  # (R,): 0 location, 1 spread
    rank_columns: IntArray  # (R,)
    rank_sd: FloatArray  # (R,)
    rank_kurtosis: FloatArray  # (R,)
    share_streams: IntArray  # (S,)
    share_columns: IntArray  # (S,)
    share_cells: IntArray  # (S,) into the long vector
    share_of_all: FloatArray  # (S,): 1 among all rows, 0 among rows that are not null
    share_values: FloatArray  # (S,)
    share_stepped: FloatArray  # (S,)
    mix_streams: IntArray  # (X,)
    mix_columns: IntArray  # (X,)
    mix_cells: IntArray  # (C,): group of each cell, G for none
    mix_starts: IntArray  # (X,)
    mix_shares: FloatArray  # (G,)
    mix_of_group: IntArray  # (G,)
    kernel_streams: IntArray  # (0,) or (1,)

    def read(self, summary: TickSummary) -> tuple[FloatArray, FloatArray]:
        if summary.profile and summary.profile != self.profile.fingerprint:
            msg = (
                f"the summary was counted with profile {summary.profile}, the streams belong to "
                f"{self.profile.fingerprint}; summarise the rows again"
            )
            raise ValueError(msg)
        y, v = np.zeros(self.streams), np.full(self.streams, np.inf)
        with np.errstate(all="ignore"):
            if self.slice_parts and summary.slices:
                self._read_slices(summary, y, v)
            if self.columns and summary.columns:
                self._read_columns(summary, y, v)
            if len(self.kernel_streams) and DISCREPANCY in summary.columns:
                found = _discrepancy(self.profile, summary.columns[DISCREPANCY])
                y[self.kernel_streams], v[self.kernel_streams] = found
        good = np.isfinite(y) & np.isfinite(v) & (v > 0.0)
        return np.where(good, y, 0.0), np.where(good, v, np.inf)

    def counts(self, summary: TickSummary) -> tuple[FloatArray, FloatArray, FloatArray]:
        events, trials, expected = np.zeros((3, self.streams))
        with np.errstate(all="ignore"):
            for part in self.slice_parts:
                if part.statistic != _CALIBRATION or not summary.slices:
                    continue
                sums = self._slice_table(summary)[:, part.slices]
                rows = sums[Sum.JUDGED] ** 2 / sums[Sum.JUDGED2]
                each = rows / sums[Sum.JUDGED]
                events[part.streams] = sums[Sum.OBSERVED] * each
                trials[part.streams] = rows
                expected[part.streams] = (sums[Sum.OBSERVED] - sums[Sum.RESIDUAL]) * each
            if len(self.share_streams) and summary.columns:
                long = self._long(summary)
                everything = np.add.reduceat(long, self.starts, axis=1)
                values = everything - long[:, self.starts]
                base = self._share_base(everything, values)
                rows = base[0] ** 2 / base[1]
                events[self.share_streams] = long[0, self.share_cells] / base[0] * rows
                trials[self.share_streams] = rows
                expected[self.share_streams] = rows * self.share_values
        good = np.isfinite(events) & np.isfinite(expected) & np.isfinite(trials) & (trials > 0.0)
        return tuple(np.where(good, one, 0.0) for one in (events, trials, expected))  # type: ignore[return-value]

    def _slice_table(self, summary: TickSummary) -> FloatArray:
        """The sums of the slices in use, one column a slice."""
        nothing = np.zeros(len(Sum))
        return np.stack([summary.slices.get(name, nothing) for name in self.slice_names]).T

    def _long(self, summary: TickSummary) -> FloatArray:
        """The counts (2, C) of all columns in use, one after another."""
        arrays = [
            summary.columns.get(name, np.zeros((2, size)))
            for name, size in zip(self.columns, self.sizes, strict=True)
        ]
        return np.concatenate(arrays, axis=1)

    def _share_base(self, everything: FloatArray, values: FloatArray) -> FloatArray:
        """Σω and Σω² (2, S) of the rows among which each share is one."""
        return np.where(
            self.share_of_all, everything[:, self.share_columns], values[:, self.share_columns]
        )

    def _read_slices(self, summary: TickSummary, y: FloatArray, v: FloatArray) -> None:
        table = self._slice_table(summary)
        for part in self.slice_parts:
            sums = table[:, part.slices]
            read = _SLICE_STATISTICS[part.statistic]
            y[part.streams], v[part.streams] = read(self.profile, sums, part.variance)

    def _read_columns(self, summary: TickSummary, y: FloatArray, v: FloatArray) -> None:
        long = self._long(summary)
        everything = np.add.reduceat(long, self.starts, axis=1)
        nulls = long[:, self.starts]
        values = everything - nulls
        rows = values[0] ** 2 / values[1]

        moments = np.add.reduceat(long[0] * self.ranks, self.starts, axis=1)
        column = self.rank_columns
        y[self.rank_streams] = moments[self.rank_rows, column] / values[0, column] / self.rank_sd
        v[self.rank_streams] = mean_variance(rows[column], self.rank_kurtosis)

        base = self._share_base(everything, values)
        y[self.share_streams], v[self.share_streams] = share_statistics(
            long[0, self.share_cells] / base[0],
            base[0] ** 2 / base[1],
            self.share_values,
            self.share_stepped,
        )

        if len(self.mix_streams):
            of_group = self.mix_columns[self.mix_of_group]
            n = rows[of_group]
            groups = np.bincount(self.mix_cells, weights=long[0])[: len(self.mix_shares)]
            observed = groups / values[0, of_group]
            softened = self.mix_shares + HALF / n
            squares = np.add.reduceat((observed - self.mix_shares) ** 2 / softened, self.mix_starts)
            freedom = np.add.reduceat(
                self.mix_shares * (1.0 - self.mix_shares) / softened, self.mix_starts
            )
            n = rows[self.mix_columns]
            centre = np.sqrt(np.maximum(freedom - HALF, HALF * freedom) / n)
            y[self.mix_streams] = np.sqrt(squares) - centre
            v[self.mix_streams] = np.where(n >= MIX_ROWS, HALF / n, np.inf)


def _discrepancy(profile: Profile, sums: FloatArray) -> tuple[float, float]:
    """The distance of mean features in spreads of rows, which is normal as √(2χ²) is: see *mix*."""
    embedding = profile.embedding
    assert embedding is not None
    n = sums[0, 0] ** 2 / sums[1, 0]
    gap = sums[0, 1:] / sums[0, 0] - embedding.kernel_mean
    distance = np.sqrt(gap @ gap / embedding.kernel_spread)
    centre = np.sqrt((1.0 - HALF / embedding.freedom) / n)
    return float(distance - centre), float(
        HALF / embedding.freedom / n
    ) if n >= MIX_ROWS else np.inf


def mean_variance(rows: FloatArray, kurtosis: FloatArray | float) -> FloatArray:
    """Variance (K,) of a mean of effective rows (K,) of unit variance, tails allowed for."""
    tail = np.maximum(0.0, np.asarray(kurtosis) - 3.0) * HALF_EVENT
    return np.asarray((1.0 + tail / rows) / rows)


def _score_mean(
    profile: Profile, sums: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    scale = profile.clipped
    y = (sums[Sum.SCORE] / sums[Sum.SCORED] - scale.mean) / scale.sd
    rows = sums[Sum.SCORED] ** 2 / sums[Sum.SCORED2]
    return y, variance * mean_variance(rows, scale.kurtosis)


def _loss(
    profile: Profile, sums: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    scale = loss_scale(profile)
    y = (sums[Sum.LOSS] / sums[Sum.JUDGED] - scale.mean) / scale.sd
    rows = sums[Sum.JUDGED] ** 2 / sums[Sum.JUDGED2]
    return y, variance * mean_variance(rows, scale.kurtosis)


def _in_the_large(
    profile: Profile, sums: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    information, information2 = sums[Sum.INFORMATION], sums[Sum.INFORMATION2]
    typical_weight = information2 / information
    half_event = HALF_EVENT * typical_weight**2
    y = sums[Sum.RESIDUAL] / information
    return y, variance * (information2 + half_event) / information**2


def _difference(
    profile: Profile, sums: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    scale = difference_scale(profile)
    rows = sums[Sum.PAIRED] ** 2 / sums[Sum.PAIRED2]
    y = sums[Sum.DIFFERENCE] / sums[Sum.PAIRED] / scale.sd
    return y, variance * mean_variance(rows, scale.kurtosis)


_CALIBRATION = "calibration.in_the_large"
_SLICE_STATISTICS = {
    "prediction.mean": _score_mean,
    "loss.mean": _loss,
    _CALIBRATION: _in_the_large,
    "calibration.output": _in_the_large,
    "transfer.difference": _difference,
}


def _place(stream: Stream) -> str:
    """Where the sums of a stream stand: under its slice, or under its further output."""
    return f"{HEAD}{stream.column}" if stream.statistic == "output" else stream.slice


def _compile(specs: Sequence[StreamSpec], profile: Profile) -> _Plan:
    streams = [spec.stream for spec in specs]
    of_slices: dict[str, list[int]] = {}
    kernel: list[int] = []
    of_columns: dict[str, list[int]] = {"rank": [], "share": [], "mix": []}
    for at, stream in enumerate(streams):
        name = f"{stream.signal}.{stream.statistic}"
        if name in _SLICE_STATISTICS:
            of_slices.setdefault(name, []).append(at)
        elif stream.column == DISCREPANCY and profile.embedding is not None:
            kernel.append(at)
        elif stream.column not in profile.columns:
            msg = f"stream {stream.id} follows a column the profile lacks: {stream.column!r}"
            raise ValueError(msg)
        elif stream.statistic in ("location", "spread"):
            of_columns["rank"].append(at)
        elif stream.statistic in ("null_share", "unseen_share", "spike_share", "value_share"):
            of_columns["share"].append(at)
        elif stream.statistic == "mix":
            of_columns["mix"].append(at)
        else:
            msg = f"stream {stream.id} has no statistic of that name"
            raise ValueError(msg)

    slice_names = tuple(
        dict.fromkeys(_place(streams[at]) for places in of_slices.values() for at in places)
    )
    slice_at = {name: place for place, name in enumerate(slice_names)}
    parts = tuple(
        _SlicePart(
            name,
            np.array(places, dtype=np.int64),
            np.array([slice_at[_place(streams[at])] for at in places], dtype=np.int64),
            np.array([slice_variance(profile, name, streams[at].slice) for at in places]),
        )
        for name, places in of_slices.items()
    )

    columns = tuple(
        dict.fromkeys(streams[at].column for places in of_columns.values() for at in places)
    )
    column_at = {name: place for place, name in enumerate(columns)}
    sizes = tuple(profile.columns[name].size for name in columns)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)[:-1]
    ranks = np.zeros((2, sum(sizes)))
    sd = np.ones((2, len(columns)))
    kurtosis = np.full((2, len(columns)), 3.0)
    for at in of_columns["rank"]:
        name = streams[at].column
        place = column_at[name]
        centred, sd[:, place], kurtosis[:, place] = rank_scores(profile, name)
        ranks[:, starts[place] : starts[place] + sizes[place]] = centred

    rank = np.array(of_columns["rank"], dtype=np.int64)
    rank_rows = np.array([streams[at].statistic == "spread" for at in rank], dtype=np.int64)
    rank_columns = np.array([column_at[streams[at].column] for at in rank], dtype=np.int64)
    share = np.array(of_columns["share"], dtype=np.int64)
    share_columns = np.array([column_at[streams[at].column] for at in share], dtype=np.int64)
    scales = [share_of(profile, streams[at].column, streams[at].statistic) for at in share]
    mix = np.array(of_columns["mix"], dtype=np.int64)
    mix_columns = np.array([column_at[streams[at].column] for at in mix], dtype=np.int64)
    groupings = [mix_groups(profile, streams[at].column) for at in mix]
    lengths = [len(shares) for _, shares in groupings]
    mix_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    mix_cells = np.full(sum(sizes), mix_starts[-1], dtype=np.int64)
    for (groups, _), first, place in zip(groupings, mix_starts[:-1], mix_columns, strict=True):
        cells = np.where(groups >= 0, groups + first, mix_starts[-1])
        mix_cells[starts[place] : starts[place] + sizes[place]] = cells
    return _Plan(
        profile=profile,
        streams=len(streams),
        slice_names=slice_names,
        slice_parts=parts,
        columns=columns,
        sizes=sizes,
        starts=starts,
        ranks=ranks,
        rank_streams=rank,
        rank_rows=rank_rows,
        rank_columns=rank_columns,
        rank_sd=sd[rank_rows, rank_columns],
        rank_kurtosis=kurtosis[rank_rows, rank_columns],
        share_streams=share,
        share_columns=share_columns,
        share_cells=np.array(
            [
                starts[column] + _share_cell(profile, streams[at].column, streams[at].statistic)
                for at, column in zip(share, share_columns, strict=True)
            ],
            dtype=np.int64,
        ),
        share_of_all=np.array([streams[at].statistic == "null_share" for at in share], dtype=bool),
        share_values=np.array([scale.share for scale in scales]),
        share_stepped=np.array([scale.stepped for scale in scales], dtype=bool),
        mix_streams=mix,
        mix_columns=mix_columns,
        mix_cells=mix_cells,
        mix_starts=mix_starts[:-1],
        mix_shares=np.concatenate([shares for _, shares in groupings]) if len(mix) else np.empty(0),
        mix_of_group=np.repeat(np.arange(len(mix)), lengths),
        kernel_streams=np.array(kernel, dtype=np.int64),
    )


def _share_cell(profile: Profile, column: str, statistic: str) -> int:
    if statistic == "spike_share":
        return main_spike(profile, column)
    if statistic == "value_share":
        return FIRST_VALUE
    return NULL if statistic == "null_share" else UNSEEN


_PLANS: WeakKeyDictionary[Profile, list[tuple[Sequence[StreamSpec], _Plan]]] = WeakKeyDictionary()
PLANS_KEPT = 4


def _plan(specs: Sequence[StreamSpec], profile: Profile) -> _Plan:
    """The plan for these streams, kept while the profile lives; found by identity."""
    kept = _PLANS.setdefault(profile, [])
    for known, plan in kept:
        if known is specs:
            return plan
    plan = _compile(specs, profile)
    kept.append((specs, plan))
    del kept[:-PLANS_KEPT]
    return plan
