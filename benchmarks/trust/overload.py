"""Far more rows than the daemon can take: what is refused, how much it holds, how it recovers.

    python -m benchmarks.trust.overload --minutes 10

The daemon of `benchmarks.ingest` (46 columns, five domains, ticks of an hour). Several processes
hold open many connections and post Arrow batches of 5,000 rows on each without pause, whatever the
answer, so that a refusal brings the next batch at once; bodies are made once and only their ids and
times are written anew, which costs a copy. Half of the connections ask first whether a body is
welcome (`Expect: 100-continue`, as curl does); some send it a little at a time, and some do not
read their answer for half a minute. "Offered" are the rows of all batches that were begun; the
overload is offered rows over accepted ones.

Only 202, 429 and 503 may come back. A connection that ends without an answer counts as a failure of
ours unless the daemon had answered before it closed. At the end one connection asks until it is
answered at once; then everything accepted must be there, once.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.ingest import MODEL, START, arrow_template, serve
from benchmarks.trust.fuzz_decoders import resident_bytes

ROWS = 5_000
MARK = b"00000-0000000"
LOOK_EVERY_S = 0.5
PROMPT_S = 1.0
"""An answer as fast as this ends an overload."""

DRIP_BYTES, DRIP_S = 16_384, 0.05
DEAF_S = 30.0
"""How long a slow reader lets its answer lie."""

NO_ANSWER_S = 120.0


class Batches:
    """The body of one batch, given new ids and times in place: a copy, no encoding."""

    def __init__(self) -> None:
        body = arrow_template(ROWS).body(0, ROWS)
        self._bytes = np.frombuffer(body, np.uint8)
        at = body.index(MARK)
        width = len(MARK)
        ids = self._bytes[at : at + ROWS * width].reshape(ROWS, width)
        assert bytes(ids[-1]) == b"%05d-%07d" % (ROWS - 1, 0)
        self._ids = at
        first_us = int(START.timestamp()) * 1_000_000
        self._times = body.index(first_us.to_bytes(8, "little"))
        times = self._bytes[self._times : self._times + 8 * ROWS].view("<i8")
        assert int(times[0]) == first_us
        assert int(times[-1]) - first_us < 60_000_000

    def body(self, batch: int) -> bytes:
        """Batch `batch`, a minute of event time for every twenty of them."""
        made = self._bytes.copy()
        ids = made[self._ids : self._ids + ROWS * len(MARK)].reshape(ROWS, len(MARK))
        ids[:, 6:] = np.frombuffer(b"%07d" % batch, np.uint8)
        times = made[self._times : self._times + 8 * ROWS].view("<i8")
        times += batch // 20 * 60_000_000
        return made.tobytes()


@dataclass(slots=True)
class Tally:
    """What one process offered and what it was answered."""

    offered: int = 0
    accepted: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)


async def ask(port: int, body: bytes, manner: str) -> tuple[str, bytes]:
    """Post one body over a connection of its own; the status, or how it ended without one."""
    head = (
        f"POST /v1/events?model={MODEL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/vnd.apache.arrow.stream\r\nContent-Length: {len(body)}\r\n"
    )
    head += "Expect: 100-continue\r\n\r\n" if manner == "asking" else "\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return f"not connected: {type(error).__name__}", b""
    answered = ""
    reply = b""
    try:
        writer.write(head.encode())
        if manner == "asking":
            async with asyncio.timeout(NO_ANSWER_S):
                line = await reader.readuntil(b"\r\n\r\n")
            if line[9:12] != b"100":
                return line[9:12].decode(), await reader.read()
        with suppress(ConnectionError):  # It may have answered before it had heard all.
            await _send(writer, body, manner)
        if manner == "deaf":
            await asyncio.sleep(DEAF_S)
        async with asyncio.timeout(NO_ANSWER_S):
            line = await reader.readuntil(b"\r\n\r\n")
            answered = line[9:12].decode()
            reply = await reader.read()
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        answered = answered or f"no answer: {type(error).__name__}"
    finally:
        writer.close()
    return answered, reply


async def _send(writer: asyncio.StreamWriter, body: bytes, manner: str) -> None:
    if manner != "dripping":
        writer.write(body)
        await writer.drain()
        return
    for at in range(0, len(body), DRIP_BYTES):
        writer.write(body[at : at + DRIP_BYTES])
        await writer.drain()
        await asyncio.sleep(DRIP_S)


async def flood(port: int, number: int, connections: int, seconds: float) -> Tally:
    """Connections that post without pause, whatever they are answered."""
    tally, batches = Tally(), Batches()
    until = time.monotonic() + seconds
    following = iter(range(number * 1_000_000, (number + 1) * 1_000_000))

    async def post(manner: str) -> None:
        await asyncio.sleep(random.random())
        while time.monotonic() < until:
            began = time.monotonic()
            tally.offered += ROWS
            ended, reply = await ask(port, batches.body(next(following)), manner)
            tally.ended[ended] += 1
            if ended == "202":
                tally.accepted += ROWS
                assert b'"accepted":%d,' % ROWS in reply, reply[:200]
                tally.waits_s.append(time.monotonic() - began)

    asking = connections // 2
    manners = ["deaf", "dripping", *["asking"] * asking, *["quick"] * (connections - asking - 2)]
    await asyncio.gather(*map(post, manners))
    return tally


def client(port: int, number: int, connections: int, seconds: float, to: Connection) -> None:
    """A process that floods."""
    to.send(asyncio.run(flood(port, number, connections, seconds)))


async def recovered(port: int, batch: int) -> tuple[float, int]:
    """Seconds until an answer comes at once, and the rows accepted on the way."""
    over, accepted = time.monotonic(), 0
    batches = Batches()
    while True:
        asked = time.monotonic()
        ended, _ = await ask(port, batches.body(batch), "quick")
        batch += 1
        if ended == "202":
            accepted += ROWS
            if time.monotonic() - asked < PROMPT_S:
                return time.monotonic() - over, accepted
        await asyncio.sleep(0.2)


def stored_rows(folder: str) -> int:
    """The rows of the database, as its own table of deployments has them."""
    import sqlite3

    connection = sqlite3.connect(f"file:{folder}/kedge.db?mode=ro", uri=True)
    (found,) = connection.execute("SELECT sum(rows) FROM deployments").fetchone()
    connection.close()
    return int(found or 0)


def run(port: int, pid: int, folder: str, given: argparse.Namespace) -> int:
    """Flood, watch, recover, count; 1 if something came back that must not."""
    _until_alive(port)
    seconds = 60.0 * given.minutes
    quiet = resident_bytes(pid) / 2**20
    ends, processes = [], []
    for number in range(given.processes):
        mine, theirs = multiprocessing.Pipe()
        arguments = (port, number, given.connections, seconds, theirs)
        processes.append(multiprocessing.Process(target=client, args=arguments))
        ends.append(mine)
    for process in processes:
        process.start()
    began, looks = time.monotonic(), []
    while time.monotonic() - began < seconds:
        looks.append(resident_bytes(pid) / 2**20)
        time.sleep(LOOK_EVERY_S)
    tallies = [end.recv() for end in ends]
    for process in processes:
        process.join()
    recovery_s, more = asyncio.run(recovered(port, given.processes * 1_000_000))
    looks.append(resident_bytes(pid) / 2**20)
    offered = sum(tally.offered for tally in tallies)
    accepted = sum(tally.accepted for tally in tallies)
    ended: Counter[str] = sum((tally.ended for tally in tallies), Counter())
    waits = np.concatenate([tally.waits_s for tally in tallies] or [[0.0]])
    stored = stored_rows(folder)
    answers = ", ".join(f"{status}: {n:,}" for status, n in sorted(ended.items()))
    print("| minutes | connections | offered rows/s | accepted | times | answers | p99 of 202 s ")
    print("| MiB before, quarter by quarter, after | recovery s | acknowledged, stored rows |")
    quarters = [f"{max(part):.0f}" for part in np.array_split(looks[:-1], 4)]
    print(
        f"| {given.minutes:g} | {given.processes * given.connections} | {offered / seconds:,.0f} "
        f"| {accepted / seconds:,.0f} | {offered / max(accepted, 1):.1f} | {answers} "
        f"| {np.percentile(waits, 99) if len(waits) else 0:.1f} "
        f"| {quiet:.0f}, {' → '.join(quarters)}, {looks[-1]:.0f} | {recovery_s:.1f} "
        f"| {accepted + more:,}, {stored:,} |"
    )
    lost = stored < accepted + more
    return 1 if lost or set(ended) - {"202", "429", "503"} else 0


def _until_alive(port: int) -> None:
    for _ in range(1_200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the daemon did not start")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--connections", type=int, default=80, help="of each process")
    given = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        daemon = context.Process(target=serve, args=(port, folder, ROWS), daemon=True)
        daemon.start()
        assert daemon.pid is not None
        code = run(port, daemon.pid, folder, given)
        print(f"database {sum(f.stat().st_size for f in Path(folder).iterdir()) / 2**20:.0f} MiB")
        daemon.terminate()
        daemon.join(30)
        daemon.kill()
    return code


if __name__ == "__main__":
    sys.exit(main())
