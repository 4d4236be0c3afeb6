"""What was approved is held to ever after: where the rows no longer keep to a mapping.

Both windows are in the source's terms: the current one is translated by what was approved. So a
mapping is broken when the translation no longer gives what the reference has: another factor, a
category that does not come any more, a feature that was said not to be there and is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from detectors.records import AppliedMapping, ColumnSpec, Kind, MappingEntry, Schema, State, Window
from detectors.schema.pairs import CERTAIN, Pair, pair_of, show, tally_of
from detectors.schema.profiles import fields_of, profile
from detectors.schema.swap import check_swap
from detectors.schema.unit import check_unit

FEWEST_ROWS = 50
FILLED = 0.01
"""A feature said to be absent may be filled by accident in this share of rows."""
NULLS = 0.01
SEEN = 0.05


@dataclass(frozen=True, slots=True)
class Violation:
    """An approved mapping that the rows do not keep to, and how one sees it.

    `instead` is what the translated rows look like now, where they say so.
    """

    id: str
    entry: MappingEntry
    words: str
    instead: tuple[MappingEntry, ...] = ()


Seen = tuple[str, tuple[MappingEntry, ...]]
KEPT: Seen = ("", ())


def violations(
    reference: Window, current: Window, schema: Schema, mappings: Iterable[AppliedMapping]
) -> tuple[Violation, ...]:
    """Approved mappings that `current` (translated) breaks; none below 50 rows."""
    if current.rows < FEWEST_ROWS or not reference.rows:
        return ()
    columns = {column.name: column for column in schema.columns}
    found = []
    for one in mappings:
        spec = columns.get(one.entry.column)
        if spec is None:
            continue
        words, instead = _broken(reference, current, schema, spec, one.entry)
        if words:
            said = f"approved mapping {one.id} ({one.entry.words}) no longer holds: {words}"
            found.append(Violation(one.id, one.entry, said, instead))
    return tuple(found)


def _broken(
    reference: Window, current: Window, schema: Schema, spec: ColumnSpec, entry: MappingEntry
) -> Seen:
    pair = pair_of(reference, current, spec)
    if entry.absent:
        tally = tally_of(current, spec)
        filled = 0.0 if tally is None else 1.0 - tally.null_share
        constant = tally is not None and tally.top_share >= 1.0 - FILLED
        if filled <= FILLED or constant:
            return KEPT
        words = f"`{entry.column}` is filled in {100 * filled:.3g} % of rows"
        return words, (MappingEntry(entry.column),)
    if pair is None:
        return f"`{entry.here}` has no values any more", ()
    if entry.category:
        gone = _category_gone(pair, entry)
        return gone if gone[0] else _exchanged(reference, current, schema, entry)
    if entry.missing and pair.current.null_share < NULLS < pair.reference.null_share:
        return f"{entry.missing} does not come any more, and nothing else is null", ()
    if spec.kind is Kind.NUMERIC:
        check = check_unit(pair)
        if check is not None and check.state is State.DRIFT:
            return f"translated, {check.detail}", check.mapping
    return KEPT


def _category_gone(pair: Pair, entry: MappingEntry) -> Seen:
    """The category does not come, and by chance would come; who may have taken its place."""
    before, now = pair.shares
    usual = before.get(entry.category, 0.0)
    if now.get(entry.category) or (1.0 - usual) ** pair.current.filled > CERTAIN:
        return KEPT
    new = {value: share for value, share in now.items() if value not in before and share >= SEEN}
    other = max(new, key=lambda value: new[value], default=None)
    words = (
        f"{show(entry.domain_category)} does not come in {pair.current.filled:,} rows, "
        f"{100 * usual:.3g} % are usual"
    )
    if other is None:
        return words, ()
    instead = MappingEntry(entry.column, category=entry.category, domain_category=other)
    return f"{words}; {show(other)} is new ({100 * new[other]:.3g} %)", (instead,)


def _exchanged(reference: Window, current: Window, schema: Schema, entry: MappingEntry) -> Seen:
    profiles = profile(entry.column, reference, current, fields_of(reference, current, schema))
    if profiles is None or not profiles.reference.size or not profiles.current.size:
        return KEPT
    check = check_swap(entry.column, profiles)
    if check is None or entry.category not in {found.category for found in check.mapping}:
        return KEPT
    return f"translated, {check.detail}", check.mapping
