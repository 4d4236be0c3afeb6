"""Secrets are planted wherever an operator puts them; no output of the service holds one."""

from __future__ import annotations

import base64
import json
import logging
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from starlette.testclient import TestClient

from alerts.records import Message, MessageType, Severity, message_id
from detectors.records import Deployment, Tier
from monitor.cli import main
from monitor.config import load_config
from monitor.process.daemon import Service
from monitor.process.serve import build_app
from monitor.telemetry import configure_logging, scrubbed
from storage.engine import DatabaseUrlError, open_database, parse_url
from storage.outbox import enqueue
from storage.tables import Base
from tests.monitor.serving import NOW, FixedClock

MARK = "Pl4nted"
SHARED = f"{MARK}SharedTokenOfTheDaemon1"
SIGNING = base64.b64encode(f"{MARK}-signing-secret-of-a-channel".encode()).decode()
CONFIG = """
[service]
database = "sqlite:///{folder}/kedge.db"

[models.credit]

[[channels]]
name = "ops"
kind = "webhook"
url = "https://127.0.0.1:9/{mark}InThePath?token={mark}InTheQuery"
secret_env = "OPS_SECRET"

[[channels]]
name = "odd"
kind = "webhook"
url = "https://{mark}User:{mark}Password@hooks.example/x"
secret_env = "OPS_SECRET"

[[sources]]
name = "log"
kind = "sql"
model = "credit"
url_env = "LOG_URL"
query = "SELECT 1 AS id"
watermark_column = "id"
"""


@dataclass
class Told:
    """Everything the service said to anybody."""

    outputs: dict[str, str]


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Told:
    monkeypatch.setenv("KEDGE_TOKEN", SHARED)
    monkeypatch.setenv("OPS_SECRET", f"whsec_{SIGNING}")
    monkeypatch.setenv("LOG_URL", f"postgresql+psycopg://u:{MARK}Db@127.0.0.1:9/x")
    file = tmp_path / "kedge.toml"
    file.write_text(CONFIG.format(folder=tmp_path, mark=MARK))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("debug", json=True)
    outputs = run(str(file), monkeypatch, capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    return Told(outputs)


def run(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    outputs: dict[str, str] = {}
    clock = FixedClock()
    service = Service(load_config(file), clock)
    with service.database.write() as session:
        for number in (1, 2):
            message = Message(
                id=message_id("inc_x", MessageType.OPENED, number),
                type=MessageType.OPENED,
                deployment=Deployment("credit", "VT"),
                incident_id="inc_x",
                tier=Tier.PAGE,
                severity=Severity.HIGH,
                body={"type": "incident.opened"},
                created_at=NOW,
            )
            enqueue(session, message, ["ops", "odd"], NOW - timedelta(minutes=5))
    service.deliver()
    for source in service.config.sources:
        for bad in (None, f"postgresql://u:{MARK}/slash@127.0.0.1:9/x", f"{MARK}://x"):
            if bad is not None:
                monkeypatch.setenv("LOG_URL", bad)
            try:
                service._puller(source)()
            except Exception as error:
                outputs[f"pull {bad and 'odd'}"] = f"{type(error).__name__}: {error}"
                structlog.get_logger().error("job.failed", exc_info=error)
    outputs.update(asked(TestClient(build_app(service), base_url="http://127.0.0.1:8321")))
    with service.database.read() as session:
        for table in Base.metadata.sorted_tables:
            rows = session.execute(text(f'SELECT * FROM "{table.name}"')).all()
            outputs[f"table {table.name}"] = repr(rows)
    service.stop()
    outputs["log"] = capsys.readouterr().err
    for words in (["check-config"], ["doctor"], ["token", "list"], ["db", "upgrade"]):
        outputs[" ".join(words)] = typed([*words, "--config", file], monkeypatch, capsys)
    return outputs


def asked(client: TestClient) -> dict[str, str]:
    bearer = {"authorization": f"Bearer {SHARED}"}
    replies: dict[str, Any] = {
        path: client.get(path, headers={**bearer, "accept": "*/*"})
        for path in (
            "/metrics",
            "/readyz",
            "/healthz",
            "/openapi.json",
            "/v1/outbox",
            "/v1/models",
            "/v1/incidents",
            "/v1/tokens",
            "/",
            "/incidents",
            "/nowhere",
        )
    }
    replies["wrong"] = client.get("/v1/models", headers={"authorization": f"Bearer {SHARED}x"})
    replies["basic"] = client.get("/v1/models", headers={"authorization": f"Basic {SHARED}"})
    replies["not JSON"] = client.post("/v1/flush", content=SHARED, headers=bearer)
    here = {"origin": "http://127.0.0.1:8321"}
    form = {"token": SHARED, "next": "/"}
    replies["login"] = client.post("/login", data=form, headers=here, follow_redirects=False)
    replies["wrong login"] = client.post("/login", data={**form, "token": "x"}, headers=here)
    return {name: f"{reply.headers}\n{reply.text}" for name, reply in replies.items()}


def typed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr(sys, "argv", ["kedge", *words])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr()
    return said.out + said.err


def test_no_output_holds_a_planted_secret(told: Told) -> None:
    holding = {name: said for name, said in told.outputs.items() if MARK in said or SIGNING in said}
    assert holding == {}
    assert len(told.outputs) > 30
    assert "log" in told.outputs
    lines = [json.loads(line) for line in told.outputs["log"].splitlines()]
    assert len(lines) > 3
    assert "refused" in told.outputs["/v1/outbox"]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:x@{MARK}/y@host/db",
        f"postgresql://u:{MARK}@host:port/db",
        f"postgres//u:{MARK}@host/db",
        f"u:{MARK}@host",
        f"mysql://u:{MARK}@host/db",
    ],
)
def test_a_database_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(DatabaseUrlError) as refused:
        parse_url(url)
    assert MARK not in str(refused.value)
    assert refused.value.__cause__ is None or MARK not in str(refused.value.__cause__)


@pytest.mark.parametrize(
    "said",
    [
        f"postgresql://u:{MARK}@host/db",
        f"postgresql://u:{MARK}/with@at@host/db",
        f"https://{MARK}@host/x",
        f"see https://u:{MARK}@host/x now",
        f"https://host/x?token={MARK}&a=1",
        f"https://host/x?a=1&api_key={MARK}",
        f"https://host/x?sig={MARK}#x",
        f"Authorization: Bearer {MARK}abcdef",
        f"kdg_abcdefghij12_{MARK}abcdefghijklmnop",
        f"whsec_{MARK}",
        f"https://hooks.slack.com/services/T0/B0/{MARK}",
    ],
)
def test_what_reaches_a_log_is_scrubbed(said: str) -> None:
    assert MARK not in scrubbed(said)


def test_an_error_of_the_database_carries_no_rows(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(Exception, match="no such table") as failed, database.read() as session:
        session.execute(text("SELECT * FROM absent WHERE a = :a"), {"a": MARK})
    database.close()
    assert MARK not in str(failed.value)
