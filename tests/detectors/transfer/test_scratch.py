from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.records import (
    HOUR_US,
    BaselinePlan,
    Categories,
    ColumnSpec,
    Kind,
    Schema,
    Task,
    Window,
)
from detectors.transfer.loss import loss_of
from detectors.transfer.scratch.features import features_of, labelled_rows
from detectors.transfer.scratch.fit import Fit, _forward, fit_network
from detectors.transfer.scratch.network import Arm, Network, offsets, standardised
from detectors.transfer.scratch.state import ScratchState

SCHEMA = Schema(Task.BINARY, (ColumnSpec("x", Kind.NUMERIC), ColumnSpec("job", Kind.CATEGORICAL)))
PLAN = BaselinePlan(most_rows=3_000)


def rows(seed: int, n: int, *, task: Task = Task.BINARY, crossed: bool = False) -> Window:
    """Labels from x and job: added up, or (`crossed`) only from the two together."""
    rng = np.random.default_rng(seed)
    x, job = rng.normal(size=n), rng.integers(0, 3, n)
    effect = np.array([-1.5, 0.0, 1.5])[job]
    logit = 1.5 * x * np.sign(effect + 0.1) if crossed else 1.2 * x + effect
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    if task is Task.REGRESSION:
        label = 50.0 + 10.0 * logit + rng.normal(size=n)
    return Window(
        rows=n,
        ts_us=np.arange(n, dtype=np.int64) * HOUR_US,
        score=1 / (1 + np.exp(-logit)),
        label=label,
        numeric={"x": np.where(rng.random(n) < 0.05, np.nan, x)},
        categorical={"job": Categories(job.astype(np.int32), ("cook", "nurse", "smith"))},
    )


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_network(labelled_rows(rows(1, 800), SCHEMA), task=Task.BINARY, seed=0)


def mean_loss(network: Network, window: Window, task: Task = Task.BINARY) -> float:
    assert window.label is not None
    score = network.predict(*features_of(window, replace(SCHEMA, task=task)))
    return float(loss_of(task, score, window.label).mean())


def test_a_value_falls_into_the_same_bucket_in_every_process_and_null_into_none() -> None:
    window = rows(1, 3)
    column = Categories(np.array([0, 1, -1], np.int32), ("cook", "nurse"))
    window = replace(window, categorical={"job": column})
    assert features_of(window, SCHEMA)[1][:, 0].tolist() == [102, 113, 0]


def test_what_a_window_lacks_is_null() -> None:
    bare = replace(rows(1, 4), numeric={}, categorical={})
    numeric, bucket = features_of(bare, SCHEMA)
    assert np.isnan(numeric).all()
    assert (bucket == 0).all()


def test_it_comes_near_the_loss_of_the_truth(fit: Fit) -> None:
    """From 800 rows within .03 nats of the truth, which lies far below the base rate."""
    fresh = rows(2, 20_000)
    assert fresh.score is not None
    assert fresh.label is not None
    truth = float(loss_of(Task.BINARY, fresh.score, fresh.label).mean())
    rate = float(fresh.label.mean())
    chance = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert truth < mean_loss(fit.network, fresh) < truth + 0.03
    assert truth + 0.03 < chance


def test_what_only_holds_together_needs_the_deep_arm() -> None:
    trained = fit_network(
        labelled_rows(rows(3, 3_000, crossed=True), SCHEMA), task=Task.BINARY, seed=0
    )
    assert trained.network.arm is Arm.DEEP
    fresh = rows(4, 10_000, crossed=True)
    assert fresh.score is not None
    assert fresh.label is not None
    truth = float(loss_of(Task.BINARY, fresh.score, fresh.label).mean())
    assert mean_loss(trained.network, fresh) < truth + 0.06


def test_values_are_learnt_in_their_own_units() -> None:
    schema = replace(SCHEMA, task=Task.REGRESSION)
    window = rows(5, 900, task=Task.REGRESSION)
    trained = fit_network(labelled_rows(window, schema), task=Task.REGRESSION, seed=0)
    fresh = rows(6, 4_000, task=Task.REGRESSION)
    fresh = fresh.take(~np.isnan(fresh.numeric["x"]))
    assert fresh.label is not None
    assert mean_loss(trained.network, fresh, Task.REGRESSION) < 0.05 * float(np.var(fresh.label))


def test_of_many_classes_it_learns_how_likely_the_predicted_one_is_right() -> None:
    """Right in 9 of 10 rows where `cat` is said and in 3 of 10 for `dog`, whatever x is."""
    schema = replace(SCHEMA, task=Task.MULTICLASS)
    rng = np.random.default_rng(11)
    said = rng.integers(0, 2, 900)
    right = (rng.random(900) < np.where(said == 0, 0.9, 0.3)).astype(float)
    classes = Categories(said.astype(np.int32), ("cat", "dog"))
    window = replace(rows(11, 900), label=right, prediction=classes)
    trained = fit_network(labelled_rows(window, schema), task=Task.BINARY, seed=0)
    score = trained.network.predict(*features_of(window, schema))
    assert score[said == 0].mean() == pytest.approx(0.9, abs=0.06)
    assert score[said == 1].mean() == pytest.approx(0.3, abs=0.06)
    state = ScratchState.fresh(schema).absorb(window, schema, PLAN)
    assert state.is_due(schema, PLAN)
    assert state.fitted(trained).score(window, schema) == pytest.approx(score)


def test_numpy_says_what_torch_says(fit: Fit) -> None:
    import torch

    window = rows(7, 50)
    numeric, bucket = features_of(window, SCHEMA)
    network = fit.network
    inputs = standardised(numeric, network.centre, network.scale)
    raw: Any = np.mean(
        [
            _forward(
                {name: torch.as_tensor(value, dtype=torch.float64) for name, value in m.items()},
                torch.as_tensor(inputs),
                torch.as_tensor((bucket + offsets(1)).astype(np.int64)),
            ).numpy()
            for m in network.members
        ],
        axis=0,
    )
    assert network.predict(numeric, bucket) == pytest.approx(1 / (1 + np.exp(-raw)), abs=1e-9)


def test_the_same_rows_in_any_order_give_the_same_bits() -> None:
    window = rows(1, 800)
    assert window.ts_us is not None
    window = replace(window, ts_us=window.ts_us // (24 * HOUR_US) * (24 * HOUR_US))
    shuffled = window.take(np.random.default_rng(0).permutation(window.rows))
    again = fit_network(labelled_rows(shuffled, SCHEMA), task=Task.BINARY, seed=0)
    first = fit_network(labelled_rows(window, SCHEMA), task=Task.BINARY, seed=0)
    for one, other in zip(first.network.members, again.network.members, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    other_seed = fit_network(labelled_rows(window, SCHEMA), task=Task.BINARY, seed=5)
    assert other_seed.network.predict(*features_of(window, SCHEMA)) != pytest.approx(
        first.network.predict(*features_of(window, SCHEMA)), abs=1e-9
    )


def test_too_few_rows_or_one_label_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be learnt"):
        fit_network(labelled_rows(rows(1, 30), SCHEMA), task=Task.BINARY, seed=0)
    same = replace(rows(1, 300), label=np.ones(300))
    with pytest.raises(ValueError, match="cannot be learnt"):
        fit_network(labelled_rows(same, SCHEMA), task=Task.BINARY, seed=0)


def test_it_is_trained_at_200_rows_and_then_with_each_quarter_more() -> None:
    state = ScratchState.fresh(SCHEMA)
    assert not state.absorb(rows(1, 199), SCHEMA, PLAN).is_due(SCHEMA, PLAN)
    state = state.absorb(rows(1, 200), SCHEMA, PLAN)
    assert state.is_due(SCHEMA, PLAN)
    state = state.given_up()
    assert not state.absorb(rows(2, 49), SCHEMA, PLAN).is_due(SCHEMA, PLAN)
    assert state.absorb(rows(2, 50), SCHEMA, PLAN).is_due(SCHEMA, PLAN)
    rare = replace(rows(1, 400), label=(np.arange(400) < 19).astype(float))
    assert not ScratchState.fresh(SCHEMA).absorb(rare, SCHEMA, PLAN).is_due(SCHEMA, PLAN)


def test_only_the_latest_rows_are_kept_and_rows_without_labels_never() -> None:
    window = rows(1, 4_000)
    assert window.label is not None
    gone = replace(window, label=np.where(np.arange(4_000) % 10 == 0, np.nan, window.label))
    state = ScratchState.fresh(SCHEMA).absorb(gone, SCHEMA, PLAN)
    assert (len(state.rows), state.seen) == (3_000, 3_600)
    assert state.rows.ts_us.min() > 600 * HOUR_US


def test_a_state_comes_back_from_its_bytes(fit: Fit) -> None:
    state = ScratchState.fresh(SCHEMA).absorb(rows(1, 2_000), SCHEMA, PLAN).fitted(fit)
    window = rows(8, 100)
    scored = replace(window, baseline_score=state.score(window, SCHEMA))
    state = state.noted(scored, SCHEMA, 7).noted(scored, SCHEMA, 7).noted(scored, SCHEMA, 8)
    again = ScratchState.from_bytes(state.to_bytes())
    assert np.array_equal(again.score(window, SCHEMA), state.score(window, SCHEMA))
    assert again.facts == state.facts
    assert again.to_bytes() == state.to_bytes()
    assert [p.rows for p in again.curve] == [200.0, 100.0]
    assert again.facts is not None
    assert again.facts.rows == 2_000
    fresh = ScratchState.from_bytes(ScratchState.fresh(SCHEMA).to_bytes())
    assert np.isnan(fresh.score(window, SCHEMA)).all()
    assert fresh.facts is None


@pytest.mark.parametrize("body", [b"", b"{}", b"\x80\x04pickle", b"\x02\0\0\0\0\0\0\0{}"])
def test_other_bytes_are_no_state(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"safetensors|not the state"):
        ScratchState.from_bytes(body)
