"""What we emit for Prometheus, read by Prometheus' own tool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.config import parse_config
from monitor.metrics import Metrics
from storage.engine import open_database
from storage.migrations import upgrade
from tests.monitor.serving import FixedClock


def promtool(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("no promtool here (Debian: apt-get install prometheus)")
    return subprocess.run(
        [binary, *words], input=given, capture_output=True, check=False, timeout=60
    )


def test_prometheus_finds_no_fault_in_our_metrics(tmp_path: Path) -> None:
    config = parse_config({"models": {"credit": {}}}, source="test")
    database = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    upgrade(database)
    metrics = Metrics(database, FixedClock(), lambda: config)
    metrics.checked("credit", seconds=0.2, instants=3)
    metrics.delivered("delivered")
    metrics.first_attempt(0.4)
    metrics.refreshed("ok")
    metrics.job_failed("deliver")
    text = metrics.render()
    database.close()
    assert b'kedge_delivery_wait_seconds_bucket{le="5.0"} 1.0' in text
    done = promtool("check", "metrics", given=text)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
