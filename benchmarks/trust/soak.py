"""A day of traffic in minutes, and ten times too much of it: memory, descriptors, threads, answers.

    python -m benchmarks.trust.soak --minutes 240
    python -m benchmarks.trust.soak --minutes 10 --overload

The daemon of `benchmarks.ingest` (46 columns, five domains, ticks of an hour) in a process of its
own. Without `--overload` batches of 500 rows leave at an even pace so that 24 hours of event time
pass in the given minutes, and the process is looked at every two seconds; the slopes are those of
a line through all after the first third. With `--overload` 40 connections post batches of 5,000
rows without pause, each the next as soon as one is answered; at their end one connection asks until
it is answered at once.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np

from benchmarks.ingest import MODEL, arrow_template, serve
from benchmarks.trust.fuzz_decoders import resident_bytes

LOOK_EVERY_S = 2.0
PROMPT_S = 1.0
"""An answer as fast as this ends an overload."""
CONNECTIONS = 40


@dataclass(slots=True)
class Looks:
    """What a process held at an instant, in seconds since the start."""

    pid: int
    began: float = field(default_factory=time.monotonic)
    rows: list[tuple[float, float, int, int]] = field(default_factory=list)

    def look(self) -> None:
        """Now."""
        files = len(os.listdir(f"/proc/{self.pid}/fd"))
        threads = len(os.listdir(f"/proc/{self.pid}/task"))
        mebibytes = resident_bytes(self.pid) / 2**20
        self.rows.append((time.monotonic() - self.began, mebibytes, files, threads))

    def slopes(self) -> tuple[float, float, float]:
        """MiB, descriptors and threads an hour, from the first third on."""
        table = np.array(self.rows[len(self.rows) // 3 :])
        hours = table[:, 0] / 3600
        return tuple(float(np.polyfit(hours, table[:, k], 1)[0]) for k in (1, 2, 3))  # type: ignore[return-value]


async def soak(client: httpx2.AsyncClient, looks: Looks, minutes: float) -> Counter[str]:
    """24 hours of event time, a batch for each of its minutes."""
    ended: Counter[str] = Counter()
    made, batches = arrow_template(500), 24 * 60
    began = time.monotonic()
    looked = 0.0
    for batch in range(batches):
        ended[await post(client, made.body(batch, 500), made.content_type)] += 1
        if time.monotonic() - looked > LOOK_EVERY_S:
            looks.look()
            looked = time.monotonic()
        due = began + 60 * minutes * (batch + 1) / batches
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return ended


async def overload(client: httpx2.AsyncClient, looks: Looks, minutes: float) -> Counter[str]:
    """Connections that post without pause; how long after their end an answer comes at once."""
    ended: Counter[str] = Counter()
    made = arrow_template(5_000)
    numbers = iter(range(10**9))
    until = time.monotonic() + 60 * minutes

    async def flood() -> None:
        while time.monotonic() < until:
            body = made.body(next(numbers), 5_000)
            ended[await post(client, body, made.content_type)] += 1

    async def watch() -> None:
        while time.monotonic() < until:
            looks.look()
            await asyncio.sleep(LOOK_EVERY_S)

    await asyncio.gather(watch(), *(flood() for _ in range(CONNECTIONS)))
    over = time.monotonic()
    while True:
        asked = time.monotonic()
        answer = await post(client, made.body(next(numbers), 5_000), made.content_type)
        if answer == "202" and time.monotonic() - asked < PROMPT_S:
            break
        await asyncio.sleep(0.2)
    print(f"recovered after {time.monotonic() - over:.1f} s")
    return ended


async def post(client: httpx2.AsyncClient, body: bytes, kind: str) -> str:
    """The status, or the kind of error."""
    headers = {"content-type": kind}
    try:
        answer = await client.post(
            "/v1/events", params={"model": MODEL}, content=body, headers=headers
        )
    except httpx2.HTTPError as error:
        return type(error).__name__
    return str(answer.status_code)


async def run(port: int, pid: int, minutes: float, *, flood: bool) -> int:
    """One of the two, with a table."""
    limits = httpx2.Limits(max_connections=CONNECTIONS + 8)
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        for _ in range(600):
            try:
                (await client.get("/livez")).raise_for_status()
                break
            except httpx2.HTTPError:
                await asyncio.sleep(0.2)
        looks = Looks(pid)
        ended = await (overload if flood else soak)(client, looks, minutes)
    peak = max(row[1] for row in looks.rows)
    memory, files, threads = looks.slopes()
    print("| minutes | answers | peak MiB | MiB/h | descriptors | threads |")
    print("|---:|---|---:|---:|---:|---:|")
    answers = ", ".join(f"{status}: {n:,}" for status, n in sorted(ended.items()))
    print(
        f"| {minutes:g} | {answers} | {peak:.0f} | {memory:+.1f} "
        f"| {looks.rows[-1][2]} ({files:+.1f}/h) | {looks.rows[-1][3]} ({threads:+.1f}/h) |"
    )
    for at in np.linspace(0, len(looks.rows) - 1, 6).astype(int).tolist():
        seconds, mebibytes, open_files, running = looks.rows[at]
        print(f"  {seconds:6.0f} s {mebibytes:7.1f} MiB {open_files} files {running} threads")
    return 0 if set(ended) <= {"202", "429", "503"} else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--overload", action="store_true")
    given = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        daemon = context.Process(target=serve, args=(port, folder, 500), daemon=True)
        daemon.start()
        assert daemon.pid is not None
        code = asyncio.run(run(port, daemon.pid, given.minutes, flood=given.overload))
        print(f"database {sum(f.stat().st_size for f in Path(folder).iterdir()) / 2**20:.0f} MiB")
        daemon.terminate()
        daemon.join(30)
        daemon.kill()
    return code


if __name__ == "__main__":
    sys.exit(main())
