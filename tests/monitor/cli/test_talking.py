"""Commands that talk to a daemon: a real server on a port of its own, a real database behind it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from structlog.testing import capture_logs

from alerts.records import IncidentState
from detectors.records import DAY_US, Deployment, Settings, to_us
from monitor.cli import main
from monitor.config import parse_config
from monitor.replaying.replay import replay
from storage.checkpoints import save_checkpoint
from storage.inbox import read_window
from tests.end_to_end.histories import as_table, history
from tests.monitor.api.asking import (
    TOKEN,
    VT,
    World,
    add_domain,
    add_incident,
    add_message,
    add_reference_window,
    add_retraining,
    world,
)
from tests.monitor.serving import NOW

EVER = (-(2**62), 2**62)


@contextmanager
def listening(running: World) -> Iterator[str]:
    """The application behind a socket; the address."""
    config = uvicorn.Config(running.app, port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@dataclass
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@dataclass
class Terminal:
    """Types commands at a running service."""

    world: World
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def type(self, *words: str) -> Said:
        self.monkeypatch.setattr(sys, "argv", ["kedge", *words])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        return Said(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # The daemon's log would land on the terminal of the command: here they are one process.
    with capture_logs(), world(tmp_path) as running, listening(running) as url:
        monkeypatch.setenv("KEDGE_URL", url)
        yield Terminal(running, capsys, monkeypatch)


def test_a_domain_is_described_by_how_its_streams_are_followed(terminal: Terminal) -> None:
    add_domain(terminal.world)
    assert "no streams yet" in terminal.type("describe", "domain", "credit/VT").out
    reference = as_table(history(days=20, rows_a_day=20, seed=1))
    settings = Settings(tick_us=DAY_US, label_delay_us=0)
    log = as_table(history(days=2, rows_a_day=20, seed=2, first_day=20), like=reference)
    north = replay(reference, log, settings, model="credit").domains[0]
    with terminal.world.database.write() as session:
        save_checkpoint(
            session,
            VT,
            epoch=0,
            fingerprint="f" * 32,
            evaluated_until_us=0,
            body=north.progress.to_bytes(),
            now=NOW,
        )
    told = terminal.type("describe", "domain", "credit/VT").out
    assert "streams followed:" in told
    null = next(line for line in told.splitlines() if "column.null_share:age" in line)
    assert "sparse" in null
    assert "under ten" in null
    listed = json.loads(terminal.type("describe", "domain", "credit/VT", "-o", "json").out)
    assert len(listed["streams"]) == sum(listed["followed"].values())
    assert terminal.type("describe", "domain", "credit").code == 2


def test_incidents_are_listed_described_taken_and_closed(terminal: Terminal) -> None:
    incident = add_incident(terminal.world)
    assert incident.id in terminal.type("get", "incidents").out
    assert terminal.type("get", "incidents", "--state", "resolved").out.strip() == "no incidents"
    described = terminal.type("describe", "incident", incident.id).out
    assert "re-fit head (this domain), days" in described
    assert "loss back at 0.41 within 3 d" in described

    taken = terminal.type("ack", incident.id, "--by", "ann", "--note", "on it")
    assert (taken.code, taken.out.strip()) == (0, f"{incident.id}: acknowledged by ann")
    closed = terminal.type("resolve", incident.id, "--by", "ann")
    assert closed.out.strip() == f"{incident.id}: resolved"
    assert terminal.world.incident(incident.id).state is IncidentState.RESOLVED

    late = terminal.type("ack", incident.id, "--by", "bob")
    assert late.code == 1
    assert late.err.startswith(f"kedge: cannot acknowledge incident {incident.id}")
    assert late.err.count("\n") == 1


def test_channels_are_listed_tested_and_their_dead_letters_sent_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    channels = [{"name": "ops", "kind": "console"}]
    config = parse_config({"models": {"credit": {}}, "channels": channels}, source="test")
    with capture_logs(), world(tmp_path, config) as running, listening(running) as url:
        monkeypatch.setenv("KEDGE_URL", url)
        terminal = Terminal(running, capsys, monkeypatch)
        message = add_message(running, dead=True)
        listed = terminal.type("channels", "list")
        assert "console" in listed.out
        dead = terminal.type("channels", "dead").out
        assert message.id in dead
        assert "answered 404" in dead
        tried = terminal.type("channels", "test", "ops")
        assert (tried.code, tried.out) == (1, "ops: FAILED, no way out (0 ms)\n")
        again = terminal.type("channels", "replay", message.id)
        assert again.out == f"{message.id}: 1 deliveries on their way again\n"
        assert terminal.type("channels", "dead").out.strip() == "no dead letters"
        assert "nothing kept it" in terminal.type("channels", "enable", "ops").out
        missing = terminal.type("channels", "replay", "opps")
        assert missing.code == 1
        assert "Did you mean 'ops'" in missing.err


def test_doctor_sends_a_test_message_through_every_channel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kedge.toml").write_text(
        "[service]\ndatabase = 'sqlite:///k.db'\n[[channels]]\nname = 'here'\nkind = 'console'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kedge", "doctor", "--send-test"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    assert "Kedge tests the channel here; nothing is wrong with any model" in said
    assert "ok    channel here: test message: status 200" in said


def test_models_domains_and_references_are_listed(terminal: Terminal) -> None:
    add_domain(terminal.world, rows=1234)
    add_reference_window(terminal.world)
    assert "1,234" in terminal.type("get", "models").out
    domains = terminal.type("get", "domains").out
    assert "credit/VT" in domains
    assert "undetermined" in domains
    told = json.loads(terminal.type("get", "domains", "--model", "credit", "-o", "json").out)
    assert [line["rows"] for line in told["domains"]] == [1234]
    assert "onboarding" in terminal.type("get", "references").out


def test_markup_and_control_characters_of_names_stay_text(terminal: Terminal) -> None:
    add_incident(terminal.world, headline="[red]x[/red]\x1b[31m\u202e")
    out = terminal.type("get", "incidents").out
    assert "[red]x[/red]" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_a_retraining_request_is_approved_and_completed(terminal: Terminal) -> None:
    request = add_retraining(terminal.world)
    assert request.id in terminal.type("retrain", "list").out
    assert terminal.type("retrain", "approve", request.id, "--by", "ann").code == 0
    done = terminal.type("retrain", "complete", request.id, "--by", "ann")
    assert done.out.strip() == f"{request.id}: completed"
    assert "completed" in terminal.type("describe", "request", request.id).out
    assert terminal.type("retrain", "reject", request.id).code == 1


def test_a_report_comes_in_every_form(terminal: Terminal, tmp_path: Path) -> None:
    odd = Deployment("credit", "a/b ü%2F")
    add_domain(terminal.world, odd)
    told = json.loads(terminal.type("report", "credit", odd.domain, "-o", "json").out)
    assert (told["schema"], told["domain"]) == ("kedge.report/1", odd.domain)
    assert "transfer" in terminal.type("report", "credit").out
    assert terminal.type("report", "credit", "-o", "md").out.startswith("# ")
    page = tmp_path / "r.html"
    written = terminal.type("report", "credit", "--out", str(page), "--days", "3")
    assert (written.code, written.out) == (0, "")
    assert page.read_text().startswith("<!doctype html>")
    assert terminal.world.asked[-1] == (odd, 3)


def test_without_a_domain_every_domain_that_has_one_is_reported(terminal: Terminal) -> None:
    add_domain(terminal.world, VT)
    add_domain(terminal.world, Deployment("credit", "NH"))
    add_domain(terminal.world, Deployment("credit", "ME"), rows=0)
    said = terminal.type("report", "credit", "-o", "json")
    told = json.loads(said.out)
    assert [report["domain"] for report in told["reports"]] == ["NH", "VT"]
    assert said.err.startswith("no report: credit/ME has no rows yet")
    assert "NH" in terminal.type("report", "credit").out


def test_errors_are_one_line_with_a_remedy(terminal: Terminal) -> None:
    add_domain(terminal.world)
    wrong = terminal.type("report", "credit", "VTT")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err == (
        "kedge: no domain of model 'credit' 'VTT'; there is: VT. Did you mean 'VT'?\n"
    )
    nobody = terminal.type("get", "models", "--url", "http://127.0.0.1:9")
    assert nobody.code == 1
    assert nobody.err == (
        "kedge: no daemon answers at http://127.0.0.1:9; start it with `kedge run` or give --url\n"
    )
    assert terminal.type("get", "models", "--url", "ftp://x").code == 2


def test_the_token_comes_from_the_environment(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server and command are one process here, so the server's token is put in its place."""
    monkeypatch.setattr("monitor.api.guard.ServiceConfig.token", property(lambda _: TOKEN))
    refused = terminal.type("get", "models")
    assert refused.code == 4
    assert "KEDGE_TOKEN" in refused.err
    monkeypatch.setenv("KEDGE_TOKEN", TOKEN)
    assert terminal.type("get", "models").code == 0


def events_file(folder: Path, rows: int = 12, **columns: list[object]) -> str:
    """Events as somebody's log has them: other names, no time zone, NaN for missing."""
    times = [(NOW - timedelta(hours=3, minutes=n)).replace(tzinfo=None) for n in range(rows)]
    table = {
        "key": [f"k{n}" for n in range(rows)],
        "at": times,
        "p": [0.25] * rows,
        "truth": [True, False, None] * (rows // 3),
        "age": [float("nan"), *map(float, range(1, rows))],
        **columns,
    }
    pq.write_table(pa.table(table), folder / "log.parquet")
    return str(folder / "log.parquet")


ROLES = ("--id", "key", "--timestamp", "at", "--score", "p", "--label", "truth")


def test_a_file_is_sent_with_its_roles_and_sending_again_changes_nothing(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = events_file(tmp_path)
    command = ("send", file, "--model", "credit", "--domain", "VT", *ROLES, "--batch-rows", "5")
    first = terminal.type(*command)
    assert (first.code, first.out.strip()) == (
        0,
        "12 rows: 12 accepted, 0 duplicate, 0 sampled out, 0 rejected",
    )
    assert "no column 'VT': it is the domain of all rows" in first.err
    again = json.loads(terminal.type(*command, "-o", "json").out)
    assert (again["accepted"], again["duplicate"]) == (0, 12)

    labelled = terminal.type("label", file, "--model", "credit", *ROLES)
    assert (labelled.code, labelled.out.split(":")[0]) == (0, "8 rows")
    assert "4 rows have no label" in labelled.err
    with terminal.world.database.read() as session:
        window = read_window(session, VT, *EVER, include_late=True)
    assert window.rows == 12
    assert window.ts_us is not None
    assert window.ts_us.max() == to_us(NOW - timedelta(hours=3))
    assert np.flatnonzero(np.isnan(window.numeric["age"])).tolist() == [11]  # the newest
    assert window.label is not None
    known = window.label[~np.isnan(window.label)]
    assert sorted(known.tolist()) == [0.0] * 4 + [1.0] * 4


def test_refused_rows_are_named_by_their_place_in_the_file(
    terminal: Terminal, tmp_path: Path
) -> None:
    scores: list[object] = [0.5] * 12
    scores[7] = 7.0
    file = events_file(tmp_path, p=scores)
    said = terminal.type("send", file, "--model", "credit", *ROLES, "--batch-rows", "5")
    assert said.code == 1
    assert "11 accepted" in said.out
    assert "1 rejected" in said.out
    assert "row 7 (k7): score" in said.err
    assert "got '7.0'" in said.err


def test_a_batch_of_nothing_but_bad_rows_is_counted_like_any_other(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = events_file(tmp_path, p=[9.0] * 12)
    said = terminal.type("send", file, "--model", "credit", *ROLES)
    assert said.code == 1
    assert "0 accepted" in said.out
    assert "and 7 more" in said.err


@pytest.mark.parametrize(
    ("words", "part", "code"),
    [
        (("--model", "credt", *ROLES), "Did you mean 'credit'?", 1),
        (("--model", "credit", "--id", "kye"), "Did you mean 'key'?", 2),
        (("--model", "credit", "--timestamp", "at"), "which column is the id?", 2),
        (("--model", "credit", *ROLES, "--numeric", "key"), "key cannot be read as asked", 1),
    ],
)
def test_a_file_that_cannot_be_sent_is_refused_before_or_by_the_daemon_in_one_line(
    terminal: Terminal, tmp_path: Path, words: tuple[str, ...], part: str, code: int
) -> None:
    said = terminal.type("send", events_file(tmp_path), *words)
    assert (said.code, said.out) == (code, "")
    assert part in said.err.splitlines()[-1]


def test_an_overloaded_daemon_is_asked_again_when_it_says_so(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monitor.cli.service import Service

    waits: list[float] = []
    real, answers = Service.send, iter([503, 429])

    def send(self: Service, *args: object, **options: object) -> object:
        import httpx2

        status = next(answers, None)
        if status is None:
            return real(self, *args, **options)  # type: ignore[arg-type]
        return httpx2.Response(status, headers={"Retry-After": "7"}, json={"error": "busy"})

    monkeypatch.setattr(Service, "send", send)
    monkeypatch.setattr("monitor.cli.push.time.sleep", waits.append)
    said = terminal.type("send", events_file(tmp_path), "--model", "credit", *ROLES)
    assert "12 accepted" in said.out
    assert waits == [7.0, 7.0]


def test_commands_that_talk_start_without_what_only_the_daemon_needs() -> None:
    heavy = {"torch", "scipy", "numba", "sklearn", "sqlalchemy", "fastapi", "pyarrow", "river"}
    lines = f"""
import sys
import monitor.cli.report, monitor.cli.incidents
print(sorted({heavy!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_silence_is_added_listed_and_ended(terminal: Terminal) -> None:
    words = ("--domain", "VT", "--tier", "page", "--reason", "migration", "--by", "ann")
    made = terminal.type("silence", "add", *words, "--for", "2h")
    assert made.code == 0, made.err
    id_ = made.out.partition(":")[0]
    assert made.out.strip() == f"{id_}: domains VT, tiers page until 2026-01-10 02:00"
    listed = terminal.type("silence", "list").out
    assert id_ in listed
    assert "migration" in listed
    ended = terminal.type("silence", "expire", id_, "--by", "bob")
    assert ended.out.strip() == f"{id_}: ended 2026-01-10 00:00 by bob"
    assert terminal.type("silence", "list").out.strip() == "no silences"
    assert id_ in terminal.type("silence", "list", "--all").out
    refused = terminal.type("silence", "add", "--reason", "x", "--for", "2h")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "would hide everything" in refused.err


def test_feedback_and_a_snooze_are_shown_with_who_gave_them(terminal: Terminal) -> None:
    incident = add_incident(terminal.world)
    said = terminal.type("feedback", incident.id, "false", "--reason", "holiday", "--by", "ann")
    assert said.out.strip() == f"{incident.id}: false alarm, says ann"
    taken = terminal.type("ack", incident.id, "--by", "bob", "--for", "2h")
    assert taken.out.startswith(f"{incident.id}: acknowledged by bob until ")
    described = terminal.type("describe", "incident", incident.id).out
    assert "false alarm, says ann" in described
    assert "acknowledged by bob until" in described
    assert "false alarm: holiday" in described
