"""Each cause, injected once into a world whose truth is known, is named from the rows alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.diagnosis import DiagnosisContext, conclude, diagnose
from detectors.records import (
    Categories,
    Diagnosis,
    Finding,
    Mode,
    Schema,
    State,
    Task,
    Tier,
    TransferState,
    TransferVerdict,
    Window,
)
from detectors.schema.check import UNIT, SchemaCheck
from tests.detectors.findings.quiet import QUIET
from tests.detectors.findings.synthetic import (
    BINARY,
    COLUMNS,
    REGRESSION,
    flipped,
    labels,
    logit,
    oversampled,
    scores,
    sigmoid,
    tilted,
    valued,
    world,
)

REFERENCE = world(3000, 1)
NOTHING_KNOWN = DiagnosisContext()
HURTS = TransferVerdict(
    TransferState.HURTS,
    "log loss",
    0.03,
    (0.01, 0.05),
    1500,
    0.004,
    words="transfer hurts: +0.03 log loss",
)


def current(seed: int = 2) -> Window:
    return world(1500, seed)


def named(
    window: Window,
    context: DiagnosisContext = NOTHING_KNOWN,
    *,
    reference: Window = REFERENCE,
    schema: Schema = BINARY,
) -> Diagnosis:
    return diagnose(reference, window, schema, context)


def without_labels(window: Window) -> Window:
    return replace(window, label=None)


def rescored(window: Window, slope: float, shift: float) -> Window:
    return replace(window, score=sigmoid(slope * logit(scores(window)) + shift))


def with_age(window: Window, age: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Window:
    return replace(window, numeric={**window.numeric, "age": age})


def test_fresh_rows_of_the_same_world_have_no_problem() -> None:
    found = named(current())

    assert found.mode is Mode.NONE
    assert found.action.kind == "none"
    assert not found.action.retraining


def test_a_column_that_went_null_is_absent() -> None:
    found = named(with_age(current(), np.full(1500, np.nan)))

    assert found.mode is Mode.FEATURE_ABSENT
    assert found.columns == ("age",)
    assert found.action.kind == "feature configuration"
    assert "age" in found.action.falsified_by


def test_a_column_in_another_unit_is_a_schema_mismatch() -> None:
    reference = with_age(REFERENCE, 40 + 10 * REFERENCE.numeric["age"])
    window = with_age(current(), 1000 * (40 + 10 * current().numeric["age"]))

    found = named(window, reference=reference)

    assert found.mode is Mode.SCHEMA_MISMATCH
    assert found.columns == ("age",)
    assert found.action.kind == "verify mapping by a human"
    assert not found.action.retraining


def test_more_of_one_label_with_scores_that_follow_is_prior_shift() -> None:
    found = named(oversampled(1500, 2, odds=3.0))

    assert found.mode is Mode.PRIOR_SHIFT
    assert found.action.kind == "recalibrate"


def test_labels_turned_everywhere_are_conflicting_semantics() -> None:
    window = current()

    found = named(flipped(window, 0.5 * labels(window)))

    assert found.mode is Mode.LABEL_SEMANTICS
    assert found.action.kind == "verify mapping by a human"


def test_labels_turned_in_one_region_are_concept_shift() -> None:
    window = current()

    found = named(flipped(window, 0.6 * (window.numeric["age"] > 0.8)))

    assert found.mode is Mode.CONCEPT_SHIFT
    assert found.columns == ("age",)
    assert found.action.kind == "re-fit head"
    assert found.action.retraining


def test_inputs_moved_to_where_the_task_is_harder_are_covariate_shift() -> None:
    """A perfect model loses most where P(label = 1) is near one half."""
    pool = world(1500, 2, pool=6)
    weight = np.exp(-1.5 * np.abs(logit(scores(pool))))
    chosen = np.random.default_rng(0).choice(
        pool.rows, 1500, replace=False, p=weight / weight.sum()
    )

    found = named(pool.take(chosen))

    assert found.mode is Mode.COVARIATE_SHIFT
    assert found.action.retraining


def test_inputs_moved_without_loss_are_benign() -> None:
    """Far from the boundary a perfect model loses less."""
    found = named(tilted(1500, 2))

    assert found.mode is Mode.BENIGN
    assert "age" in found.columns
    assert found.action.kind == "none"


@pytest.mark.parametrize(("slope", "shift"), [(1.5, 0.0), (1.0, 0.5)])
def test_a_scoring_layer_that_changed_is_miscalibration_even_without_labels(
    slope: float, shift: float
) -> None:
    window = rescored(current(), slope, shift)

    assert named(window).mode is Mode.MISCALIBRATION
    assert named(without_labels(window)).mode is Mode.MISCALIBRATION


def test_harm_without_a_cause_falls_back_to_scratch_where_it_hurts() -> None:
    everywhere = conclude(QUIET, DiagnosisContext(transfer=HURTS))
    helped = replace(HURTS, state=TransferState.HELPS, slices=(("origin=JFK", HURTS),))
    somewhere = conclude(QUIET, DiagnosisContext(transfer=helped))

    assert everywhere.mode is Mode.NEGATIVE_TRANSFER
    assert everywhere.evidence[0] == HURTS.words
    assert (everywhere.action.kind, everywhere.action.scope) == (
        "fall back to scratch",
        "this domain",
    )
    assert somewhere.action.scope == "slice origin=JFK"


def test_a_transfer_that_helps_changes_nothing() -> None:
    helps = replace(HURTS, state=TransferState.HELPS)

    assert conclude(QUIET, DiagnosisContext(transfer=helps)) == conclude(QUIET, NOTHING_KNOWN)


def test_a_cause_beats_negative_transfer_but_harm_stays_the_first_sentence() -> None:
    found = named(with_age(current(), np.full(1500, np.nan)), DiagnosisContext(transfer=HURTS))

    assert (found.mode, found.runner_up) == (Mode.FEATURE_ABSENT, Mode.NEGATIVE_TRANSFER)
    assert found.evidence[0] == HURTS.words


@pytest.mark.parametrize(
    ("context", "word"),
    [
        (DiagnosisContext(many_columns_one_tick=True), "many columns"),
        (DiagnosisContext(volume_ratio=0.1), "0.1 times the usual volume"),
        (DiagnosisContext(label_delay_ratio=9.0), "9 times as long"),
    ],
)
def test_a_fault_of_the_pipeline_itself_comes_first(context: DiagnosisContext, word: str) -> None:
    window = with_age(world(150, 2), np.full(150, np.nan))

    found = named(window, context)

    assert found.mode is Mode.PIPELINE_FAULT
    assert word in found.evidence[0]
    assert not found.action.retraining


def test_usual_volumes_are_no_anomaly() -> None:
    usual = DiagnosisContext(volume_ratio=1.4, label_delay_ratio=0.8)

    assert named(world(150, 2), usual).mode is Mode.UNDETERMINED


def test_without_labels_an_unmoved_window_is_undetermined_and_asks_for_labels() -> None:
    found = named(without_labels(current()))

    assert found.mode is Mode.UNDETERMINED
    assert any("labels are needed" in sentence for sentence in found.evidence)


def test_without_labels_moved_inputs_never_ask_for_retraining() -> None:
    found = named(without_labels(tilted(1500, 2)))

    assert found.mode is Mode.COVARIATE_SHIFT
    assert not found.action.retraining


def test_without_scores_only_inputs_are_compared_and_that_is_said() -> None:
    blind = replace(REFERENCE, score=None)

    found = named(replace(current(), score=None), reference=blind)

    assert found.mode is Mode.UNDETERMINED
    assert any("scores are needed" in sentence for sentence in found.evidence)


def test_a_handful_of_rows_says_how_many_are_needed() -> None:
    found = named(world(40, 2))

    assert found.mode is Mode.UNDETERMINED
    assert any("needs at least 200" in sentence for sentence in found.evidence)


def test_a_handful_of_rows_still_shows_a_missing_column() -> None:
    window = world(40, 2)
    found = named(replace(window, numeric={"hours": window.numeric["hours"]}))

    assert found.mode is Mode.FEATURE_ABSENT


def test_no_rows_at_all_are_undetermined() -> None:
    assert named(world(1500, 2).take(slice(0, 0))).mode is Mode.UNDETERMINED
    assert named(current(), reference=REFERENCE.take(slice(0, 0))).mode is Mode.UNDETERMINED


def test_labels_of_one_class_only_count_as_no_labels() -> None:
    found = named(replace(current(), label=np.zeros(1500)))

    assert found.mode is Mode.UNDETERMINED
    assert any("both classes" in sentence for sentence in found.evidence)


def test_degenerate_columns_and_scores_do_not_break_a_diagnosis() -> None:
    def broken(window: Window) -> Window:
        return replace(
            window,
            score=np.where(np.arange(window.rows) % 3 == 0, np.nan, 0.3),
            numeric={"age": np.ones(window.rows), "hours": np.full(window.rows, np.inf)},
            categorical={"region": Categories(np.full(window.rows, -1, np.int32), ())},
        )

    found = named(broken(current()), reference=broken(REFERENCE))

    assert found.mode in {Mode.NONE, Mode.UNDETERMINED}
    assert not any("nan" in sentence for sentence in found.evidence)


def test_a_regression_whose_truth_rose_is_miscalibrated() -> None:
    found = named(valued(1500, 2, shift=0.6), reference=valued(3000, 1), schema=REGRESSION)

    assert found.mode is Mode.MISCALIBRATION


def test_a_regression_whose_truth_bends_somewhere_is_concept_shift() -> None:
    window = valued(1500, 2)
    bent = replace(window, label=labels(window) - 3.0 * (window.numeric["age"] > 0.8))

    found = named(bent, reference=valued(3000, 1), schema=REGRESSION)

    assert found.mode is Mode.CONCEPT_SHIFT
    assert found.columns == ("age",)


def test_a_top_label_task_is_diagnosed_without_label_rates() -> None:
    multiclass = Schema(Task.MULTICLASS, COLUMNS)
    quiet = named(current(), schema=multiclass)
    window = current()
    wrong = named(flipped(window, 0.6 * (window.numeric["age"] > 0.8)), schema=multiclass)

    assert quiet.mode is Mode.NONE
    assert wrong.mode is Mode.CONCEPT_SHIFT


def test_the_same_windows_and_seed_give_the_same_diagnosis() -> None:
    window = oversampled(1500, 2, odds=3.0)

    assert named(window, DiagnosisContext(seed=4)) == named(window, DiagnosisContext(seed=4))


def test_findings_of_one_slice_narrow_the_action_to_it() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    here = Finding("drift", noon, noon, "loss.mean", Tier.PAGE, slice="region=north")
    there = replace(here, slice="region=south")
    off = replace(QUIET, score_shift=0.5)

    one = conclude(off, DiagnosisContext(findings=(here, here)))
    two = conclude(off, DiagnosisContext(findings=(here, there)))

    assert one.action.scope == "slice region=north"
    assert two.action.scope == "this domain"


def test_a_new_release_is_mentioned() -> None:
    found = conclude(replace(QUIET, score_slope=1.5), DiagnosisContext(version_changed=True))

    assert any("served version changed" in sentence for sentence in found.evidence)


def test_a_mismatch_that_may_be_natural_is_worth_two_candidates() -> None:
    """An offset of a whole column may be its new level unless what it said of labels is broken.

    Below a confidence of .6 the runner-up is shown too.
    """
    offset = SchemaCheck("age", UNIT, State.WATCH, "`age` lies 32 higher")
    factor = replace(offset, state=State.DRIFT)
    moved = replace(QUIET, inputs_auc=0.8, within_class_auc=0.8, loss_z=5.0)

    natural = conclude(replace(moved, mismatched=(offset,)), NOTHING_KNOWN)
    broken = conclude(replace(moved, mismatched=(offset,), concept_z=6.0), NOTHING_KNOWN)
    certain = conclude(replace(moved, mismatched=(offset, factor)), NOTHING_KNOWN)

    assert (natural.mode, natural.runner_up) == (Mode.COVARIATE_SHIFT, Mode.SCHEMA_MISMATCH)
    assert (broken.mode, broken.runner_up) == (Mode.SCHEMA_MISMATCH, Mode.CONCEPT_SHIFT)
    assert broken.confidence < 0.6 < certain.confidence


def test_dependent_rows_widen_errors_until_a_small_change_is_none() -> None:
    window = current()
    slightly = flipped(window, 0.12 * labels(window))

    assert named(slightly).mode is not Mode.NONE
    assert named(slightly, DiagnosisContext(design_effect=30.0)).mode is Mode.NONE


def test_a_feature_that_is_not_filled_needs_no_classifier_and_few_rows_do() -> None:
    """Sixty rows are too few to compare distributions, and plenty to see a default everywhere."""
    few = world(60, 2)

    assert named(with_age(few, np.full(60, 0.0))).mode is Mode.FEATURE_ABSENT
    assert named(with_age(few, np.full(60, np.nan))).mode is Mode.FEATURE_ABSENT
    assert named(few).mode is Mode.UNDETERMINED
