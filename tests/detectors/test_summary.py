from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.calibration.recalibration import fit_recalibration
from detectors.profile import LOSS_COLUMN
from detectors.records import Categories, FloatArray, Window
from detectors.summary import (
    ALL_ROWS,
    SCORE_COLUMN,
    SLICE_SUMS,
    Profile,
    Sum,
    TickSummary,
    fit_profile,
    merge_summaries,
    summarise,
    summarise_labels,
    transfer_sums,
)
from tests.detectors.rows import SCHEMA, flights

REFERENCE = flights(np.random.default_rng(1), 4_000)
SPAN = {"start_us": 0, "end_us": 10}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile(REFERENCE, SCHEMA)


def whole(window: Window, profile: Profile) -> TickSummary:
    return summarise(window, profile, **SPAN).merge(summarise_labels(window, profile, **SPAN))


def same(left: TickSummary, right: TickSummary, *, exactly: bool) -> None:
    assert left.columns.keys() == right.columns.keys()
    assert left.slices.keys() == right.slices.keys()
    assert left.missing == right.missing
    for name in left.columns:
        assert np.array_equal(left.columns[name], right.columns[name])
    for name, vector in left.slices.items():
        close = np.array_equal if exactly else np.allclose
        assert close(vector, right.slices[name])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=2, max_size=4), st.integers(0, 99))
def test_parts_add_up_to_the_whole_wherever_a_tick_is_cut(cuts: list[int], seed: int) -> None:
    profile = fit_profile(REFERENCE, SCHEMA)
    rng = np.random.default_rng(seed)
    window = flights(rng, 300, weight=rng.integers(1, 4, 300).astype(np.float64))
    bounds = [0, *sorted(cuts), 300]
    parts = [whole(window.take(slice(low, high)), profile) for low, high in pairwise(bounds)]
    rng.shuffle(parts)
    same(merge_summaries(parts, 0, 10), whole(window, profile), exactly=False)


def test_merging_whole_numbers_is_exact_and_associative(profile: Profile) -> None:
    rng = np.random.default_rng(5)
    grid = rng.integers(0, 9, (3, 200)) / 8.0  # eighths add without rounding

    def dyadic(part: int) -> TickSummary:
        vectors = {"": grid[part, : len(Sum)], "carrier=AA": grid[part, 50 : 50 + len(Sum)]}
        return TickSummary(profile.fingerprint, part, part + 1, {"x": grid[part][None]}, vectors)

    a, b, c = dyadic(0), dyadic(1), dyadic(2)
    same(a.merge(b).merge(c), a.merge(b.merge(c)), exactly=True)
    same(a.merge(b), b.merge(a), exactly=True)
    merged = c.merge(a).merge(b)
    assert (merged.start_us, merged.end_us) == (0, 3)


def test_an_empty_summary_changes_nothing(profile: Profile) -> None:
    window = flights(np.random.default_rng(6), 50)
    full = whole(window, profile)
    empty = summarise(window.take(slice(0, 0)), profile, **SPAN)
    assert (empty.rows, empty.labelled_rows, empty.missing) == (0, 0, frozenset())
    same(full.merge(empty), full, exactly=True)
    same(merge_summaries([], 0, 1).merge(full), full, exactly=True)


@pytest.mark.parametrize("weighted", [False, True])
def test_cells_of_every_column_add_up_to_the_rows(profile: Profile, weighted: bool) -> None:
    rng = np.random.default_rng(7)
    weight = rng.uniform(1.0, 5.0, 400) if weighted else None
    window = flights(rng, 400, weight=weight)
    summary = summarise(window, profile, **SPAN)
    mass = window.weights()
    assert set(summary.columns) == {"distance", "rain", "carrier", SCORE_COLUMN}
    for counts in summary.columns.values():
        assert counts.sum(axis=1) == pytest.approx([mass.sum(), (mass**2).sum()])
    assert summary.rows == 400
    assert summary.weight == pytest.approx(mass.sum())


def sums_slowly(window: Window, rows: FloatArray, profile: Profile) -> dict[str, float]:
    """The definitions, row by row."""
    out = dict.fromkeys(SLICE_SUMS, 0.0)
    weights = window.weights()
    assert window.score is not None
    assert window.label is not None
    assert window.baseline_score is not None
    assert profile.ruler.curve is not None
    assert REFERENCE.score is not None
    mean, sd = float(REFERENCE.score.mean()), float(REFERENCE.score.std())
    for row in np.flatnonzero(rows):
        w, p, y = weights[row], window.score[row], window.label[row]
        base = window.baseline_score[row]
        out["rows"] += 1
        out["weight"] += w
        out["weight2"] += w * w
        if not np.isnan(p):
            z = (p - mean) / sd
            for name, value in zip(("scored", "score", "score2"), (1, z, z * z), strict=True):
                out[name] += w * value
            out["scored2"] += w * w
        if np.isnan(y):
            continue
        out["labelled_rows"] += 1
        out["labelled"] += w
        out["label"] += w * y
        if np.isnan(p):
            continue
        clipped = min(max(p, 0.01), 0.99)
        loss = -np.log(clipped if y else 1.0 - clipped)
        r = float(profile.ruler.curve.apply(np.array([p]))[0])
        out["judged_rows"] += 1
        out["judged"] += w
        out["judged2"] += w * w
        out["observed"] += w * y
        out["predicted"] += w * p
        out["loss"] += w * loss
        out["loss2"] += w * loss**2
        out["residual"] += w * (y - r)
        out["information"] += w * r * (1.0 - r)
        out["information2"] += w * w * r * (1.0 - r)
        if np.isnan(base):
            continue
        clipped = min(max(base, 0.01), 0.99)
        baseline = -np.log(clipped if y else 1.0 - clipped)
        out["paired_rows"] += 1
        out["paired"] += w
        out["paired2"] += w * w
        out["difference"] += w * (loss - baseline)
        out["difference2"] += w * (loss - baseline) ** 2
        out["baseline_loss"] += w * baseline
        out["paired_ones"] += y
    return out


def test_the_sums_of_a_slice_are_their_definitions(profile: Profile) -> None:
    rng = np.random.default_rng(8)
    window = flights(rng, 500, weight=rng.uniform(1.0, 3.0, 500))
    for column, every in ((window.score, 7), (window.baseline_score, 5), (window.label, 3)):
        assert column is not None
        column[::every] = np.nan
    summary = whole(window, profile)
    strings = window.categorical["carrier"].strings()
    for name in (ALL_ROWS, "carrier=AA", "carrier=UA"):
        rows = np.ones(500, dtype=bool) if not name else strings == name.split("=")[1]
        wanted = sums_slowly(window, rows, profile)
        assert dict(zip(SLICE_SUMS, summary.slices[name], strict=True)) == pytest.approx(wanted)
    assert len(SLICE_SUMS) <= 40


def test_rows_of_a_cluster_count_as_one_that_moves_together(profile: Profile) -> None:
    """Every row five times in one cluster: five times the sums, and no more effective rows."""
    once = replace(flights(np.random.default_rng(8), 400), weight=None)
    copies = once.take(np.repeat(np.arange(400), 5))
    codes = np.repeat(np.arange(400, dtype=np.int32), 5)
    shared = replace(copies, cluster=Categories(codes, tuple(map(str, range(400)))))
    alone = whole(replace(copies, cluster=Categories(np.full(2000, -1, np.int32), ())), profile)
    one, five = whole(once, profile), whole(shared, profile)
    for first, second in (
        (Sum.JUDGED, Sum.JUDGED2),
        (Sum.PAIRED, Sum.PAIRED2),
        (Sum.INFORMATION, Sum.INFORMATION2),
    ):
        assert one.sum(second) > 0.0
        assert five.sum(first) == pytest.approx(5 * one.sum(first))
        assert five.sum(second) == pytest.approx(25 * one.sum(second))
        assert alone.sum(second) == pytest.approx(5 * one.sum(second))


def test_the_recalibration_curve_is_that_of_the_reference(profile: Profile) -> None:
    assert REFERENCE.score is not None
    assert REFERENCE.label is not None
    assert profile.ruler.curve is not None
    wanted = fit_recalibration(REFERENCE.score, REFERENCE.label, REFERENCE.weights())
    grid = np.linspace(0.01, 0.99, 50)
    assert np.array_equal(profile.ruler.curve.apply(grid), wanted.apply(grid))


def test_labels_and_columns_of_one_tick_do_not_count_twice(profile: Profile) -> None:
    window = flights(np.random.default_rng(9), 100)
    labels = summarise_labels(window, profile, **SPAN)
    assert (labels.rows, labels.labelled_rows, set(labels.columns)) == (0, 100, {LOSS_COLUMN})
    assert labels.columns[LOSS_COLUMN][0].sum() == 100
    both = summarise(window, profile, **SPAN).merge(labels)
    assert (both.rows, both.labelled_rows) == (100, 100)


def test_a_missing_column_is_named_and_counted_as_null(profile: Profile) -> None:
    window = flights(np.random.default_rng(10), 80)
    lacking = replace(window, numeric={"rain": window.numeric["rain"]})
    first = summarise(lacking, profile, **SPAN)
    assert first.missing == {"distance"}
    assert first.columns["distance"][0, 0] == 80
    assert first.columns["distance"][0].sum() == 80
    assert first.merge(summarise(window, profile, **SPAN)).missing == frozenset()
    assert first.merge(summarise_labels(window, profile, **SPAN)).missing == {"distance"}
    assert first.merge(first).missing == {"distance"}


def test_a_column_of_the_other_kind_is_retyped(profile: Profile) -> None:
    window = flights(np.random.default_rng(11), 30)
    text = Categories(np.zeros(30, dtype=np.int32), ("12 mi",))
    wrong = replace(
        window,
        numeric={"rain": window.numeric["rain"], "carrier": np.ones(30)},
        categorical={"distance": text},
    )
    summary = summarise(wrong, profile, **SPAN)
    assert summary.retyped == {"distance", "carrier"}
    assert summary.missing == {"distance", "carrier"}


def test_bytes_come_back_as_they_went(profile: Profile) -> None:
    summary = whole(flights(np.random.default_rng(12), 200), profile)
    again = TickSummary.from_bytes(summary.to_bytes())
    same(again, summary, exactly=True)
    assert (again.profile, again.start_us, again.end_us) == (profile.fingerprint, 0, 10)
    empty = merge_summaries([], 3, 4)
    assert TickSummary.from_bytes(empty.to_bytes()).end_us == 4


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"KTS1", b"KTS1garbage"])
def test_other_bytes_are_refused(damage: bytes) -> None:
    with pytest.raises(ValueError, match="tick summary"):
        TickSummary.from_bytes(damage)


def test_summaries_of_different_profiles_do_not_add_up(profile: Profile) -> None:
    other = fit_profile(flights(np.random.default_rng(13), 500), SCHEMA)
    window = flights(np.random.default_rng(14), 20)
    with pytest.raises(ValueError, match="do not add up"):
        summarise(window, profile, **SPAN).merge(summarise(window, other, **SPAN))


def test_wild_values_leave_every_sum_finite(profile: Profile) -> None:
    window = flights(np.random.default_rng(15), 60)
    assert window.score is not None
    assert window.label is not None
    assert window.baseline_score is not None
    window.score[:3] = np.inf, -np.inf, 1e300
    window.baseline_score[5:7] = np.inf, np.nan
    window.label[10:12] = np.inf, np.nan
    window.numeric["distance"][:4] = np.inf, -np.inf, 1e308, np.nan
    summary = whole(window, profile)
    for vector in summary.slices.values():
        assert np.isfinite(vector).all()
    assert summary.labelled_rows == 58


def test_transfer_sums_are_one_entry_a_tick_in_order_of_time(profile: Profile) -> None:
    rng = np.random.default_rng(16)
    windows = [flights(rng, rows) for rows in (40, 0, 25)]
    ticks = [
        summarise_labels(window, profile, start_us=at, end_us=at + 1)
        for at, window in zip((20, 10, 0), windows, strict=True)
    ]
    sums = transfer_sums(ticks, label_rate=profile.label_rate)
    assert sums.start_us.tolist() == [0, 10, 20]
    assert sums.rows.tolist() == [25, 0, 40]
    label = windows[0].label
    assert label is not None
    assert sums.minority[2] == (label == 1.0).sum()
    assert profile.label_rate is not None
    assert profile.label_rate < 0.5
    assert transfer_sums(ticks, label_rate=0.9).minority[2] == (label == 0.0).sum()
    one = transfer_sums(ticks, "carrier=AA")
    assert one.rows.sum() < sums.rows.sum()
    assert len(transfer_sums([]).rows) == 0
