"""An embedding in ticks and in reports, for changes put in and for none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.alignment.embedded import DISCREPANCY, OFF_PLANE, TOWARDS_CLASS
from detectors.alignment.report import embedding_report
from detectors.profile import Profile, fit_profile
from detectors.records import FloatArray, Schema, Settings, State, StreamSpec, Task, Tier, Window
from detectors.schema.ticks import tick_checks
from detectors.streams import effect_words, feature_streams, statistics_of
from detectors.summary import merge_summaries, summarise

WIDTH = 8
SIZES = np.array([3.0, 2.0, 1.0, 0.3, 0.3, 0.3, 0.3, 0.3])
WEIGHTS = np.array([1.0, 0.5, 0, 0, 0, 0, 0, 0])
GROWN = np.array([1, 1, 1, 2, 2, 2, 2, 2], np.float32)
TURNED = np.array([-1, -1, 1, 1, 1, 1, 1, 1], np.float32)
SCHEMA = Schema(
    Task.BINARY, (), has_score=True, has_label=True, has_baseline=False, embedding_dim=WIDTH
)


def rows(n: int, seed: int) -> Window:
    """Rows near a plane of three directions; what they are follows from the first two."""
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(n, WIDTH)) * SIZES
    p = 1 / (1 + np.exp(-embedding @ WEIGHTS))
    return Window(
        rows=n,
        ts_us=np.sort(rng.integers(0, 20 * 86_400_000_000, n)),
        embedding=embedding.astype(np.float32),
        score=p,
        label=(rng.random(n) < p).astype(float),
    )


def off_plane(window: Window) -> Window:
    """The small directions grow."""
    assert window.embedding is not None
    return replace(window, embedding=window.embedding * GROWN)


def turned(window: Window) -> Window:
    """The direction that carries the classes points the other way; no distance changes."""
    assert window.embedding is not None
    return replace(window, embedding=window.embedding * TURNED)


def moved(window: Window) -> Window:
    assert window.embedding is not None
    return replace(window, embedding=window.embedding + np.float32(0.5))


REFERENCE = rows(6_000, 0)
PROFILE = fit_profile(REFERENCE, SCHEMA)


def followed() -> tuple[StreamSpec, ...]:
    specs = feature_streams(PROFILE, Settings())
    return tuple(spec for spec in specs if spec.stream.signal == "embedding")


def test_an_embedding_is_one_column_of_tickets_whatever_is_followed_of_it() -> None:
    specs = followed()

    assert [spec.stream.column for spec in specs] == [DISCREPANCY, OFF_PLANE, TOWARDS_CLASS]
    assert {spec.stream.tier for spec in specs} == {Tier.TICKET}
    assert sum(spec.weight for spec in specs) == pytest.approx(1.0)


def test_ticks_without_a_change_are_as_normal_as_their_variance_says() -> None:
    ticks = [summarise(rows(60, seed), PROFILE, start_us=0, end_us=1) for seed in range(1, 301)]

    y, v = statistics_of(followed(), PROFILE, ticks)

    z = y / np.sqrt(v)
    assert np.abs(y.mean(axis=0)).max() < 0.05
    assert z.std(axis=0) == pytest.approx(1.0, abs=0.15)


def test_each_change_shows_in_the_stream_that_is_about_it() -> None:
    """In spreads of rows, or reference sd; what is put in is far beyond the smallest effect."""

    def seen(window: Window) -> dict[str, float]:
        tick = summarise(window, PROFILE, start_us=0, end_us=1)
        y, _ = statistics_of(followed(), PROFILE, [tick])
        return dict(zip((spec.stream.column for spec in followed()), y[0].tolist(), strict=True))

    window = rows(2_000, 9)
    assert max(abs(value) for value in seen(window).values()) < 0.06
    assert seen(off_plane(window))[OFF_PLANE] > 1.0
    assert seen(turned(window))[TOWARDS_CLASS] < -1.0
    assert abs(seen(turned(window))[OFF_PLANE]) < 0.1
    assert seen(moved(window))[DISCREPANCY] > 0.15
    words = effect_words(followed()[1], 1.5, PROFILE)
    assert words == "distance of embeddings from the reference's plane up 1.50 reference sd"


def test_the_discrepancy_of_a_tick_is_the_exact_kernel_distance() -> None:
    """Mean features are close to the kernel's own means (Rahimi and Recht)."""
    window = moved(rows(1_500, 3))
    assert PROFILE.embedding is not None
    assert window.embedding is not None
    assert REFERENCE.embedding is not None
    x, y = REFERENCE.embedding[:1_500].astype(float), window.embedding.astype(float)

    def kernel(a: FloatArray, b: FloatArray) -> float:
        square = np.square(a[:, None] - b[None]).sum(2)
        width = PROFILE.embedding.bandwidth  # type: ignore[union-attr]
        return float(np.mean([np.exp(-square / 2 / (s * width) ** 2) for s in (0.5, 1, 2)]))

    exact = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
    sums = PROFILE.embedding.kernel_sums(window)
    gap = sums[0, 1:] / sums[0, 0] - PROFILE.embedding.kernel_mean
    assert float(gap @ gap) == pytest.approx(exact, rel=0.25)


def test_ticks_merge_and_the_map_survives_being_stored() -> None:
    window = rows(100, 4)
    again = Profile.from_bytes(PROFILE.to_bytes())
    assert again.fingerprint == PROFILE.fingerprint
    parts = [
        summarise(window.take(part), again, start_us=0, end_us=1)
        for part in (slice(0, 30), slice(30, 100))
    ]
    both = statistics_of(followed(), PROFILE, [merge_summaries(parts, 0, 1)])
    whole = statistics_of(followed(), PROFILE, [summarise(window, PROFILE, start_us=0, end_us=1)])
    assert np.allclose(both, whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("embedding", "says"),
    [
        (None, "`embedding` is missing from every row"),
        (np.zeros((60, 3), np.float32), "`embedding` holds another kind of value"),
        (np.full((60, WIDTH), np.nan, np.float32), "`embedding` is null"),
        (np.ones((60, WIDTH), np.float32), "`embedding` holds one value"),
    ],
)
def test_an_embedding_that_is_gone_or_of_another_width_is_said_once(
    embedding: NDArray[np.float32] | None, says: str
) -> None:
    window = replace(rows(60, 5), embedding=embedding)
    tick = summarise(window, PROFILE, start_us=0, end_us=1)

    _, findings = tick_checks(PROFILE, tick, {})

    said = [finding for finding in findings if finding.column == "embedding"]
    assert len(said) == 1
    assert says in said[0].detail
    y, v = statistics_of(followed(), PROFILE, [tick])
    assert np.isfinite(y).all()
    assert not np.isnan(v).any()


@pytest.mark.parametrize(
    ("change", "state", "says"),
    [
        (lambda window: window, State.OK, "centres point where they did"),
        (turned, State.DRIFT, "points the other way"),
        (off_plane, State.DRIFT, "embedding off its plane"),
    ],
)
def test_a_report_names_what_has_become_of_the_embedding(
    change: object, state: State, says: str
) -> None:
    found = embedding_report(REFERENCE, change(rows(3_000, 6)), Task.BINARY, {})  # type: ignore[operator]

    assert found is not None
    assert found.state is state
    assert says in found.words
    assert [one.name for one in found.centroids] == ["label 0", "label 1"]
    assert [column.name for column in found.columns] == [
        "embedding off its plane",
        "embedding to its class",
    ]


def test_a_head_that_no_longer_fits_is_said_with_what_it_loses() -> None:
    window = turned(rows(3_000, 7))
    assert window.embedding is not None
    stuck = replace(window, score=1 / (1 + np.exp(-window.embedding @ WEIGHTS)))

    fits = embedding_report(REFERENCE, rows(3_000, 7), Task.BINARY, {})
    broken = embedding_report(REFERENCE, stuck, Task.BINARY, {})

    assert fits is not None
    assert fits.head is not None
    assert not fits.head.matters
    assert broken is not None
    assert broken.head is not None
    assert broken.head.matters
    assert "the head in service loses" in broken.words


def test_few_rows_are_undetermined_and_none_are_no_report() -> None:
    assert embedding_report(REFERENCE, Window(rows=5), Task.BINARY, {}) is None
    few = embedding_report(rows(40, 1), rows(40, 2), Task.BINARY, {})
    assert few is not None
    assert few.state is State.UNDETERMINED
