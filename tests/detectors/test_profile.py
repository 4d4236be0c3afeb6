from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.records import Categories, ColumnSpec, Kind, Schema, Task, Window
from detectors.summary import PREDICTION_COLUMN, Profile, Sum, fit_profile, summarise
from tests.detectors.rows import SCHEMA, flights

PRINT_FINGERPRINT = """
import numpy as np
from detectors.summary import fit_profile
from tests.detectors.rows import SCHEMA, flights
print(fit_profile(flights(np.random.default_rng(1), 600), SCHEMA).fingerprint)
"""


def test_bytes_come_back_as_the_same_profile() -> None:
    profile = fit_profile(flights(np.random.default_rng(1), 3_000), SCHEMA)
    again = Profile.from_bytes(profile.to_bytes())
    assert again.fingerprint == profile.fingerprint
    assert again.to_bytes() == profile.to_bytes()
    assert again.schema == profile.schema
    assert again.slices == profile.slices
    window = flights(np.random.default_rng(2), 200)
    left = summarise(window, profile, start_us=0, end_us=1)
    right = summarise(window, again, start_us=0, end_us=1)
    assert left.to_bytes() == right.to_bytes()


def test_the_fingerprint_is_the_same_in_another_process_and_moves_with_the_rows() -> None:
    here = fit_profile(flights(np.random.default_rng(1), 600), SCHEMA).fingerprint
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    there = subprocess.run(
        [sys.executable, "-c", PRINT_FINGERPRINT],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert there.stdout.strip() == here
    assert fit_profile(flights(np.random.default_rng(2), 600), SCHEMA).fingerprint != here


def test_scales_are_those_of_the_reference() -> None:
    reference = flights(np.random.default_rng(3), 2_000)
    profile = fit_profile(reference, SCHEMA)
    score, label, base = reference.score, reference.label, reference.baseline_score
    assert score is not None
    assert label is not None
    assert base is not None
    loss = -np.log(np.clip(np.where(label == 1.0, score, 1.0 - score), 0.01, 0.99))
    baseline = -np.log(np.clip(np.where(label == 1.0, base, 1.0 - base), 0.01, 0.99))
    assert profile.loss is not None
    assert profile.difference is not None
    assert (profile.loss.mean, profile.loss.sd) == pytest.approx((loss.mean(), loss.std()))
    assert profile.difference.sd == pytest.approx((loss - baseline).std())
    assert profile.label_rate == pytest.approx(label.mean())
    assert profile.labelled == 2_000
    nulls = np.isnan(reference.numeric["distance"]).mean()
    assert profile.null_share("distance") == pytest.approx(nulls)


def test_weights_of_two_are_rows_written_twice() -> None:
    reference = flights(np.random.default_rng(4), 500)
    twice = reference.take(np.repeat(np.arange(500), 2))
    weighted = fit_profile(replace(reference, weight=np.full(500, 2.0)), SCHEMA)
    doubled = fit_profile(twice, SCHEMA)
    assert weighted.ruler.score.mean == pytest.approx(doubled.ruler.score.mean)
    assert weighted.ruler.score.kurtosis == pytest.approx(doubled.ruler.score.kurtosis)
    assert weighted.loss is not None
    assert doubled.loss is not None
    assert weighted.loss.sd == pytest.approx(doubled.loss.sd)
    assert weighted.counts["carrier"][0].tolist() == doubled.counts["carrier"][0].tolist()


def test_a_reference_without_rows_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="without rows"):
        fit_profile(Window(rows=0), SCHEMA)


def test_a_bare_reference_still_makes_a_profile() -> None:
    """One row, no score, no label, no column: everything is null, nothing fails."""
    profile = fit_profile(Window(rows=1), SCHEMA)
    assert Profile.from_bytes(profile.to_bytes()).fingerprint == profile.fingerprint
    assert profile.null_share("distance") == 1.0
    assert (profile.label_rate, profile.loss, profile.ruler.curve) == (None, None, None)
    summary = summarise(flights(np.random.default_rng(5), 10), profile, start_us=0, end_us=1)
    assert summary.rows == 10


def test_a_multiclass_model_has_cells_for_its_predicted_classes() -> None:
    rng = np.random.default_rng(6)
    window = Window(
        rows=300,
        score=rng.uniform(0.4, 1.0, 300),
        label=(rng.random(300) < 0.7).astype(np.float64),
        prediction=Categories(rng.integers(0, 3, 300).astype(np.int32), ("cat", "dog", "cow")),
    )
    profile = fit_profile(window, Schema(Task.MULTICLASS, ()))
    assert profile.counts[PREDICTION_COLUMN][0].sum() == 300
    assert np.count_nonzero(profile.counts[PREDICTION_COLUMN][0]) == 3


def test_regression_is_measured_in_sd_of_its_residual() -> None:
    rng = np.random.default_rng(7)
    score = rng.normal(50.0, 10.0, 5_000)
    window = Window(rows=5_000, score=score, label=score + rng.normal(3.0, 2.0, 5_000))
    profile = fit_profile(window, Schema(Task.REGRESSION, ()))
    sums = profile.slice_sums[""]
    assert sums[Sum.RESIDUAL] / sums[Sum.JUDGED] == pytest.approx(0.0, abs=1e-9)
    assert profile.ruler.residual is not None
    assert profile.ruler.residual.mean == pytest.approx(3.0, abs=0.15)
    assert profile.ruler.residual.sd == pytest.approx(2.0, abs=0.1)


def test_a_feature_may_be_called_score() -> None:
    schema = Schema(Task.BINARY, (ColumnSpec("score", Kind.NUMERIC),))
    window = Window(rows=3, score=np.full(3, 0.5), numeric={"score": np.array([1.0, 2.0, np.nan])})
    profile = fit_profile(window, schema)
    assert profile.null_share("score") == pytest.approx(1 / 3)


@pytest.mark.parametrize("damage", [b"", b"KTS1", b"KPF1\x00\x01"])
def test_other_bytes_are_refused(damage: bytes) -> None:
    with pytest.raises(ValueError, match="profile"):
        Profile.from_bytes(damage)
