"""Small slices by the thousand: Bernstein's bound against the binomial law, and no false ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from detectors.calibration.report import calibration_of
from detectors.calibration.rows import JudgedRows
from detectors.calibration.thin import off_beyond_chance
from detectors.records import Categories, FloatArray, IntArray, State, Task, Window
from detectors.slices import SmallSlices, fit_slices, small_slices


def judged(label: FloatArray, weight: FloatArray | None = None) -> JudgedRows:
    n = len(label)
    ones = np.ones(n) if weight is None else weight
    return JudgedRows(np.arange(n), np.full(n, 0.5), label, ones, None)


def thin(codes: IntArray) -> list[SmallSlices]:
    words = tuple(f"s{at}" for at in range(int(codes.max()) + 1))
    window = Window(
        rows=len(codes), categorical={"store": Categories(codes.astype(np.int32), words)}
    )
    return list(small_slices(window, [("store",)], ()))


@pytest.mark.parametrize("n", [20, 60, 400])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5])
def test_the_bound_is_never_below_what_chance_gives(n: int, p: float) -> None:
    """Against both tails of the binomial law, exactly, at every count of events."""
    for events in range(n + 1):
        label = np.arange(n) < events
        _, found = off_beyond_chance(
            judged(label.astype(float)), np.full(n, p), thin(np.zeros(n, np.int64))
        )
        away = abs(events - n * p)
        exact = binom.sf(np.ceil(n * p + away) - 1, n, p) + binom.cdf(np.floor(n * p - away), n, p)
        if found:
            assert found[0].p_value >= exact * (1 - 1e-9)
            assert exact <= 0.05


def test_nothing_is_found_among_thousands_that_are_as_they_should_be() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2_000, 80_000)
    false = 0
    for _ in range(40):
        p = rng.beta(0.5, 5.0, len(codes))
        label = (rng.random(len(codes)) < p).astype(float)
        asked, found = off_beyond_chance(judged(label), p, thin(codes))
        assert 1_900 < asked <= 2_000
        false += bool(found)
    assert false <= 6


def test_one_in_thousands_is_found_by_its_name_and_rows() -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 2_000, 160_000)
    p = np.full(len(codes), 0.2)
    label = (rng.random(len(codes)) < np.where(codes == 7, 0.75, p)).astype(float)
    _, (one,) = off_beyond_chance(judged(label), p, thin(codes))
    assert one.name == "store=s7"
    assert set(codes[one.inside]) == {7}
    assert one.p_value < 1e-6


def test_rows_that_depend_on_each_other_or_weigh_more_must_show_more() -> None:
    label = np.array([1.0] * 40 + [0.0] * 20)
    p, codes = np.full(60, 0.3), np.zeros(60, np.int64)
    _, (plain,) = off_beyond_chance(judged(label), p, thin(codes))
    assert off_beyond_chance(judged(label), p, thin(codes), design_effect=10.0)[1] == ()
    _, (scaled,) = off_beyond_chance(judged(label, np.full(60, 7.0)), p, thin(codes))
    assert scaled.p_value == pytest.approx(plain.p_value)


def test_slices_with_few_rows_are_not_asked() -> None:
    codes = np.repeat([0, 1], [19, 20])
    assert off_beyond_chance(judged(np.ones(39)), np.full(39, 0.01), thin(codes))[0] == 1
    assert off_beyond_chance(judged(np.ones(5)), np.full(5, 0.01), []) == (0, ())


def stores(rng: np.random.Generator, *, broken: bool) -> Window:
    n, count = 60_000, 1_000
    store = rng.integers(0, count, n).astype(np.int32)
    score = rng.beta(1.0, 3.0, n)
    risk = np.where((store == 3) & broken, 1.0 - 0.2 * score, score)
    label = (rng.random(n) < risk).astype(float)
    names = tuple(f"s{at}" for at in range(count))
    return Window(rows=n, score=score, label=label, categorical={"store": Categories(store, names)})


def test_a_report_tells_the_small_slice_whose_labels_are_off() -> None:
    rng = np.random.default_rng(3)
    reference, current = stores(rng, broken=False), stores(rng, broken=True)
    followed = fit_slices(reference, [("store",)])
    assert followed.slices == ()
    parts = list(small_slices(current, [("store",)], followed.slices))
    result = calibration_of(current, task=Task.BINARY, reference=reference, thin=parts)
    assert [one.name for one in result.slices] == ["store=s3"]
    assert result.slices[0].state in {State.WATCH, State.DRIFT}
    assert result.slices[0].intercept is not None
    assert result.slices[0].intercept > 1.0
    assert "too few rows to be followed" in result.slices[0].note
    assert result.thin_asked == 1_000
    calm = calibration_of(
        stores(rng, broken=False), task=Task.BINARY, reference=reference, thin=parts
    )
    assert calm.slices == ()
