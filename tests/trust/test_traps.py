"""Traps that others fell into, where no other test would see us do the same.

Most have tests of their own, of leases, signatures, addresses, limits, databases, clocks, logs and
pages; here are those that only the sources or the ticker itself can show.
"""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers import base

from monitor.process.steady import SteadyScheduler
from tests.monitor.process.test_steady import AtOnce, FakeClock
from tests.sources import PACKAGES, ROOT

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRAPS = {
    "runs code when it is read": (
        r"^\s*(?:import|from)\s+(?:c?pickle|cloudpickle|dill|joblib|marshal|shelve)\b"
    ),
    "lets arrays hold pickles": r"\ballow_pickle\s*=\s*(?!False)",
    "lets networks hold pickles": r"\bweights_only\s*=\s*(?!True)",
    "loads a network by default": r"\btorch\.load\((?!.*weights_only=True)",
    "locks in a connection, which strands behind a pooler": r"pg_(?:try_)?advisory_lock",
}


@pytest.mark.parametrize(("trap", "pattern"), TRAPS.items(), ids=list(TRAPS))
def test_no_source(trap: str, pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path, text in sources().items()
        for line in text.splitlines()
        if re.search(pattern, line)
    ]
    assert found == [], trap


@pytest.mark.parametrize(
    ("trap", "line"),
    [
        ("runs code when it is read", "    from pickle import loads"),
        ("lets arrays hold pickles", "np.load(file, allow_pickle=flag)"),
        ("lets networks hold pickles", "torch.load(file, weights_only=False)"),
        ("loads a network by default", "state = torch.load(file)"),
        (
            "locks in a connection, which strands behind a pooler",
            'text("SELECT pg_try_advisory_lock(1)")',
        ),
    ],
)
def test_such_a_line_would_be_seen(trap: str, line: str) -> None:
    assert re.search(TRAPS[trap], line)


@cache
def sources() -> dict[Path, str]:
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return {file: file.read_text(encoding="utf-8") for file in files}


def test_jobs_live_in_memory_and_start_with_the_process() -> None:
    """A store that is shared runs each job once for each scheduler, and unpickles what it reads."""
    scheduler = SteadyScheduler(FakeClock(START), lambda _step: None)
    scheduler.start(paused=True)
    assert {type(store) for store in scheduler._jobstores.values()} == {MemoryJobStore}
    scheduler.shutdown(wait=False)


@pytest.mark.parametrize("late", [timedelta(seconds=2), timedelta(hours=1)], ids=str)
def test_a_job_that_comes_late_runs_once_and_does_not_vanish(
    monkeypatch: pytest.MonkeyPatch, late: timedelta
) -> None:
    """A machine that slept: by default a run more than a second late is left out altogether."""
    clock, ran = FakeClock(START), []

    class Wall(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return clock.wall.astimezone(tz)

    monkeypatch.setattr(base, "datetime", Wall)
    scheduler = SteadyScheduler(clock, lambda _step: None)
    scheduler.add_executor(AtOnce())
    scheduler.add_job(lambda: ran.append(clock.wall), "interval", seconds=1, next_run_time=START)
    monkeypatch.setattr(scheduler, "_main_loop", lambda: None)
    scheduler.start()
    clock.pass_by(late.total_seconds())
    scheduler._process_jobs()
    scheduler._process_jobs()
    assert ran == [START + late]
    scheduler.shutdown(wait=False)


def test_a_job_never_runs_beside_itself() -> None:
    """One that takes longer than its interval is waited for."""
    at_once, most, go_on = [0], [0], threading.Event()
    begun = threading.Event()

    def slow() -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        begun.set()
        go_on.wait(10)
        at_once[0] -= 1

    clock = FakeClock(datetime.now(UTC))
    scheduler = SteadyScheduler(clock, lambda _step: None)
    scheduler.add_job(slow, "interval", seconds=0.02, next_run_time=clock.wall)
    scheduler.start()
    assert begun.wait(10)
    for _ in range(10):
        scheduler.wakeup()
        go_on.wait(0.02)
    go_on.set()
    scheduler.stop(10)
    assert most == [1]
