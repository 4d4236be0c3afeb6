"""Faults come together: both names stand among the first three."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.findings.contrasts import measure
from detectors.findings.ranking import rank_modes
from detectors.records import Mode, State
from detectors.schema.check import UNIT, SchemaCheck
from tests.detectors.findings.quiet import QUIET
from tests.detectors.findings.synthetic import BINARY, oversampled, world

CENTS = SchemaCheck("hours", UNIT, State.DRIFT, "looks like × 100")


def test_what_is_wrong_without_the_broken_column_is_the_second_name() -> None:
    broken = replace(QUIET, mismatched=(CENTS,), inputs_auc=0.9, within_class_auc=0.9)
    concept = replace(QUIET, local_z=9.0, concept_z=4.0)

    ranked = rank_modes(replace(broken, beside=concept), Mode.SCHEMA_MISMATCH, None)

    assert ranked[:2] == (Mode.SCHEMA_MISMATCH, Mode.CONCEPT_SHIFT)


def test_a_single_fault_has_no_second_name_that_is_not_near() -> None:
    broken = replace(QUIET, mismatched=(CENTS,), beside=QUIET)

    assert rank_modes(broken, Mode.SCHEMA_MISMATCH, None) == (Mode.SCHEMA_MISMATCH,)


def test_a_unit_and_a_label_rate_that_change_together_are_both_among_the_candidates() -> None:
    reference, current = world(3000, 1), oversampled(1500, 2, odds=3.0)
    age, hours = current.numeric["age"], current.numeric["hours"] + 5
    start = replace(
        reference,
        numeric={"age": reference.numeric["age"], "hours": reference.numeric["hours"] + 5},
    )
    cents = replace(current, numeric={"age": age, "hours": hours * 100})

    said = diagnose(start, cents, BINARY, DiagnosisContext())

    assert said.mode is Mode.SCHEMA_MISMATCH
    assert Mode.PRIOR_SHIFT in said.candidates
    assert said.candidates[0] is said.mode
    assert len(said.candidates) <= 3
    assert said.loss is not None
    assert np.isfinite([said.loss.inputs, said.loss.concept, said.loss.unseen]).all()


def test_the_stand_in_says_what_the_label_says_however_broken_the_score_is() -> None:
    """A score of pure noise leaves what is known of inputs and labels as it was."""
    reference, current = world(3000, 1), world(1500, 2)
    noise = np.random.default_rng(0).uniform(0.1, 0.9, 1500)

    found = measure(reference, replace(current, score=noise), BINARY)

    assert found.ranking_z < -10
    assert found.beside is not None
    assert abs(found.beside.ranking_z) < 3
    assert abs(found.beside.concept_z) < 3
