"""Old vectors under a new name, vectors that are not made anew, and what only looks like it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.alignment.staleness import (
    VersionMap,
    frozen,
    known_vectors,
    repeats,
    served_by_old,
)
from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.drift.embeddings import compare_embeddings
from detectors.records import Mode, State, Window
from tests.detectors.findings.synthetic import BINARY, world

WIDTH = 16
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(5, WIDTH))
TURN, _ = np.linalg.qr(RNG.normal(size=(WIDTH, WIDTH)))
SIZES = np.linspace(2.0, 0.3, WIDTH)


def items(rows: int, seed: int, centre: float = 0.0) -> NDArray[np.float64]:
    """What is embedded: points about five centres."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 5, rows)
    return centre + WEIGHTS[group] + 0.5 * rng.normal(size=(rows, WIDTH))


def old(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows * SIZES).astype(np.float32)


def new(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    """The map of another seed: all is kept and all lies elsewhere."""
    turned: NDArray[np.float32] = (rows * SIZES @ TURN).astype(np.float32)
    return turned


ANCHORS = items(400, 1)
MAPS = (VersionMap("1", old(ANCHORS)), VersionMap("2", new(ANCHORS)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_rows_that_an_old_version_embedded_is_found(share: float) -> None:
    rows = items(1_500, 2)
    embedding = new(rows)
    stale = int(share * len(rows))
    embedding[:stale] = old(rows[:stale])

    found = served_by_old(embedding, ["2"] * len(rows), MAPS)

    if not share:
        assert found is None
        return
    assert found is not None
    assert (found.named, found.served) == ("2", "1")
    assert found.share == pytest.approx(share, abs=0.04)
    assert found.lower < share


def test_rows_that_name_the_old_version_are_not_stale_nor_are_maps_alike_told_apart() -> None:
    rows = items(600, 3)
    assert served_by_old(old(rows), ["1"] * 600, MAPS) is None
    assert served_by_old(old(rows), [None] * 600, MAPS) is None
    wiggled = (old(ANCHORS) + 0.01 * RNG.normal(size=(400, WIDTH))).astype(np.float32)
    alike = (MAPS[0], VersionMap("2", wiggled))
    assert served_by_old(old(rows), ["2"] * 600, alike) is None


def test_a_domain_far_from_all_anchors_is_no_evidence() -> None:
    """Its rows are nearest to some map by accident."""
    assert served_by_old(new(items(600, 4, centre=9.0)), ["2"] * 600, MAPS) is None


def fresh(seed: int, rows: int = 800) -> Window:
    """An item's vector is made anew all the time."""
    return Window(
        rows=rows, ts_us=np.arange(rows, dtype=np.int64), embedding=new(items(rows, seed))
    )


def table(rows: int, seed: int) -> Window:
    """Every item of a table of 50 keeps its vector for good."""
    at = np.random.default_rng(seed).integers(0, 50, rows)
    return Window(rows=rows, ts_us=np.arange(rows, dtype=np.int64), embedding=new(items(50, 9))[at])


def test_frozen_vectors_repeat_old_ones_and_a_table_of_items_always_did() -> None:
    reference = fresh(5)
    assert reference.embedding is not None
    caught = Window(rows=400, embedding=reference.embedding[:400].copy())

    assert "100 % of embeddings repeat one of the reference bit for bit" in frozen(
        reference, caught
    )
    assert frozen(reference, fresh(6)) == ""
    assert frozen(table(800, 1), table(800, 2)) == ""
    nearly = Window(rows=400, embedding=caught.embedding * np.float32(1 + 1e-6))  # type: ignore[operator]
    assert frozen(reference, nearly) == ""


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_a_large_reference_is_looked_up_by_a_share_of_its_vectors_that_vectors_choose(
    scale: float,
) -> None:
    """130,000 vectors, of which some 33,000 are kept; or one vector for all, which is no sign."""
    rng = np.random.default_rng(7)
    vectors = (scale * rng.integers(-9, 10, (130_000, 8))).astype(np.float32)
    known = known_vectors(
        Window(rows=130_000, ts_us=np.arange(130_000, dtype=np.int64), embedding=vectors)
    )
    if not scale:
        assert known is None or repeats(known, Window(rows=400, embedding=vectors[:400])) == ""
        return

    assert known is not None
    assert known.one_in == 4
    assert len(known.digests) == pytest.approx(130_000 / 4, rel=0.03)
    old = Window(rows=5_000, embedding=vectors[rng.choice(130_000, 5_000)])
    new = Window(rows=5_000, embedding=rng.normal(size=(5_000, 8)).astype(np.float32))
    assert repeats(known, old).startswith("100 % of embeddings repeat one of the reference")
    assert repeats(known, new) == ""


def test_staleness_is_named_before_the_heads_it_breaks_and_asks_all_domains() -> None:
    told = DiagnosisContext(stale="rows carry old vectors", incompatible="heads broke")

    named = diagnose(world(600, 1), world(600, 2), BINARY, told)

    assert named.mode is Mode.STALE_EMBEDDINGS
    assert named.runner_up is Mode.EMBEDDING
    assert named.columns == ("embedding",)
    assert named.action.scope == "all domains"
    assert not named.action.retraining
    assert named.evidence[0] == "rows carry old vectors"


def test_another_dimension_is_a_state_of_its_own() -> None:
    reference, current = world(600, 1), world(600, 2)
    wide = np.zeros((600, 8), np.float32)
    named = diagnose(
        replace(reference, embedding=wide),
        replace(current, embedding=wide[:, :4]),
        BINARY,
        DiagnosisContext(),
    )

    assert named.mode is Mode.EMBEDDING
    assert "had 8 dimensions and have 4" in " ".join(named.evidence)
    column = compare_embeddings(
        replace(reference, embedding=wide), replace(current, embedding=wide[:, :4])
    )
    assert column.state is State.DRIFT
    assert "had 8 dimensions" in column.detail
