"""SQLite has one writing daemon: a lock on a file beside it, which ends with its process.

The kernel holds the lock, so a process that was killed leaves nothing to clean up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from storage.engine import Database


class SecondWriterError(RuntimeError):
    """Another daemon writes this SQLite file."""


class UnusableFileError(RuntimeError):
    """Nothing can be written where the SQLite file should be."""


@contextmanager
def only_writer(database: Database) -> Iterator[None]:
    """Be the only daemon on a SQLite file while the block runs; nothing to do on PostgreSQL.

    Raises:
        SecondWriterError: another process is it.
        UnusableFileError: the folder is missing or closed.
    """
    if database.path is None:
        yield
        return
    path = f"{database.path}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"{database.path}: unable to open database file: {error.strerror}"
        raise UnusableFileError(msg) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
            msg = (
                f"{database.path} is in use by process {owner or 'unknown'}; stop that one first, "
                "or use PostgreSQL, which several processes may share"
            )
            raise SecondWriterError(msg) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
