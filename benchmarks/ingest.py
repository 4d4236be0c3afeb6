"""How fast events are acknowledged and judged: a real daemon, a client beside it, loopback.

Every event has 46 columns (30 numbers with 2 % nulls, 15 categories, a score); five domains. A
batch counts when its 202 has arrived, which is after its commit to SQLite with full sync. A batch
spans one minute of event time and the next one the next minute, so that ticks of an hour close,
are summarised and judged all the while; "to summaries" counts the time until the last one is.
Bodies are made before the clock starts, and only their ids and minutes differ, so that the
client's part is sending and waiting. With `--rate` batches leave on a schedule, whether or not
earlier ones were answered, and a wait counts from the moment the batch was due.

    python -m benchmarks.ingest --seconds 20
    python -m benchmarks.ingest --seconds 600 --rate 25000 --only json
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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUMERIC = tuple(f"num_{i:02d}" for i in range(30))
CATEGORICAL = tuple(f"cat_{i:02d}" for i in range(15))
MODEL = "bench"
START = datetime(2026, 1, 1, tzinfo=UTC)
BETWEEN = b'%s","ts":"%s'
"""What stands between the row's part of an id and the seconds of its time."""


def serve(port: int, folder: str, rows: int) -> None:
    """The server process: the whole daemon, its reference the very rows that will be sent."""
    import uvicorn

    from monitor.clock import SystemClock
    from monitor.config import parse_config
    from monitor.files.references import add_reference_table
    from monitor.files.roles import Roles
    from monitor.files.tables import to_table
    from monitor.process.daemon import Service
    from monitor.process.serve import build_app
    from monitor.telemetry import configure_logging
    from storage.references import Role

    configure_logging("warning")
    config = parse_config(
        {
            "service": {"port": port, "database": f"sqlite:///{folder}/kedge.db"},
            "models": {MODEL: {"tick": "1h"}},
        },
        source="benchmark",
    )
    service = Service(config, SystemClock())
    sent = pa.Table.from_batches([table(rows)] * (20_000 // rows)).drop_columns(["id"])
    first_us = int((START - timedelta(days=1)).timestamp()) * 1_000_000
    day_before = first_us + np.arange(sent.num_rows) * (86_400_000_000 // sent.num_rows)
    sent = sent.set_column(
        sent.schema.get_field_index("ts"), "ts", pa.array(day_before, pa.timestamp("us", tz="UTC"))
    )
    add_reference_table(
        service.database,
        to_table(
            sent,
            Roles(
                timestamp="ts",
                domain="domain",
                score="score",
                baseline_score="baseline_score",
                version="version",
            ),
        ),
        model=MODEL,
        role=Role.ONBOARDING,
        domain=None,
        now=datetime.now(UTC),
    )
    service.start()
    uvicorn.run(build_app(service), port=port, log_config=None, access_log=False)
    service.stop()


@dataclass(frozen=True, slots=True)
class Template:
    """A body with a place for each id and minute: `body(batch)` costs a join, not an encoding."""

    content_type: str
    parts: tuple[bytes, ...]
    arrow: pa.RecordBatch | None = None

    def body(self, batch: int, rows: int) -> bytes:
        minute = START + timedelta(minutes=batch)
        if self.arrow is not None:
            ids = pa.array([f"{row:05d}-{batch:07d}" for row in range(rows)])
            moved = pc.add(self.arrow.column("ts"), minute - START)
            filled = self.arrow.set_column(0, "id", ids).set_column(1, "ts", moved)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, filled.schema) as writer:
                writer.write_batch(filled)
            return bytes(sink.getvalue())
        return (BETWEEN % (b"%07d" % batch, minute.isoformat()[:16].encode())).join(self.parts)


def table(rows: int) -> pa.RecordBatch:
    """One batch of events as Arrow."""
    rng = np.random.default_rng(7)
    columns: dict[str, pa.Array] = {
        "id": pa.array([""] * rows),
        "ts": pa.array(
            [START + timedelta(seconds=60 * i // rows) for i in range(rows)],
            pa.timestamp("us", tz="UTC"),
        ),
        "domain": pa.array([f"D{i % 5}" for i in range(rows)]),
        "version": pa.array(["3"] * rows),
        "score": pa.array(rng.random(rows).round(4)),
        "baseline_score": pa.array(rng.random(rows).round(4)),
    }
    for name in NUMERIC:
        values = rng.normal(size=rows).round(3)
        columns[name] = pa.array(values, mask=rng.random(rows) < 0.02)
    for i, name in enumerate(CATEGORICAL):
        codes = rng.integers(0, 10 + 20 * i, rows)
        columns[name] = pa.array([f"v{code}" for code in codes])
    return pa.RecordBatch.from_pydict(columns)


def json_template(rows: int) -> Template:
    import msgspec

    mark = "@@"
    events = []
    for i, row in enumerate(table(rows).to_pylist()):
        features = {name: row[name] for name in NUMERIC + CATEGORICAL}
        head = {name: row[name] for name in ("domain", "version", "score", "baseline_score")}
        ts = f"{mark}:{row['ts'].second:02d}Z"
        events.append({"id": f"{i:05d}-{mark}", "ts": ts, **head, "features": features})
    whole = msgspec.json.encode({"model": MODEL, "events": events})
    return Template(
        "application/json", tuple(whole.split(BETWEEN % (mark.encode(), mark.encode())))
    )


def arrow_template(rows: int) -> Template:
    return Template("application/vnd.apache.arrow.stream", (), table(rows))


@dataclass(slots=True)
class Result:
    name: str
    events: int
    seconds: float
    waits_s: list[float]
    body_bytes: int
    rss_mb: list[float]
    client_cpu: float
    server_cpu: float
    summed_s: float = 0.0


async def _reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lower = head.lower()
    at = lower.index(b"content-length:") + 15
    length = int(lower[at : lower.index(b"\r\n", at)])
    return status, await reader.readexactly(length)


async def _worker(
    port: int,
    template: Template,
    rows: int,
    batches: Iterator[int],
    until: float,
    result: Result,
    due: Iterator[float] | None,
) -> None:
    """One connection: send a batch, wait for its commit, send the next when it is due."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        body = template.body(next(batches), rows)
        sent = time.monotonic()
        if due is not None:
            sent = next(due)
            if sent >= until:
                break
            await asyncio.sleep(max(0.0, sent - time.monotonic()))
        writer.write(
            f"POST /v1/events?model={MODEL} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: {template.content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        writer.write(body)
        await writer.drain()
        status, reply = await _reply(reader)
        if status != 202 or b'"accepted":%d,' % rows not in reply:
            raise SystemExit(f"{status}: {reply[:300]!r}")
        result.waits_s.append(time.monotonic() - sent)
        result.events += rows
    writer.close()


async def _watch_memory(pid: int, readings: list[float]) -> None:
    """A reading of the server's memory every half second, until cancelled."""
    while True:
        readings.append(_rss_mb(pid))
        await asyncio.sleep(0.5)


def _rss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    name: str,
    template: Template,
    rows: int,
    connections: int,
    seconds: float,
    warm_s: float,
    rate: float | None,
) -> Result:
    """Run a fresh server and send to it for a while."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = multiprocessing.get_context("spawn").Process(
            target=serve, args=(port, folder, rows)
        )
        server.start()
        assert server.pid is not None
        try:
            _wait_for(port)
            pid, batches = server.pid, count()

            async def send(length_s: float) -> Result:
                result = Result(name, 0, 0.0, [], len(template.body(0, rows)), [], 0, 0)
                began = time.monotonic()
                due = None if rate is None else (began + rows / rate * i for i in count())
                watching = asyncio.create_task(_watch_memory(pid, result.rss_mb))
                await asyncio.gather(
                    *(
                        _worker(port, template, rows, batches, began + length_s, result, due)
                        for _ in range(connections)
                    )
                )
                watching.cancel()
                result.seconds = time.monotonic() - began
                return result

            asyncio.run(send(warm_s))
            before = time.process_time(), _cpu_s(server.pid)
            result = asyncio.run(send(seconds))
            result.client_cpu = time.process_time() - before[0]
            result.server_cpu = _cpu_s(server.pid) - before[1]
            result.summed_s = _close_ticks(port)
            return result
        finally:
            server.terminate()
            server.join(20)


def _close_ticks(port: int) -> float:
    """Seconds until every tick of what was sent is summarised and judged."""
    import httpx2

    began = time.monotonic()
    url = f"http://127.0.0.1:{port}/v1/flush"
    reply = httpx2.post(url, json={"model": MODEL}, timeout=600).raise_for_status()
    if not reply.json()["counts"]["instants"]:
        raise SystemExit("nothing was judged")
    return time.monotonic() - began


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--warm", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=float, help="events a second, sent on a schedule")
    parser.add_argument("--only", choices=["json", "arrow"])
    given = parser.parse_args()
    cases = [
        ("JSON, 1,000-event POSTs", json_template(1_000), 1_000, "json"),
        ("Arrow, 5,000-event POSTs", arrow_template(5_000), 5_000, "arrow"),
    ]
    heads = (
        "| case | events/s | to summaries | p50 ms | p99 ms | MB/s | RSS MB, quarter by quarter "
        "| CPU server | client | per CPU-s |"
    )
    sys.stdout.write(f"{os.cpu_count()} cores, {given.connections} connections\n\n{heads}\n")
    sys.stdout.write("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
    for name, template, rows, kind in cases:
        if given.only not in {None, kind}:
            continue
        result = measure(
            name, template, rows, given.connections, given.seconds, given.warm, given.rate
        )
        quarters = [f"{max(part):.0f}" for part in np.array_split(result.rss_mb, 4)]
        p50, p99 = np.percentile(result.waits_s, [50, 99]) * 1e3
        rate = result.events / result.seconds
        sys.stdout.write(
            f"| {name} | {rate:,.0f} "
            f"| {result.events / (result.seconds + result.summed_s):,.0f} | {p50:.0f} | {p99:.0f} "
            f"| {rate / rows * result.body_bytes / 1e6:.0f} "
            f"| {' → '.join(quarters)} "
            f"| {result.server_cpu / result.seconds:.2f} "
            f"| {result.client_cpu / result.seconds:.2f} "
            f"| {result.events / (result.server_cpu + result.client_cpu):,.0f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
