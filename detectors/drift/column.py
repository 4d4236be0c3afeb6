"""How one column of a window compares with its reference: the record, and how it is judged.

The rule of a single look: *drift* if the interval of an effect lies wholly beyond the practical
effect and the column is rejected among all columns looked at; *watch* if the estimate is beyond
it and the interval excludes zero; *ok* if the interval lies wholly inside; else *undetermined*:
too little data.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from detectors.drift.cells import Bars
from detectors.records import State

LEVEL = 0.05
"""False discovery rate over the columns of one report."""

_WORST_FIRST = (State.DRIFT, State.WATCH, State.UNDETERMINED, State.OK)


@dataclass(frozen=True, slots=True)
class Effect:
    """One way in which a column can change, its 95 % interval and what would matter.

    All numbers are sizes: 0 is no change. `words` says it for people.
    """

    what: str
    estimate: float
    low: float
    high: float
    practical: float
    p_value: float | None
    words: str

    def judge(self, *, rejected: bool) -> State:
        if self.low > self.practical and rejected:
            return State.DRIFT
        if self.estimate > self.practical and self.low > 0:
            return State.WATCH
        return State.OK if self.high < self.practical else State.UNDETERMINED


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """One column, two windows. What could not be computed is None; nothing is NaN.

    `effect` is the share of rows that differ: the Kolmogorov-Smirnov distance of numbers, the
    total variation of categories with its sampling noise taken out; `effect_ci` is its 95 %
    interval. `wasserstein` is in reference standard deviations. `p_value` tests the distribution
    of the values that are there; nulls and unseen values are judged beside it and can decide
    `state`, which then `detail` says. `rows` counts all rows (reference, current),
    `effective_rows` those values that are worth as much as independent ones.
    """

    name: str
    kind: str
    state: State
    effect: float | None = None
    effect_ci: tuple[float | None, float | None] = (None, None)
    psi: float | None = None
    psi_noise_floor: float | None = None
    ks: float | None = None
    js: float | None = None
    wasserstein: float | None = None
    cohen_w: float | None = None
    p_value: float | None = None
    null_share: tuple[float | None, float | None] = (None, None)
    unseen_share: float | None = None
    rows: tuple[int, int] = (0, 0)
    effective_rows: tuple[float, float] = (0.0, 0.0)
    design_effect: float = 1.0
    bins: Bars = field(default_factory=Bars)
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A comparison before it is known how many other columns were looked at."""

    comparison: ColumnComparison
    effects: tuple[Effect, ...]
    remarks: tuple[str, ...] = ()

    @property
    def p_value(self) -> float:
        """Smallest p-value of the column's effects, times how many there are (Bonferroni)."""
        found = [effect.p_value for effect in self.effects if effect.p_value is not None]
        return min(1.0, len(found) * min(found)) if found else 1.0


def conclude(measured: Measured, *, rejected: bool) -> ColumnComparison:
    """The comparison with its state and the words that explain it."""
    if not measured.effects:
        return replace(measured.comparison, detail="; ".join(measured.remarks))
    states = [effect.judge(rejected=rejected) for effect in measured.effects]
    state = next(state for state in _WORST_FIRST if state in states)
    telling = [
        effect
        for effect, judged in zip(measured.effects, states, strict=True)
        if judged is state and state is not State.OK
    ]
    words = [effect.words for effect in telling]
    if state is State.UNDETERMINED:
        first = telling[0]  # what a column is first of all: its distribution, before its nulls
        rows_a, rows_b = measured.comparison.rows
        size = f"{rows_b:,} rows against {rows_a:,}"
        limits = f"{first.what} may be up to {first.high:.2g}; {first.practical:.2g} would matter"
        words = [f"too little data ({size}): {limits}"]
    return replace(measured.comparison, state=state, detail="; ".join([*words, *measured.remarks]))
