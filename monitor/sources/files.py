"""Files of rows: one file, or every file of a watched directory, each read once.

The position holds size and time of change of every file that was read, so a file that grows or
is replaced is read again (its old ids are repeats and change nothing). A file is left alone until
it has not changed for `settle_s`: it may still be being written. One that cannot be read is
noted, passed over, and tried again when it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from monitor.errors import InputError
from monitor.files.roles import CONVENTIONAL
from monitor.files.tables import read_arrow
from monitor.sources.base import Portion, SourceError
from monitor.sources.columns import as_contract

PORTION_ROWS = 50_000
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")
_TEXT_ROLES = ("id", "timestamp", "domain", "version", "arm", "cluster", "label_timestamp")

Mark = list[int]
"""Size and time of change (ns) of a file."""


@dataclass(slots=True)
class FilesSource:
    """`path` is a file or a directory; `pattern` picks files in it ("**/*.parquet" looks below).

    `columns` maps roles to column names; `domain` is for files that do not name one.
    """

    path: str
    pattern: str = "*"
    columns: Mapping[str, str] = field(default_factory=dict)
    domain: str | None = None
    labels: bool = False
    settle_s: float = 2.0
    _looks: dict[str, tuple[datetime, Mark]] = field(default_factory=dict, repr=False)

    def read(self, position: Any, now: datetime) -> Iterator[Portion]:
        """Rows of every file that has come or changed, oldest first."""
        files = self._listing()
        before = position if isinstance(position, dict) else {}
        # Files that are gone are forgotten, so the position does not grow for ever.
        done = {name: mark for name, mark in before.get("done", {}).items() if name in files}
        failed = {name: note for name, note in before.get("failed", {}).items() if name in files}
        partial = before.get("partial")
        for name, (file, mark) in files.items():
            refused = failed.get(name, [None])[0] == mark
            if done.get(name) == mark or refused or not self._settled(name, mark, now):
                continue
            start = partial[2] if partial is not None and partial[:2] == [name, mark] else 0
            yield from self._portions(name, file, mark, start, done, failed)

    def _portions(
        self,
        name: str,
        file: Path,
        mark: Mark,
        start: int,
        done: dict[str, Mark],
        failed: dict[str, Any],
    ) -> Iterator[Portion]:
        """One file; `done` and `failed` are brought up to date as it goes."""

        def refused(error: str) -> Any:
            failed[name] = [mark, error[:300]]
            return {"done": dict(done), "failed": dict(failed)}

        try:
            table = as_contract(
                self._table(file),
                self.columns,
                domain=self.domain,
                labels=self.labels,
                what=str(file),
            )
        except InputError as error:
            yield Portion(pa.table({}), refused(str(error)), str(file), error=str(error))
            return
        failed.pop(name, None)
        for first in range(start, max(table.num_rows, 1), PORTION_ROWS):
            part = table.slice(first, PORTION_ROWS)
            last = first + PORTION_ROWS >= table.num_rows
            if last:
                done[name] = mark
            position: dict[str, Any] = {"done": dict(done), "failed": dict(failed)}
            if not last:
                position["partial"] = [name, mark, first + PORTION_ROWS]
            yield Portion(part, position, str(file), position_if_refused=refused)
            if name in failed:
                done.pop(name, None)
                return

    def _listing(self) -> dict[str, tuple[Path, Mark]]:
        """Files by name relative to the directory, in the order of their time of change."""
        root = Path(self.path)
        if root.is_file():
            found = {root.name: root}
        elif root.is_dir():
            found = {
                str(file.relative_to(root)): file
                for file in root.glob(self.pattern)
                if file.is_file() and not _unfinished(file)
            }
        else:
            msg = f"{root}: no such file or directory; name one that exists"
            raise SourceError(msg)
        marked: dict[str, tuple[Path, Mark]] = {}
        for name, file in found.items():
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue  # gone since it was listed
            marked[name] = (file, [stat.st_size, stat.st_mtime_ns])
        return dict(sorted(marked.items(), key=lambda item: (item[1][1][1], item[0])))

    def _settled(self, name: str, mark: Mark, now: datetime) -> bool:
        """Whether a file has been left alone long enough, by its own time or by two looks."""
        if now.timestamp() - mark[1] / 1e9 >= self.settle_s:
            self._looks.pop(name, None)
            return True
        look = self._looks.get(name)
        if look is None or look[1] != mark:
            self._looks[name] = (now, mark)
            return self.settle_s <= 0
        return (now - look[0]).total_seconds() >= self.settle_s

    def _table(self, file: Path) -> pa.Table:
        if file.suffix.lower() != ".csv" or not file.stat().st_size:
            return read_arrow(file)
        try:
            return _read_csv(file, self.columns)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            first = str(error).splitlines()[0][:200]
            msg = f"{file}: cannot be read as CSV ({first}); is it complete?"
            raise InputError(msg) from error


def _unfinished(file: Path) -> bool:
    return file.name.startswith((".", "_")) or file.name.endswith(_UNFINISHED)


def _read_csv(file: Path, columns: Mapping[str, str]) -> pa.Table:
    """A CSV whose ids and names stay text (007 is not 7) and whose other types are guessed.

    Where a guess does not hold for the whole file, all columns are read as text; the decoder
    then takes the numbers out of them and refuses what is none, row by row.
    """
    from pyarrow import csv

    roles = {name for role in _TEXT_ROLES for name in CONVENTIONAL[role]}
    text = roles | {columns[role] for role in (*_TEXT_ROLES, "ts") if role in columns}
    kinds = {name: pa.string() for name in text}
    convert = csv.ConvertOptions(strings_can_be_null=True, column_types=kinds)
    try:
        return csv.read_csv(file, convert_options=convert)
    except pa.ArrowInvalid:
        with file.open(newline="", encoding="utf-8") as opened:
            import csv as plain

            names = next(plain.reader(opened), [])
        convert = csv.ConvertOptions(
            strings_can_be_null=True, column_types={name: pa.string() for name in names}
        )
        return csv.read_csv(file, convert_options=convert)
