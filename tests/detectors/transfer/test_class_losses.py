"""Losses of whole class probabilities: what they are, and which rows they read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss

from detectors.records import (
    DAY_US,
    BaselinePlan,
    Categories,
    Design,
    FloatArray,
    Output,
    Says,
    Schema,
    Settings,
    Task,
    Window,
)
from detectors.transfer.class_losses import (
    class_columns,
    class_losses,
    class_warnings,
    classes_apart,
    compared_words,
    multiclass_brier,
    multiclass_log_loss,
    probabilities_of,
)
from detectors.transfer.designs import with_contrast
from detectors.transfer.losses import chosen_loss, own_loss
from detectors.transfer.standing import BaselineFacts, without_leaks
from detectors.transfer.sums import sums_of
from detectors.transfer.verdict import transfer_verdict

CLASSES = ("cat", "dog", "owl")
OURS = tuple(Output(f"p_{name}", Says.CLASS, name) for name in CLASSES)
THEIRS = tuple(Output(f"b_{name}", Says.BASELINE_CLASS, name) for name in reversed(CLASSES))
SCHEMA = Schema(Task.MULTICLASS, (), outputs=(*OURS, *THEIRS))
SHADOW = BaselinePlan()


def softmax(logits: FloatArray) -> FloatArray:
    shares = np.exp(logits)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def pictures(seed: int, *, served: float = 0.3, scratch: float = 1.0, rows: int = 4_000) -> Window:
    """Two noisy readings of one picture, four hundred a day."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.2, (rows, 3))
    true = (softmax(logits).cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    ours, theirs = (softmax(logits + rng.normal(0.0, sd, (rows, 3))) for sd in (served, scratch))
    said = ours.argmax(axis=1)
    return Window(
        rows=rows,
        ts_us=np.arange(rows, dtype=np.int64) // 400 * DAY_US,
        score=ours.max(axis=1),
        prediction=Categories(said.astype(np.int32), CLASSES),
        label=(said == true).astype(float),
        truth=Categories(true.astype(np.int32), CLASSES),
        numeric={
            **{f"p_{name}": ours[:, at] for at, name in enumerate(CLASSES)},
            **{f"b_{name}": theirs[:, at] for at, name in enumerate(CLASSES)},
        },
    )


def table(window: Window, prefix: str) -> FloatArray:
    return np.column_stack([window.numeric[f"{prefix}_{name}"] for name in CLASSES])


def compared(window: Window, settings: Settings, schema: Schema = SCHEMA) -> FloatArray:
    """The contrast (n, 2) that the verdict reads."""
    loss = chosen_loss(schema, settings, window)
    made = with_contrast(window, settings.baseline, task=schema.task, centre=0.5, loss=loss)
    assert made.contrast is not None
    return made.contrast


@pytest.mark.parametrize("name", ["multiclass_log", "multiclass_brier"])
def test_a_verdict_is_the_difference_that_the_definition_gives(name: str) -> None:
    """Log loss by scikit-learn on probabilities clipped by hand, Brier summed class by class.

    The baseline's columns stand in another order than the model's: classes meet by name.
    """
    window, settings = pictures(1), Settings(loss=name)
    loss = chosen_loss(SCHEMA, settings, window)
    made = with_contrast(window, SHADOW, task=Task.MULTICLASS, centre=0.0, loss=loss)
    verdict = transfer_verdict(
        sums_of(made, task=Task.MULTICLASS), task=Task.MULTICLASS, settings=settings, ended=True
    )
    assert window.truth is not None
    true, expected = window.truth.codes, []
    for prefix in ("p", "b"):
        p = table(window, prefix)
        if name == "multiclass_log":
            p = np.maximum(p, 0.02 / 3)
            expected.append(log_loss(true, p / p.sum(axis=1, keepdims=True)))
        else:
            rows = [
                sum((p[row, k] - float(k == true[row])) ** 2 for k in range(3))
                for row in range(window.rows)
            ]
            expected.append(float(np.mean(rows)))
    assert verdict.difference == pytest.approx(expected[0] - expected[1])
    assert verdict.baseline_loss == pytest.approx(expected[1])
    assert verdict.state.value == "helps"
    assert (
        verdict.loss
        == {
            "multiclass_log": "multiclass log loss",
            "multiclass_brier": "multiclass Brier score",
        }[name]
    )


def test_a_sure_miss_costs_no_more_than_its_floor_however_many_classes_there_are() -> None:
    for count in (2, 10, 1_000):
        sure = np.zeros((2, count))
        sure[:, 0] = 1.0
        hit, miss = multiclass_log_loss(sure, np.array([0, 1]))
        assert hit < 0.03
        assert miss == pytest.approx(np.log(count / 0.02), abs=0.03)


def test_brier_is_between_none_and_two() -> None:
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert multiclass_brier(sure, np.array([0, 1])) == pytest.approx([0.0, 2.0])


def test_rows_that_tell_no_probabilities_or_no_class_are_not_compared() -> None:
    window = pictures(2, rows=400)
    theirs = {name: window.numeric[f"b_{name}"].copy() for name in CLASSES}
    theirs["cat"][0] = np.nan
    theirs["cat"][1] += 0.3
    theirs["cat"][2], theirs["dog"][2], theirs["owl"][2] = -0.2, 0.7, 0.5
    assert window.truth is not None
    assert window.label is not None
    codes, label = window.truth.codes.copy(), window.label.copy()
    codes[3], codes[4], label[5] = 3, -1, np.nan
    spoilt = replace(
        window,
        label=label,
        truth=Categories(codes, (*CLASSES, "fox")),
        numeric={**window.numeric, **{f"b_{name}": values for name, values in theirs.items()}},
    )
    contrast = compared(spoilt, Settings(loss="multiclass_log"))
    assert np.flatnonzero(~np.isfinite(contrast).all(axis=1)).tolist() == [0, 1, 2, 3, 4, 5]
    clean = compared(window, Settings(loss="multiclass_log"))
    assert contrast[6:] == pytest.approx(clean[6:])
    columns = class_columns(SCHEMA)
    assert columns is not None
    assert class_warnings(window, columns) == ()
    missing, none, strange, nameless = class_warnings(spoilt, columns)
    assert missing == (
        "the baseline's class probabilities are missing in 1 of 400 rows, which are not compared"
    )
    assert "none in 2 of 400 rows (row 1: they sum to 1.3)" in none
    assert "1 labels name a class of which no probability is known (fox)" in strange
    assert "1 of 399 labels say right or wrong" in nameless


def test_a_number_that_is_no_probability_is_shown() -> None:
    window = pictures(3, rows=50)
    percent = {f"b_{name}": 100.0 * window.numeric[f"b_{name}"] for name in CLASSES}
    columns = class_columns(SCHEMA)
    assert columns is not None
    (said,) = class_warnings(replace(window, numeric={**window.numeric, **percent}), columns)
    assert "none in 50 of 50 rows (row 0: they hold " in said


def test_rounded_probabilities_are_read_and_made_to_sum_to_one() -> None:
    rng = np.random.default_rng(4)
    names = tuple(f"c{at}" for at in range(60))
    rounded = np.round(rng.dirichlet(np.ones(60), 200), 2)
    assert np.abs(rounded.sum(axis=1) - 1.0).max() > 0.05
    window = Window(rows=200, numeric={name: rounded[:, at] for at, name in enumerate(names)})
    assert probabilities_of(window, names).sum(axis=1) == pytest.approx(np.ones(200))


def test_labels_that_only_say_right_or_wrong_compare_nothing_and_say_so() -> None:
    """To read a right label as its class, and not a wrong one, would keep only the right rows."""
    window = replace(pictures(5, rows=100), truth=None)
    assert not np.isfinite(compared(window, Settings(loss="multiclass_brier"))).any()
    columns = class_columns(SCHEMA)
    assert columns is not None
    (said,) = class_warnings(window, columns)
    assert said.startswith("100 of 100 labels say right or wrong and not which class")


def test_both_kinds_of_probabilities_make_the_log_loss_of_all_classes_the_models_own() -> None:
    assert own_loss(Settings(), SCHEMA).loss == "multiclass_log"
    assert own_loss(Settings(loss="brier"), SCHEMA).loss == "brier"
    assert own_loss(Settings(), replace(SCHEMA, outputs=OURS)).loss == ""
    arms = Settings(baseline=BaselinePlan(design=Design.AB))
    assert own_loss(arms, SCHEMA).loss == ""


@pytest.mark.parametrize(
    ("outputs", "design", "words"),
    [
        ((), None, "needs the probability of each class"),
        (OURS, None, "needs the baseline's probability of each class as well"),
        ((*OURS, *THEIRS), Design.TRAINED, "says how likely the predicted class is right"),
        ((*OURS, *THEIRS), Design.INTERLEAVED, "by no loss"),
    ],
)
def test_a_loss_of_classes_without_their_probabilities_is_refused(
    outputs: tuple[Output, ...], design: Design | None, words: str
) -> None:
    settings = Settings(loss="multiclass_log", baseline=BaselinePlan(design=design))
    with pytest.raises(ValueError, match=words):
        chosen_loss(replace(SCHEMA, outputs=outputs), settings, Window(rows=0))


def test_arms_are_compared_by_the_probabilities_of_the_one_that_served() -> None:
    """Both arms say the same of the same pictures: no difference but by chance."""
    window, rng = pictures(6, rows=20_000), np.random.default_rng(6)
    arms = Categories(rng.integers(0, 2, window.rows).astype(np.int32), ("transfer", "baseline"))
    settings = Settings(loss="multiclass_brier", baseline=BaselinePlan(design=Design.AB))
    alone = replace(SCHEMA, outputs=OURS)
    contrast = compared(replace(window, arm=arms), settings, alone)
    assert window.truth is not None
    expected = multiclass_brier(table(window, "p"), window.truth.codes.astype(np.int64))
    assert contrast[:, 1].mean() == pytest.approx(expected.mean(), rel=0.03)
    assert abs(contrast[:, 0].mean()) < 4 * contrast[:, 0].std() / np.sqrt(window.rows)


def test_rows_the_baseline_was_trained_on_lose_its_probabilities() -> None:
    window = pictures(7)
    facts = BaselineFacts(1, "registered", 800, since_us=0, until_us=2 * DAY_US - 1)
    columns = tuple(one.column for one in THEIRS)
    fair, left_out = without_leaks(window, [facts], columns)
    assert left_out == 800
    loss = class_losses(fair, multiclass_log_loss, CLASSES, tuple(f"b_{c}" for c in CLASSES))
    assert not np.isfinite(loss[:800]).any()
    assert np.isfinite(loss[800:]).all()
    assert without_leaks(window, [facts]) == (window, 0)


def test_classes_of_two_models_that_differ_are_named() -> None:
    assert classes_apart((*OURS, *THEIRS)) == classes_apart(OURS) == ""
    other = Output("b_fox", Says.BASELINE_CLASS, "fox")
    said = classes_apart((*OURS, *THEIRS[:2], other))
    assert said == (
        "the baseline's class probabilities lack cat and name fox, which the model's do not"
    )
    assert "the model has none" in classes_apart(THEIRS)


def test_a_verdict_says_how_many_rows_it_could_not_read_once_they_are_many() -> None:
    assert compared_words(1_000, 950) == compared_words(0, 0) == ""
    assert compared_words(1_000, 400).startswith("400 of 1,000 labelled rows are compared")
