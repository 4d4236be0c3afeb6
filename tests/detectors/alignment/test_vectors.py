"""Published vectors, definitions written slowly, and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import procrustes
from sklearn.decomposition import PCA

from detectors.alignment.centroids import centroid_cosine
from detectors.alignment.reconstruction import distance_off, fit_plane
from detectors.alignment.similarity import (
    linear_cka,
    neighbour_overlap,
    participation_ratio,
    procrustes_disparity,
)
from detectors.records import FloatArray

A = np.array([[1.0, 0], [0, 1], [1, 1], [2, 1]])
TURNED = A @ np.array([[0.0, 1], [-1, 0]])
MOVED = TURNED + np.array([[0.3, 0], [0, -0.2], [0.1, 0.1], [0, 0.4]])


def plain_cka(a: FloatArray, b: FloatArray) -> float:
    """The definition, without the debiased form that so few rows would take."""
    a, b = a - a.mean(0), b - b.mean(0)
    within = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(b.T @ a) ** 2 / within)


def test_a_map_that_is_only_turned_is_the_same_map() -> None:
    many, turned = np.tile(A, (5, 1)), np.tile(TURNED, (5, 1))

    assert linear_cka(many, turned) == pytest.approx(1)
    assert procrustes_disparity(A, TURNED) == pytest.approx(0, abs=1e-12)


def test_cka_and_disparity_of_the_published_vector() -> None:
    many, moved = np.tile(A, (5, 1)), np.tile(MOVED, (5, 1))

    assert linear_cka(many, moved) == pytest.approx(0.997310, abs=1e-6)
    assert linear_cka(many, moved) == pytest.approx(plain_cka(A, MOVED))
    assert procrustes_disparity(A, MOVED) == pytest.approx(0.002768, abs=1e-6)


def test_disparity_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))

    assert procrustes_disparity(a, b) == pytest.approx(procrustes(a, b)[2])


def test_unrelated_wide_embeddings_have_a_debiased_cka_of_nought() -> None:
    """With as many dimensions as rows the plain CKA of noise is about a half."""
    rng = np.random.default_rng(1)
    found, plain = [], []
    for _ in range(40):
        a, b = rng.normal(size=(60, 60)), rng.normal(size=(60, 60))
        found.append(linear_cka(a, b))
        plain.append(plain_cka(a, b))

    assert np.mean(plain) > 0.4
    assert np.mean(found) == pytest.approx(0, abs=0.02)


def test_neighbours_are_all_kept_by_a_turn_and_by_chance_k_in_n() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(200, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))

    assert neighbour_overlap(a, a @ turn) == 1
    assert neighbour_overlap(a, rng.normal(size=(200, 3))) == pytest.approx(10 / 199, abs=0.02)


def test_the_participation_ratio_counts_directions() -> None:
    rng = np.random.default_rng(3)

    assert participation_ratio(rng.normal(size=(20_000, 6))) == pytest.approx(6, rel=0.01)
    assert participation_ratio(np.outer(rng.normal(size=50), np.ones(6))) == pytest.approx(1)


def test_the_cosine_of_centres_does_not_shrink_with_few_rows() -> None:
    """The true cosine is .6; forty rows a side give it back on average, undivided they give .4."""
    rng = np.random.default_rng(4)
    d = 20
    mu, other = np.zeros(d), np.zeros(d)
    mu[0] = 1.0
    other[:2] = 0.6, 0.8
    found, raw = [], []
    for _ in range(300):
        a, b = mu + rng.normal(size=(40, d)), other + rng.normal(size=(40, d))
        found.append(centroid_cosine(a, b, np.zeros(d)).cosine)
        x, y = a.mean(0), b.mean(0)
        raw.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    assert np.mean(raw) < 0.45
    assert np.mean(found) == pytest.approx(0.6, abs=0.04)


def test_a_mean_that_all_rows_share_makes_no_centres_alike() -> None:
    rng = np.random.default_rng(5)
    shared = np.full(8, 10.0)
    up, down = np.eye(8)[0], -np.eye(8)[0]
    rows, source = shared + up + rng.normal(0, 0.1, (200, 8)), shared + down

    told = centroid_cosine(rows, source + rng.normal(0, 0.1, (200, 8)), shared)

    assert told.cosine == pytest.approx(-1, abs=0.01)
    assert "better not fine-tune" in told.words
    assert not centroid_cosine(rows[:3], source, shared + up).enough


def test_distance_off_the_plane_is_the_reconstruction_error_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + rng.normal(0, 0.3, (400, 6))
    new = rng.normal(size=(10, 6))

    plane = fit_plane(rows)

    scaled = (rows - rows.mean(0)) / rows.std(0)
    told = PCA(len(plane.directions), svd_solver="full").fit(scaled)
    z = (new - rows.mean(0)) / rows.std(0)
    expected = np.linalg.norm(z - told.inverse_transform(told.transform(z)), axis=1)
    assert distance_off(plane, new) == pytest.approx(expected)
    assert told.explained_variance_ratio_.sum() >= 0.65
