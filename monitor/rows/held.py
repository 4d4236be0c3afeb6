"""Rows held in memory: a file that was read, or a span of what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.records import Window


@dataclass(frozen=True, slots=True, eq=False)
class FileRows:
    """Rows of one domain in memory, sorted by event time; a `RowSource`."""

    window: Window

    def first_us(self) -> int | None:
        ts = self.window.ts_us
        return int(ts[0]) if ts is not None and len(ts) else None

    def rows(self, since_us: int, until_us: int, *, labels_by_us: int | None) -> Iterator[Window]:
        assert self.window.ts_us is not None
        first, last = np.searchsorted(self.window.ts_us, [since_us, until_us])
        if last > first:
            part = self.window.take(slice(int(first), int(last)))
            yield part if labels_by_us is None else part.known_by(labels_by_us)
