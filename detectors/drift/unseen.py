"""Values the reference never held: more of them than its own rare values foretell?"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import betainc

from detectors.drift.proportion import wilson

PRACTICAL_SHARE = 0.01
PRACTICAL_ONE_VALUE = 0.005
"""One row in a hundred with unseen values, or one in two hundred with the same unseen value."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Share of rows with unseen values, what was to be expected, and how surprising that is."""

    share: float
    expected: float
    excess_ci: tuple[float, float]
    largest: float
    largest_ci: tuple[float, float]
    p_value: float


def expected_unseen(singletons: float, rows: float) -> float:
    """Chance that the next row holds a new value: (values seen once + 1) / (rows + 1).

    Good (1953), after Turing; the added ones keep it above zero.
    """
    return (singletons + 1) / (rows + 1)


def compare_unseen(
    hits: float, rows: float, largest: float, *, singletons: float, rows_reference: float
) -> Unseen:
    """Judge `hits` of `rows` rows that hold unseen values, `largest` of them the same one.

    The p-value is one-sided binomial against the Good-Turing estimate. Counts may be effective.
    """
    expected = min(1.0, expected_unseen(singletons, rows_reference))
    low, high = wilson(hits, rows)
    return Unseen(
        share=hits / rows,
        expected=expected,
        excess_ci=(low - expected, high - expected),
        largest=largest / rows,
        largest_ci=wilson(largest, rows),
        p_value=float(betainc(hits, rows - hits + 1, expected)) if hits > 0 else 1.0,
    )
