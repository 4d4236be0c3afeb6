"""Days of traffic in minutes: memory, descriptors and threads stay what they are.

    python -m benchmarks.trust.soak --hours 96 --minutes 20

The daemon of `benchmarks.ingest` (46 columns, five domains, ticks of an hour) in a process of its
own. Batches of 500 rows, one for each minute of event time, leave at an even pace so that the given
hours of event time pass in the given minutes, and the process is looked at every two seconds. The
slopes are those of a line through all after the first third, an hour of event time, with a standard
error that allows for neighbouring looks being alike.
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
ROWS = 500
BLOCKS = 10
"""Neighbouring looks are alike; means of so many blocks are nearly not."""


@dataclass(slots=True)
class Looks:
    """What a process held at an instant of event time, in hours since the first batch."""

    pid: int
    rows: list[tuple[float, float, int, int]] = field(default_factory=list)

    def look(self, hours: float) -> None:
        """Now, so many hours of event time after the start."""
        files = len(os.listdir(f"/proc/{self.pid}/fd"))
        threads = len(os.listdir(f"/proc/{self.pid}/task"))
        mebibytes = resident_bytes(self.pid) / 2**20
        self.rows.append((hours, mebibytes, files, threads))

    def slope(self, column: int) -> tuple[float, float]:
        """What a column gains an hour of event time from the first third on, and its error."""
        table = np.array(self.rows[len(self.rows) // 3 :])
        blocks = np.array([part.mean(axis=0) for part in np.array_split(table, BLOCKS)])
        x, y = blocks[:, 0] - blocks[:, 0].mean(), blocks[:, column]
        slope = float((x * y).sum() / (x**2).sum())
        rest = y - y.mean() - slope * x
        return slope, float(np.sqrt((rest**2).sum() / (BLOCKS - 2) / (x**2).sum()))


def hurried(port: int, folder: str, hour_s: float) -> None:
    """The daemon, which gives back freed memory once an hour of event time.

    In real time it does so sixty times as often.
    """
    from monitor.process import memory

    memory.EVERY_S = hour_s
    serve(port, folder, ROWS)


async def soak(
    client: httpx2.AsyncClient, looks: Looks, hours: float, minutes: float
) -> Counter[str]:
    """Hours of event time, a batch for each of their minutes, in so many minutes."""
    ended: Counter[str] = Counter()
    made, batches = arrow_template(ROWS), round(60 * hours)
    began = time.monotonic()
    looked = 0.0
    for batch in range(batches):
        ended[await post(client, made.body(batch, ROWS), made.content_type)] += 1
        if time.monotonic() - looked > LOOK_EVERY_S:
            looks.look(batch / 60)
            looked = time.monotonic()
        due = began + 60 * minutes * (batch + 1) / batches
        await asyncio.sleep(max(0.0, due - time.monotonic()))
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


async def run(port: int, pid: int, hours: float, minutes: float) -> int:
    """Soak, with a table; 1 if anything but 202 came back."""
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url, timeout=120) as client:
        for _ in range(600):
            try:
                (await client.get("/livez")).raise_for_status()
                break
            except httpx2.HTTPError:
                await asyncio.sleep(0.2)
        looks = Looks(pid)
        ended = await soak(client, looks, hours, minutes)
    memory, error = looks.slope(1)
    files, threads = looks.slope(2)[0], looks.slope(3)[0]
    print("| hours of events | in minutes | answers | peak MiB | MiB/h | descriptors | threads |")
    print("|---:|---:|---|---:|---:|---:|---:|")
    answers = ", ".join(f"{status}: {n:,}" for status, n in sorted(ended.items()))
    print(
        f"| {hours:g} | {minutes:g} | {answers} | {max(row[1] for row in looks.rows):.0f} "
        f"| {memory:+.2f} ± {error:.2f} | {looks.rows[-1][2]} ({files:+.2f}/h) "
        f"| {looks.rows[-1][3]} ({threads:+.2f}/h) |"
    )
    for at in np.linspace(0, len(looks.rows) - 1, 13).astype(int).tolist():
        hour, mebibytes, open_files, running = looks.rows[at]
        print(f"  {hour:6.1f} h {mebibytes:7.1f} MiB {open_files} files {running} threads")
    return 0 if set(ended) == {"202"} else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0, help="of event time")
    parser.add_argument("--minutes", type=float, default=4.0, help="that they take")
    given = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        hour_s = 60 * given.minutes / given.hours
        daemon = context.Process(target=hurried, args=(port, folder, hour_s), daemon=True)
        daemon.start()
        assert daemon.pid is not None
        code = asyncio.run(run(port, daemon.pid, given.hours, given.minutes))
        print(f"database {sum(f.stat().st_size for f in Path(folder).iterdir()) / 2**20:.0f} MiB")
        daemon.terminate()
        daemon.join(30)
        daemon.kill()
    return code


if __name__ == "__main__":
    sys.exit(main())
