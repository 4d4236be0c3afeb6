"""A diagnosis's evidence as plain sentences with their numbers, in a stable order."""

from __future__ import annotations

import math

from detectors.findings.contrasts import FEWEST_MINORITY, FEWEST_ROWS, Contrasts
from detectors.records import Mode, Task
from detectors.transfer.wording import number

TOLD_BY = {
    Mode.PRIOR_SHIFT: ("rate", "estimates", "inputs", "loss"),
    Mode.LABEL_SEMANTICS: ("rate", "estimates", "slope", "ranking", "loss", "inputs", "region"),
    Mode.CONCEPT_SHIFT: ("region", "concept", "place", "loss", "slope", "ranking", "inputs"),
    Mode.COVARIATE_SHIFT: ("inputs", "loss", "concept", "scores"),
    Mode.MISCALIBRATION: ("layer", "intercept", "slope", "ranking", "inputs"),
    Mode.NEGATIVE_TRANSFER: ("loss", "inputs", "concept"),
    Mode.BENIGN: ("inputs", "loss", "scores"),
    Mode.NONE: ("inputs", "loss", "intercept"),
    Mode.UNDETERMINED: ("inputs", "scores"),
}
"""Which sentences tell for (or hardest against) a mode, the most telling first."""


def describe(contrasts: Contrasts, mode: Mode) -> tuple[str, ...]:
    """Sentences behind `mode`: what the checks said, then contrasts, then what is missing."""
    c = contrasts
    said = [
        check.detail + (f" ({check.proposal})" if check.proposal else "")
        for check in (*c.absent, *c.mismatched)
    ]
    sentences = _sentences(c)
    order = TOLD_BY.get(mode, ("inputs", "loss"))
    return (*said, *(sentences[key] for key in order if key in sentences), *missing(c))


def missing(c: Contrasts) -> tuple[str, ...]:
    """What would be needed for a fuller diagnosis; empty where nothing is missing."""
    if not c.has_inputs:
        return (
            (
                f"{c.rows_cur} current and {c.rows_ref} reference rows; a diagnosis needs at least "
                f"{FEWEST_ROWS} of each, and is dependable from about 1,000"
            ),
        )
    if c.has_labels:
        return ()
    if not math.isfinite(c.score_move):
        return ("no scores were recorded: only inputs could be compared; scores are needed",)
    if min(c.labels_ref, c.labels_cur) < FEWEST_ROWS:
        return (
            (
                f"labels are needed: {c.labels_cur} labelled current and {c.labels_ref} labelled "
                f"reference rows, {FEWEST_ROWS} of each would do; a change of P(y | x) cannot be "
                "seen without them"
            ),
        )
    return (
        (
            f"labels of both classes are needed: at least {FEWEST_MINORITY} of the rarer one in "
            "each window"
        ),
    )


def _sentences(c: Contrasts) -> dict[str, str]:
    """Every sentence whose numbers were measured."""
    unit = "reference sd" if c.task is Task.REGRESSION else "log odds"
    ranked = "correlation" if c.task is Task.REGRESSION else "AUC"
    candidates = {
        "inputs": (c.inputs_auc, _inputs(c)),
        "layer": (
            c.score_shift,
            (
                f"like inputs now get a score {c.score_shift:+.2f} reference sd away"
                + known(c.score_slope, f", with slope {c.score_slope:.2f} (1 = unchanged)")
            ),
        ),
        "scores": (
            c.score_move,
            f"the mean score moved by {c.score_move:+.2f} reference sd (z {c.score_move_z:+.1f})",
        ),
        "loss": (
            c.loss_z,
            (
                f"mean loss {number(c.loss_ref)} -> {number(c.loss_cur)} (z {c.loss_z:+.1f}, "
                f"{c.labels_cur} labelled rows)"
            ),
        ),
        "concept": (
            c.concept_z,
            (
                f"on inputs that both windows share the loss changed by {c.concept:+.4f} "
                f"(z {c.concept_z:+.1f})"
            ),
        ),
        "rate": (
            c.rate_change,
            f"the label rate moved by {c.rate_change:+.2f} log odds (± {c.rate_change_se:.2f})",
        ),
        "estimates": (
            c.implied_change,
            (
                f"scores alone imply {c.implied_change:+.2f} log odds (z {c.implied_z:+.1f}) "
                "if P(x | y) held"
                + known(c.weighted_change, f", {c.weighted_change:+.2f} if P(y | x) held")
            ),
        ),
        "intercept": (
            c.intercept_z,
            f"calibration level moved by {c.intercept_change:+.2f} {unit} (z {c.intercept_z:+.1f})",
        ),
        "slope": (
            c.slope_z,
            f"calibration slope moved by {c.slope_change:+.2f} (z {c.slope_z:+.1f})",
        ),
        "ranking": (
            c.ranking_z,
            f"{ranked} moved by {c.ranking_change:+.3f} (z {c.ranking_z:+.1f})",
        ),
        "region": (c.region_z, _region(c)),
        "place": (math.nan if c.region_column else c.local_z, _place(c)),
    }
    return {key: text for key, (value, text) in candidates.items() if math.isfinite(value)}


def known(value: float, text: str) -> str:
    """`text` where its number was measured."""
    return text if math.isfinite(value) else ""


def _inputs(c: Contrasts) -> str:
    within = known(c.within_class_auc, f", {c.within_class_auc:.2f} inside a class")
    carried = f"; most in {', '.join(c.carriers)}" if c.carriers and c.inputs_auc >= 0.55 else ""
    return (
        f"a classifier tells current inputs from the reference with AUC {c.inputs_auc:.2f}"
        f"{within} (0.50 = alike){carried}"
    )


def _region(c: Contrasts) -> str:
    if not c.region_column:
        return "no region's labels part from what scores say more than others' do"
    return (
        f"after recalibration labels part most between rows with {_where(c)} and all others "
        f"(z {c.region_z:.1f} after all regions looked at)"
    )


def _where(c: Contrasts) -> str:
    """`amount >= 3` of a number, `plan = slow` of a category."""
    cut = c.region_cell.startswith((">= ", "> "))
    return f"`{c.region_column}` {c.region_cell if cut else f'= {c.region_cell}'}"


def _place(c: Contrasts) -> str:
    if not c.local_column:
        return "the change is no larger in one place than in another"
    return (
        f"after recalibration residuals differ most over {c.local_column} (excess z "
        f"{c.local_z:.1f}), at {c.local_cell}"
    )
