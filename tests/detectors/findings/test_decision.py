"""The ordered list, on contrasts made by hand: one row a rule, and what comes before what."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from detectors.findings.confidence import confidence_in
from detectors.findings.decision import above, at_least, at_most, below, decide_mode
from detectors.records import Mode, State, Task
from detectors.schema.check import ABSENT, SWAP, SchemaCheck
from tests.detectors.findings.quiet import QUIET

GONE = SchemaCheck("age", ABSENT, State.DRIFT, "one value in 100 % of rows")
SWAPPED = SchemaCheck("region", SWAP, State.DRIFT, "north reads as south")
MOVED = {"inputs_auc": 0.7, "within_class_auc": 0.7}
RATE_UP = {
    "rate_change": 0.7,
    "intercept_change": 0.7,
    "intercept_z": 12.0,
    "implied_gap_z": -9.0,
}
FEW_ROWS_UP = {**RATE_UP, "rate_change_se": 0.15, "intercept_z": 4.0}

ROWS = [
    ("nothing", {}, Mode.NONE),
    ("an absent column", {"absent": (GONE,)}, Mode.FEATURE_ABSENT),
    ("a swap", {"mismatched": (SWAPPED,), "inputs_auc": 0.7}, Mode.SCHEMA_MISMATCH),
    ("absent before swap", {"absent": (GONE,), "mismatched": (SWAPPED,)}, Mode.FEATURE_ABSENT),
    ("like inputs score higher", {"score_shift": 0.3}, Mode.MISCALIBRATION),
    ("like inputs score steeper", {"score_slope": 1.4}, Mode.MISCALIBRATION),
    (
        "scores that moved with the inputs are not the scoring layer",
        {"score_shift": 0.3, "inputs_auc": 0.58, "within_class_auc": 0.58},
        Mode.BENIGN,
    ),
    (
        "label rate up and the scores follow",
        {
            **RATE_UP,
            "implied_change": 0.68,
            "implied_z": 9.0,
            "implied_gap_z": -0.3,
            "inputs_auc": 0.58,
            "within_class_auc": 0.53,
        },
        Mode.PRIOR_SHIFT,
    ),
    (
        "the same, but classes look different inside",
        {
            **RATE_UP,
            "implied_change": 0.68,
            "implied_z": 9.0,
            "implied_gap_z": -0.3,
            "inputs_auc": 0.62,
            "within_class_auc": 0.6,
            "loss_z": 3.0,
        },
        Mode.COVARIATE_SHIFT,
    ),
    ("label rate up and the scores do not follow", RATE_UP, Mode.LABEL_SEMANTICS),
    (
        "the same in one place, with the loss up",
        {**RATE_UP, "local_z": 30.0, "concept_z": 8.0, "concept": 0.2},
        Mode.CONCEPT_SHIFT,
    ),
    (
        "label rate up and the scores follow half way",
        {**RATE_UP, "implied_change": 0.4, "implied_z": 9.0, "implied_gap_z": -6.0},
        Mode.MISCALIBRATION,
    ),
    (
        "label rate up, scores follow, but the curve is steeper",
        {
            **RATE_UP,
            "implied_change": 0.68,
            "implied_z": 9.0,
            "implied_gap_z": -0.3,
            "slope_z": 5.0,
        },
        Mode.MISCALIBRATION,
    ),
    (
        "a small change of the label rate in one place",
        {"rate_change": 0.2, "local_z": 9.0, "concept_z": 4.0, "implied_gap_z": -2.3},
        Mode.CONCEPT_SHIFT,
    ),
    ("one region surely, and it is felt", {"region_z": 3.6, "concept_z": 1.8}, Mode.CONCEPT_SHIFT),
    ("one region surely, of no matter", {"region_z": 3.6, "region_effect": 0.1}, Mode.NONE),
    (
        "one small region surely, whose labels moved far, though all others were luckier",
        {"region_z": 3.6, "region_effect": 0.9, "loss_z": -0.5},
        Mode.CONCEPT_SHIFT,
    ),
    (
        "one region perhaps, with the loss up",
        {"region_z": 3.1, "concept_z": 1.8},
        Mode.CONCEPT_SHIFT,
    ),
    ("one region perhaps, and nothing else", {"region_z": 3.1}, Mode.NONE),
    (
        "one region surely, and the label rate with it",
        {**RATE_UP, "region_z": 6.0, "loss_z": 3.0},
        Mode.CONCEPT_SHIFT,
    ),
    (
        "scores that surely followed the label rate explain a region",
        {
            **RATE_UP,
            "implied_change": 0.68,
            "implied_z": 9.0,
            "implied_gap_z": -0.3,
            "region_z": 4.0,
        },
        Mode.PRIOR_SHIFT,
    ),
    (
        "few rows, whose scores rather followed",
        {**FEW_ROWS_UP, "implied_change": 0.4, "implied_z": 0.9, "implied_gap_z": -0.6},
        Mode.PRIOR_SHIFT,
    ),
    (
        "few rows, whose scores rather stayed",
        {**FEW_ROWS_UP, "implied_change": 0.2, "implied_z": 0.4, "implied_gap_z": -1.2},
        Mode.LABEL_SEMANTICS,
    ),
    ("residuals changed in one place", {"local_z": 9.0, "concept_z": 2.6}, Mode.CONCEPT_SHIFT),
    ("residuals changed, the loss did not", {"local_z": 9.0}, Mode.NONE),
    (
        "the order turned round while inputs moved",
        {"inputs_auc": 0.9, "within_class_auc": 0.9, "concept_z": 40.0, "reversed_z": 9.0},
        Mode.LABEL_SEMANTICS,
    ),
    ("ranking lost everywhere", {"ranking_z": -6.0, "slope_z": -5.0}, Mode.LABEL_SEMANTICS),
    ("worse on shared inputs", {"concept": 0.05, "concept_z": 4.0}, Mode.CONCEPT_SHIFT),
    (
        "worse on shared inputs among moved ones",
        {
            "inputs_auc": 0.7,
            "within_class_auc": 0.7,
            "concept": 0.05,
            "concept_z": 4.0,
            "loss_cur": 0.5,
            "loss_z": 9.0,
        },
        Mode.CONCEPT_SHIFT,
    ),
    (
        "worse because inputs are harder",
        {
            "inputs_auc": 0.7,
            "within_class_auc": 0.7,
            "concept": 0.01,
            "concept_z": 4.0,
            "loss_cur": 0.5,
            "loss_z": 9.0,
        },
        Mode.COVARIATE_SHIFT,
    ),
    (
        "few rows, and the scores lean towards the rate that labels show",
        {**RATE_UP, "implied_change": 0.5, "implied_z": 2.4, "implied_gap_z": -0.6},
        Mode.PRIOR_SHIFT,
    ),
    (
        "label rate and loss up, everywhere alike, and the scores follow half way",
        {
            **RATE_UP,
            "implied_change": 0.4,
            "implied_z": 9.0,
            "implied_gap_z": -6.0,
            "concept_z": 8.0,
        },
        Mode.MISCALIBRATION,
    ),
    (
        "inputs are harder, and the labels' noise hides it",
        {**MOVED, "loss_z": 1.5, "expected_loss_z": 3.0, "unexpected_loss_z": -1.0},
        Mode.COVARIATE_SHIFT,
    ),
    (
        "inputs are no harder, and the labels' noise looks like it",
        {**MOVED, "loss_z": 2.4, "expected_loss_z": 0.4, "unexpected_loss_z": 1.8},
        Mode.BENIGN,
    ),
    (
        "the loss rose by more than inputs let expect",
        {**MOVED, "loss_z": 4.0, "expected_loss_z": 0.4, "unexpected_loss_z": 4.0},
        Mode.COVARIATE_SHIFT,
    ),
    ("inputs moved, the loss did not", {"inputs_auc": 0.7, "within_class_auc": 0.7}, Mode.BENIGN),
    ("a level shift alone", {"intercept_change": 0.14, "intercept_z": 3.2}, Mode.MISCALIBRATION),
    ("a steeper curve alone", {"slope_z": 3.8}, Mode.MISCALIBRATION),
]


@pytest.mark.parametrize(("differs", "mode"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_the_first_rule_that_holds_names_the_mode(differs: dict[str, object], mode: Mode) -> None:
    found, runner_up = decide_mode(replace(QUIET, **differs))  # type: ignore[arg-type]

    assert found is mode
    assert runner_up is not mode


def test_a_broken_pipeline_comes_before_everything() -> None:
    broken = replace(QUIET, absent=(GONE,))

    assert decide_mode(broken, pipeline_fault=True) == (Mode.PIPELINE_FAULT, Mode.FEATURE_ABSENT)


def test_harm_without_a_cause_is_negative_transfer() -> None:
    moved = replace(QUIET, inputs_auc=0.6, within_class_auc=0.6)

    assert decide_mode(QUIET, transfer_hurts=True) == (Mode.NEGATIVE_TRANSFER, None)
    assert decide_mode(moved, transfer_hurts=True)[0] is Mode.NEGATIVE_TRANSFER


def test_a_cause_that_was_found_beats_negative_transfer() -> None:
    assert decide_mode(replace(QUIET, score_shift=0.5), transfer_hurts=True) == (
        Mode.MISCALIBRATION,
        Mode.NEGATIVE_TRANSFER,
    )


def test_the_runner_up_is_the_other_fault_that_comes_closest() -> None:
    nearly_concept = replace(QUIET, ranking_z=-5.0, local_z=4.9)

    assert decide_mode(nearly_concept) == (Mode.LABEL_SEMANTICS, Mode.CONCEPT_SHIFT)


def test_where_scores_are_too_blunt_to_tell_the_other_reading_of_a_label_rate_is_named_too() -> (
    None
):
    few = replace(QUIET, **FEW_ROWS_UP)  # type: ignore[arg-type]
    rather_followed = replace(few, implied_change=0.4, implied_z=0.9, implied_gap_z=-0.6)
    rather_stayed = replace(few, implied_change=0.3, implied_z=0.5, implied_gap_z=-1.2)

    assert decide_mode(rather_followed) == (Mode.PRIOR_SHIFT, Mode.LABEL_SEMANTICS)
    assert decide_mode(rather_stayed) == (Mode.LABEL_SEMANTICS, Mode.PRIOR_SHIFT)


def test_a_quiet_window_has_no_runner_up_and_a_benign_one_only_a_near_fault() -> None:
    moved = replace(QUIET, inputs_auc=0.6, within_class_auc=0.6)

    assert decide_mode(QUIET) == (Mode.NONE, None)
    assert decide_mode(replace(moved, loss_z=1.5)) == (Mode.BENIGN, Mode.COVARIATE_SHIFT)


UNLABELLED = replace(
    QUIET, loss_z=np.nan, within_class_auc=np.nan, concept_z=np.nan, rate_change=np.nan
)


@pytest.mark.parametrize(
    ("differs", "mode"),
    [
        ({}, Mode.UNDETERMINED),
        ({"mismatched": (SWAPPED,)}, Mode.SCHEMA_MISMATCH),
        ({"score_shift": 0.3}, Mode.MISCALIBRATION),
        ({"inputs_auc": 0.6}, Mode.BENIGN),
        ({"inputs_auc": 0.6, "score_move": 0.2, "score_move_z": 6.0}, Mode.COVARIATE_SHIFT),
        ({"inputs_auc": 0.6, "score_move": np.nan}, Mode.COVARIATE_SHIFT),
        ({"inputs_auc": np.nan}, Mode.UNDETERMINED),
        ({"rate_change": -1.8, "implied_z": -1.3, "implied_gap_z": 0.6}, Mode.PRIOR_SHIFT),
        ({"rate_change": -1.8, "implied_z": 0.0, "implied_gap_z": 1.3}, Mode.LABEL_SEMANTICS),
        ({"rate_change": -0.2, "implied_z": 0.0, "implied_gap_z": 0.3}, Mode.UNDETERMINED),
    ],
)
def test_without_labels_only_inputs_and_scores_speak(
    differs: dict[str, object], mode: Mode
) -> None:
    assert decide_mode(replace(UNLABELLED, **differs))[0] is mode  # type: ignore[arg-type]


def test_a_regression_that_kept_its_ranking_is_miscalibrated_not_conflicted() -> None:
    level = replace(
        QUIET,
        task=Task.REGRESSION,
        intercept_change=0.4,
        intercept_z=9.0,
        within_class_auc=np.nan,
        rate_change=np.nan,
        rate_change_se=np.nan,
        implied_change=np.nan,
        implied_z=np.nan,
        implied_gap_z=np.nan,
    )

    assert decide_mode(replace(level, concept_z=8.0))[0] is Mode.MISCALIBRATION
    assert decide_mode(replace(level, concept_z=8.0, ranking_z=-5.0))[0] is Mode.CONCEPT_SHIFT


def test_every_hole_in_the_measurements_still_gives_an_answer() -> None:
    fields = [name for name in QUIET.__slots__ if isinstance(getattr(QUIET, name), float)]

    for name in fields:
        mode, runner_up = decide_mode(replace(QUIET, **{name: np.nan}))  # type: ignore[arg-type]
        assert mode in {Mode.NONE, Mode.BENIGN, Mode.UNDETERMINED}
        assert runner_up is not mode


def test_closeness_is_one_only_where_the_condition_holds() -> None:
    assert above(3.1, 3.0) == 1.0 > above(3.0, 3.0) > above(1.5, 3.0) == 0.5
    assert below(2.9, 3.0) == 1.0 > below(3.0, 3.0) > below(6.0, 3.0) == 0.5
    assert at_least(3.0, 3.0) == at_most(3.0, 3.0) == 1.0
    assert above(np.nan, 3.0) == below(np.nan, 3.0) == at_least(0.0, np.nan) == 0.0


def test_two_readings_of_a_label_rate_are_as_sure_as_their_likelihoods() -> None:
    few = replace(QUIET, **FEW_ROWS_UP, implied_change=0.4, implied_z=0.9)  # type: ignore[arg-type]
    blunt, sharp = replace(few, implied_gap_z=-0.6), replace(few, implied_z=4.0, implied_gap_z=0.0)

    odds = math.exp((0.9**2 - 0.6**2) / 2)
    assert confidence_in(Mode.PRIOR_SHIFT, blunt, Mode.LABEL_SEMANTICS) == pytest.approx(
        odds / (1 + odds)
    )
    measured = confidence_in(Mode.PRIOR_SHIFT, sharp)
    assert confidence_in(Mode.PRIOR_SHIFT, sharp, Mode.LABEL_SEMANTICS) == measured
    assert confidence_in(Mode.PRIOR_SHIFT, blunt, Mode.CONCEPT_SHIFT) == measured
