from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from scipy.stats import chisquare

from detectors.cells import NULL, NumericCells
from detectors.records import (
    Categories,
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
from detectors.scales import mix_groups, slice_variance
from detectors.statistics import statistics, statistics_of
from detectors.streams import feature_streams, label_streams
from detectors.summary import (
    Profile,
    TickSummary,
    fit_profile,
    merge_summaries,
    summarise,
    summarise_labels,
)
from tests.detectors.rows import CARRIERS, SCHEMA, SHARES, flights
from tests.detectors.test_shares import mean_likelihood_ratio

SPAN = {"start_us": 0, "end_us": 1}
REFERENCE = flights(np.random.default_rng(21), 20_000)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile(REFERENCE, SCHEMA)


def streams(profile: Profile) -> tuple[StreamSpec, ...]:
    return feature_streams(profile, Settings()) + label_streams(profile, Settings())


def whole(window: Window, profile: Profile) -> TickSummary:
    return summarise(window, profile, **SPAN).merge(summarise_labels(window, profile, **SPAN))


def value(profile: Profile, window: Window, stream: str) -> tuple[float, float]:
    specs = streams(profile)
    at = [spec.stream.id for spec in specs].index(stream)
    y, v = statistics(specs, profile, whole(window, profile))
    return float(y[at]), float(v[at])


def defined(window: Window) -> dict[str, tuple[float, float]]:
    """Statistics from raw rows, straight from their definitions, without cells or sums."""
    score, label, base = (
        cast(FloatArray, column) for column in (window.score, window.label, window.baseline_score)
    )
    ref_score = cast(FloatArray, REFERENCE.score)
    z = (score - ref_score.mean()) / ref_score.std()
    kurtosis = float((((ref_score - ref_score.mean()) / ref_score.std()) ** 4).mean())
    rain = window.numeric["rain"]
    ref_rain = np.sort(REFERENCE.numeric["rain"])
    below = np.searchsorted(ref_rain, rain, side="left")
    upto = np.searchsorted(ref_rain, rain, side="right")
    ranks = (below + upto) / 2.0 / len(ref_rain)
    own = np.searchsorted(ref_rain, ref_rain, "left") + np.searchsorted(ref_rain, ref_rain, "right")
    ref_ranks = own / 2.0 / len(ref_rain)
    nulls = np.isnan(window.numeric["distance"]).mean()
    loss = -np.log(np.clip(np.where(label == 1.0, score, 1.0 - score), 0.01, 0.99))
    baseline = -np.log(np.clip(np.where(label == 1.0, base, 1.0 - base), 0.01, 0.99))
    ref_label, ref_base = (
        cast(FloatArray, column) for column in (REFERENCE.label, REFERENCE.baseline_score)
    )
    ref_hit = np.clip(np.where(ref_label == 1.0, ref_score, 1.0 - ref_score), 0.01, 0.99)
    ref_base_hit = np.clip(np.where(ref_label == 1.0, ref_base, 1.0 - ref_base), 0.01, 0.99)
    ref_difference = np.log(ref_base_hit) - np.log(ref_hit)
    n = window.rows
    return {
        "prediction.mean": (z.mean(), (1.0 + max(0.0, kurtosis - 3.0) / 4.0 / n) / n),
        "column.location:rain": ((ranks.mean() - 0.5) / ref_ranks.std(), 1.0 / n),
        "column.null_share:distance": (
            np.log((nulls * n + 0.5) / (n - nulls * n + 0.5)),
            np.nan,
        ),
        "loss.mean": ((loss.mean() + np.log(ref_hit).mean()) / np.log(ref_hit).std(), np.nan),
        "transfer.difference": ((loss - baseline).mean() / ref_difference.std(), np.nan),
    }


def test_statistics_agree_with_their_definitions_on_raw_rows(profile: Profile) -> None:
    window = flights(np.random.default_rng(22), 900)
    for stream, (y, v) in defined(window).items():
        got_y, got_v = value(profile, window, stream)
        # bins keep ranks to within a bin's share
        assert got_y == pytest.approx(y, abs=0.005 if "location" in stream else 1e-9)
        if not np.isnan(v):
            assert got_v == pytest.approx(v, rel=1e-6)


def test_calibration_is_one_newton_step_of_the_intercept(profile: Profile) -> None:
    window = flights(np.random.default_rng(23), 400)
    curve = profile.ruler.curve
    assert curve is not None
    r = curve.apply(cast(FloatArray, window.score))
    information = (r * (1.0 - r)).sum()
    y, v = value(profile, window, "calibration.in_the_large")
    assert y == pytest.approx((cast(FloatArray, window.label) - r).sum() / information)
    assert v == pytest.approx((information + 0.25) / information**2)


def test_a_mix_is_the_root_of_chi_square_over_rows(profile: Profile) -> None:
    """Where cells are full the half event vanishes and Pearson's statistic is left."""
    window = flights(np.random.default_rng(24), 50_000)
    got, v = value(profile, window, "column.mix:carrier")
    observed = np.bincount(window.categorical["carrier"].codes, minlength=4)
    expected = np.bincount(REFERENCE.categorical["carrier"].codes, minlength=4)
    pearson = float(chisquare(observed, expected * 50_000 / 20_000).statistic)
    assert got == pytest.approx((np.sqrt(pearson) - np.sqrt(2.5)) / np.sqrt(50_000), abs=1e-5)
    assert v == 1.0 / (2.0 * 50_000)


def test_a_mix_is_in_units_of_cohens_w_however_many_rows_there_are(profile: Profile) -> None:
    moved = np.array([0.4, 0.3, 0.25, 0.05])
    w = float(np.sqrt(((moved - SHARES) ** 2 / np.array(SHARES)).sum()))
    for rows in (20_000, 200_000):
        codes = np.repeat(np.arange(4), (moved * rows).astype(int)).astype(np.int32)
        window = Window(rows=len(codes), categorical={"carrier": Categories(codes, CARRIERS)})
        assert value(profile, window, "column.mix:carrier")[0] == pytest.approx(w, abs=0.03)


def test_weights_enter_by_their_effective_rows(profile: Profile) -> None:
    """A row of weight 3 moves means like three rows, and is worth as much as Kish says."""
    window = flights(np.random.default_rng(25), 300)
    repeats = 1 + np.arange(300) % 3
    weighted = replace(window, weight=repeats.astype(np.float64))
    repeated = window.take(np.repeat(np.arange(300), repeats))
    effective = repeats.sum() ** 2 / (repeats**2).sum()
    for stream in ("prediction.mean", "loss.mean", "transfer.difference", "column.location:rain"):
        y, v = value(profile, weighted, stream)
        assert y == pytest.approx(value(profile, repeated, stream)[0])
        assert v == pytest.approx(1.0 / effective, rel=0.05)
    y, v = value(profile, weighted, "calibration.in_the_large")
    assert y == pytest.approx(value(profile, repeated, "calibration.in_the_large")[0])
    plain = value(profile, window, "calibration.in_the_large")[1]
    assert v / plain == pytest.approx(300 / effective, rel=0.1)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_variance_of_every_stream_is_the_one_it_claims(
    profile: Profile, weighted: bool
) -> None:
    """900 ticks of independent rows: the variance of y is v within 16 %.

    The mix of k groups is held to the claim 1 / 2n from above: with few groups the root of a
    chi-square varies a little less (.45 for 3 degrees of freedom instead of .5).
    """
    rng = np.random.default_rng(26)
    ticks, rows = 900, 120
    mass = rng.choice([1.0, 4.0], ticks * rows) if weighted else None
    log = flights(rng, ticks * rows, weight=mass)
    specs = streams(profile)
    summaries = [
        whole(log.take(slice(first, first + rows)), profile)
        for first in range(0, ticks * rows, rows)
    ]
    y, v = statistics_of(specs, profile, summaries)
    assert np.isfinite(v).mean() > 0.99
    z = (y - np.median(y, axis=0)) / np.sqrt(v)
    for at, spec in enumerate(specs):
        stream = spec.stream
        if stream.slice == "carrier=UA":  # six rows a tick: tested below
            continue
        ratio = float(np.var(z[np.isfinite(v[:, at]), at]))
        low, high = (0.7, 1.1) if stream.statistic == "mix" else (0.84, 1.16)
        if stream.statistic == "unseen_share":  # nothing unseen in these rows: y never moves
            assert ratio == 0.0
            continue
        if stream.column == "carrier" and stream.statistic == "null_share":
            assert ratio == 0.0
            continue
        if stream.column == "rain" and stream.statistic == "null_share":
            assert ratio == 0.0
            continue
        assert low < ratio < high, stream.id


@pytest.mark.parametrize("rows", [1, 6])
def test_a_handful_of_rows_never_looks_like_evidence(profile: Profile, rows: int) -> None:
    """Mean t likelihood ratio under no change, all streams, level known: at most 1.1."""
    rng = np.random.default_rng(27)
    ticks = 1_200
    log = flights(rng, ticks * rows)
    specs = streams(profile)
    summaries = [
        whole(log.take(slice(first, first + rows)), profile)
        for first in range(0, ticks * rows, rows)
    ]
    y, v = statistics_of(specs, profile, summaries)
    level, _ = statistics(specs, profile, whole(flights(rng, 60_000), profile))
    for at, spec in enumerate(specs):
        usable = np.isfinite(v[:, at])
        if not usable.sum() > 200:
            continue
        stream = spec.stream
        own = 0.0 if stream.statistic == "mix" else level[at]
        z = (y[usable, at] - own) / np.sqrt(v[usable, at])
        mean = mean_likelihood_ratio(z, np.full(len(z), 1.0 / len(z)))
        assert mean < 1.1, stream.id


def test_rare_losses_of_a_rare_event_are_no_evidence() -> None:
    """At a base rate of 1 % plain 1 / n would give a mean likelihood ratio above 1.5."""
    rng = np.random.default_rng(28)
    schema = Schema(Task.BINARY, (), has_baseline=False)

    def rare(rows: int) -> Window:
        score = rng.uniform(0.005, 0.015, rows)
        return Window(rows=rows, score=score, label=(rng.random(rows) < score).astype(np.float64))

    profile = fit_profile(rare(30_000), schema)
    specs = label_streams(profile, Settings())
    log = rare(10 * 2_500)
    ticks = [
        summarise_labels(log.take(slice(first, first + 10)), profile, **SPAN)
        for first in range(0, 25_000, 10)
    ]
    y, v = statistics_of(specs, profile, ticks)
    for at in range(len(specs)):
        chance = np.full(len(y), 1.0 / len(y))
        assert mean_likelihood_ratio(y[:, at] / np.sqrt(v[:, at]), chance) < 1.02
        assert mean_likelihood_ratio(y[:, at] / np.sqrt(np.var(y[:, at])), chance) > 1.2


def test_a_slice_varies_as_its_own_rows_do() -> None:
    rng = np.random.default_rng(29)
    codes = np.repeat(np.arange(2), 2_000).astype(np.int32)
    score = np.where(codes == 0, rng.uniform(0.49, 0.51, 4_000), rng.uniform(0.0, 1.0, 4_000))
    window = Window(rows=4_000, score=score, categorical={"c": Categories(codes, ("calm", "wild"))})
    schema = Schema(Task.BINARY, (ColumnSpec("c", Kind.CATEGORICAL),), slices=(("c",),))
    profile = fit_profile(window, schema)
    calm = slice_variance(profile, "prediction.mean", "c=calm")
    wild = slice_variance(profile, "prediction.mean", "c=wild")
    assert calm == pytest.approx(20 / 2_020, rel=0.1)
    assert wild == pytest.approx(2.0, rel=0.05)


def test_a_tick_without_rows_or_labels_has_no_data(profile: Profile) -> None:
    specs = streams(profile)
    for summary in (
        merge_summaries([], 0, 1),
        summarise(REFERENCE.take(slice(0, 0)), profile, **SPAN),
    ):
        y, v = statistics(specs, profile, summary)
        assert not y.any()
        assert np.isinf(v).all()
    unlabelled = flights(np.random.default_rng(30), 50, labels=False)
    _, v = statistics(specs, profile, whole(unlabelled, profile))
    labelled = [spec.stream.signal in ("loss", "calibration", "transfer") for spec in specs]
    assert np.isinf(v[labelled]).all()


def test_an_all_null_column_is_said_by_its_null_share_alone(profile: Profile) -> None:
    window = flights(np.random.default_rng(31), 200, nulls=1.0)
    assert value(profile, window, "column.location:distance") == (0.0, np.inf)
    y, v = value(profile, window, "column.null_share:distance")
    assert y == pytest.approx(np.log(200.5 / 0.5))
    assert np.isfinite(v)


def test_the_same_streams_object_gives_the_same_numbers_as_a_copy(profile: Profile) -> None:
    specs = streams(profile)
    summary = whole(flights(np.random.default_rng(32), 100), profile)
    first = statistics(specs, profile, summary)
    again = statistics(specs, profile, summary)
    other = statistics(list(specs), Profile.from_bytes(profile.to_bytes()), summary)
    for left, right in ((first, again), (first, other)):
        assert np.array_equal(left[0], right[0])
        assert np.array_equal(left[1], right[1])
    backwards = statistics(specs[::-1], profile, summary)
    assert np.array_equal(backwards[0][::-1], first[0])


def test_a_summary_of_another_profile_is_refused(profile: Profile) -> None:
    other = fit_profile(flights(np.random.default_rng(33), 500), SCHEMA)
    summary = summarise(flights(np.random.default_rng(34), 20), other, **SPAN)
    with pytest.raises(ValueError, match="summarise the rows again"):
        statistics(streams(profile), profile, summary)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (Stream("column", "location", Tier.TICKET, "nowhere"), "lacks"),
        (Stream("column", "beauty", Tier.TICKET, "rain"), "no statistic"),
    ],
)
def test_a_stream_that_cannot_be_read_is_refused(
    profile: Profile, stream: Stream, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        statistics([StreamSpec(stream, 1.0, 0.1)], profile, merge_summaries([], 0, 1))


def test_groups_of_a_mix_are_common_values_and_one_rest() -> None:
    codes = np.concatenate([np.repeat(np.arange(3), 300), np.arange(3, 53), np.full(50, -1)])
    window = Window(
        rows=1_000,
        categorical={"c": Categories(codes.astype(np.int32), tuple(map(str, range(53))))},
    )
    profile = fit_profile(window, Schema(Task.BINARY, (ColumnSpec("c", Kind.CATEGORICAL),)))
    groups, shares = mix_groups(profile, "c")
    assert groups[NULL] == -1
    assert shares == pytest.approx([300 / 950] * 3 + [50 / 950])
    assert len(set(groups[groups >= 0])) == 4


def test_a_rest_too_small_to_stand_alone_joins_the_rarest_group(profile: Profile) -> None:
    _, shares = mix_groups(profile, "carrier")
    assert len(shares) == 4
    assert shares.sum() == pytest.approx(1.0)
    assert isinstance(profile.columns["rain"], NumericCells)


def test_rare_values_in_a_few_rows_are_no_evidence_of_a_moved_mix() -> None:
    """Two values of 1 % among twenty rows: Pearson's statistic alone would give a mean of 2."""
    rng = np.random.default_rng(35)
    shares = [0.98, 0.01, 0.01]

    def column(rows: int) -> Window:
        codes = rng.choice(3, rows, p=shares).astype(np.int32)
        return Window(rows=rows, categorical={"c": Categories(codes, ("a", "b", "c"))})

    exact = np.repeat(np.arange(3), [9_800, 100, 100]).astype(np.int32)
    reference = Window(rows=10_000, categorical={"c": Categories(exact, ("a", "b", "c"))})
    profile = fit_profile(reference, Schema(Task.BINARY, (ColumnSpec("c", Kind.CATEGORICAL),)))
    specs = [StreamSpec(Stream("column", "mix", Tier.TICKET, "c"), 1.0, 0.1)]
    ticks = [summarise(column(20), profile, **SPAN) for _ in range(2_000)]
    y, v = statistics_of(specs, profile, ticks)
    chance = np.full(len(y), 1.0 / len(y))
    assert mean_likelihood_ratio(y[:, 0] / np.sqrt(v[:, 0]), chance) < 1.05
