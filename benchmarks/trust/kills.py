"""kill -9 of the whole daemon at random moments during ingest: what was acknowledged is there.

    python -m benchmarks.trust.kills --kills 100 --seed 0

A sender posts batches of events and labels without pause, sends again what was not answered,
and notes every id whose batch was acknowledged. The daemon is killed at a random moment, again
and again, and started each time on the same database. At the end every acknowledged id must be
stored exactly once, and the alarms must be those of a run that was never killed.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pyarrow as pa

from detectors.records import DAY_US, Deployment
from monitor.references import add_reference_table
from monitor.replay import replay
from storage.engine import open_database
from storage.findings import list_findings
from storage.inbox import read_model
from storage.migrations import upgrade
from storage.references import Role
from tests.end_to_end.histories import START_US, as_table, history, part

MODEL = "churn"
FIRST_DAY, DAYS = 30, 30
LONGEST_LIFE_S = 3.0


@dataclass(slots=True)
class Tally:
    """What the sender saw."""

    acknowledged: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    posts: int = 0
    failed_posts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows-a-day", type=int, default=400)
    arguments = parser.parse_args()
    problems = run(arguments.kills, arguments.seed, arguments.rows_a_day)
    return 1 if problems else 0


def run(kills: int, seed: int, rows_a_day: int) -> list[str]:
    """Kill `kills` times; the list of what was found wrong, printed with a table."""
    rng = random.Random(seed)
    reference = as_table(history(days=30, rows_a_day=rows_a_day, seed=1))
    log = history(
        days=DAYS, rows_a_day=rows_a_day, seed=2, first_day=FIRST_DAY, fault_day=FIRST_DAY + 15
    )
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        port = _free_port()
        (home / "kedge.toml").write_text(
            f"[service]\nport = {port}\ndatabase = 'sqlite:///{home / 'kedge.db'}'\n"
            "check_every = '1s'\nlog_level = 'error'\n"
            f"[models.{MODEL}]\ntick = '1d'\nlabel_delay = '2d'\nlateness = '1h'\n"
            f"review = '{DAYS}d'\nslices = [['plan']]\n"
        )
        database = open_database(f"sqlite:///{home / 'kedge.db'}")
        upgrade(database)
        add_reference_table(
            database,
            reference,
            model=MODEL,
            role=Role.ONBOARDING,
            domain=None,
            slices=(("plan",),),
            now=datetime.now(UTC),
        )
        database.close()
        tally, done = Tally(), threading.Event()
        sender = threading.Thread(target=_send, args=(log, port, tally, done, kills), daemon=True)
        sender.start()
        started = time.monotonic()
        killed = 0
        while killed < kills:
            daemon = _start(home, port)
            time.sleep(rng.uniform(0.0, LONGEST_LIFE_S))
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.wait()
            killed += 1
        daemon = _start(home, port)
        done.wait(600)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            client.post("/v1/flush", json={"model": MODEL}).raise_for_status()
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        sender.join(10)
        seconds = time.monotonic() - started
        problems = _verify(home, tally, reference, log)
    print("| kills | posts | cut off | acknowledged events | labels | seconds | problems |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {killed} | {tally.posts} | {tally.failed_posts} | {len(tally.acknowledged):,} "
        f"| {len(tally.labels):,} | {seconds:.0f} | {len(problems)} |"
    )
    for problem in problems:
        print(f"- {problem}")
    return problems


def _send(log: pa.Table, port: int, tally: Tally, done: threading.Event, kills: int) -> None:
    """Post every day of the log in order, each until it is answered; labels a day behind."""
    url = f"http://127.0.0.1:{port}"
    pieces = max(1, -(-3 * kills // DAYS))
    with httpx2.Client(base_url=url, timeout=30) as client:
        for day in range(FIRST_DAY, FIRST_DAY + DAYS + 2):
            since_us = START_US + day * DAY_US
            events = part(log, since_us=since_us, until_us=since_us + DAY_US)
            bodies = [
                ("/v1/events", piece.drop_columns(["label", "label_ts"]), tally.acknowledged)
                for piece in _cut(events, pieces)
            ]
            known = log.filter(_between(log, "label_ts", since_us, since_us + DAY_US))
            labels = pa.table(
                {
                    "id": known.column("id"),
                    "label": known.column("label"),
                    "ts": known.column("label_ts"),
                }
            )
            bodies += [("/v1/labels", piece, tally.labels) for piece in _cut(labels, 1)]
            for path, table, acknowledged in bodies:
                if table.num_rows:
                    _until_answered(client, path, table, tally, acknowledged)
    done.set()


def _until_answered(
    client: httpx2.Client, path: str, table: pa.Table, tally: Tally, acknowledged: set[str]
) -> None:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue()
    headers = {"content-type": "application/vnd.apache.arrow.stream"}
    while True:
        try:
            reply = client.post(path, params={"model": MODEL}, content=body, headers=headers)
        except httpx2.ConnectError:
            time.sleep(0.02)
            continue
        except httpx2.HTTPError:
            tally.posts += 1
            tally.failed_posts += 1
            continue
        tally.posts += 1
        if reply.status_code == 202:
            counts = reply.json()
            assert counts["accepted"] + counts["duplicate"] == table.num_rows, counts
            acknowledged.update(table.column("id").to_pylist())
            return
        tally.failed_posts += 1
        time.sleep(0.05)


def _verify(home: Path, tally: Tally, reference: object, log: pa.Table) -> list[str]:
    """What is wrong with the database after the last stop."""
    problems = []
    database = open_database(f"sqlite:///{home / 'kedge.db'}")
    with database.read() as session:
        windows = read_model(session, MODEL, 0, 2**62, include_late=True)
        findings = {
            name: {
                (f.ts.isoformat(), f.stream, f.tier.value)
                for f in list_findings(session, Deployment(MODEL, name), limit=10_000)
            }
            for name in ("north", "south")
        }
    database.close()
    stored = sum(window.rows for window in windows.values())
    if stored != len(tally.acknowledged):
        problems.append(f"{stored:,} rows stored, {len(tally.acknowledged):,} acknowledged")
    if len(tally.acknowledged) != log.num_rows:
        problems.append(f"{len(tally.acknowledged):,} of {log.num_rows:,} rows acknowledged")
    settings = _settings(home)
    expected = replay(reference, as_table(log, like=reference), settings, model=MODEL)  # type: ignore[arg-type]
    for domain in expected.domains:
        wanted = {(f.ts.isoformat(), f.stream, f.tier.value) for f in domain.findings}
        if wanted != findings[domain.deployment.domain]:
            problems.append(
                f"{domain.deployment.domain}: {len(findings[domain.deployment.domain])} alarms, "
                f"{len(wanted)} without kills"
            )
    return problems


def _settings(home: Path):  # type: ignore[no-untyped-def]
    from monitor.config import load_config

    return load_config(home / "kedge.toml").models[MODEL].settings()


def _start(home: Path, port: int) -> subprocess.Popen[bytes]:
    """The daemon, answering."""
    command = [sys.executable, "-m", "monitor", "run", "--config", str(home / "kedge.toml")]
    daemon = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=1).raise_for_status()
        except httpx2.HTTPError:
            if daemon.poll() is not None:
                msg = f"the daemon ended with {daemon.returncode} instead of starting"
                raise RuntimeError(msg) from None
            time.sleep(0.02)
        else:
            return daemon
    msg = "the daemon did not answer within a minute"
    raise RuntimeError(msg)


def _cut(table: pa.Table, pieces: int) -> list[pa.Table]:
    size = max(1, -(-table.num_rows // pieces))
    return [table.slice(start, size) for start in range(0, max(table.num_rows, 1), size)]


def _between(table: pa.Table, column: str, since_us: int, until_us: int) -> pa.Array:
    values = table.column(column).cast(pa.int64()).to_numpy()
    return pa.array((values >= since_us) & (values < until_us))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
