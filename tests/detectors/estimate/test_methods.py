"""The methods by their definitions, the published vectors, and worlds in which each is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from detectors.estimate.atc import atc_accuracy, atc_threshold
from detectors.estimate.bbse import (
    bbse_weights,
    class_priors,
    joint_confusion,
    said_shares,
    shifted_accuracy,
)
from detectors.estimate.dle import estimate_loss
from detectors.estimate.doc import doc_accuracy
from detectors.estimate.every import RATE, contradiction, every_estimate
from detectors.estimate.mcbpe import current_likeness, estimate_where_rows_are
from detectors.estimate.records import BLINDNESS, Estimate
from detectors.estimate.rlls import is_nearly_singular, rlls_weights, sampling_error
from detectors.records import DAY_US, ColumnSpec, FloatArray, Kind, Schema, Task, Window

SCHEMA = Schema(Task.BINARY, (ColumnSpec("x", Kind.NUMERIC),))


def sigmoid(z: FloatArray) -> FloatArray:
    found: FloatArray = 1.0 / (1.0 + np.exp(-z))
    return found


def world(
    rows: int,
    seed: int,
    *,
    move: float = 0.0,
    bent: bool = False,
    concept: float = 0.0,
    labelled: bool = True,
) -> Window:
    """x is normal around `move`; the score is σ(x). `bent`: truth is σ(x) below 1, flat above."""
    rng = np.random.default_rng(seed)
    x = rng.normal(move, 1.0, rows)
    truth = sigmoid(np.minimum(x, 0.0) * 1.0 + concept) if bent else sigmoid(x + concept)
    label = (rng.random(rows) < truth).astype(float)
    return Window(
        rows=rows,
        ts_us=np.arange(rows, dtype=np.int64) * (20 * DAY_US // rows),
        score=sigmoid(x),
        label=label if labelled else None,
        numeric={"x": x},
    )


def test_black_box_shift_gives_the_published_weights_and_priors() -> None:
    joint, said = np.array([[0.45, 0.1], [0.05, 0.4]]), np.array([0.3, 0.7])
    weights = bbse_weights(joint, said)
    assert weights == pytest.approx([0.285714, 1.714286], abs=1e-6)
    assert class_priors(joint, weights) == pytest.approx([0.142857, 0.857143], abs=1e-6)


def test_confusion_and_shares_are_counts_by_hand() -> None:
    said = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    label = np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    weight = np.array([1.0, 1.0, 2.0, 1.0, 5.0])
    assert joint_confusion(said, label, weight) == pytest.approx(np.array([[0.2, 0.1], [0.1, 0.6]]))
    assert said_shares(said, weight) == pytest.approx([0.3, 0.7])


def test_useless_predictions_give_no_weights() -> None:
    flat = np.array([[0.25, 0.25], [0.25, 0.25]])
    assert np.isnan(bbse_weights(flat, np.array([0.4, 0.6]))).all()
    assert np.isfinite(rlls_weights(flat, np.array([0.4, 0.6]), rows=1000)).all()


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.05, 0.95),
    st.floats(0.55, 0.99),
    st.floats(0.01, 0.45),
    st.floats(0.05, 0.95),
    st.integers(100, 100_000),
)
def test_regularised_weights_minimise_the_published_objective(
    rate: float, hits: float, alarms: float, now: float, rows: int
) -> None:
    """The slow definition: a general minimiser of ‖Cθ - (μ - C1)‖ + Δ‖θ‖ finds nothing lower."""
    joint = np.array(
        [[(1 - rate) * (1 - alarms), rate * (1 - hits)], [(1 - rate) * alarms, rate * hits]]
    )
    said = np.array([1 - now, now])
    gap, error = said - joint.sum(axis=1), sampling_error(rows)

    def cost(theta: FloatArray) -> float:
        return float(np.linalg.norm(joint @ theta - gap) + error * np.linalg.norm(theta))

    found = rlls_weights(joint, said, rows=rows) - 1.0
    if (found <= -1.0).any():
        return  # a weight was cut at 0, where the objective no longer speaks
    starts = (np.zeros(2), np.linalg.solve(joint, gap), np.array([0.3, -0.3]))
    best = min(
        float(minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-9}).fun)
        for start in starts
    )
    assert cost(found) <= best + 1e-3 * (1 + best)


def test_regularised_weights_are_those_solved_for_when_rows_are_endless() -> None:
    joint, said = np.array([[0.45, 0.1], [0.05, 0.4]]), np.array([0.3, 0.7])
    assert rlls_weights(joint, said, rows=1e12) == pytest.approx(
        bbse_weights(joint, said), abs=1e-3
    )
    assert not is_nearly_singular(joint)
    assert is_nearly_singular(np.array([[0.88, 0.08], [0.02, 0.02]]))


def test_a_threshold_leaves_the_reference_error_below_it() -> None:
    confidence = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    right = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    threshold = atc_threshold(confidence, right, np.ones(5))
    assert threshold == 0.7
    assert atc_accuracy(threshold, confidence, np.ones(5)) == pytest.approx(right.mean())
    assert atc_accuracy(threshold, np.array([0.55, 0.95]), np.array([3.0, 1.0])) == 0.25


def test_a_drop_of_confidence_is_a_drop_of_accuracy() -> None:
    found = doc_accuracy(
        np.array([0.9, 0.7]),
        np.array([1.0, 0.5]),
        np.ones(2),
        np.array([0.6, 0.8]),
        np.array([1.0, 3.0]),
    )
    assert found == pytest.approx(0.75 - (0.8 - 0.75))


def test_under_a_pure_label_shift_black_box_shift_is_right_and_says_how_sure_it_is() -> None:
    reference = world(8000, 1)
    pool = world(30000, 2)
    assert pool.label is not None
    rng = np.random.default_rng(3)
    keep = (pool.label == 1) | (rng.random(pool.rows) < 0.3)
    current = pool.take(keep)
    assert current.label is not None
    assert current.score is not None
    truth = float(current.label.mean())
    right = float(((current.score >= 0.5) == (current.label == 1)).mean())
    found = {(e.metric, e.method): e for e in every_estimate(reference, current, SCHEMA).others}
    rate, accuracy = found[RATE, "BBSE"], found["accuracy", "BBSE"]
    for one, expected in ((rate, truth), (accuracy, right)):
        lower, upper = one.ci
        assert one.value is not None
        assert lower is not None
        assert upper is not None
        assert lower - 0.005 <= expected <= upper + 0.005
        assert upper - lower < 0.1
        assert one.value == pytest.approx(expected, abs=0.03)
    joint = joint_confusion(
        np.greater_equal(reference.score, 0.5).astype(float),  # type: ignore[arg-type]
        reference.label,  # type: ignore[arg-type]
        np.ones(reference.rows),
    )
    assert shifted_accuracy(joint, np.ones(2)) == pytest.approx(float(np.trace(joint)))


def test_where_inputs_move_a_curve_fitted_there_is_nearer_than_one_fitted_everywhere() -> None:
    """Calibration by score is right on average over x1, wrong where the current rows lie."""
    rng = np.random.default_rng(5)

    def rows(count: int, inside: float, *, labelled: bool) -> Window:
        group = (rng.random(count) < inside).astype(float)
        score = rng.uniform(0.2, 0.8, count)
        truth = np.clip(score + np.where(group == 1, 0.18, -0.18), 0, 1)
        label = (rng.random(count) < truth).astype(float)
        return Window(
            rows=count,
            score=score,
            label=label if labelled else None,
            numeric={"x": group + rng.normal(0, 0.05, count)},
        )

    reference, current = rows(5000, 0.5, labelled=True), rows(5000, 0.95, labelled=False)
    truth = 0.5 + 0.18 * (2 * 0.95 - 1)
    likeness = current_likeness(reference, current, SCHEMA)
    told = {
        e.metric: e
        for e in estimate_where_rows_are(
            reference, current, task=Task.BINARY, likeness=likeness, replicates=40
        )
    }
    plain = {e.metric: e for e in every_estimate(reference, current, SCHEMA).main}
    assert told[RATE].value == pytest.approx(truth, abs=0.03)
    assert not np.isclose(plain[RATE].value or 0.0, truth, atol=0.1)
    assert told[RATE].method == "M-CBPE"


def test_a_reference_that_has_nothing_like_the_current_rows_is_refused_in_words() -> None:
    reference = world(1500, 6)
    likeness = np.zeros(1500)
    likeness[:40] = 1.0
    (refused,) = estimate_where_rows_are(
        reference, world(500, 7), task=Task.BINARY, likeness=likeness
    )
    assert refused.value is None
    assert "worth 40 rows" in refused.words


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_a_model_of_the_loss_finds_the_loss_of_moved_inputs(task: Task) -> None:
    rng = np.random.default_rng(8)

    def rows(count: int, move: float) -> Window:
        x = rng.normal(move, 1.0, count)
        if task is Task.BINARY:
            score = sigmoid(x)
            label = (rng.random(count) < score).astype(float)
        else:
            score = x
            label = x + rng.normal(0, 1, count) * np.where(x > 0, 2.0, 0.5)
        return Window(rows=count, score=score, label=label, numeric={"x": x})

    from detectors.transfer.loss import loss_of

    reference, current = rows(5000, 0.0), rows(5000, 0.8)
    schema = Schema(task, SCHEMA.columns)
    (found,) = estimate_loss(reference, current, schema, replicates=60)
    assert current.score is not None
    assert current.label is not None
    truth = float(loss_of(task, current.score, current.label).mean())
    before = float(loss_of(task, reference.score, reference.label).mean())  # type: ignore[arg-type]
    assert found.value == pytest.approx(truth, rel=0.06)
    assert abs(found.value - truth) < 0.5 * abs(before - truth)  # type: ignore[operator]
    assert found.ci[0] is not None


def test_every_method_is_blind_to_a_changed_rule_and_the_table_says_so() -> None:
    assert {row.concept for row in BLINDNESS.values()} == {"blind"}
    reference = world(3000, 9)
    same = world(3000, 10, labelled=False)
    turned = world(3000, 10, concept=1.5, labelled=False)
    first, second = (every_estimate(reference, w, SCHEMA) for w in (same, turned))
    assert [e.value for e in first.main] == [e.value for e in second.main]
    assert [e.value for e in first.others] == [e.value for e in second.others]
    assert {row.method for row in first.blindness} >= {"CBPE", "M-CBPE", "DLE", "ATC", "DoC"}
    for row in first.blindness:
        assert "blind when the rule behind labels moves" in row.words


def test_label_rates_that_disagree_beyond_their_intervals_ask_for_labels() -> None:
    def rate(method: str, value: float, half: float) -> Estimate:
        return Estimate(RATE, value, (value - half, value + half), method, None, "")

    apart = (rate("BBSE", 0.50, 0.03), rate("M-CBPE", 0.40, 0.04))
    assert "get labels" in contradiction(apart)
    assert contradiction((rate("BBSE", 0.44, 0.03), rate("M-CBPE", 0.40, 0.04))) == ""
    assert contradiction((rate("CBPE", 0.4, 0.01),)) == ""
    # M-CBPE speaks for confidence where it can.
    assert contradiction((*apart[1:], rate("CBPE", 0.9, 0.01), rate("BBSE", 0.41, 0.02))) == ""


def test_nothing_is_said_to_disagree_when_nothing_changed() -> None:
    told = [
        every_estimate(world(3000, 20 + s), world(1500, 60 + s), SCHEMA).contradiction
        for s in range(20)
    ]
    assert sum(map(bool, told)) <= 2


def test_past_misses_widen_the_interval_of_the_loss_by_their_conformal_quantile() -> None:
    reference, current = world(3000, 30), world(1000, 31)
    gaps = np.linspace(-0.1, 0.1, 19)
    plain = every_estimate(reference, current, SCHEMA).main[0]
    wider = every_estimate(reference, current, SCHEMA, gaps=gaps).main[0]
    # The 18th smallest of 19 absolute misses: ceil(.9 x 20) = 18.
    more = sorted(abs(gaps))[17]
    assert wider.ci[1] == pytest.approx(plain.ci[1] + more)
    assert wider.ci[0] == pytest.approx(plain.ci[0] - more)
    assert "nine times in ten" in wider.words
