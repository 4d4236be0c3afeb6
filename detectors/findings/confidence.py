"""How often a named mode is right: precision over injected faults with a flat prior."""

from __future__ import annotations

from detectors.findings.contrasts import Contrasts
from detectors.records import Mode, State

LABELLED = {
    Mode.FEATURE_ABSENT: 0.95,
    Mode.SCHEMA_MISMATCH: 0.87,
    Mode.PRIOR_SHIFT: 0.95,
    Mode.LABEL_SEMANTICS: 0.87,
    Mode.CONCEPT_SHIFT: 0.87,
    Mode.COVARIATE_SHIFT: 0.95,
    Mode.MISCALIBRATION: 0.95,
    Mode.BENIGN: 0.95,
    Mode.NONE: 0.95,
}
UNLABELLED = {
    Mode.FEATURE_ABSENT: 0.95,
    Mode.SCHEMA_MISMATCH: 0.87,
    Mode.MISCALIBRATION: 0.9,
    Mode.COVARIATE_SHIFT: 0.4,
    Mode.BENIGN: 0.4,
}
UNSURE_MISMATCH = 0.5
"""Only checks that a person should look at first, such as an offset of a whole column."""
NOT_MEASURED = {
    Mode.PIPELINE_FAULT: 0.8,
    Mode.FORGETTING: 0.8,
    Mode.EMBEDDING: 0.8,
    Mode.NEGATIVE_TRANSFER: 0.9,
    Mode.UNDETERMINED: 0.0,
}


def confidence_in(mode: Mode, contrasts: Contrasts) -> float:
    """Measured share of right answers among those that named `mode`, 0 to 1."""
    if mode in NOT_MEASURED:
        return NOT_MEASURED[mode]
    if mode is Mode.SCHEMA_MISMATCH and all(c.state is State.WATCH for c in contrasts.mismatched):
        return UNSURE_MISMATCH
    table = LABELLED if contrasts.has_labels else UNLABELLED
    return table.get(mode, 0.5)
