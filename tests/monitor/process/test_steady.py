"""Clocks that are set: no job is lost, none runs in a burst."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers import base

from monitor.process.steady import SteadyScheduler

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPRING = datetime(2026, 3, 29, 0, 59, 30, tzinfo=UTC)
"""Half a minute before clocks in Berlin jump from 2:00 to 3:00."""
AUTUMN = datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC)


class FakeClock:
    """A machine whose steady counter moves on, and whose wall clock somebody sets."""

    def __init__(self, start: datetime) -> None:
        self.wall, self.steady_s = start, 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.steady_s

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady_s += seconds


class AtOnce(BaseExecutor):  # type: ignore[misc]
    """Runs a job where it is submitted, so that nothing depends on threads."""

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        job.func()
        self._run_job_success(job.id, [])


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that keeps summer time."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def runs(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, step: timedelta, *, after_s: int = 60
) -> tuple[Counter[str], list[int], list[timedelta]]:
    """Two minutes of a job every 2 s and one every 30 s, the clock set by `step` in the middle.

    How often each ran, the steady second of each run of the first, and what steps were told.
    """

    class Wall(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return clock.wall.astimezone(tz)

    monkeypatch.setattr(base, "datetime", Wall)
    told: list[timedelta] = []
    counts: Counter[str] = Counter()
    at: list[int] = []

    def often() -> None:
        counts["often"] += 1
        at.append(int(clock.steady_s))

    scheduler = SteadyScheduler(clock, told.append)
    scheduler.add_executor(AtOnce())
    scheduler.add_job(often, "interval", seconds=2, next_run_time=clock.wall)
    scheduler.add_job(
        lambda: counts.update(["seldom"]), "interval", seconds=30, next_run_time=clock.wall
    )
    monkeypatch.setattr(scheduler, "_main_loop", lambda: None)  # we turn it by hand
    scheduler.start()
    for second in range(120):
        if second == after_s:
            clock.wall += step
        wait_s = scheduler._process_jobs()
        assert 0 <= wait_s <= 1
        clock.pass_by(1)
    scheduler.shutdown(wait=False)
    return counts, at, told


@pytest.mark.parametrize("step", [HOUR, -HOUR, DAY, -DAY, timedelta(0)], ids=str)
def test_a_job_keeps_its_pace_when_the_clock_is_set(
    monkeypatch: pytest.MonkeyPatch, step: timedelta
) -> None:
    counts, at, told = runs(FakeClock(SPRING), monkeypatch, step)
    assert counts == {"often": 60, "seldom": 4}
    assert at == list(range(0, 120, 2))
    assert told == ([step] if step else [])


@pytest.mark.parametrize("start", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.usefixtures("berlin")
def test_summer_time_is_nothing_to_a_service_that_counts_in_utc(
    monkeypatch: pytest.MonkeyPatch, start: datetime
) -> None:
    counts, at, told = runs(FakeClock(start), monkeypatch, timedelta(0))
    assert counts == {"often": 60, "seldom": 4}
    assert at == list(range(0, 120, 2))
    assert told == []


def test_a_stop_does_not_wait_for_a_job_that_hangs() -> None:
    import threading

    go_on, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(30)

    clock = FakeClock(datetime.now(UTC))
    scheduler = SteadyScheduler(clock, lambda _: None)
    scheduler.add_job(hang, "interval", seconds=60, next_run_time=datetime.now(UTC))
    scheduler.start()
    assert begun.wait(10)
    assert not scheduler.stop(0.05)
    go_on.set()
