"""Rows as the pipeline reads them where mappings are approved: in the terms of the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detectors.mappings.translate import translated
from detectors.records import AppliedMapping, Window
from monitor.rows.base import RowSource
from monitor.rows.named_classes import with_true_classes


@dataclass(frozen=True, slots=True, eq=False)
class TranslatedRows:
    """A `RowSource` over another one."""

    source: RowSource
    mappings: Sequence[AppliedMapping]
    classes: Sequence[str] = ()

    def first_us(self) -> int | None:
        return self.source.first_us()

    def rows(self, since_us: int, until_us: int, *, labels_by_us: int | None) -> Iterator[Window]:
        for window in self.source.rows(since_us, until_us, labels_by_us=labels_by_us):
            yield with_true_classes(translated(window, self.mappings), self.classes)


def in_source_terms(
    source: RowSource, mappings: Sequence[AppliedMapping], classes: Sequence[str] = ()
) -> RowSource:
    """The same rows, translated where there is anything to translate by, true classes by name."""
    return TranslatedRows(source, mappings, classes) if mappings or classes else source
