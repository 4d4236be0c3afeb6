from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.records import (
    Categories,
    ColumnSpec,
    Kind,
    Schema,
    Settings,
    Stream,
    StreamSpec,
    Task,
    Tier,
    Window,
)
from detectors.streams import effect_words, feature_streams, label_streams
from detectors.summary import Profile, fit_profile
from tests.detectors.rows import SCHEMA, flights

REFERENCE = flights(np.random.default_rng(41), 4_000)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile(REFERENCE, SCHEMA)


def shares(specs: tuple[StreamSpec, ...], tier: Tier) -> dict[str, float]:
    """Budget of each signal on a tier."""
    found: dict[str, float] = {}
    for spec in specs:
        if spec.stream.tier is tier:
            found[spec.stream.signal] = found.get(spec.stream.signal, 0.0) + spec.weight
    return found


def test_two_thirds_of_the_page_budget_follow_labels(profile: Profile) -> None:
    specs = feature_streams(profile, Settings()) + label_streams(profile, Settings())
    assert shares(specs, Tier.PAGE) == pytest.approx(
        {"prediction": 1 / 3, "loss": 2 / 9, "calibration": 2 / 9, "transfer": 2 / 9}
    )
    assert shares(specs, Tier.TICKET) == pytest.approx({"column": 1.0})


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        (replace(SCHEMA, has_label=False), {"prediction": 1.0}),
        (
            replace(SCHEMA, has_baseline=False),
            {"prediction": 1 / 3, "loss": 1 / 3, "calibration": 1 / 3},
        ),
        (replace(SCHEMA, has_score=False), {}),
    ],
)
def test_what_a_model_lacks_leaves_its_share_to_the_others(
    schema: Schema, wanted: dict[str, float]
) -> None:
    profile = fit_profile(REFERENCE, schema)
    specs = feature_streams(profile, Settings()) + label_streams(profile, Settings())
    assert shares(specs, Tier.PAGE) == pytest.approx(wanted)


def test_slices_share_half_of_a_class_by_the_root_of_their_rows(profile: Profile) -> None:
    weights = {
        spec.stream.slice: spec.weight
        for spec in label_streams(profile, Settings())
        if spec.stream.signal == "transfer"
    }
    roots = {ref.name: np.sqrt(ref.rows) for ref in profile.slices}
    assert weights[""] == pytest.approx(1 / 9)
    for name, root in roots.items():
        assert weights[name] == pytest.approx(1 / 9 * root / sum(roots.values()))


def test_columns_share_tickets_equally_and_so_do_the_statistics_of_a_column(
    profile: Profile,
) -> None:
    tickets = [s for s in feature_streams(profile, Settings()) if s.stream.tier is Tier.TICKET]
    of_column: dict[str, list[StreamSpec]] = {}
    for spec in tickets:
        of_column.setdefault(spec.stream.column, []).append(spec)
    assert {name: [s.stream.statistic for s in specs] for name, specs in of_column.items()} == {
        "distance": ["null_share", "location", "spread"],
        "rain": ["null_share", "location", "spread"],
        "carrier": ["null_share", "unseen_share", "mix"],
    }
    assert all(spec.weight == pytest.approx(1 / 9) for spec in tickets)


def test_smallest_effects_are_the_practical_ones(profile: Profile) -> None:
    specs = feature_streams(profile, Settings()) + label_streams(profile, Settings())
    steps = {s.stream.id: s.delta_min for s in specs if not s.stream.slice}
    assert steps["prediction.mean"] == 0.1
    assert steps["calibration.in_the_large"] == 0.05
    assert steps["column.mix:carrier"] == 0.1
    assert steps["column.null_share:distance"] == pytest.approx(np.log(1.1))
    # from nothing, half a point more nulls and a whole point more unseen values
    assert steps["column.null_share:rain"] == pytest.approx(0.005 / (0.001 * 0.999))
    assert steps["column.unseen_share:carrier"] == pytest.approx(0.01 / (0.001 * 0.999))
    assert profile.loss is not None
    assert profile.baseline_loss is not None
    assert profile.difference is not None
    assert steps["loss.mean"] == pytest.approx(0.02 * profile.loss.mean / profile.loss.sd)
    relative = profile.baseline_loss.mean / profile.difference.sd
    assert steps["transfer.difference"] == pytest.approx(0.02 * relative)
    wide = {s.stream.id: s.delta_min for s in label_streams(profile, Settings(margin=0.1))}
    assert wide["transfer.difference"] == pytest.approx(0.1 * relative)


def test_a_location_step_is_a_tenth_of_an_sd_of_a_normal_column() -> None:
    """The mean rank of N(.1, 1) among N(0, 1), in sd of a rank, by quadrature."""
    from scipy.integrate import quad
    from scipy.stats import norm

    moved, _ = quad(lambda x: norm.cdf(x) * norm.pdf(x - 0.1), -9, 9)
    profile = fit_profile(REFERENCE, SCHEMA)
    steps = {s.stream.id: s.delta_min for s in feature_streams(profile, Settings())}
    assert steps["column.location:distance"] == pytest.approx((moved - 0.5) * 12**0.5, rel=1e-3)


def test_a_nearly_constant_column_is_followed_by_the_share_of_its_value() -> None:
    values = np.full(1_000, 3.0)
    values[:15] = np.arange(15.0)
    constant = Window(rows=1_000, numeric={"x": values, "null": np.full(1_000, np.nan)})
    columns = (ColumnSpec("x", Kind.NUMERIC), ColumnSpec("null", Kind.NUMERIC))
    specs = feature_streams(fit_profile(constant, Schema(Task.BINARY, columns)), Settings())
    assert [s.stream.id for s in specs] == [
        "column.null_share:x",
        "column.spike_share:x",
        "column.null_share:null",
    ]
    assert sum(s.weight for s in specs) == pytest.approx(1.0)


def test_an_open_vocabulary_has_no_unseen_share_and_a_constant_one_no_mix() -> None:
    many = Categories(np.arange(150_000, dtype=np.int32), tuple(map(str, range(150_000))))
    same = Categories(np.zeros(150_000, dtype=np.int32), ("a",))
    window = Window(rows=150_000, categorical={"id": many, "same": same})
    columns = (ColumnSpec("id", Kind.CATEGORICAL), ColumnSpec("same", Kind.CATEGORICAL))
    schema = Schema(Task.BINARY, columns)
    ids = [s.stream.id for s in feature_streams(fit_profile(window, schema), Settings())]
    assert ids == ["column.null_share:id", "column.null_share:same", "column.unseen_share:same"]


def test_a_multiclass_model_has_the_mix_of_its_predictions_on_the_page_tier() -> None:
    rng = np.random.default_rng(42)
    window = Window(
        rows=500,
        score=rng.uniform(0.4, 1.0, 500),
        prediction=Categories(rng.integers(0, 3, 500).astype(np.int32), ("cat", "dog", "cow")),
    )
    profile = fit_profile(window, Schema(Task.MULTICLASS, (), has_label=False))
    specs = feature_streams(profile, Settings())
    assert [s.stream.statistic for s in specs] == ["mean", "spread", "mix"]
    assert {s.stream.tier for s in specs} == {Tier.PAGE}
    assert sum(s.weight for s in specs) == pytest.approx(1.0)


def test_labels_may_come_later_than_the_reference() -> None:
    """Without labels in the reference, stand-in scales let the streams run all the same."""
    profile = fit_profile(replace(REFERENCE, label=None), SCHEMA)
    specs = label_streams(profile, Settings())
    assert {s.stream.signal for s in specs} == {"loss", "calibration", "transfer"}
    assert all(0.0 < s.delta_min < 10.0 for s in specs)


@pytest.mark.parametrize(
    ("stream", "effect", "words"),
    [
        (Stream("prediction", "mean", Tier.PAGE), 0.12, "mean score up 0.12 reference sd"),
        (
            Stream("prediction", "mean", Tier.PAGE, slice="carrier=AA"),
            -0.5,
            "mean score down 0.50 reference sd in carrier=AA",
        ),
        (
            Stream("calibration", "in_the_large", Tier.PAGE),
            -0.3,
            "outcomes below the scores by 0.30 log odds",
        ),
        (
            Stream("column", "mix", Tier.TICKET, "carrier"),
            0.25,
            "mix of carrier away from the reference by w 0.25",
        ),
    ],
)
def test_effects_are_said_plainly(stream: Stream, effect: float, words: str) -> None:
    assert effect_words(StreamSpec(stream, 1.0, 0.1), effect) == words


def test_a_share_is_said_as_before_and_after() -> None:
    values = np.ones(1_000)
    values[:20] = np.nan
    schema = Schema(Task.BINARY, (ColumnSpec("temp", Kind.NUMERIC),))
    profile = fit_profile(Window(rows=1_000, numeric={"temp": values}), schema)
    spec = feature_streams(profile, Settings())[0]
    effect = (0.34 - 0.02) / (0.02 * 0.98)
    assert effect_words(spec, effect, profile) == "null share of temp 2 % → 34 %"
    assert effect_words(spec, 0.5) == "null share of temp up 0.50 log odds"


def test_every_stream_has_words_with_and_without_its_profile(profile: Profile) -> None:
    specs = feature_streams(profile, Settings()) + label_streams(profile, Settings())
    for spec in specs:
        for known in (profile, None):
            words = effect_words(spec, 0.3, known)
            assert spec.stream.column.lstrip("@score") in words
            assert words.endswith(spec.stream.slice)
