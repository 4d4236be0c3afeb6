"""What a new version did to anchors and to the source probe, for faults put in by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.alignment.anchors import Anchors, compare_anchors
from detectors.alignment.forgetting import probe_change, share_of_alpha
from detectors.records import FloatArray, State, Task

RNG = np.random.default_rng(0)
ROWS, WIDTH = 800, 6
MAP = RNG.normal(size=(ROWS, WIDTH))
BETA = np.array([1.5, -1.0, 0.5, 0, 0, 0])
LABEL = (RNG.random(ROWS) < 1 / (1 + np.exp(-MAP @ BETA))).astype(float)
OLD = Anchors("1", MAP, LABEL, 1 / (1 + np.exp(-MAP @ BETA)))
TURN, _ = np.linalg.qr(RNG.normal(size=(WIDTH, WIDTH)))


def scored(embedding: FloatArray) -> Anchors:
    """The old head reads the new coordinates."""
    return Anchors("2", embedding, LABEL, 1 / (1 + np.exp(-embedding @ BETA)))


def test_the_same_map_is_fine_and_a_wiggle_is_no_matter() -> None:
    assert compare_anchors(OLD, scored(MAP)).state is State.OK
    assert compare_anchors(OLD, scored(MAP + RNG.normal(0, 0.02, MAP.shape))).state is State.OK


def test_a_turned_map_has_lost_nothing_but_its_head_does_not_fit() -> None:
    found = compare_anchors(OLD, scored(MAP @ TURN))

    assert found.cka == pytest.approx(1)
    assert found.information is not None
    assert not found.information.matters
    assert found.head is not None
    assert found.head.matters
    assert found.incompatible
    assert "no longer fits" in found.words


def test_a_map_without_the_direction_that_matters_has_lost_information() -> None:
    poorer = MAP.copy()
    poorer[:, :2] = RNG.normal(size=(ROWS, 2))

    found = compare_anchors(OLD, scored(poorer))

    assert found.information is not None
    assert found.information.matters
    assert "information is gone" in found.words


def test_without_labels_a_turn_is_told_from_a_new_map() -> None:
    bare = replace(OLD, label=None, score=None)

    turned = compare_anchors(bare, Anchors("2", MAP @ TURN))
    other = compare_anchors(bare, Anchors("2", RNG.normal(size=MAP.shape)))

    assert "turned" in turned.words
    assert "little is left" in other.words
    assert {turned.state, other.state} == {State.DRIFT}


def test_another_width_and_too_few_anchors_are_clear_states() -> None:
    bare = replace(OLD, label=None, score=None)

    wider = compare_anchors(bare, Anchors("2", np.hstack([MAP, MAP[:, :1]])))
    few = compare_anchors(
        Anchors("1", MAP[:9]),
        Anchors("2", MAP[:9]),
    )

    assert "had 6 dimensions and has 7" in wider.words
    assert few.state is State.UNDETERMINED
    assert "30 are needed" in few.words


def probe(rows: int, rise: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(rows)
    z = rng.normal(0, 1.5, rows)
    label = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(float)
    return 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-(z * (1 - rise)))), label


def test_two_thousand_probe_rows_see_what_was_forgotten() -> None:
    before, now, label = probe(2_000, 0.9)

    found = probe_change("1", before, "2", now, label, task=Task.BINARY, version=1)
    same = probe_change("1", before, "2", before, label, task=Task.BINARY, version=1)

    assert found.state is State.DRIFT
    assert found.lower > 0.02 * found.loss_before
    assert same.state is State.OK
    assert probe_change(
        "1", before[:90], "2", now[:90], label[:90], task=Task.BINARY, version=1
    ).words.startswith("90 probe rows")


def test_versions_share_one_error_rate_and_each_new_one_is_held_to_a_stricter_bound() -> None:
    assert sum(share_of_alpha(v) for v in range(1, 20_000)) == pytest.approx(0.05, rel=1e-4)
    before, now, label = probe(2_000, 0.3)
    lower = [
        probe_change("1", before, "2", now, label, task=Task.BINARY, version=v).lower
        for v in (1, 2, 30)
    ]
    assert lower == sorted(lower, reverse=True)


def test_a_version_that_forgets_nothing_is_accused_as_seldom_as_promised() -> None:
    """Paired noise with a mean of exactly the margin: DRIFT at most alpha * gamma_1 of the time."""
    rng = np.random.default_rng(9)
    accused = 0
    for _ in range(400):
        label = (rng.random(400) < 0.5).astype(float)
        before = np.full(400, 0.5)
        base = np.log(2)
        wobble = rng.normal(0.02 * base, 0.2, 400)
        now = np.where(label == 1, np.exp(-(base + wobble)), 1 - np.exp(-(base + wobble)))
        found = probe_change(
            "1", before, "2", np.clip(now, 0, 1), label, task=Task.BINARY, version=1
        )
        accused += found.state is State.DRIFT
    assert accused / 400 < share_of_alpha(1) + 0.025
