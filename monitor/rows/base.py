"""What every place that rows come from can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from detectors.records import Window


class RowSource(Protocol):
    """Where the rows of one deployment come from: a file in memory, or segments in SQL."""

    def first_us(self) -> int | None:
        """Event time of the first live row, None before there is one."""
        ...

    def rows(self, since_us: int, until_us: int, *, labels_by_us: int | None) -> Iterator[Window]:
        """On-time rows with since <= ts < until, in pieces, labels known by an instant."""
        ...
