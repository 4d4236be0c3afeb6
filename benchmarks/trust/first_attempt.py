"""How long from the decision to tell a channel to the first attempt, while another channel hangs.

    python -m benchmarks.trust.first_attempt --seconds 60

Real time, real sockets, the daemon's own couriers ticking once a second. Eight channels get one
message each every second; the receiver of one never answers, that of another fails every time.
The messages of the channel that hangs wait for their receiver and are told apart.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import structlog
from sqlalchemy import select

from alerts.notifiers import build
from benchmarks.trust.delivery_storm import LOOPBACK, SECRET, messages, receiving
from monitor.clock import SystemClock
from monitor.config import parse_config
from monitor.metrics import Metrics
from monitor.outgoing.couriers import Couriers
from monitor.outgoing.delivery import Channel, Channels
from monitor.outgoing.outbound import GuardedClient
from monitor.outgoing.sending import Sender
from storage.engine import open_database
from storage.migrations import upgrade
from storage.outbox import enqueue
from storage.tables import AttemptRow, MessageRow

CHANNELS = 8
LIMIT_S = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    waits_s, of_hanging = measure(given.seconds)
    for what, found in (("channels that answer", waits_s), ("the one that hangs", of_hanging)):
        ordered = sorted(found)
        p50, p99 = (ordered[min(len(found) - 1, int(len(found) * q))] for q in (0.5, 0.99))
        print(
            f"{what:22} n {len(found):5}  p50 {p50:.2f} s  p99 {p99:.2f} s  max {ordered[-1]:.2f}"
        )
    return 0 if sorted(waits_s)[int(len(waits_s) * 0.99)] < LIMIT_S else 1


def measure(seconds: int) -> tuple[list[float], list[float]]:
    """Waits of first attempts in seconds: of the channels that answer, of the one that hangs."""
    clock, config = SystemClock(), parse_config({}, source="benchmark")
    with (
        tempfile.TemporaryDirectory() as folder,
        receiving(0, 0.0) as good,
        receiving(0, 1.0) as bad,
        socket.create_server(("127.0.0.1", 0), backlog=256) as silent,
    ):
        ports = [silent.getsockname()[1], bad.port, *[good.port] * (CHANNELS - 2)]
        channels = {
            f"c{i}": Channel(
                build("webhook", f"c{i}", {"url": f"http://127.0.0.1:{port}/", "secret": SECRET}),
                LOOPBACK,
            )
            for i, port in enumerate(ports)
        }
        database = open_database(f"sqlite:///{Path(folder) / 'first.db'}")
        upgrade(database)
        running = Couriers(
            database,
            lambda: Channels(channels),
            Sender(GuardedClient(clock)),
            clock,
            Metrics(database, clock, lambda: config),
        )
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(1.0):
                running.tick()

        ticker = threading.Thread(target=tick)
        ticker.start()
        for number, message in enumerate(messages(seconds)):
            with database.write() as session:
                # Half a tick off, and a little more each time, so that every phase is met.
                enqueue(session, replace(message, created_at=clock.now()), channels, clock.now())
            time.sleep(1.0 + 0.013 * (number % 7))
        time.sleep(3.0)
        stop.set()
        ticker.join()
        running.close(30)
        with database.read() as session:
            query = select(AttemptRow.channel, AttemptRow.at, MessageRow.enqueued_at).join(
                MessageRow, MessageRow.id == AttemptRow.message_id
            )
            first = session.execute(query.where(AttemptRow.attempt == 0)).all()
        database.close()
    waits = [(channel, (at - since).total_seconds()) for channel, at, since in first]
    return (
        [wait for channel, wait in waits if channel not in {"c0", "c1"}],
        [wait for channel, wait in waits if channel == "c0"],
    )


if __name__ == "__main__":
    sys.exit(main())
