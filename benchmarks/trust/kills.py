"""kill -9 of the daemon, at random moments or named points: what was acknowledged is there.

    python -m benchmarks.trust.kills --kills 100 --seed 0
    python -m benchmarks.trust.kills --kills 100 --database postgresql:///test
    python -m benchmarks.trust.kills --points 20 --database postgresql:///test

With `--points N` the daemon dies N times at each point of `crashing.POINTS`, those of
checks first, while days of the history close; a life in which the point does not come by is counted
apart, and the next is for one that was waited for in vain least. Lives for the points of delivery
get two more alerts to send. On PostgreSQL
a database is made and dropped.

A sender posts batches of events and labels without pause, sends again what was not answered,
and notes every id whose batch was acknowledged. The daemon is killed at a random moment, again
and again, and started each time on the same database. At the end every acknowledged id must be
stored exactly once, the alarms must be those of a run that was never killed, every change of an
incident must have one message, and the receiver must have got each under its id.
"""

from __future__ import annotations

import argparse
import http.server
import io
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx2
import pyarrow as pa
from sqlalchemy import create_engine, make_url, select, text

from benchmarks.trust.crashing import ON_POSTGRES, POINTS
from benchmarks.trust.delivery_storm import messages as alerts
from benchmarks.trust.nursery import live, nursery
from detectors.records import DAY_US, Deployment
from monitor.files.references import add_reference_table
from monitor.replaying.replay import replay
from storage.engine import open_database
from storage.findings import list_findings
from storage.inbox import read_model
from storage.migrations import upgrade
from storage.outbox import enqueue, waiting_count
from storage.references import Role
from storage.tables import DeliveryRow, MessageRow
from tests.end_to_end.histories import START_US, as_table, history, part

MODEL = "churn"
NURSERY = nursery()
FIRST_DAY, DAYS = 30, 30
LONGEST_LIFE_S = 1.5
LONGEST_WAIT_S = 25.0
"""For a named point; then the daemon is killed where it is."""

LONGEST_START_S = 600.0
"""A machine with twenty processes for two cores has stood still for more than a minute."""


@dataclass(slots=True)
class Tally:
    """What the sender saw."""

    acknowledged: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    lives: int = 0
    posts: int = 0
    failed_posts: int = 0
    received: list[str] = field(default_factory=list)
    at: dict[str, int] = field(default_factory=dict)
    vain: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows-a-day", type=int, default=400)
    parser.add_argument("--database", default="", help="a PostgreSQL server; default: SQLite")
    parser.add_argument("--points", type=int, default=0, help="kills at each named point instead")
    given = parser.parse_args()
    name = f"kedge_kills_{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if not given.database:
            url = f"sqlite:///{home / 'kedge.db'}"
            problems = run(home, url, given.kills, given.points, given.seed, given.rows_a_day)
            return 1 if problems else 0
        server = make_url(given.database)
        admin = create_engine(
            server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            url = server.set(database=name).render_as_string(hide_password=False)
            problems = run(home, url, given.kills, given.points, given.seed, given.rows_a_day)
        finally:
            with admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            admin.dispose()
    return 1 if problems else 0


def run(home: Path, url: str, kills: int, points: int, seed: int, rows_a_day: int) -> list[str]:
    """Kill `kills` times, or `points` times at each point; what was found wrong, with a table."""
    rng = random.Random(seed)
    reference = as_table(history(days=30, rows_a_day=rows_a_day, seed=1))
    log = history(
        days=DAYS, rows_a_day=rows_a_day, seed=2, first_day=FIRST_DAY, fault_day=FIRST_DAY + 3
    )
    tally, done = Tally(), threading.Event()
    receiver = _receiver(tally)
    port = _free_port()
    (home / "kedge.toml").write_text(
        f"[service]\nport = {port}\ndatabase = '{url}'\n"
        "check_every = '1s'\nlog_level = 'error'\n"
        f"[models.{MODEL}]\ntick = '1d'\nlabel_delay = '2d'\nlateness = '1h'\n"
        f"review = '{DAYS}d'\nslices = [['plan']]\n"
        "[[channels]]\nname = 'hook'\nkind = 'webhook'\nsecret_env = 'KEDGE_HOOK'\n"
        f"url = 'http://127.0.0.1:{receiver.server_port}/'\nallow_networks = ['127.0.0.0/8']\n"
    )
    database = open_database(url)
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
    named = [*POINTS, *([] if database.is_sqlite else ON_POSTGRES)] if points else []
    named.sort(key=lambda name: name not in OF_CHECKS)
    database.close()
    planned = kills if not points else 2 * points
    sender = threading.Thread(target=_send, args=(log, port, tally, done, planned), daemon=True)
    sender.start()
    started = time.monotonic()
    lives = 0
    while lives < kills if not points else lives < 6 * points * len(named):
        due = [name for name in named if tally.at.get(name, 0) < points]
        if points and not due:
            break
        chosen = min(due, key=lambda name: tally.vain.get(name, 0)) if points else ""
        lives += 1
        if chosen in OF_DELIVERY:
            _enqueue(url, lives)
        _one_life(home, port, rng, tally, chosen)
        eaten = not points or chosen == EATS_A_DAY or tally.vain.get(chosen, 0)
        tally.lives += 1 if eaten else 0
        if lives % 25 == 0:
            print(
                f"{lives} killed, {len(tally.acknowledged):,} rows, {tally.at}",
                file=sys.stderr,
                flush=True,
            )
    tally.lives = planned + 1
    daemon = _start(home, port)
    if not done.wait(900):
        print("- the sender did not come to its end")
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
        client.post("/v1/flush", json={"model": MODEL}).raise_for_status()
    _empty_outbox(url)
    daemon.terminate()
    daemon.join(60)
    code = daemon.exitcode
    sender.join(10)
    receiver.shutdown()
    seconds = time.monotonic() - started
    problems = _verify(home, url, tally, reference, log)
    problems += [] if code == 0 else [f"the last daemon ended with {code}"]
    problems += [
        f"{name}: {tally.at.get(name, 0)} of {points}"
        for name in named
        if tally.at.get(name, 0) < points
    ]
    again = len(tally.received) - len(set(tally.received))
    print("| kills | posts | cut off | events | labels | messages | sent again | s | problems |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {lives} | {tally.posts} | {tally.failed_posts} | {len(tally.acknowledged):,} "
        f"| {len(tally.labels):,} | {len(set(tally.received))} | {again} | {seconds:.0f} "
        f"| {len(problems)} |"
    )
    for name in [*named, *([RANDOM] if points else [])]:
        print(f"- killed {tally.at.get(name, 0)} times: {name}")
    for problem in problems:
        print(f"- PROBLEM: {problem}")
    return problems


RANDOM = "elsewhere, where the point was not come by"
EATS_A_DAY = "check saved"
OF_CHECKS = (
    EATS_A_DAY,
    "judged, not saved",
    "checkpoint written, not committed",
    "message written, not committed",
)
"""What needs days of the history to close, so these points come first. Where nothing is committed
the next life judges the same day again; a check that was saved is over, and takes a day of rows.
"""

OF_DELIVERY = ("claimed, not sent", "sent, not marked", "marked, not committed", "delivered")
"""What the history has four messages for; each life for one of them has two more to send."""


def _enqueue(url: str, life: int) -> None:
    """Two alerts for the daemon to deliver, of incidents that no other life has."""
    database = open_database(url)
    with database.write() as session:
        for message in islice(alerts(2 * life + 2), 2 * life, None):
            enqueue(session, message, ["hook"], datetime.now(UTC))
    database.close()


def _one_life(home: Path, port: int, rng: random.Random, tally: Tally, point: str) -> None:
    """Start the daemon and have it die, at a named point if it comes by."""
    times = 0 if not point else 1 if point in OF_CHECKS else rng.choice((1, 1, 2))
    try:
        daemon = _start(home, port, point=point, times=times)
    except DiedAtStartError:
        tally.at[point] = tally.at.get(point, 0) + 1
        return
    if point:
        daemon.join(LONGEST_WAIT_S)
        came = point if daemon.exitcode is not None else RANDOM
        tally.at[came] = tally.at.get(came, 0) + 1
        if came == RANDOM:
            tally.vain[point] = tally.vain.get(point, 0) + 1
    else:
        time.sleep(rng.uniform(0.0, LONGEST_LIFE_S))
    daemon.kill()
    daemon.join()


def _receiver(tally: Tally) -> http.server.ThreadingHTTPServer:
    """Takes every message and notes its id."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            with tally.lock:
                tally.received.append(self.headers["webhook-id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _empty_outbox(url: str) -> None:
    database = open_database(url)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with database.read() as session:
            if waiting_count(session) == 0:
                break
        time.sleep(0.2)
    database.close()


def _send(log: pa.Table, port: int, tally: Tally, done: threading.Event, kills: int) -> None:
    """Post every day of the log in order, each until it is answered; labels a day behind.

    New rows come as the kills go on, so that there are some left for the last. While the next
    piece is not due yet one that was answered is posted again: there is always a post under way.
    """
    rng = random.Random(kills)
    pieces = list(_pieces(log, max(1, -(-3 * kills // DAYS))))
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for number, (path, table, labels) in enumerate(pieces):
            acknowledged = tally.labels if labels else tally.acknowledged
            _until_answered(client, path, table, tally, acknowledged)
            while (tally.lives + 1) * len(pieces) < number * kills:
                path, table, labels = pieces[rng.randrange(max(0, number - 200), number + 1)]
                acknowledged = tally.labels if labels else tally.acknowledged
                _until_answered(client, path, table, tally, acknowledged)
    done.set()


def _pieces(log: pa.Table, a_day: int) -> Iterator[tuple[str, pa.Table, bool]]:
    """What is posted, in order: where to, the rows, and whether they are labels."""
    for day in range(FIRST_DAY, FIRST_DAY + DAYS + 2):
        since_us = START_US + day * DAY_US
        events = part(log, since_us=since_us, until_us=since_us + DAY_US)
        for piece in _cut(events.drop_columns(["label", "label_ts"]), a_day):
            if piece.num_rows:
                yield "/v1/events", piece, False
        known = log.filter(_between(log, "label_ts", since_us, since_us + DAY_US))
        names = {"id": "id", "label": "label", "ts": "label_ts"}
        labels = pa.table({name: known.column(column) for name, column in names.items()})
        if labels.num_rows:
            yield "/v1/labels", labels, True


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


def _verify(home: Path, url: str, tally: Tally, reference: object, log: pa.Table) -> list[str]:
    """What is wrong with the database after the last stop."""
    problems = []
    database = open_database(url)
    with database.read() as session:
        windows = read_model(session, MODEL, 0, 2**62, include_late=True)
        findings = {
            name: {
                (f.ts.isoformat(), f.stream, f.tier.value)
                for f in list_findings(session, Deployment(MODEL, name), limit=10_000)
            }
            for name in ("north", "south")
        }
        messages = session.execute(
            select(MessageRow.id, MessageRow.incident_id, MessageRow.type, MessageRow.created_at)
        ).all()
        undelivered = session.scalars(
            select(DeliveryRow.message_id).where(DeliveryRow.delivered_at.is_(None))
        ).all()
        wanted_ids = set(session.scalars(select(DeliveryRow.message_id)))
    database.close()
    changes = {tuple(row[1:]) for row in messages}
    if len(changes) != len(messages):
        problems.append(f"{len(messages)} messages for {len(changes)} changes of incidents")
    if undelivered:
        problems.append(f"{len(undelivered)} messages are not delivered")
    if set(tally.received) != wanted_ids:
        problems.append(
            f"{len(set(tally.received))} ids received, {len(wanted_ids)} in the outbox, "
            f"{len(set(tally.received) ^ wanted_ids)} not in both"
        )
    if not messages:
        problems.append("no message was sent at all: nothing was tried")
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


class DiedAtStartError(RuntimeError):
    """The daemon ended by SIGKILL, at its point, before it answered."""


def _start(home: Path, port: int, *, point: str = "", times: int = 0) -> ForkServerProcess:
    """The daemon, answering; it will die at a point if one is named."""
    environment = {"KEDGE_HOOK": "whsec_a2VkZ2Uga2VkZ2Uga2VkZ2Uga2VkZ2Uga2VkZ2Ug"}
    arguments = [point, str(times), "run", "--config", str(home / "kedge.toml")]
    daemon = NURSERY.Process(target=live, args=(home, environment, arguments), daemon=True)
    daemon.start()
    deadline = time.monotonic() + LONGEST_START_S
    while time.monotonic() < deadline:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=10).raise_for_status()
        except httpx2.HTTPError:
            if daemon.exitcode is not None:
                if daemon.exitcode == -signal.SIGKILL:
                    raise DiedAtStartError from None
                msg = f"the daemon ended with {daemon.exitcode} instead of starting"
                raise RuntimeError(msg) from None
            time.sleep(0.02)
        else:
            return daemon
    msg = f"the daemon did not answer within {LONGEST_START_S:.0f} s"
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
