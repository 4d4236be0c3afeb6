"""What became of the rows, as counts that only grow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Stats:
    """Every row logged is in the end settled, dropped or still waiting.

    `accepted`, `duplicate`, `sampled_out` and `rejected` are what the daemon answered.
    `dropped` rows never reached it: the queue was full, the client closed, or the row could not
    be written as JSON (`unreadable`, which is part of it). `attempts` counts requests, `failures`
    those to be tried again; `spilled` rows went to disk on their way. `waiting` rows are in
    memory or on disk.
    """

    logged: int = 0
    accepted: int = 0
    duplicate: int = 0
    sampled_out: int = 0
    rejected: int = 0
    dropped: int = 0
    unreadable: int = 0
    attempts: int = 0
    failures: int = 0
    spilled: int = 0
    waiting: int = 0
    last_error: str = ""
