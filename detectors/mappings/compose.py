"""What a check says of translated rows, said of the rows as the domain writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from detectors.records import MappingEntry


def composed(found: MappingEntry, approved: Iterable[MappingEntry]) -> MappingEntry:
    """A proposal made on rows translated by approved entries, as an entry for the raw rows.

    A number a hundred times too small under an approved × 100 means that the domain writes the
    source's own unit again; a name that now stands for another goes back through the old name.
    """
    known = {entry.key: entry for entry in approved}
    before = known.get((found.column, ""))
    if found.category:
        name = known.get((found.column, found.domain_category))
        raw = found.domain_category if name is None else name.domain_category
        return replace(found, domain_category=raw, domain_column=_column(found, before))
    if before is None or found.absent or before.absent:
        return found
    scale = float(f"{before.scale * found.scale:.12g}")
    offset = float(f"{before.scale * found.offset + before.offset:.12g}")
    return replace(
        found,
        domain_column=_column(found, before),
        scale=scale,
        offset=offset,
        missing=found.missing or before.missing,
    )


def _column(found: MappingEntry, before: MappingEntry | None) -> str:
    return found.domain_column or ("" if before is None else before.domain_column)
