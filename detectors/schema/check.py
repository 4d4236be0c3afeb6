"""What a schema check found: one record, the names of the checks, and which of them are certain.

A deterministic check has no false alarms (a column is there or it is not), so it needs no budget
and speaks at once. An inferential check compares distributions and proposes an explanation that a
person should confirm.
"""

from __future__ import annotations

from dataclasses import dataclass

from detectors.records import MappingEntry, State, Tier

MISSING = "missing"
RETYPED = "retyped"
ALL_NULL = "all_null"
CONSTANT = "constant"
CARDINALITY = "cardinality"
ABSENT = "absent"
UNIT = "unit"
RENAME = "rename"
SWAP = "swap"
PARENT = "parent"
ZERO_FILL = "zero_fill"

CHECKS = (
    MISSING,
    RETYPED,
    ALL_NULL,
    CONSTANT,
    CARDINALITY,
    ABSENT,
    UNIT,
    RENAME,
    SWAP,
    PARENT,
    ZERO_FILL,
)

TIERS = {
    MISSING: Tier.PAGE,
    RETYPED: Tier.PAGE,
    ALL_NULL: Tier.PAGE,
    CONSTANT: Tier.TICKET,
    CARDINALITY: Tier.TICKET,
}
"""How a deterministic check reaches people, once per column."""

DETERMINISTIC = frozenset(TIERS)


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """One check that found something in one column; a healthy column has no record.

    `check` is one of `CHECKS`. `state` is DRIFT where the finding stands by itself and WATCH where
    a person should look before acting. `proposal` says what the data look like ("looks like
    × 1000"), `mapping` the same for a program. `strength` is comparable within one check only and
    grows with the evidence: a share of rows for most, a log likelihood ratio for swaps.
    """

    column: str
    check: str
    state: State
    detail: str
    proposal: str | None = None
    strength: float = 1.0
    mapping: tuple[MappingEntry, ...] = ()
