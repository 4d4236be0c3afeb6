"""From contrasts to one mode and its runner-up: an ordered list, first match wins.

Every condition answers with a closeness: 1 where it holds, below 1 by how far it misses. That
makes the list readable as rules and names the runner-up: the other mode whose rule also holds or
comes closest. The order and the cut-offs were tuned on single faults injected into real tables
(`benchmarks/faults/confusion.py` repeats the measurement); they are engineering values,
not derived.
"""

from __future__ import annotations

import math

from detectors.findings.contrasts import Contrasts
from detectors.records import Mode, State, Task

HOLDS = 1.0
CLOSEST_MISS = 0.99
WORTH_NAMING = 0.5
MAY_BE = 0.95
"""An offset that broke nothing is still the second guess."""

PLACED = 3.0
"""A region is named where one in four hundred windows without a change would have one."""

SURELY_PLACED = 3.5
"""One in two thousand."""

CONTENT = frozenset({Mode.NONE, Mode.BENIGN})
Rule = tuple[Mode, float]


def decide_mode(
    contrasts: Contrasts,
    *,
    pipeline_fault: bool = False,
    forgotten: bool = False,
    incompatible: bool = False,
    stale: bool = False,
    transfer_hurts: bool = False,
) -> tuple[Mode, Mode | None]:
    """The first mode of the list whose rule holds, and the next best other one, if any is near."""
    rules = rules_of(
        contrasts,
        pipeline_fault=pipeline_fault,
        forgotten=forgotten,
        incompatible=incompatible,
        stale=stale,
    )
    mode = next(name for name, closeness in rules if closeness >= HOLDS)
    runner_up = _runner_up(mode, rules)
    if transfer_hurts:
        if mode in CONTENT or mode is Mode.UNDETERMINED:
            return Mode.NEGATIVE_TRANSFER, None if runner_up in CONTENT else runner_up
        if runner_up is None or runner_up in CONTENT:
            return mode, Mode.NEGATIVE_TRANSFER
    return mode, runner_up


def rules_of(
    contrasts: Contrasts,
    *,
    pipeline_fault: bool = False,
    forgotten: bool = False,
    incompatible: bool = False,
    stale: bool = False,
) -> list[Rule]:
    """Every rule of the list that the contrasts allow, in order, with its closeness."""
    rules = [
        (Mode.PIPELINE_FAULT, float(pipeline_fault)),
        (Mode.FEATURE_ABSENT, float(bool(contrasts.absent))),
        (Mode.SCHEMA_MISMATCH, _mismatch(contrasts)),
        # Old vectors under a new name break heads as well; then the cause is that they are old.
        (Mode.STALE_EMBEDDINGS, float(stale)),
        # An embedding that no longer fits explains a probe's loss too, not the other way round.
        (Mode.EMBEDDING, float(incompatible)),
        (Mode.FORGETTING, float(forgotten)),
    ]
    if not contrasts.has_inputs:
        return [*rules, (Mode.UNDETERMINED, HOLDS)]
    return rules + (_with_labels if contrasts.has_labels else _without_labels)(contrasts)


def _with_labels(c: Contrasts) -> list[Rule]:
    """The list for windows whose losses are known."""
    calm = either(below(c.inputs_auc - 0.5, 0.06), below(c.within_class_auc - 0.5, 0.05))
    moved = 1.0 if calm < HOLDS else min(CLOSEST_MISS, _excess(c.inputs_auc) / 0.06)
    rate = size(c.rate_change)
    # Where like inputs get like scores, a level that is off is one of labels.
    same_layer = float(c.task is Task.BINARY and math.isfinite(c.score_shift))
    rate_moved = either(
        above(rate, larger(0.15, 3 * c.rate_change_se)),
        both(same_layer, above(size(c.intercept_change), 0.3), above(size(c.intercept_z), 3.0)),
    )
    far = both(rate_moved, above(rate, 0.3))
    surely_followed, followed, stayed = _scores_and_rate(c)
    like_before = below(size(c.slope_z), 4.0)
    placed = either(at_least(c.region_z, PLACED), at_least(c.local_z, 5.5))
    everywhere = both(below(c.region_z, PLACED), below(c.local_z, 5.5))
    worse = either(above(c.concept_z, 2.5), above(-c.slope_z, 3.0), above(-c.ranking_z, 3.0))
    order_lost = either(above(-c.slope_z, 4.0), above(-c.ranking_z, 4.0))
    off_level = either(
        both(above(size(c.intercept_change), 0.1), above(size(c.intercept_z), 3.0)),
        above(size(c.slope_z), 3.5),
    )
    of_class = below(c.within_class_auc - 0.5, 0.06)
    # Among thousands of rows a region can be sure and no matter: its own labels must have moved
    # far, or it must show in a loss or a curve.
    felt = either(
        above(size(c.concept_z), 1.5),
        above(size(c.loss_z), 1.5),
        above(size(c.slope_z), 2.5),
        above(size(c.ranking_z), 2.5),
    )
    matters = either(felt, at_least(c.region_effect, 0.2))
    sure = both(at_least(c.region_z, SURELY_PLACED), matters, float(surely_followed < HOLDS))
    somewhere = either(both(placed, worse), both(at_least(c.region_z, PLACED), felt))
    rules = [
        (Mode.MISCALIBRATION, both(below(c.inputs_auc - 0.5, 0.05), _scoring_layer(c))),
        (Mode.CONCEPT_SHIFT, both(calm, sure)),
        (Mode.PRIOR_SHIFT, both(rate_moved, surely_followed, of_class, like_before)),
        # High scores now go with low labels: no change of inputs turns an order round.
        (Mode.LABEL_SEMANTICS, above(c.reversed_z, 4.0)),
        (Mode.LABEL_SEMANTICS, both(calm, far, stayed, everywhere)),
        (Mode.CONCEPT_SHIFT, both(calm, somewhere)),
        (Mode.PRIOR_SHIFT, both(calm, far, followed, like_before)),
    ]
    explained = max(near for name, near in rules[2:] if name is not Mode.CONCEPT_SHIFT)
    if c.task is Task.REGRESSION:
        ranking_kept = below(size(c.ranking_z), 3.0)
        rules += [(Mode.MISCALIBRATION, both(calm, off_level, ranking_kept))]
    else:
        rules += [
            (
                Mode.LABEL_SEMANTICS,
                both(calm, either(both(rate_moved, stayed), order_lost)),
            )
        ]
    return [
        *rules,
        # A loss that rose with the label rate alone, and nowhere in particular, is one of level.
        (
            Mode.CONCEPT_SHIFT,
            both(
                calm,
                above(c.concept_z, 3.0),
                1.0 if rate_moved < HOLDS else placed,
            ),
        ),
        (
            Mode.CONCEPT_SHIFT,
            both(
                moved,
                above(c.concept_z, 3.0),
                at_least(c.concept, 0.3 * size(c.loss_change)),
            ),
        ),
        (Mode.COVARIATE_SHIFT, both(moved, _loss_up(c))),
        # A level is off after every change of labels as well: then it is no second guess.
        (Mode.MISCALIBRATION, both(calm, off_level, float(explained < HOLDS))),
        (Mode.BENIGN, at_least(c.inputs_auc - 0.5, 0.05)),
        (Mode.NONE, HOLDS),
    ]


def evidence_of_prior(c: Contrasts) -> float:
    """Twice the log of how much likelier scores are under the rate labels show than the old one.

    Above 0 speaks for a prior shift, below it for labels that moved by themselves; NaN: unmeasured.
    """
    implied_z = _along_rate(c, c.implied_z)
    return implied_z * size(implied_z) - c.implied_gap_z**2


def _along_rate(c: Contrasts, value: float) -> float:
    """A value of scores, positive where it goes the way that the label rate went."""
    return math.copysign(value, value * c.rate_change)


def _scores_and_rate(c: Contrasts) -> tuple[float, float, float]:
    """Did scores surely follow the label rate, as if P(x | y) held? Rather that, or rather stay?

    Where few rows or blunt scores say little, both come close. Many rows tell apart rates that
    mean the same: a third of the way short is near.
    """
    implied_z = _along_rate(c, c.implied_z)
    implied = _along_rate(c, c.implied_change)
    rate, gap, e = size(c.rate_change), size(c.implied_gap_z), evidence_of_prior(c)
    near = either(at_most(gap, 2.5), at_most(size(rate - implied), 0.35 * rate))
    surely = both(near, either(above(implied_z, 3.0), above(e, 4.0)))
    return surely, both(near, either(above(e, 0.0), likely(e))), either(at_most(e, 0.0), likely(-e))


def _without_labels(c: Contrasts) -> list[Rule]:
    """The list where losses are not known: what inputs and scores alone can tell apart."""
    moved = at_least(c.inputs_auc - 0.5, 0.05)
    quiet = float(math.isfinite(c.score_move))
    score_moved = both(above(size(c.score_move), 0.1), above(size(c.score_move_z), 3.0))
    # Few labels of one class can still say that they have become few.
    rate_moved = above(size(c.rate_change), larger(0.3, 3 * c.rate_change_se))
    _, followed, stayed = _scores_and_rate(c)
    return [
        (Mode.MISCALIBRATION, both(below(c.inputs_auc - 0.5, 0.05), _scoring_layer(c))),
        (Mode.PRIOR_SHIFT, both(rate_moved, followed, below(c.inputs_auc - 0.5, 0.1))),
        (Mode.LABEL_SEMANTICS, both(rate_moved, stayed, below(c.inputs_auc - 0.5, 0.06))),
        (Mode.COVARIATE_SHIFT, both(moved, either(score_moved, 1.0 - quiet))),
        (Mode.BENIGN, both(moved, quiet)),
        (Mode.UNDETERMINED, HOLDS),
    ]


def _mismatch(c: Contrasts) -> float:
    """A column that means something else.

    An offset alone may be an honest move of the inputs: where labels are known it must have broken
    what the column said of them.
    """
    if not c.mismatched:
        return 0.0
    if not c.has_labels or any(check.state is State.DRIFT for check in c.mismatched):
        return HOLDS
    return either(above(size(c.concept_z), 3.0), above(size(c.slope_z), 3.0), MAY_BE)


def _loss_up(c: Contrasts) -> float:
    """The loss has risen: by what the inputs let expect where labels do not contradict it.

    An expectation is free of the noise of labels, which is most of a window's.
    """
    foreseen = size(c.unexpected_loss_z) < 2.5
    return above(c.expected_loss_z if foreseen else c.loss_z, 2.0)


def _scoring_layer(c: Contrasts) -> float:
    """Like inputs get another score."""
    return either(above(size(c.score_shift), 0.1), above(size(c.score_slope - 1), 0.15))


def _runner_up(mode: Mode, rules: list[Rule]) -> Mode | None:
    """The other mode that comes closest; a content one only where no fault comes half way."""
    faults = [r for r in rules if r[0] is not mode and r[0] not in CONTENT | {Mode.UNDETERMINED}]
    name, closeness = max(faults, key=lambda rule: rule[1])
    if closeness >= WORTH_NAMING:
        return name
    if mode in {Mode.NONE, Mode.UNDETERMINED}:
        return None
    return next((name for name, near in rules if name in CONTENT - {mode} and near >= HOLDS), None)


def above(value: float, limit: float) -> float:
    """1 if value > limit, else the share of the way; an unmeasured value is no way at all."""
    if value > limit:
        return HOLDS
    return _near(value / limit) if limit > 0 else 0.0


def at_least(value: float, limit: float) -> float:
    """1 if value >= limit, else the share of the way."""
    return HOLDS if value >= limit else above(value, limit)


def below(value: float, limit: float) -> float:
    """1 if value < limit, else limit over value."""
    if value < limit:
        return HOLDS
    return _near(limit / value) if value > 0 else 0.0


def at_most(value: float, limit: float) -> float:
    """1 if value <= limit, else limit over value."""
    return HOLDS if value <= limit else below(value, limit)


def both(*closeness: float) -> float:
    return min(closeness)


def either(*closeness: float) -> float:
    return max(closeness)


def likely(twice_log_odds: float) -> float:
    """How close odds below even come, from twice their logarithm: half way at one to four."""
    return _near(math.exp(min(twice_log_odds, 0.0) / 4))


def size(value: float) -> float:
    return abs(value)


def larger(*values: float) -> float:
    """The largest value, NaN if any is: a limit that could not be measured is never passed."""
    return math.nan if any(math.isnan(v) for v in values) else max(values)


def _excess(auc: float) -> float:
    return max(auc - 0.5, 0.0)


def _near(share: float) -> float:
    return min(CLOSEST_MISS, max(0.0, share)) if math.isfinite(share) else 0.0
