"""Up to three names in the order in which they deserve a look: faults come together.

The first is the diagnosis. A model can be wrong on four sides at once: its columns, its inputs,
its labels and its scoring layer. Each side that shows something of its own gets a name: inputs and
labels by contrasts that neither a broken column nor the scoring layer can touch (`beside`). What
is left of the three is filled with rules that come close. The cut-offs are engineering values,
tried on pairs of faults (`benchmarks/faults/two_faults.py`).
"""

from __future__ import annotations

from detectors.findings.contrasts import Contrasts
from detectors.findings.decision import CONTENT, HOLDS, Rule, rules_of
from detectors.records import Mode

MOST = 3
NEAR = 0.5
"""A rule that misses by more is no candidate."""

COLUMNS = (Mode.FEATURE_ABSENT, Mode.SCHEMA_MISMATCH)
LABELS = (Mode.CONCEPT_SHIFT, Mode.LABEL_SEMANTICS)
SILENT = CONTENT | {Mode.UNDETERMINED}

MOVED = 0.05
"""Inputs whose AUC lies this far above .5 have moved, as in the decision list."""

LAYER_SHIFT, LAYER_SLOPE = 0.15, 0.15
LABEL_Z = 3.0


def rank_modes(contrasts: Contrasts, mode: Mode, runner_up: Mode | None) -> tuple[Mode, ...]:
    """The mode, then at most two others."""
    rules = rules_of(contrasts)
    named = [mode]
    named += [name for name, near in rules if name in COLUMNS and near >= HOLDS]
    beside = contrasts.beside
    if beside is not None:
        labels, inputs = _label_side(beside), _input_side(beside)
        layer = [Mode.MISCALIBRATION] if _layer_moved(contrasts) else []
        if labels and mode not in LABELS:
            named += labels[:1]
        named += [*inputs[:1], *layer, *labels[:1], *inputs[1:]]
    if runner_up is not None:
        named.append(runner_up)
    named += [name for name, near in rules if near >= HOLDS and name not in SILENT]
    named += _by_closeness(rules)
    return tuple(dict.fromkeys(named))[:MOST]


def _label_side(c: Contrasts) -> list[Mode]:
    """Another answer to the same inputs: in a place, or everywhere."""
    held = [name for name, near in rules_of(c) if name in LABELS and near >= HOLDS]
    if held:
        return held
    return [Mode.CONCEPT_SHIFT] if c.concept_z > LABEL_Z else []


def _input_side(c: Contrasts) -> list[Mode]:
    """Other inputs: of another mix of labels if classes look as before, else moved by themselves.

    Labels that follow a moved rate while inputs inside a class stay put are a prior shift.
    """
    rate = abs(c.rate_change)
    followed = (
        rate > max(0.15, 3 * c.rate_change_se)
        and c.rate_change * c.implied_change > 0
        and abs(c.implied_change) > 0.4 * rate
        and abs(c.implied_z) > 3.0
    )
    moved = c.inputs_auc - 0.5 >= MOVED
    by_class = c.within_class_auc - 0.5 < max(0.03, 0.6 * (c.inputs_auc - 0.5))
    if followed and by_class:
        return [Mode.PRIOR_SHIFT, *([Mode.COVARIATE_SHIFT] if moved else [])]
    return [Mode.COVARIATE_SHIFT, *([Mode.PRIOR_SHIFT] if followed else [])] if moved else []


def _layer_moved(c: Contrasts) -> bool:
    """Like inputs get another score, whether or not inputs moved besides."""
    return abs(c.score_shift) > LAYER_SHIFT or abs(c.score_slope - 1) > LAYER_SLOPE


def _by_closeness(rules: list[Rule]) -> list[Mode]:
    near = [rule for rule in rules if rule[0] not in SILENT and rule[1] >= NEAR]
    return [name for name, _ in sorted(near, key=lambda rule: -rule[1])]
