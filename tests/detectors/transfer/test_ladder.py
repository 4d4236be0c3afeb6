"""The cheapest repair that is enough, for harms whose repair is known because it was put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.calibration.rows import sigmoid
from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.records import FloatArray, Task, TransferState, TransferVerdict, Window
from detectors.transfer.ladder import recalibrated, recovery_ladder
from tests.detectors.findings.synthetic import BINARY, world

ROWS = 6_000


def rows(score_of: str) -> tuple[Window, FloatArray]:
    """The baseline knows the truth but for a little noise; the transferred model is wrong so."""
    rng = np.random.default_rng(0)
    x, hidden = rng.normal(0, 1.5, ROWS), rng.normal(0, 1.0, ROWS)
    truth = x + hidden - 1
    label = (rng.random(ROWS) < sigmoid(truth)).astype(float)
    wrong = {
        "level": truth + 1.5,
        "slope": 3 * truth,
        "other inputs": x - 1 + 1.5 * rng.normal(size=ROWS),
        "nothing": truth,
    }
    window = Window(
        rows=ROWS,
        score=sigmoid(wrong[score_of]),
        baseline_score=sigmoid(truth + rng.normal(0, 0.1, ROWS)),
        label=label,
    )
    return window, sigmoid(truth)


def test_the_published_vector() -> None:
    z = np.array([-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5])
    y = np.array([0, 0, 0, 0, 0, 0, 1, 0, 1, 1.0])

    def loss(p: FloatArray) -> float:
        return float(-np.where(y == 1, np.log(p), np.log1p(-p)).mean())

    found = recalibrated(sigmoid(z), y, sigmoid(z), task=Task.BINARY)

    assert loss(sigmoid(z)) == pytest.approx(0.500340, abs=1e-6)
    assert found["intercept"] is not None
    assert found["Cox"] is not None
    assert found["intercept"] == pytest.approx(sigmoid(z - 1.469798), abs=1e-6)
    assert loss(found["intercept"]) == pytest.approx(0.325270, abs=1e-6)
    assert found["Cox"] == pytest.approx(sigmoid(-3.189668 + 2.534929 * z), abs=1e-5)
    assert loss(found["Cox"]) == pytest.approx(0.249579, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "cheapest"),
    [("level", "intercept"), ("slope", "Cox"), ("other inputs", "scratch"), ("nothing", "")],
)
def test_the_repair_that_undoes_what_was_put_in_is_named(wrong: str, cheapest: str) -> None:
    window, _ = rows(wrong)

    found = recovery_ladder(window, task=Task.BINARY)

    assert found is not None
    assert found.cheapest == cheapest
    assert (found.fitted_on, found.judged_on) == (150, ROWS - 150)


def test_scores_of_a_refitted_head_are_a_rung_between() -> None:
    window, truth = rows("other inputs")

    found = recovery_ladder(replace(window, head_score=truth, full_score=truth), task=Task.BINARY)

    assert found is not None
    assert found.cheapest == "head"
    assert "re-fit the head" in found.words
    assert [rung.name for rung in found.rungs] == [
        *("zero-shot", "intercept", "Cox"),
        *("head", "full", "scratch"),
    ]


def test_a_head_is_judged_on_the_rows_it_scored_against_the_harm_on_those_rows() -> None:
    """It was trained on the first 2,000 rows, where harm is twice what it is later."""
    window, truth = rows("other inputs")
    assert window.score is not None
    assert window.label is not None
    head = np.where(np.arange(ROWS) < 2_000, np.nan, truth)
    score = np.where(np.arange(ROWS) < 2_000, 1 - truth, window.score)

    found = recovery_ladder(replace(window, score=score, head_score=head), task=Task.BINARY)

    assert found is not None
    rung = next(rung for rung in found.rungs if rung.name == "head")
    alone = recovery_ladder(
        replace(window.take(slice(1_850, ROWS)), head_score=truth[1_850:]), task=Task.BINARY
    )
    assert alone is not None
    assert rung == next(rung for rung in alone.rungs if rung.name == "head")
    assert rung.rows == 4_000
    assert "head" in found.words
    assert "(4,000 rows)" in found.words
    assert found.cheapest == "head"


def test_a_head_that_scored_too_few_later_rows_is_no_rung() -> None:
    window, truth = rows("other inputs")
    head = np.where(np.arange(ROWS) < ROWS - 99, np.nan, truth)

    found = recovery_ladder(replace(window, head_score=head), task=Task.BINARY)

    assert found is not None
    assert "head" not in [rung.name for rung in found.rungs]


def test_later_rows_judge_and_never_the_first_ones() -> None:
    """Rows come in any order; by time the first 150 carry a level of their own."""
    window, _ = rows("nothing")
    assert window.score is not None
    order = np.random.default_rng(1).permutation(ROWS)
    ts = np.arange(ROWS)
    score = window.score.copy()
    score[:150] = 1 / (1 + np.exp(4.0))
    shuffled = Window(
        rows=ROWS,
        ts_us=ts[order].astype(np.int64),
        score=score[order],
        baseline_score=None if window.baseline_score is None else window.baseline_score[order],
        label=None if window.label is None else window.label[order],
    )

    found = recovery_ladder(shuffled, task=Task.BINARY)

    assert found is not None
    assert found.harm == pytest.approx(0, abs=0.01)
    intercept = next(rung for rung in found.rungs if rung.name == "intercept")
    assert intercept.loss > found.rungs[0].loss + 0.1


def test_too_few_labels_or_no_baseline_is_no_ladder() -> None:
    window, _ = rows("level")

    assert recovery_ladder(window.take(slice(0, 140)), task=Task.BINARY) is None
    assert recovery_ladder(window, task=Task.MULTICLASS) is None
    assert recovery_ladder(Window(rows=5), task=Task.BINARY) is None


def test_harm_is_told_with_the_repair_that_is_enough() -> None:
    current = world(1500, 2)
    assert current.score is not None
    logit = np.log(current.score) - np.log1p(-current.score)
    hurt = Window(
        rows=current.rows,
        score=sigmoid(logit + 1.5),
        baseline_score=current.score,
        label=current.label,
        numeric=current.numeric,
        categorical=current.categorical,
    )
    verdict = TransferVerdict(
        TransferState.HURTS, "log loss", 0.1, (0.05, 0.2), 1500, 0.004, words="transfer hurts"
    )

    said = diagnose(world(3000, 1), hurt, BINARY, DiagnosisContext(transfer=verdict))

    assert "recalibrate the level" in said.evidence[1]
