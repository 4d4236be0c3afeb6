"""`kedge demo` at reduced size: real daemon, real HTTP, real webhooks, and nothing left over."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from standardwebhooks.webhooks import Webhook as PublishedWebhook

from monitor.demo import run as demo_run
from monitor.demo.calendar import QUICK
from monitor.demo.people import ENGINEER, PARTNER_SAYS, told_about
from monitor.demo.run import Outcome, run_demo
from monitor.demo.service import new_secret, usable_port

REVIEW = "mapping.review_requested"


@dataclass(frozen=True)
class Run:
    outcome: Outcome
    printed: str
    folder: Path
    port: int
    secret: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One demo of October in two domains; `hour` is lost in one of them half way."""
    secret, port = new_secret(), usable_port(None)
    folder = tmp_path_factory.mktemp("demo") / "kept"
    console = Console(file=io.StringIO(), width=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_run, "new_secret", lambda: secret)
        outcome = run_demo(console, plan=QUICK, port=port, keep=folder)
    assert isinstance(console.file, io.StringIO)
    return Run(outcome, console.file.getvalue(), folder, port, secret)


def test_the_lost_feature_is_named_and_a_retraining_request_goes_out(run: Run) -> None:
    """Within a week of the day on which it was lost."""
    named = [i for i in run.outcome.incidents if i["domain"] == "US" and "hour" in i["columns"]]
    assert {(i["mode"], i["tier"]) for i in named} == {("source feature absent", "page")}
    asked = [r for r in run.outcome.requests if "hour" in r["action"]["falsified_by"]]
    assert [(r["domain"], r["action"]["kind"]) for r in asked] == [("US", "feature configuration")]
    assert asked[0]["incident_id"] in {incident["id"] for incident in named}
    told = re.search(r"US from 15 Oct: named source feature absent on (\d+) Oct", run.printed)
    assert told is not None
    assert 15 < int(told[1]) <= 22


def test_a_mapping_is_proposed_and_a_person_stands_behind_it(run: Run) -> None:
    """The receiver was asked for a look; the approval has its author and reason."""
    told = [w.message["data"] for w in run.outcome.receiver.accepted if w.type == REVIEW]
    assert "WN" in {data["domain"] for data in told}
    (mapping,) = [m for m in run.outcome.mappings if m["domain"] == "WN"]
    assert mapping["entry"]["scale"] == pytest.approx(1.609344)
    assert (mapping["status"], mapping["decided_by"]) == ("approved", ENGINEER)
    assert mapping["reason"] == PARTNER_SAYS
    assert "WN: approves the mapping: `distance`" in run.printed


def test_a_request_is_approved_and_carried_out_and_is_not_called_good_too_soon(run: Run) -> None:
    """Five days of a hundred flights cannot show that a loss has gone which they hardly show."""
    (deed,) = [deed for deed in run.outcome.deeds if deed.kind == "request"]
    messages = [webhook.message for webhook in run.outcome.receiver.accepted]
    assert set(told_about(messages, deed)) == {"retraining.requested", "retraining.approved"}
    (request,) = [r for r in run.outcome.requests if r["id"] == deed.id]
    assert (request["status"], request["version"]) == ("completed", "2")
    assert "US feature configuration: completed; proof: loss.mean returns" in run.printed
    assert "docs/runbooks/source-feature-absent.md" in run.printed


def test_every_webhook_verifies_with_the_published_library(run: Run) -> None:
    """And each incident and request that a channel had to hear of was told."""
    receiver = run.outcome.receiver
    verified = [
        PublishedWebhook(run.secret).verify(kept.body, kept.headers) for kept in receiver.accepted
    ]
    assert not receiver.refused
    opened = {m["data"]["id"] for m in verified if m["type"] == "incident.opened"}
    asked = [m["data"] for m in verified if m["type"] == "retraining.requested"]
    assert opened == {incident["id"] for incident in run.outcome.incidents}
    assert len(asked) == len(run.outcome.requests)
    assert all(len(kept.body) < 20_000 for kept in receiver.accepted)


def test_every_event_was_judged_and_nothing_waits(run: Run) -> None:
    for line in run.outcome.domains:
        assert line["late_rows"] == 0
        assert line["transfer"]["rows"] == line["rows"]
    assert (run.outcome.outbox["waiting"], run.outcome.outbox["dead"]) == (0, 0)


def test_each_domain_has_a_report_a_browser_can_open_alone(run: Run) -> None:
    for domain, path in run.outcome.reports.items():
        page = path.read_text("utf-8")
        assert page.lstrip().lower().startswith("<!doctype html")
        assert domain in page
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert str(path) in run.printed


def test_everything_is_kept_where_it_was_asked_for(run: Run) -> None:
    names = {path.name for path in run.folder.iterdir()}
    assert {"kedge.db", "kedge.toml", "daemon.log", "US.html", "WN.html"} <= names
    levels = {
        json.loads(line)["level"]
        for line in (run.folder / "daemon.log").read_text("utf-8").splitlines()
    }
    assert "error" not in levels
    assert run.secret not in (run.folder / "kedge.toml").read_text("utf-8")


def test_what_is_printed_fits_a_screen_and_covers_the_whole_job(run: Run) -> None:
    lines = run.printed.splitlines()
    assert len(lines) <= 60
    for word in (
        "Networks",
        "fault",
        "stream",
        "Incidents",
        "Webhooks",
        "Mappings",
        "Retraining",
        "person",
        "budget",
    ):
        assert word in run.printed


def test_the_daemon_is_gone_afterwards(run: Run) -> None:
    assert not _listens(run.port)


def test_an_interrupt_stops_the_daemon_and_removes_the_folder(tmp_path: Path) -> None:
    """SIGTERM here, which is what Ctrl-C does too; nothing of the demo stays behind."""
    port = usable_port(None)
    env = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "monitor", "demo", "--quick", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _wait(lambda: _listens(port) or process.poll() is not None)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert errors.strip() == "interrupted"
    assert not _listens(port)
    assert list(tmp_path.glob("kedge-demo-*")) == []


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(until: Callable[[], bool], limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)
