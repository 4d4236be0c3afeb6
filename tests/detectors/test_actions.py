import pytest

from detectors.actions import action_for
from detectors.records import Mode

RETRAINS = {
    Mode.FEATURE_ABSENT,
    Mode.FORGETTING,
    Mode.EMBEDDING,
    Mode.PRIOR_SHIFT,
    Mode.CONCEPT_SHIFT,
    Mode.COVARIATE_SHIFT,
    Mode.MISCALIBRATION,
    Mode.NEGATIVE_TRANSFER,
}


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_has_one_action_with_a_test_of_its_success(mode: Mode) -> None:
    action = action_for(mode, columns=("age", "hours"))

    assert action.kind
    assert action.cadence in {"now", "hours", "days", "days to weeks", "quarters"}
    assert action.retraining is (mode in RETRAINS)
    assert "{" not in action.falsified_by
    assert action.falsified_by


def test_an_action_for_all_domains_is_not_narrowed_to_a_slice() -> None:
    assert action_for(Mode.EMBEDDING, slice_name="origin=JFK").scope == "all domains"
    assert action_for(Mode.MISCALIBRATION, slice_name="origin=JFK").scope == "slice origin=JFK"


def test_estimates_alone_never_retrain() -> None:
    assert action_for(Mode.COVARIATE_SHIFT).retraining
    assert not action_for(Mode.COVARIATE_SHIFT, losses_known=False).retraining
