"""What a pull source is, and how the kinds are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from typing import Any, Protocol

import pyarrow as pa

from monitor.errors import InputError, UsageError, did_you_mean, shortened

ENTRY_POINTS = "kedge.sources"


class SourceError(InputError):
    """A source that cannot be read now. Nothing is lost: reading goes on where it stopped."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Some rows of a source, and where reading goes on once they are stored.

    `position` is a JSON value that only the source understands. A portion whose `error` is set
    has no rows: it says that something (a file) cannot be read and is passed over.
    `position_if_refused` is where to go on when the table as a whole cannot be used; None
    means to stop there.
    """

    table: pa.Table
    position: Any
    what: str
    error: str = ""
    position_if_refused: Callable[[str], Any] | None = None


class Source(Protocol):
    """Rows that can be read again from a position. Reading has no effect on where they lie."""

    def read(self, position: Any, now: datetime) -> Iterator[Portion]:
        """What has come since `position` (None: from the start), in portions that fit memory.

        Raises:
            SourceError: the source as a whole cannot be read now.
        """
        ...


def open_source(kind: str, **options: Any) -> Source:
    """A source of a kind: `files`, `sql`, or one that an installed package adds.

    Raises:
        UsageError: an unknown kind.
    """
    from monitor.sources.files import FilesSource
    from monitor.sources.sql import SqlSource

    builtin: Mapping[str, Callable[..., Source]] = {"files": FilesSource, "sql": SqlSource}
    if kind in builtin:
        return builtin[kind](**options)
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if kind not in added:
        known = sorted({*builtin, *added})
        msg = f"no kind of source '{kind}'; there is {shortened(known)}.{did_you_mean(kind, known)}"
        raise UsageError(msg)
    factory: Callable[..., Source] = added[kind].load()
    return factory(**options)
