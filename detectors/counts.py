"""What of a tick's rows is counted: events of rates, and cells of streams followed row by row.

The evidence engine knows streams by number; here they are read from profiles and summaries. With
weights the counts are of effective rows: exact where all rows of a tick weigh the same, as they do
after sampling by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from detectors.cells import NumericCells
from detectors.evidence.bets import Bets, mean_bets, mix_bets, ordered_bets
from detectors.evidence.counted import CountRules, Counts
from detectors.profile import LOSS_COLUMN, SCORE_COLUMN, Profile
from detectors.records import FloatArray, StreamSpec, Task
from detectors.scales import mix_groups, share_of
from detectors.shares import ODDS_STEP
from detectors.statistics import rate_counts
from detectors.streams import share_step_of
from detectors.summary import TickSummary
from detectors.sums import ALL_ROWS, Sum

LEAST_ROWS = 5_000
"""Below this the error of a reference's cells is too much for bets on single rows."""
ROW_STATISTICS = frozenset(
    {
        "column.location",
        "column.spread",
        "column.mix",
        "prediction.mean",
        "prediction.spread",
        "prediction.mix",
        "loss.mean",
    }
)


def count_rules(
    specs: Sequence[StreamSpec], profile: Profile, *, own_reference: bool = True
) -> CountRules:
    """What the reference says of counted streams; rows only where it is the domain's own."""
    count = len(specs)
    rate, stepped = np.zeros(count, bool), np.ones(count, bool)
    odds, share = np.zeros(count), np.zeros(count)
    bets: dict[int, Bets] = {}
    refused: dict[int, str] = {}
    for k, spec in enumerate(specs):
        stream = spec.stream
        if stream.statistic.endswith("_share"):
            rate[k] = True
            odds[k], share[k] = ODDS_STEP, share_step_of(stream.statistic)
            stepped[k] = share_of(profile, stream.column, stream.statistic).stepped
        elif (stream.signal, stream.statistic) == ("calibration", "in_the_large"):
            rate[k] = profile.schema.task is not Task.REGRESSION
            odds[k] = spec.delta_min
        elif f"{stream.signal}.{stream.statistic}" in ROW_STATISTICS and not stream.slice:
            why = _refusal(profile, column_of(spec), own_reference)
            found = None if why else _bets(spec, profile)
            if found is None:
                refused[k] = why or "its cells leave nothing to bet on"
            else:
                bets[k] = found
        elif stream.slice:
            refused[k] = "slices keep no cells"
    return CountRules(rate, odds, share, stepped, bets, refused)


def counts_of(
    specs: Sequence[StreamSpec],
    profile: Profile,
    rules: CountRules,
    summaries: Iterable[TickSummary],
    *,
    rows: Iterable[int] = (),
) -> Counts:
    """Counts of T ticks; cells only of the streams `rows` that are followed row by row."""
    by_row = [k for k in rows if k in rules.bets]
    ticks, cells = [], []
    for summary in summaries:
        ticks.append(rate_counts(specs, profile, summary))
        cells.append(_cells(specs, profile, summary, by_row))
    if not ticks:
        nothing = np.empty((0, len(specs)))
        return Counts(rules, nothing, nothing, nothing)
    events, trials, expected = (np.stack(part) for part in zip(*ticks, strict=True))
    return Counts(rules, events, trials, expected, tuple(cells))


def column_of(spec: StreamSpec) -> str:
    """The column whose cells a stream can be followed by."""
    if spec.stream.signal == "loss":
        return LOSS_COLUMN
    return spec.stream.column or SCORE_COLUMN


def _refusal(profile: Profile, column: str, own_reference: bool) -> str:
    if not own_reference:
        return "the reference is not the domain's own"
    if column not in profile.counts:
        return "the reference has no losses"
    sums = profile.slice_sums[ALL_ROWS]
    if column == LOSS_COLUMN and sums[Sum.JUDGED2] != sums[Sum.JUDGED_ROWS]:
        return "the rows of a cluster may share their outcome, or are weighted"
    counts = profile.counts[column]
    if not np.array_equal(counts[0], counts[1]):
        return "the rows of the reference are weighted"
    rows = float(counts[0, 1:].sum())
    if rows < LEAST_ROWS:
        return f"{rows:,.0f} reference rows; single rows need {LEAST_ROWS:,}"
    return ""


def _bets(spec: StreamSpec, profile: Profile) -> Bets | None:
    column, statistic = column_of(spec), spec.stream.statistic
    counts = _ordered(profile, column, profile.counts[column][0])
    if statistic == "mix":
        return mix_bets(counts)
    if statistic == "location":
        return ordered_bets(counts, widths=False, tails=False)
    if statistic == "spread":
        return ordered_bets(counts, shifts=False)
    if column == LOSS_COLUMN:
        return ordered_bets(counts)
    mean = profile.ruler.score.mean
    if profile.schema.task is Task.REGRESSION or not 0.0 < mean < 1.0:
        return ordered_bets(counts, widths=False)
    return mean_bets(counts, *_ends(profile, column), mean)


def _ordered(profile: Profile, column: str, counts: FloatArray) -> FloatArray:
    """Counts (G,) of the cells that are bet on: from low to high, or the groups of a mix."""
    cells = profile.columns[column]
    if isinstance(cells, NumericCells):
        return counts[cells.order]
    groups, shares = mix_groups(profile, column)
    inside = groups >= 0
    sums = np.bincount(groups[inside], weights=counts[inside], minlength=len(shares))
    return sums.astype(np.float64)


def _ends(profile: Profile, column: str) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest value (G,) of each ordered cell of a score in [0, 1]."""
    cells = profile.columns[column]
    assert isinstance(cells, NumericCells)
    first_bin = 1 + len(cells.spikes)
    lowest = np.concatenate([[0.0], cells.spikes, [0.0], cells.edges])
    highest = np.concatenate([[0.0], cells.spikes, cells.edges, [1.0]])
    assert len(lowest) == cells.size
    assert first_bin < cells.size
    return lowest[cells.order], highest[cells.order]


def _cells(
    specs: Sequence[StreamSpec], profile: Profile, summary: TickSummary, by_row: Sequence[int]
) -> Mapping[int, FloatArray]:
    found = {}
    for k in by_row:
        column = column_of(specs[k])
        counts = summary.columns.get(column)
        if counts is None:
            continue
        heavy = np.divide(counts[1], counts[0], out=np.ones(counts.shape[1]), where=counts[0] > 0)
        found[k] = _ordered(profile, column, counts[0] / max(float(heavy.max()), 1e-300))
    return found
