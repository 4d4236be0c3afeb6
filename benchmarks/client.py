"""What one `log` costs the process that serves: 46 columns, against a daemon in another process.

python -m benchmarks.client --rows 20000 --rate 2000
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "client"))
SERVER = """
import sys
from tests.client.scripted import scripted
with scripted() as daemon:
    print(daemon.port, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    from kedge_client import Client

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=2_000, help="rows a second; 0: no pause")
    options = parser.parse_args()
    rng = random.Random(0)
    features = {f"n{at}": rng.gauss(0, 1) for at in range(40)} | {f"c{at}": "a" for at in range(6)}
    daemon = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    kedge = Client(
        f"http://127.0.0.1:{int(daemon.stdout.readline())}", model="m", most_rows=options.rows
    )
    took_us = []
    for _ in range(options.rows):
        before = time.perf_counter_ns()
        kedge.log(features=features, score=0.5, domain="d")
        took_us.append((time.perf_counter_ns() - before) / 1_000)
        if options.rate:
            time.sleep(1.0 / options.rate)
    assert kedge.flush(300.0)
    stats = kedge.close()
    daemon.communicate()
    took_us.sort()
    median, tail = took_us[options.rows // 2], took_us[int(options.rows * 0.99)]
    print(f"log(): median {median:.1f} µs, p99 {tail:.1f} µs, max {took_us[-1] / 1_000:.1f} ms")
    print(f"{stats.accepted:,} accepted in {stats.attempts} requests, {stats.dropped:,} dropped")


if __name__ == "__main__":
    main()
