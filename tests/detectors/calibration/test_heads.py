"""Class probabilities, quantiles and a mean with an sd, against worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from detectors.calibration.heads import MEAN, SPREAD, head_rows
from detectors.calibration.report import calibration_of
from detectors.profile import Profile, fit_profile
from detectors.records import Categories, Output, Says, Schema, Settings, State, Task, Window
from detectors.streams import label_streams, statistics
from detectors.summary import summarise_labels
from detectors.sums import Sum

CLASSES = ("cat", "dog", "owl", "fox")
IMAGES = Schema(
    Task.MULTICLASS,
    (),
    has_baseline=False,
    outputs=tuple(Output(f"p_{name}", Says.CLASS, name) for name in CLASSES),
)
PRICES = Schema(
    Task.REGRESSION,
    (),
    has_baseline=False,
    outputs=(
        Output("q10", Says.QUANTILE, "0.1"),
        Output("q90", Says.QUANTILE, "0.9"),
        Output("sigma", Says.SD),
    ),
)


def images(n: int, seed: int, *, owls: float = 0.0) -> Window:
    """Softmax outputs; owls come by `owls` log odds more often than said, others make room."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.2, (n, 4))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    moved = p * np.exp([0.0, 0.0, owls, 0.0])
    true = (moved / moved.sum(axis=1, keepdims=True)).cumsum(axis=1)
    truth = np.minimum((true < rng.random((n, 1))).sum(axis=1), 3).astype(np.int32)
    said = p.argmax(axis=1).astype(np.int32)
    return Window(
        rows=n,
        score=p.max(axis=1),
        label=(said == truth).astype(np.float64),
        prediction=Categories(said, CLASSES),
        truth=Categories(truth, CLASSES),
        numeric={f"p_{name}": p[:, at] for at, name in enumerate(CLASSES)},
    )


def prices(n: int, seed: int, *, wider: float = 1.0, higher: float = 0.0) -> Window:
    """Normal labels around the mean; true sd `wider` times what is said, mean `higher` sd up."""
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(10.0, 3.0, n), rng.uniform(0.5, 2.0, n)
    label = mean + sd * (higher + wider * rng.normal(size=n))
    at = norm.ppf(0.9)
    return Window(
        rows=n,
        score=mean,
        label=label,
        numeric={"q10": mean - at * sd, "q90": mean + at * sd, "sigma": sd},
    )


def state_of(window: Window, schema: Schema, reference: Window | None = None) -> dict[str, State]:
    result = calibration_of(window, task=schema.task, reference=reference, schema=schema)
    return {head.part.name: head.part.state for head in result.heads}


def test_a_class_that_comes_more_often_than_said_is_named_and_the_others_room_is_seen() -> None:
    result = calibration_of(images(12_000, 1, owls=0.6), task=Task.MULTICLASS, schema=IMAGES)
    first = result.heads[0]
    assert first.part.name == "class owl"
    assert first.part.state is State.DRIFT
    assert first.part.intercept is not None
    assert first.part.intercept > 0.4
    assert result.state is State.DRIFT
    assert "class owl (observed / expected 1." in result.words
    assert all(head.part.minimum_detectable is not None for head in result.heads)
    fair = calibration_of(images(12_000, 2), task=Task.MULTICLASS, schema=IMAGES)
    assert all(head.part.state is not State.DRIFT for head in fair.heads)


def test_against_a_reference_that_was_as_wrong_nothing_has_changed() -> None:
    wrong, now = images(12_000, 3, owls=0.6), images(12_000, 4, owls=0.6)
    assert State.DRIFT in state_of(now, IMAGES).values()
    assert State.DRIFT not in state_of(now, IMAGES, wrong).values()
    assert state_of(images(12_000, 5), IMAGES, wrong)["class owl"] is State.DRIFT


def test_only_rows_whose_class_is_known_by_name_tell_of_classes() -> None:
    known = images(3_000, 6)
    half = np.arange(3_000) % 2 == 0
    assert known.truth is not None
    some = replace(
        known, truth=Categories(np.where(half, known.truth.codes, -1).astype(np.int32), CLASSES)
    )
    for (_, chance, outcome), (_, whole, every) in zip(
        head_rows(some, IMAGES), head_rows(known, IMAGES), strict=True
    ):
        assert np.isnan(chance[~half]).all()
        assert (chance[half] == whole[half]).all()
        assert (outcome[half] == every[half]).all()
    assert state_of(replace(known, truth=None), IMAGES) == {}


def test_coverage_and_pinball_loss_are_the_definitions() -> None:
    window = prices(4_000, 7, wider=1.5)
    assert window.label is not None
    result = calibration_of(window, task=Task.REGRESSION, schema=PRICES)
    by_name = {head.part.name: head for head in result.heads}
    for level, column in ((0.1, "q10"), (0.9, "q90")):
        head, q = by_name[f"quantile {level}"], window.numeric[column]
        assert head.observed == pytest.approx((window.label <= q).mean())
        gap = window.label - q
        assert head.pinball == pytest.approx(np.maximum(level * gap, (level - 1) * gap).mean())
        assert head.observed_ci == pytest.approx(
            proportion_confint((window.label <= q).sum(), 4_000, method="wilson"), abs=1e-6
        )
        assert head.part.state is State.DRIFT
    # a spread 1.5 times as wide: P(z <= 1.2816 / 1.5)
    assert by_name["quantile 0.9"].observed == pytest.approx(norm.cdf(1.2816 / 1.5), abs=0.02)
    assert by_name[MEAN].part.state is not State.DRIFT
    assert by_name[SPREAD].part.state is State.DRIFT


def test_standard_residuals_say_what_would_mend_a_mean_with_an_sd() -> None:
    worlds = [prices(4_000, 8, wider=1.3, higher=0.4), prices(4_000, 9)]
    off, right = (calibration_of(one, task=Task.REGRESSION, schema=PRICES).spread for one in worlds)
    assert off is not None
    assert right is not None
    assert off.shift == pytest.approx(0.4, abs=0.07)
    assert off.factor == pytest.approx(1.3, abs=0.06)
    for ci, truth in ((off.mean_ci, 0.4), (off.sd_ci, 1.3), (right.mean_ci, 0.0), (right.sd_ci, 1)):
        assert ci[0] is not None
        assert ci[1] is not None
        assert ci[0] < truth < ci[1]
    assert off.pit_p < 1e-6 < 0.01 < right.pit_p


def test_few_labels_are_undetermined_in_words() -> None:
    result = calibration_of(images(60, 10), task=Task.MULTICLASS, schema=IMAGES)
    assert {head.part.state for head in result.heads} == {State.UNDETERMINED}
    assert any("20 are needed" in head.part.note for head in result.heads)


def test_a_stream_of_an_output_moves_with_it_and_with_no_other() -> None:
    profile = Profile.from_bytes(fit_profile(images(12_000, 11), IMAGES).to_bytes())
    specs = [s for s in label_streams(profile, Settings()) if s.stream.statistic == "output"]
    assert [spec.stream.id for spec in specs] == [f"calibration.output:class {c}" for c in CLASSES]
    moved = summarise_labels(images(4_000, 12, owls=0.6), profile, start_us=0, end_us=1)
    y, v = statistics(specs, profile, moved)
    z = dict(zip(CLASSES, y / np.sqrt(v), strict=True))
    assert z["owl"] > 8
    assert max(z["cat"], z["dog"], z["fox"]) < 0
    still = summarise_labels(images(4_000, 13), profile, start_us=0, end_us=1)
    y, v = statistics(specs, profile, still)
    assert (np.abs(y / np.sqrt(v)) < 3.5).all()
    halves = [
        summarise_labels(part, profile, start_us=0, end_us=1)
        for part in (
            images(4_000, 13).take(slice(0, 1500)),
            images(4_000, 13).take(slice(1500, 4000)),
        )
    ]
    both = halves[0].merge(halves[1])
    assert both.sum(Sum.RESIDUAL, "@class owl") == pytest.approx(
        still.sum(Sum.RESIDUAL, "@class owl")
    )
