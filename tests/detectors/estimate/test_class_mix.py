"""The mix of classes from predictions alone, where P(x | y) has held and where it has not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.estimate.class_mix import REST, estimate_class_mix
from detectors.estimate.records import Estimate
from detectors.records import Categories, Window

NAMES = ("cat", "dog", "owl")
CONFUSION = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
"""P(said | true), a row for each true class."""


def seen(n: int, seed: int, mix: tuple[float, ...]) -> Window:
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=mix)
    said = (rng.random((n, 1)) > CONFUSION[truth].cumsum(axis=1)).sum(axis=1)
    return Window(
        rows=n,
        truth=Categories(truth.astype(np.int32), NAMES),
        prediction=Categories(said.astype(np.int32), NAMES),
    )


def by_metric(found: tuple[Estimate, ...]) -> dict[str, Estimate]:
    return {one.metric: one for one in found}


def test_a_new_mix_is_found_without_labels_where_each_class_still_looks_the_same() -> None:
    reference = seen(6_000, 1, (0.5, 0.3, 0.2))
    mix = (0.2, 0.3, 0.5)
    current = replace(seen(6_000, 2, mix), truth=None)
    found = by_metric(estimate_class_mix(reference, current))
    for name, share in zip(NAMES, mix, strict=True):
        one = found[f"share of {name}"]
        assert one.method == "BBSE"
        assert one.value == pytest.approx(share, abs=0.03)
        assert one.ci[0] is not None
        assert one.ci[1] is not None
        assert one.ci[0] < share < one.ci[1]
    assert found["accuracy"].value == pytest.approx(0.8, abs=0.02)


def test_the_weights_solve_the_equations_of_the_paper() -> None:
    """w = C⁻¹ μ with counts written out here, shares = w · P(true)."""
    reference, current = seen(2_000, 3, (0.4, 0.4, 0.2)), seen(1_000, 4, (0.3, 0.3, 0.4))
    assert reference.truth is not None
    assert reference.prediction is not None
    assert current.prediction is not None
    joint = np.zeros((3, 3))
    for said, true in zip(reference.prediction.codes, reference.truth.codes, strict=True):
        joint[said, true] += 1 / 2_000
    said_now = np.bincount(current.prediction.codes, minlength=3) / 1_000
    shares = np.linalg.inv(joint) @ said_now * joint.sum(axis=0)
    found = by_metric(estimate_class_mix(reference, current))
    for name, share in zip(NAMES, shares / shares.sum(), strict=True):
        assert found[f"share of {name}"].value == pytest.approx(share)


def test_rare_classes_are_one_and_useless_predictions_are_drawn_to_the_old_mix() -> None:
    reference = seen(4_000, 5, (0.6, 0.397, 0.003))
    names = {one.metric for one in estimate_class_mix(reference, reference)}
    assert names == {"share of cat", "share of dog", f"share of {REST}", "accuracy"}
    rng = np.random.default_rng(6)
    blind = Categories(rng.integers(0, 3, 3_000).astype(np.int32), NAMES)
    guessing = replace(seen(3_000, 7, (0.5, 0.3, 0.2)), prediction=blind)
    found = by_metric(estimate_class_mix(guessing, guessing))
    assert found["share of cat"].method == "RLLS"
    assert found["share of cat"].value == pytest.approx(0.5, abs=0.03)


def test_without_true_classes_nothing_is_estimated() -> None:
    reference = seen(500, 8, (0.5, 0.3, 0.2))
    assert estimate_class_mix(replace(reference, truth=None), reference) == ()
    assert estimate_class_mix(reference, replace(reference, prediction=None)) == ()
