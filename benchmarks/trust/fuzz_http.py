"""Requests generated from the OpenAPI, good and bad, put to every route of a whole application.

    python -m benchmarks.trust.fuzz_http --examples 200 --seed 0

The test suite does the same with a few examples a route. Prints how often each status came; stops
at the first reply that is a failure of ours, is not described, or is an error in another shape.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import structlog

from monitor.api import door
from tests.monitor.api.asking import add_domain, add_finding, add_incident, add_retraining, world
from tests.trust.http_cases import put_generated


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=200, help="for each route, good and bad")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ.pop("KEDGE_TOKEN", None)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Tokens that the cases make must not lock the others out.
    vars(door)["any_token"] = lambda _: False
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as running:
        add_domain(running, tick_us=1)
        add_incident(running)
        add_finding(running, 3)
        add_retraining(running)
        ended = put_generated(running, examples=given.examples, start=given.seed, tell=print)
    took = time.monotonic() - began
    print(f"{sum(ended.values()):,} requests (seed {given.seed}) in {took:.0f} s")
    print(", ".join(f"{status}: {count:,}" for status, count in sorted(ended.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
