"""An embedding enters the two-sample test by its leading components."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.findings.components import leading_components
from detectors.findings.two_sample import two_sample
from detectors.records import Mode, Schema, Task, Window

ONLY_EMBEDDING = Schema(Task.BINARY, ())


def embedded(rows: int, seed: int, *, mean: float = 0.0, width: int = 12) -> Window:
    rng = np.random.default_rng(seed)
    spread = np.linspace(3, 0.5, width)
    values = (rng.normal(size=(rows, width)) * spread).astype(np.float32)
    values[:, 1] += mean
    p = 1 / (1 + np.exp(-values[:, 0].astype(float)))
    label = (rng.random(rows) < p).astype(float)
    return Window(rows=rows, score=p, label=label, embedding=values)


def test_components_are_those_of_a_principal_component_analysis_of_both_windows() -> None:
    before, now = embedded(500, 0), embedded(400, 1, mean=2.0)

    found = np.column_stack(leading_components(before, now))

    assert before.embedding is not None
    assert now.embedding is not None
    both = np.concatenate([before.embedding, now.embedding]).astype(float)
    told = PCA(8, svd_solver="full").fit_transform(both)
    assert np.abs(found) == pytest.approx(np.abs(told), abs=1e-3)


def test_a_moved_embedding_is_seen_without_any_column_and_named_as_the_carrier() -> None:
    reference = embedded(1500, 0)

    alike = two_sample(reference, embedded(900, 1), ONLY_EMBEDDING, seed=0)
    moved = two_sample(reference, embedded(900, 2, mean=3.0), ONLY_EMBEDDING, seed=0)

    assert alike.auc == pytest.approx(0.5, abs=0.04)
    assert moved.auc > 0.75
    assert moved.carriers == ("embedding",)


def test_a_drift_of_the_embedding_alone_is_not_called_no_problem() -> None:
    said = diagnose(
        embedded(1500, 0), embedded(900, 2, mean=3.0), ONLY_EMBEDDING, DiagnosisContext()
    )

    assert said.mode is Mode.BENIGN
    assert "embedding" in " ".join(said.evidence)


def test_rows_that_are_not_finite_are_null_and_other_dimensions_are_not_compared() -> None:
    before, now = embedded(300, 0), embedded(200, 1)
    assert now.embedding is not None
    broken = now.embedding.copy()
    broken[5, 3] = np.nan

    (first, *_) = leading_components(before, replace(now, embedding=broken))

    assert np.flatnonzero(np.isnan(first)).tolist() == [305]
    assert leading_components(before, embedded(200, 1, width=9)) == ()
    assert leading_components(before, Window(rows=3)) == ()
