"""Who carries messages out: one pass a channel at a time, so that no channel waits for another.

A receiver that hangs for the whole deadline holds up its own messages only. The ticker calls
`tick`, which starts passes and returns; passes run on a few threads of their own. A channel whose
receiver forgets is told again here where its open incidents stand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TextIO

import structlog

from alerts.notifiers import Refreshing
from alerts.records import MessageType
from monitor.clock import Clock
from monitor.metrics import Metrics
from monitor.outgoing.delivery import Channels, Client, close_disabled, deliver_due
from storage.engine import Database
from storage.outbox import channels_due, standing

THREADS = 8
STANDING = (
    MessageType.OPENED,
    MessageType.UPDATED,
    MessageType.SOURCE_QUIET,
    MessageType.LABELS_MISSING,
    MessageType.TOO_LITTLE_DATA,
)

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Couriers:
    """The threads that deliver, and which channel each is busy with."""

    database: Database
    channels: Callable[[], Channels]
    client: Client
    clock: Clock
    metrics: Metrics
    console: TextIO | None = None
    stopping: Callable[[], bool] = lambda: False
    _pool: ThreadPoolExecutor = field(init=False)
    _busy: set[str] = field(default_factory=set)
    _running: set[Future[None]] = field(default_factory=set)
    _said_at: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kedge-courier")

    def tick(self) -> None:
        """Start a pass for each channel that has something due and is not being served."""
        close_disabled(self.database, self.clock)
        with self.database.read() as session:
            due = channels_due(session, self.clock.now())
        for channel in due:
            self._start(channel, self._pass, channel)
        for channel in self._to_refresh():
            self._start(f"{channel}, again", self._refresh, channel)

    def wait(self) -> None:
        """Until every pass that was started has ended."""
        with self._lock:
            running = set(self._running)
        wait(running)

    def close(self, within_s: float) -> bool:
        """Start no more passes, and wait for those that run; False if one did not end in time.

        A pass that is left behind has its claim: another process sends again after the lease.
        """
        with self._lock:
            running = set(self._running)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not wait(running, timeout=within_s).not_done

    def _start(self, key: str, deed: Callable[[str], None], channel: str) -> None:
        with self._lock:
            if key in self._busy or self.stopping():
                return
            self._busy.add(key)

            def run() -> None:
                try:
                    deed(channel)
                except Exception as error:
                    # A pass ends early when the database does; the next tick starts another.
                    self.metrics.job_failed("deliver")
                    words = f"{type(error).__name__}: {error}"[:300]
                    log.error("job.failed", job="deliver", channel=channel, error=words)  # noqa: TRY400
                finally:
                    with self._lock:
                        self._busy.discard(key)

            future = self._pool.submit(run)
            self._running.add(future)
        future.add_done_callback(self._running.discard)

    def _pass(self, channel: str) -> None:
        delivered = deliver_due(
            self.database,
            self.channels(),
            client=self.client,
            clock=self.clock,
            console=self.console,
            stop=self.stopping,
            only=channel,
        )
        for outcome, attempts in delivered.counts.items():
            if attempts:
                self.metrics.delivered(outcome.value, attempts)
        for seconds in delivered.waits_s:
            self.metrics.first_attempt(seconds)

    def _to_refresh(self) -> list[str]:
        """The channels to say again where things stand, now that their time has come."""
        now, found = self.clock.monotonic(), []
        for name, channel in self.channels().by_name.items():
            if not isinstance(channel.notifier, Refreshing):
                continue
            if (
                now - self._said_at.get(name, float("-inf"))
                >= channel.notifier.resend_every_us / 1e6
            ):
                self._said_at[name] = now
                found.append(name)
        return found

    def _refresh(self, name: str) -> None:
        channel = self.channels().by_name[name]
        if not isinstance(channel.notifier, Refreshing):
            return
        with self.database.read() as session:
            messages = standing(session, name, STANDING)
        if not messages:
            return
        request = channel.notifier.refresh(messages, self.clock.now())
        reply = self.client.send(request, allowed=channel.allowed)
        said = reply.status is not None and 200 <= reply.status < 300
        self.metrics.refreshed("ok" if said else "failed")
        if not said:
            reason = reply.error or f"status {reply.status}"
            log.warning("channel.not_refreshed", channel=name, alerts=len(messages), reason=reason)
