"""Which numbers are followed, what share of the budget each gets, and what effect matters.

Consequences page, movement files a ticket. On the page tier two thirds of the budget follow
labels (loss, calibration, transfer, a third of it each) and one third predictions; where a model
gets no labels, predictions have all of it. Inside a class half goes to all rows and half to
slices, in proportion to the square root of their rows: a slice earns a share like the precision
with which it can be seen. On the ticket tier the feature columns share equally, and a column's
statistics share equally in it; an embedding counts as one more column. Each tier sums to one.

Smallest effects, in the units of each statistic: .1 sd for means of scores and columns (Cohen
calls .2 small); odds by a tenth and half a percentage point for shares (a whole point for unseen
values); .05 log odds for calibration; w = .1 for a mix; 2 % of the reference loss for loss and
transfer, or the user's margin if that is wider.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from detectors.alignment.embedded import DISCREPANCY, OFF_PLANE, TOWARDS_CLASS
from detectors.calibration.heads import Head, heads_of
from detectors.calibration.over_time import FEWEST_CLUSTERS
from detectors.cells import NumericCells
from detectors.profile import PREDICTION_COLUMN, SCORE_COLUMN, Profile
from detectors.records import CalibratedTo, Settings, Stream, StreamSpec, Task, Tier
from detectors.scales import (
    difference_scale,
    loss_scale,
    main_spike,
    mix_groups,
    share_of,
)
from detectors.slice_search import searched_columns
from detectors.statistics import statistics, statistics_of

__all__ = [
    "by_cluster",
    "calibration_step",
    "effect_words",
    "feature_streams",
    "forecast_streams",
    "label_streams",
    "statistics",
    "statistics_of",
    "value_share_step",
]

LABELLED_SHARE = 2.0 / 3.0
FOUND_SHARE = 0.1
"""Of the page budget, kept for slices that a search finds while it runs; see `slice_search.py`."""
MOST_SCATTER = 4.0
"""Where days scatter more than this, rows tell little and ticks alone are followed."""
BY_CLUSTER = 0.5
"""What of the weight of calibration goes to evidence by cluster, where clusters are known."""
MEAN_STEP = 0.1
RANK_STEP = MEAN_STEP * float(np.sqrt(3.0 / np.pi))
"""A normal column shifted by .1 sd moves its mean mid-rank by this many sd of a mid-rank."""
CALIBRATION_STEP = 0.05
MIX_STEP = 0.1
LOSS_STEP = 0.02
NULL_STEP = 0.005
UNSEEN_STEP = 0.01
MOST_LOG_ODDS = 5.0
"""The one-step estimate of a shift of log odds means little beyond this."""
VIEW_WORDS = {
    "": "",
    "peers": ", more than in its peers",
    "slow": " from where the reference left it",
    "fleet": "",
}
ONE_VALUE = 0.98
"""A column of which one value holds this much is followed by the share of that value."""


def feature_streams(profile: Profile, settings: Settings) -> tuple[StreamSpec, ...]:
    """Streams of the tick clock: predictions (page) and feature columns (ticket)."""
    share = 1.0 - LABELLED_SHARE if _labelled(profile) else 1.0
    return (*_prediction_streams(profile, share), *_column_streams(profile))


def label_streams(profile: Profile, settings: Settings) -> tuple[StreamSpec, ...]:
    """Streams of the cohort clock: loss, calibration and transfer (page). None without labels.

    They run whether or not the reference has labels: what it lacks is replaced by a stand-in
    scale, which the evidence learns from the first ticks.
    """
    if not _labelled(profile):
        return ()
    loss = loss_scale(profile)
    relative = loss.mean / loss.sd if loss.mean > 0.0 else 1.0
    step = calibration_step(profile)
    kept = 1.0 - BY_CLUSTER if by_cluster(profile, settings) else 1.0
    classes = [
        [StreamSpec(Stream("loss", "mean", Tier.PAGE), 1.0, LOSS_STEP * relative)],
        _calibration_streams(profile, step, kept),
    ]
    if profile.schema.has_baseline:
        base = profile.baseline_loss
        mean = base.mean if base is not None and base.mean > 0.0 else loss.mean or loss.sd
        step = max(LOSS_STEP, settings.margin) * mean / difference_scale(profile).sd
        classes.append(_sliced(profile, [("transfer", "difference", step, "")]))
    share = _labelled_share(profile, settings) / len(classes)
    return tuple(_weighted(spec, share) for members in classes for spec in members)


def calibration_step(profile: Profile) -> float:
    """The smallest change of level that matters: log odds, or sd of a regression's residual."""
    return MEAN_STEP if profile.schema.task is Task.REGRESSION else CALIBRATION_STEP


def _labelled_share(profile: Profile, settings: Settings) -> float:
    """What streams with labels have, less what is kept for slices still to be found."""
    searched = bool(searched_columns(profile.schema)) and by_cluster(profile, settings)
    return LABELLED_SHARE - (FOUND_SHARE if searched else 0.0)


def _calibration_streams(profile: Profile, step: float, kept: float) -> list[StreamSpec]:
    """The score's own level and its slices'; half goes to further outputs where there are any.

    A class is weighed by the square root of its share: so precisely can it be seen.
    """
    own = _sliced(profile, [("calibration", "in_the_large", step, "")])
    heads = heads_of(profile.schema)
    if not heads:
        return [_weighted(spec, kept) for spec in own]
    roots = [np.sqrt(max(_events(profile, head), 1.0)) for head in heads]
    further = [
        StreamSpec(
            Stream("calibration", "output", Tier.PAGE, head.name),
            float(0.5 * kept * root / sum(roots)),
            CALIBRATION_STEP,
        )
        for head, root in zip(heads, roots, strict=True)
    ]
    return [*(_weighted(spec, 0.5 * kept) for spec in own), *further]


def _events(profile: Profile, head: Head) -> float:
    """How often a further output came true in the reference; as often as not where none tells."""
    known = profile.heads.get(head.name)
    return profile.rows * (0.5 if known is None else known.rate)


def forecast_streams(profile: Profile, settings: Settings) -> tuple[StreamSpec, ...]:
    """Streams of evidence by cluster: all rows, then every slice; none where clusters are unknown.

    They have half of the weight of calibration. A bank of ticks follows the same rows with the
    other half, for it also sees what the clusters do not tell.
    """
    if not by_cluster(profile, settings):
        return ()
    share = (
        _labelled_share(profile, settings) / (3 if profile.schema.has_baseline else 2) * BY_CLUSTER
    )
    whole = [("calibration", "by_cluster", CALIBRATION_STEP, "")]
    return tuple(_weighted(spec, share) for spec in _sliced(profile, whole))


def by_cluster(profile: Profile, settings: Settings) -> bool:
    """Whether evidence on calibration can be multiplied over clusters, or over rows.

    The reference must name clusters, or show that its rows scatter from day to day much as
    independent ones; and it must say what a score means, unless outcomes do.
    """
    probabilities = _labelled(profile) and profile.schema.task is not Task.REGRESSION
    against_outcomes = settings.calibration is CalibratedTo.OUTCOMES
    known = against_outcomes or profile.ruler.curve is not None
    scatter = profile.dispersion
    alone = not profile.clusters and scatter is not None and scatter <= MOST_SCATTER
    return probabilities and known and (alone or profile.clusters >= FEWEST_CLUSTERS)


def _labelled(profile: Profile) -> bool:
    return profile.schema.has_label and profile.schema.has_score


def _prediction_streams(profile: Profile, share: float) -> Iterable[StreamSpec]:
    if not profile.schema.has_score:
        return ()
    whole: list[tuple[str, str, float, str]] = []
    if profile.clipped.sd > 0.0:
        whole.append(("prediction", "mean", MEAN_STEP, ""))
        whole.append(("prediction", "spread", MEAN_STEP, SCORE_COLUMN))
    if profile.schema.task is Task.MULTICLASS and _has_mix(profile, PREDICTION_COLUMN):
        whole.append(("prediction", "mix", MIX_STEP, PREDICTION_COLUMN))
    return tuple(_weighted(spec, share) for spec in _sliced(profile, whole))


def _sliced(profile: Profile, whole: list[tuple[str, str, float, str]]) -> list[StreamSpec]:
    """A class whose weights sum to 1: half for all rows, half for slices of its first statistic."""
    if not whole:
        return []
    signal, statistic, step, column = whole[0]
    roots = [float(np.sqrt(ref.rows)) for ref in profile.slices] if not column else []
    kept = 0.5 if roots else 1.0
    specs = [
        StreamSpec(Stream(signal, statistic, Tier.PAGE, column), kept / len(whole), step)
        for signal, statistic, step, column in whole
    ]
    for ref, root in zip(profile.slices, roots, strict=False):
        stream = Stream(signal, statistic, Tier.PAGE, slice=ref.name)
        specs.append(StreamSpec(stream, 0.5 * root / sum(roots), step))
    return specs


def _column_streams(profile: Profile) -> tuple[StreamSpec, ...]:
    specs: list[StreamSpec] = []
    columns = profile.schema.columns
    followed = len(columns) + (profile.embedding is not None)
    for column in columns:
        steps = _numeric_steps(profile, column.name)
        if not isinstance(profile.columns[column.name], NumericCells):
            steps = _categorical_steps(profile, column.name)
        for statistic, step in steps.items():
            stream = Stream("column", statistic, Tier.TICKET, column.name)
            specs.append(StreamSpec(stream, 1.0 / followed / len(steps), step))
    named = _embedding_steps(profile)
    specs += [
        StreamSpec(
            Stream("embedding", statistic, Tier.TICKET, name), 1.0 / followed / len(named), step
        )
        for (statistic, name), step in named.items()
    ]
    return tuple(specs)


def _embedding_steps(profile: Profile) -> dict[tuple[str, str], float]:
    """What of an embedding is followed, with the smallest effects: the embedding is one column."""
    if profile.embedding is None:
        return {}
    rows = {("location", name): RANK_STEP for name in profile.embedding.columns}
    return {("discrepancy", DISCREPANCY): MEAN_STEP, **rows}


def _numeric_steps(profile: Profile, column: str) -> dict[str, float]:
    """The statistics of a numeric column with their smallest effects."""
    steps = {"null_share": _share_step(profile, column, "null_share")}
    counts = profile.counts[column][0]
    if not isinstance(profile.columns[column], NumericCells) or not counts[1:].sum() > 0.0:
        return steps
    if counts[main_spike(profile, column)] >= ONE_VALUE * counts[1:].sum():
        steps["spike_share"] = _share_step(profile, column, "spike_share")
    else:
        steps["location"] = RANK_STEP
        steps["spread"] = MEAN_STEP
    return steps


def _categorical_steps(profile: Profile, column: str) -> dict[str, float]:
    """The statistics of a categorical column with their smallest effects."""
    cells = profile.columns[column]
    assert not isinstance(cells, NumericCells)
    steps = {"null_share": _share_step(profile, column, "null_share")}
    if cells.values and not cells.open and cells.unseen_rate < UNSEEN_STEP:
        # Where the reference foretells more new values than matter, one more is no news; and in
        # its own ticks there are none, so that any serving would look like a shift.
        steps["unseen_share"] = _share_step(profile, column, "unseen_share")
    if _has_mix(profile, column):
        steps["mix"] = MIX_STEP
    return steps


def _has_mix(profile: Profile, column: str) -> bool:
    return len(mix_groups(profile, column)[1]) > 1


def share_step_of(statistic: str) -> float:
    """The smallest change of a share that matters, as a share."""
    return UNSEEN_STEP if statistic == "unseen_share" else NULL_STEP


def value_share_step(profile: Profile, column: str) -> float:
    """The smallest change that matters of the share of a column's first value."""
    return _share_step(profile, column, "value_share")


def _share_step(profile: Profile, column: str, statistic: str) -> float:
    return share_of(profile, column, statistic).smallest_effect(share_step_of(statistic))


def _weighted(spec: StreamSpec, factor: float) -> StreamSpec:
    return StreamSpec(spec.stream, spec.weight * factor, spec.delta_min)


def effect_words(spec: StreamSpec, effect: float, profile: Profile | None = None) -> str:
    """An effect, in the units of the stream, as one short phrase.

    With the profile, shares and losses are said as "2 % → 34 %" from the reference's value;
    without it, in the units of the statistic.
    """
    stream = spec.stream
    where = f" in {stream.slice}" if stream.slice and stream.statistic != "value_share" else ""
    return f"{_phrase(stream, effect, profile)}{where}{VIEW_WORDS[stream.view]}"


def _phrase(stream: Stream, effect: float, profile: Profile | None) -> str:
    way, size = ("up" if effect >= 0.0 else "down"), abs(effect)
    if stream.statistic.endswith("_share"):
        what = {
            "null_share": f"null share of {stream.column}",
            "unseen_share": f"share of unseen values in {stream.column}",
            "spike_share": f"share of the usual value of {stream.column}",
            "value_share": f"share of {stream.slice}",
        }[stream.statistic]
        if profile is None:
            return f"{what} {way} {size:.2f} log odds"
        scale = share_of(profile, stream.column, stream.statistic)
        return f"{what} {_percent(scale.share)} → {_percent(scale.after(effect))}"
    if stream.signal == "loss":
        if profile is None or profile.loss is None:
            return f"mean loss {way} {size:.2f} reference sd"
        before = profile.loss.mean
        after = max(0.0, before + effect * loss_scale(profile).sd)
        return f"mean loss {before:.3g} → {after:.3g}"
    if stream.signal == "transfer":
        if profile is None:
            return f"loss against the baseline {way} {size:.2f} reference sd"
        return f"loss against the baseline {way} {size * difference_scale(profile).sd:.3g}"
    if stream.signal == "calibration" and stream.statistic == "output":
        way = "more" if effect >= 0.0 else "less"
        by = f"{size:.2f}" if size <= MOST_LOG_ODDS else f"over {MOST_LOG_ODDS:g}"
        return f"{stream.column} comes true {way} often than it says, by {by} log odds"
    if stream.signal == "calibration":
        regression = profile is not None and profile.schema.task is Task.REGRESSION
        unit = "reference sd of the residual" if regression else "log odds"
        by = f"{size:.2f}" if size <= MOST_LOG_ODDS or regression else f"over {MOST_LOG_ODDS:g}"
        return f"outcomes {'above' if effect >= 0.0 else 'below'} the scores by {by} {unit}"
    what = {
        ("embedding", "discrepancy"): "mean embedding away from the reference",
        ("embedding", "location"): {
            OFF_PLANE: "distance of embeddings from the reference's plane",
            TOWARDS_CLASS: "cosine of embeddings to the centre of their class",
        }.get(stream.column, ""),
        ("prediction", "mean"): "mean score",
        ("prediction", "spread"): "spread of the scores",
        ("prediction", "mix"): "mix of predicted classes",
        ("column", "location"): f"location of {stream.column}",
        ("column", "spread"): f"spread of {stream.column}",
        ("column", "mix"): f"mix of {stream.column}",
    }[stream.signal, stream.statistic]
    if stream.statistic == "discrepancy":
        return f"{what} by {effect:+.2f} spreads of rows"
    if stream.statistic == "mix":
        return (
            f"{what} {'away from' if effect >= 0.0 else 'closer to'} the reference by w {size:.2f}"
        )
    return f"{what} {way} {size:.2f} reference sd"


def _percent(share: float) -> str:
    percent = 100.0 * share
    if percent >= 10.0 or percent < 0.001:
        return f"{percent:.0f} %"
    return f"{percent:.2g} %"
