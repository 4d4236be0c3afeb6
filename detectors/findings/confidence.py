"""How often a named mode is right: precision over injected faults with a flat prior.

Measured by `benchmarks/faults/confusion.py` on windows of 500 and of 3,000 rows; the matrix is in
`benchmarks/faults/README.md`. Between the two it is read off by the logarithm of the labelled rows,
outside them it is the nearer one. A share is known to about .02, and no entry claims more than .97.
The mix of causes in service is not flat, and faults may come together: read it as "which diagnoses
deserve a second look", not as a probability.
"""

from __future__ import annotations

import math

from detectors.findings.contrasts import Contrasts
from detectors.findings.decision import evidence_of_prior
from detectors.records import Mode, State

FEW, MANY = 500, 3_000
LABELLED = {
    Mode.FEATURE_ABSENT: (0.97, 0.97),
    Mode.SCHEMA_MISMATCH: (0.97, 0.94),
    Mode.STALE_EMBEDDINGS: (0.97, 0.97),
    Mode.FORGETTING: (0.97, 0.97),
    Mode.EMBEDDING: (0.97, 0.97),
    Mode.PRIOR_SHIFT: (0.87, 0.97),
    Mode.LABEL_SEMANTICS: (0.85, 0.97),
    Mode.CONCEPT_SHIFT: (0.96, 0.95),
    Mode.COVARIATE_SHIFT: (0.94, 0.95),
    Mode.MISCALIBRATION: (0.95, 0.96),
    Mode.NEGATIVE_TRANSFER: (0.97, 0.97),
    Mode.BENIGN: (0.81, 0.96),
    Mode.NONE: (0.76, 0.90),
}
"""At 500 and at 3,000 labelled rows."""
UNLABELLED = {
    Mode.FEATURE_ABSENT: 0.97,
    Mode.SCHEMA_MISMATCH: 0.96,
    Mode.MISCALIBRATION: 0.96,
    Mode.COVARIATE_SHIFT: 0.56,
    Mode.BENIGN: 0.89,
}
"""Without labels, moved scores are about as often a prior shift or harmless as a covariate shift.

Twelve seeds of 3,000 rows, `--without-labels`.
"""
UNSURE_MISMATCH = 0.5
"""Only checks that a person should look at first, such as an offset of a whole column."""
READINGS_OF_A_RATE = frozenset({Mode.PRIOR_SHIFT, Mode.LABEL_SEMANTICS})
MOST_EVIDENCE = 20.0
NOT_MEASURED = {Mode.PIPELINE_FAULT: 0.8, Mode.UNDETERMINED: 0.0}
"""Decided by evidence from outside the two windows; engineering values."""


def confidence_in(mode: Mode, contrasts: Contrasts, runner_up: Mode | None = None) -> float:
    """Measured share of right answers among those that named `mode`, 0 to 1.

    Where scores are too blunt to say whether they followed the label rate, no more than these two
    windows say: the likelihood of one reading over that of both.
    """
    measured, evidence = _measured(mode, contrasts), evidence_of_prior(contrasts)
    if {mode, runner_up} == READINGS_OF_A_RATE and math.isfinite(evidence):
        odds = math.exp(min(abs(evidence), MOST_EVIDENCE) / 2)
        return min(measured, odds / (1 + odds))
    return measured


def _measured(mode: Mode, contrasts: Contrasts) -> float:
    if mode in NOT_MEASURED:
        return NOT_MEASURED[mode]
    if mode is Mode.SCHEMA_MISMATCH and all(c.state is State.WATCH for c in contrasts.mismatched):
        return UNSURE_MISMATCH
    if not contrasts.has_labels and mode in UNLABELLED:
        return UNLABELLED[mode]
    few, many = LABELLED[mode]
    rows = min(max(contrasts.labels_cur, FEW), MANY)
    return few + (many - few) * math.log(rows / FEW) / math.log(MANY / FEW)
