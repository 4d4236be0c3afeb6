"""The ticker: APScheduler, which keeps its pace when somebody sets the clock.

APScheduler compares wall-clock times: set back by an hour it would run nothing for an hour. What
is due is in SQL and does not depend on it, so its own times simply move along with the clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from monitor.clock import Clock

log = structlog.get_logger(__name__)

STEP = timedelta(seconds=1)
"""Less is slewing, which a job every second or two does not notice."""

LOOK_S = 1.0
"""How often at least the clock is looked at: nothing is late by more when it was set back."""


class SteadyScheduler(BackgroundScheduler):  # type: ignore[misc]
    """Jobs in memory, one run of each at a time, none of them lost for being late.

    `stepped` is told by how much the clock was set forward (or back, where negative), once.
    """

    def __init__(self, clock: Clock, stepped: Callable[[timedelta], None]) -> None:
        super().__init__(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._clock = clock
        self._stepped = stepped
        self._epoch = self._epoch_now()

    def stop(self, timeout_s: float) -> bool:
        """Start nothing more and wait for what runs; False if that took longer."""
        if not self.running:
            return True
        waiting = threading.Thread(target=self.shutdown, name="ticker-stop", daemon=True)
        waiting.start()
        waiting.join(timeout_s)
        return not waiting.is_alive()

    def _epoch_now(self) -> datetime:
        """What the clock said when the machine's steady counter stood at zero."""
        return self._clock.now() - timedelta(seconds=self._clock.monotonic())

    def _process_jobs(self) -> float:
        epoch = self._epoch_now()
        step = epoch - self._epoch
        if abs(step) >= STEP:
            self._epoch = epoch
            for job in self.get_jobs():
                if job.next_run_time is not None:
                    self.modify_job(job.id, next_run_time=job.next_run_time + step)
            self._stepped(step)
        wait_s = super()._process_jobs()
        return LOOK_S if wait_s is None else min(wait_s, LOOK_S)
