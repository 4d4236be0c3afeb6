from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from detectors.calibration.report import calibration_of
from detectors.calibration.result import Calibration
from detectors.discovery import half_of
from detectors.records import Categories, FloatArray, State, Task, Window


def window(
    n: int,
    seed: int = 0,
    *,
    shift: float = 0.0,
    slope: float = 1.0,
    weight: FloatArray | None = None,
) -> Window:
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.0, 1.0, n)
    q = 1 / (1 + np.exp(-(shift + slope * z)))
    label = (rng.random(n) < q).astype(np.float64)
    return Window(rows=n, score=1 / (1 + np.exp(-z)), label=label, weight=weight)


def binary(current: Window, **options: object) -> Calibration:
    return calibration_of(current, task=Task.BINARY, **options)  # type: ignore[arg-type]


def test_enough_rows_of_a_calibrated_model_are_ok() -> None:
    result = binary(window(40_000))
    assert result.state is State.OK
    assert result.words.startswith("ok: scores mean what they say")
    assert "40,000 rows" in result.words


@pytest.mark.parametrize(
    ("shift", "slope", "words"),
    [(0.3, 1.0, " % more events"), (-0.3, 1.0, "fewer events"), (0.0, 0.6, "too extreme")],
)
def test_a_clear_change_drifts_and_says_which_way(shift: float, slope: float, words: str) -> None:
    result = binary(window(20_000, 1, shift=shift, slope=slope))
    assert result.state is State.DRIFT
    assert words in result.words
    assert result.p_value is not None
    assert result.p_value < 1e-6


def test_a_change_too_small_to_matter_never_drifts_however_many_rows() -> None:
    result = binary(window(150_000, 2, shift=0.03))
    assert result.p_value is not None
    assert result.p_value < 0.01
    assert result.state is State.OK


def test_little_data_is_undetermined_and_says_how_much_is_missing() -> None:
    result = binary(window(60, 3))
    assert result.state is State.UNDETERMINED
    assert "too little data" in result.words
    assert result.rows_needed is not None
    assert result.rows_needed > 1000
    assert result.minimum_detectable is not None
    assert result.minimum_detectable > 0.5


def test_the_rows_said_to_be_needed_bring_the_interval_to_the_practical_effect() -> None:
    result = binary(window(500, 4))
    assert result.rows_needed is not None
    later = binary(window(500 + result.rows_needed, 5))
    assert later.intercept_ci[0] is not None
    assert later.intercept_ci[1] is not None
    assert later.intercept_ci[1] - later.intercept_ci[0] == pytest.approx(0.1, rel=0.35)


def test_the_minimum_detectable_shift_is_found_four_times_in_five() -> None:
    found, size = 0, binary(window(1000, 6)).minimum_detectable
    assert size is not None
    for seed in range(80):
        ci = binary(window(1000, 100 + seed, shift=size)).intercept_ci
        found += ci[0] is not None and ci[0] > 0.0
    assert found / 80 == pytest.approx(0.8, abs=0.14)


def test_a_model_that_was_always_off_is_ok_against_its_reference_and_off_against_outcomes() -> None:
    reference = window(40_000, 7, shift=0.5, slope=0.8)
    current = window(40_000, 8, shift=0.5, slope=0.8)
    result = binary(current, reference=reference)
    assert result.state is State.OK
    assert result.relative_to == "reference"
    assert "meant in the reference" in result.words
    assert result.absolute is not None
    assert result.absolute.state is State.DRIFT
    assert result.absolute.slope == pytest.approx(0.8, abs=0.05)
    assert result.slope == pytest.approx(1.0, abs=0.05)
    moved = binary(window(40_000, 9, shift=0.9, slope=0.8), reference=reference)
    assert moved.state is State.DRIFT
    assert moved.intercept == pytest.approx(0.4, abs=0.06)


def test_a_small_reference_widens_the_interval() -> None:
    current = window(20_000, 10)
    wide = binary(current, reference=window(400, 11))
    narrow = binary(current, reference=window(40_000, 12))
    assert wide.intercept_ci[1] is not None
    assert narrow.intercept_ci[1] is not None
    assert wide.intercept is not None
    assert narrow.intercept is not None
    assert wide.intercept_ci[1] - wide.intercept > 3 * (narrow.intercept_ci[1] - narrow.intercept)


def test_false_drift_against_a_reference_is_rare() -> None:
    """80 pairs from one world, 800 and 800 rows."""
    drifts = sum(
        binary(window(800, 1000 + s), reference=window(800, 2000 + s)).state is State.DRIFT
        for s in range(80)
    )
    assert drifts <= 5


def rare_window(n: int, seed: int, mean: float, spread: float = 0.5) -> Window:
    """Scores of a rare event, all right."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(mean, spread, n)))
    return Window(rows=n, score=p, label=(rng.random(n) < p).astype(np.float64))


def test_a_reference_of_ten_events_allows_no_verdict_however_many_rows_it_has() -> None:
    """Nine thousand rows with ten clicks once made a curve by which every later slope was flat."""
    reference = rare_window(9_000, 30, -7.0)
    assert reference.label is not None
    result = binary(rare_window(9_000, 31, -6.0), reference=reference)
    assert result.state is State.UNDETERMINED
    assert f"only {int(reference.label.sum())} labels of the rarer class" in result.words
    few = binary(rare_window(900, 30, -7.0), reference=rare_window(40_000, 32, -7.0))
    assert few.state is State.UNDETERMINED


def test_one_class_where_the_other_was_expected_often_is_a_drift() -> None:
    nothing = rare_window(9_000, 33, -3.0)
    silent = dataclasses.replace(nothing, label=np.zeros(9_000))
    result = binary(silent, reference=rare_window(9_000, 34, -3.0))
    assert result.state is State.DRIFT
    assert "fewer events" in result.words


def test_the_interval_holds_the_truth_with_both_windows_error_in_it() -> None:
    """60 pairs of right scores, the later ones higher: 95 % intervals cover in 52 or more."""
    level, slope = 0, 0
    for seed in range(60):
        reference = rare_window(1_500, 3000 + seed, -2.5, 0.7)
        result = binary(rare_window(6_000, 4000 + seed, -1.0, 0.7), reference=reference)
        (low, high), (flat, steep) = result.intercept_ci, result.slope_ci
        assert low is not None
        assert high is not None
        assert flat is not None
        assert steep is not None
        level += low <= 0.0 <= high
        slope += flat <= 1.0 <= steep
    assert level >= 52
    assert slope >= 52


def test_a_design_effect_of_four_doubles_the_interval() -> None:
    plain, wide = binary(window(5000, 13)), binary(window(5000, 13), design_effect=4.0)
    widths = []
    for result in (plain, wide):
        low, high = result.intercept_ci
        assert low is not None
        assert high is not None
        widths.append(high - low)
    assert widths[1] == pytest.approx(2 * widths[0])


def test_copies_in_a_cluster_add_no_evidence() -> None:
    once = window(800, 14)
    copies = once.take(np.repeat(np.arange(800), 4))
    codes = np.repeat(np.arange(800, dtype=np.int32), 4)
    clustered = dataclasses.replace(
        copies, cluster=Categories(codes, tuple(str(i) for i in range(800)))
    )
    plain, again = binary(once), binary(clustered)
    assert again.intercept == pytest.approx(plain.intercept)
    assert again.absolute is not None
    assert plain.absolute is not None
    assert again.absolute.intercept_se == pytest.approx(plain.absolute.intercept_se, rel=0.1)


def test_fewer_than_twenty_clusters_allow_no_verdict() -> None:
    """Ten days of a thousand rows each, all far off: the days are the sample."""
    far = window(10_000, 40, shift=0.8)
    days = Categories(np.repeat(np.arange(10, dtype=np.int32), 1000), tuple("abcdefghij"))
    result = binary(dataclasses.replace(far, cluster=days))
    assert result.state is State.UNDETERMINED
    assert "10 clusters" in result.words


def test_tests_that_know_independent_rows_only_are_widened_by_clusters() -> None:
    """Forty copies of each forecast: none of the p-values may say what one copy does not."""
    small = 0
    for seed in range(20):
        copies = window(300, 50 + seed).take(np.repeat(np.arange(300), 40))
        codes = np.repeat(np.arange(300, dtype=np.int32), 40)
        clustered = dataclasses.replace(
            copies, cluster=Categories(codes, tuple(str(i) for i in range(300)))
        )
        result = binary(clustered)
        assert result.ecce_p is not None
        assert result.spiegelhalter_p is not None
        small += min(result.ecce_p, result.spiegelhalter_p) < 0.01
    assert small <= 2


def test_a_slice_that_nobody_named_is_found_and_judged_on_rows_outside_the_search() -> None:
    rng = np.random.default_rng(60)
    columns = {
        name: Categories(rng.integers(0, 4, 30_000).astype(np.int32), ("a", "b", "c", "d"))
        for name in ("job", "town", "plan")
    }
    inside = (columns["job"].codes == 1) & (columns["plan"].codes == 3)
    base = window(30_000, 61)
    assert base.score is not None
    z = np.log(base.score / (1 - base.score)) + 0.9 * inside
    label = (rng.random(30_000) < 1 / (1 + np.exp(-z))).astype(np.float64)
    result = binary(dataclasses.replace(base, label=label), search=columns)
    first = result.discovered[0]
    assert first.name == "job=b,plan=d"
    assert first.state is State.DRIFT
    assert first.stands_out
    assert first.rows == pytest.approx(inside.sum() / 2, rel=0.1)
    fair = binary(base, search=columns)
    assert all(part.state is not State.DRIFT for part in fair.discovered)


def test_what_is_off_on_the_searched_half_alone_is_proposed_and_not_believed() -> None:
    """Labels of one slice are raised only on the rows that are searched: nothing is wrong."""
    rng = np.random.default_rng(62)
    columns = {"job": Categories(rng.integers(0, 6, 20_000).astype(np.int32), tuple("abcdef"))}
    searched = half_of(20_000, None)
    base = window(20_000, 63)
    assert base.label is not None
    inside = columns["job"].codes == 4
    label = np.where(inside & searched & (rng.random(20_000) < 0.5), 1.0, base.label)
    result = binary(dataclasses.replace(base, label=label), search=columns)
    first = next(part for part in result.discovered if part.name == "job=e")
    assert first.state is State.OK or not first.stands_out
    assert first.intercept == pytest.approx(0.0, abs=0.15)
    assert first.rows == int((inside & ~searched).sum())


def test_scores_that_add_up_to_the_outcome_are_judged_by_slope_alone() -> None:
    """Races of five with one winner: the level is right whatever the scores mean."""
    rng = np.random.default_rng(15)
    strength = np.exp(rng.normal(0, 1, (2000, 5)))
    p = strength / strength.sum(axis=1, keepdims=True)
    flat = strength**0.4 / (strength**0.4).sum(axis=1, keepdims=True)
    winner = (rng.random((2000, 1)) > flat.cumsum(axis=1)).sum(axis=1)
    label = np.zeros((2000, 5))
    label[np.arange(2000), np.minimum(winner, 4)] = 1.0
    result = binary(
        Window(
            rows=10_000,
            score=p.ravel(),
            label=label.ravel(),
            cluster=Categories(
                np.repeat(np.arange(2000, dtype=np.int32), 5), tuple(map(str, range(2000)))
            ),
        )
    )
    assert result.intercept is None
    assert "only the slope" in result.words
    assert result.state is State.DRIFT
    assert "too extreme" in result.words


def test_the_slice_that_is_off_comes_first_and_the_others_do_not_drift() -> None:
    rng = np.random.default_rng(16)
    part = rng.integers(0, 6, 40_000)
    base = window(40_000, 17)
    assert base.score is not None
    z = np.log(base.score / (1 - base.score)) + np.where(part == 3, 0.5, 0.0)
    label = (rng.random(40_000) < 1 / (1 + np.exp(-z))).astype(np.float64)
    current = dataclasses.replace(base, label=label)
    masks = {f"part={i}": part == i for i in range(6)} | {"none": np.zeros(40_000, np.bool_)}
    result = binary(current, slices=masks)
    assert len(result.slices) == 6
    assert result.slices[0].name == "part=3"
    assert result.slices[0].state is State.DRIFT
    assert result.slices[0].intercept == pytest.approx(0.5, abs=0.1)
    assert all(part.state is not State.DRIFT for part in result.slices[1:])
    shrunk = [abs(part.shrunk or 0.0) for part in result.slices]
    assert shrunk == sorted(shrunk, reverse=True)


def test_the_curve_covers_all_rows_and_its_intervals_hold_the_rate() -> None:
    current = window(15_000, 18)
    result = binary(current, reference=window(15_000, 19))
    assert len(result.curve) == 15
    assert sum(point.rows for point in result.curve) == 15_000
    for point in result.curve:
        assert 0.0 <= point.lower <= point.observed <= point.upper <= 1.0
    near = [point.lower - 0.01 <= point.score <= point.upper + 0.01 for point in result.curve]
    assert sum(near) >= 13


def test_regression_is_judged_by_level_in_sd_and_slope() -> None:
    rng = np.random.default_rng(20)
    y = rng.normal(50, 10, 8000)
    score = 50 + 0.9 * (y - 50) + rng.normal(0, 3, 8000)
    right = Window(rows=8000, score=score, label=y)
    result = calibration_of(right, task=Task.REGRESSION, reference=right)
    assert result.state is State.OK
    assert result.unit == "sd"
    assert result.slope == pytest.approx(1.0)
    high = dataclasses.replace(right, score=score - 3.0)
    moved = calibration_of(high, task=Task.REGRESSION, reference=right)
    assert moved.state is State.DRIFT
    assert moved.intercept == pytest.approx(0.9 * 0.3 / 0.9, abs=0.06)
    assert "above what is predicted" in moved.words
    assert moved.observed_over_expected is not None
    assert calibration_of(high, task=Task.REGRESSION).absolute is not None


def finite(value: object) -> bool:
    """No NaN or infinity anywhere in a record."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(finite(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, tuple):
        return all(map(finite, value))
    return not isinstance(value, float) or bool(np.isfinite(value))


NAN = np.full(60, np.nan)
HALF = np.full(60, 0.5)
RAMP = np.arange(60) / 60
DEGENERATE = {
    "no rows": Window(rows=0, score=np.empty(0), label=np.empty(0)),
    "nothing recorded": Window(rows=60),
    "no label yet": Window(rows=60, score=HALF, label=NAN),
    "no score": Window(rows=60, score=NAN, label=HALF),
    "only ones": Window(rows=60, score=RAMP, label=np.ones(60)),
    "only zeros": Window(rows=60, score=RAMP, label=np.zeros(60)),
    "constant score": Window(rows=60, score=HALF, label=np.tile([0.0, 1.0], 30)),
    "certain and wrong": Window(rows=60, score=np.zeros(60), label=np.ones(60)),
    "certain and right": Window(rows=60, score=np.ones(60), label=np.ones(60)),
    "separated": Window(rows=60, score=RAMP, label=(RAMP > 0.5).astype(np.float64)),
    "one row": Window(rows=1, score=np.array([0.3]), label=np.array([1.0])),
    "two rows": Window(rows=2, score=np.array([0.3, 0.6]), label=np.array([1.0, 0.0])),
    "weightless": Window(rows=60, score=RAMP, label=np.ones(60), weight=np.zeros(60)),
    "weighted": window(60, 21, weight=np.geomspace(1.0, 1e6, 60)),
    "infinite": Window(rows=60, score=np.full(60, np.inf), label=np.ones(60)),
}


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize(
    "base", [None, "no rows", "only ones", "constant score", "one row", "good"]
)
def test_every_degenerate_window_gets_words_and_finite_numbers(
    task: Task, base: str | None
) -> None:
    reference = window(500, 22) if base == "good" else DEGENERATE.get(base or "")
    for name, current in DEGENERATE.items():
        masks = {"all": np.ones(current.rows, np.bool_), "few": np.arange(current.rows) < 2}
        result = calibration_of(current, task=task, reference=reference, slices=masks)
        assert result.words, name
        assert finite(result), name
        monitored = name != "nothing recorded"
        assert (result.state is State.NOT_MONITORED) == (not monitored), name
        if name in ("no rows", "no label yet", "no score", "one row", "two rows", "weightless"):
            assert result.state is State.UNDETERMINED, name
