"""Batches on disk while the daemon is away, bounded in bytes, sent again by whoever comes next.

Each process writes under a name of its own and holds a lock on it. A process that starts takes
over the files of owners whose lock is free: they are dead. A file appears whole, by renaming;
it survives a crash of the process, not a power cut.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".ndjson.gz"


@dataclass(frozen=True, slots=True)
class Spilled:
    """A batch on disk: what it holds, how many rows, how many bytes."""

    path: Path
    kind: str
    rows: int
    size: int


class Spill:
    """The files of this process, oldest first. For one thread at a time; raises OSError."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._most = most_bytes
        self._owner = uuid.uuid4().hex
        self._lock = os.open(folder / f"{self._owner}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._next = 0
        self._files: deque[Spilled] = deque()
        self._adopt()

    @property
    def rows(self) -> int:
        """Rows on disk."""
        return sum(file.rows for file in self._files)

    def has_room(self, size: int) -> bool:
        """Whether a batch of so many bytes may still be written."""
        return sum(file.size for file in self._files) + size <= self._most

    def put(self, kind: str, rows: int, body: bytes) -> None:
        """Keep a batch."""
        path = self._name(kind, rows)
        part = path.with_suffix(".part")
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        part.replace(path)
        self._files.append(Spilled(path, kind, rows, len(body)))

    def oldest(self) -> Spilled | None:
        """The batch that has waited longest."""
        return self._files[0] if self._files else None

    def done(self, batch: Spilled) -> None:
        """Forget a batch that was sent or is hopeless."""
        self._files.remove(batch)
        batch.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others take over what is left."""
        if not self._files:
            (self._folder / f"{self._owner}.lock").unlink(missing_ok=True)
        os.close(self._lock)

    def forget(self) -> None:
        """After a fork: the files are the parent's. Its lock is not released by this."""
        os.close(self._lock)

    def _name(self, kind: str, rows: int) -> Path:
        self._next += 1
        return self._folder / f"{self._owner}-{self._next:08d}-{kind}-{rows}{SUFFIX}"

    def _adopt(self) -> None:
        """Take over the files of the dead."""
        for lock in sorted(self._folder.glob("*.lock")):
            if lock.stem == self._owner:
                continue
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for file in sorted(self._folder.glob(f"{lock.stem}-*{SUFFIX}")):
                    _, _, kind, rows = file.name.removesuffix(SUFFIX).split("-")
                    mine = self._name(kind, int(rows))
                    file.rename(mine)
                    self._files.append(Spilled(mine, kind, int(rows), mine.stat().st_size))
                lock.unlink(missing_ok=True)
            except BlockingIOError:
                continue  # its owner lives
            finally:
                os.close(descriptor)
