"""Processes that share jobs and are stopped again and again: each job has one effect.

    python -m benchmarks.trust.two_schedulers --jobs 10000

Each worker takes the lease of a job, works for some milliseconds, and writes one row in the
transaction that checks the lease's epoch and marks the job as done. All the while every worker is
stopped (SIGSTOP) for 0 to 10 times the length of a lease and let go on, so that leases run out
under it and others take over. Nothing in the table of effects prevents a second row; with
`--without-epochs`, which leaves the check out, there are many.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import create_engine, make_url, text

from monitor.clock import SystemClock
from monitor.process.leases import Held, Leases
from storage.engine import Database, open_database
from storage.leases import LostLeaseError, list_leases, release_lease
from storage.migrations import upgrade
from tests.sources import ROOT

SERVER = "postgresql:///test"
LOOK_EVERY = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run brought. `lost`: times a worker was told that its lease is another's."""

    jobs: int
    effects: int
    doubled: int
    lost: int
    pauses: int
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--lease-ms", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-epochs", action="store_true")
    given = parser.parse_args()
    found = run(
        given.jobs,
        workers=given.workers,
        lease=timedelta(milliseconds=given.lease_ms),
        seed=given.seed,
        epochs=not given.without_epochs,
    )
    print("| jobs | workers | lease | pauses | stopped by epoch | effects | doubled | s |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {found.jobs:,} | {given.workers} | {given.lease_ms} ms | {found.pauses:,} "
        f"| {found.lost:,} | {found.effects:,} | {found.doubled:,} "
        f"| {found.seconds:.0f} |"
    )
    return 0 if found.doubled == 0 and found.effects == found.jobs else 1


def run(
    jobs: int,
    *,
    workers: int,
    lease: timedelta,
    seed: int,
    epochs: bool = True,
    server: str = SERVER,
) -> Outcome:
    """Do `jobs` jobs in a new database, dropped afterwards."""
    admin = create_engine(
        make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    name = f"kedge_schedulers_{os.getpid()}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    try:
        return _run(url, jobs, workers, lease, seed, epochs)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def _run(url: str, jobs: int, workers: int, lease: timedelta, seed: int, epochs: bool) -> Outcome:
    database = open_database(url)
    upgrade(database)
    with database.writer.begin() as connection:
        connection.execute(text("CREATE TABLE effects (job text, worker int)"))
    context = multiprocessing.get_context("spawn")
    lost: Any = context.Queue()
    os.environ["PYTHONPATH"] = str(ROOT)
    started = time.monotonic()
    running = [
        context.Process(target=work, args=(url, jobs, lease, number, seed, epochs, lost))
        for number in range(workers)
    ]
    for process in running:
        process.start()
    pauses = _pause(running, lease.total_seconds(), random.Random(seed))
    seconds = time.monotonic() - started
    told = sum(lost.get() for _ in running)
    for process in running:
        process.join()
    with database.read() as session:
        effects = session.scalar(text("SELECT count(*) FROM effects")) or 0
        distinct = session.scalar(text("SELECT count(DISTINCT job) FROM effects")) or 0
    database.close()
    return Outcome(jobs, effects, effects - distinct, told, pauses, seconds)


def _pause(running: list[Any], lease_s: float, rng: random.Random) -> int:
    """Stop each process for 0 to 10 leases and let it go on for 0 to 5, until one has ended."""
    change_at = {process.pid: time.monotonic() + 2 + rng.random() for process in running}
    stopped: set[int] = set()
    pauses = 0
    while all(process.is_alive() for process in running):
        for process in running:
            if time.monotonic() < change_at[process.pid]:
                continue
            if process.pid in stopped:
                stopped.discard(process.pid)
                os.kill(process.pid, signal.SIGCONT)
                change_at[process.pid] = time.monotonic() + rng.uniform(0, 5 * lease_s)
            else:
                stopped.add(process.pid)
                pauses += 1
                os.kill(process.pid, signal.SIGSTOP)
                change_at[process.pid] = time.monotonic() + rng.uniform(0, 10 * lease_s)
        time.sleep(0.002)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    return pauses


def work(
    url: str, jobs: int, lease: timedelta, number: int, seed: int, epochs: bool, lost: Any
) -> None:
    """Do jobs in an order of our own until all are done; tell how often a lease was lost."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    database = open_database(url)
    leases = Leases(database, SystemClock(), length=lease)
    rng = random.Random(f"{seed} {number}")
    open_jobs = list(range(jobs))
    rng.shuffle(open_jobs)
    told = 0
    done: set[str] = set()
    while open_jobs:
        left = []
        for turn, job in enumerate(open_jobs):
            if turn % LOOK_EVERY == 0:
                with database.read() as session:
                    done = {lease.job for lease in list_leases(session) if lease.done}
            if f"job {job}" in done:
                continue
            with leases.holding(f"job {job}") as held:
                if held is None:
                    left.append(job)
                    continue
                if held.seen > 0:
                    continue
                time.sleep(rng.uniform(0.0, 0.008))
                try:
                    _take_effect(database, held, job, number, epochs)
                except LostLeaseError:
                    told += 1
                    left.append(job)
        open_jobs = left
    leases.close()
    database.close()
    lost.put(told)


def _take_effect(database: Database, held: Held, job: int, number: int, epochs: bool) -> None:
    """The effect, and that it was done, in one transaction of the lease's holder."""
    assert held.lease is not None
    with database.write() as session:
        if epochs:
            held.guard(session)
        session.execute(
            text("INSERT INTO effects VALUES (:job, :worker)"), {"job": str(job), "worker": number}
        )
        time.sleep(0.001)
        release_lease(session, held.lease, done=1)


if __name__ == "__main__":
    sys.exit(main())
