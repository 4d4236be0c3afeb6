"""GitHub, Airflow and MLflow on loopback, refusing what their documentation says they refuse."""

from __future__ import annotations

import contextlib
import json
import posixpath
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alerts.notifiers import Nothing, Outgoing, build
from alerts.notifiers.base import ChannelError
from alerts.records import Message, MessageType, Outcome, RequestStatus
from alerts.retraining import told
from monitor.clock import SystemClock
from monitor.config import parse_config
from monitor.config.oncall import alerts_of, routing_of
from monitor.errors import InputError
from monitor.outgoing.addresses import parse_networks
from monitor.outgoing.delivery import Channel, Channels, deliver_due
from monitor.outgoing.outbound import GuardedClient
from monitor.outgoing.sending import Sender
from storage.outbox import delivery_log, enqueue
from tests.alerts.build import START, Story, at, diagnosis
from tests.monitor.serving import new_database

TOKEN = "s3cret"
GITHUB = "/repos/acme/models/dispatches"
AIRFLOW = "/api/v2/dags/retrain/dagRuns"
MLFLOW = "/api/2.0/mlflow"


@dataclass
class Trainers:
    """The three vendors at one port: what they took, by path, and why they refused.

    GitHub: "Create a repository dispatch event" in the OpenAPI description of its REST API.
    Airflow: `TriggerDAGRunPostBody` of airflow-core, which forbids further fields, and
    `[scheduler] allowed_run_id_pattern`. MLflow: mlflow/utils/validation.py. A real server of
    MLflow 3.17.2 took and refused the same, save that it also takes letters beyond ASCII in a key,
    values over 5,000 characters, no value and further fields; older ones need not.
    """

    port: int = 0
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    runs: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=lambda: {"7"})

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        if path == GITHUB:
            return self.github(headers, body)
        if path == AIRFLOW:
            return self.airflow(headers, body)
        if path.startswith(MLFLOW):
            return self.mlflow(path.removeprefix(MLFLOW), body)
        return 404, "Not Found"

    def github(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, "Bad credentials"
        if not headers.get("user-agent"):
            return 403, "Request forbidden by administrative rules: User-Agent header required"
        if set(body) - {"event_type", "client_payload"}:
            return 422, "Invalid request: additional keys are not permitted"
        kind = body.get("event_type")
        if not isinstance(kind, str) or not 0 < len(kind) <= 100:
            return 422, "event_type must be 1 to 100 characters"
        payload = body.get("client_payload", {})
        if len(payload) > 10:
            return 422, f"No more than 10 properties are allowed; {len(payload)} were supplied"
        if len(json.dumps(payload)) > 65_535:
            return 422, "client_payload is too large"
        return 204, ""

    def airflow(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, "Not authenticated"
        known = {"dag_run_id", "data_interval_start", "data_interval_end", "logical_date"}
        if extra := set(body) - known - {"run_after", "conf", "note"}:
            return 422, f"Extra inputs are not permitted: {extra}"
        if "logical_date" not in body:
            return 422, "logical_date: Field required"
        date = body["logical_date"]
        if date is not None and datetime.fromisoformat(date).tzinfo is None:
            return 422, "logical_date: Input should have timezone info"
        if ("data_interval_start" in body) != ("data_interval_end" in body):
            return 422, "Either both data_interval_start and data_interval_end must be provided"
        run = body.get("dag_run_id")
        if run is not None and not re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", run):
            return 422, f"The run_id provided '{run}' does not match regex pattern"
        if not isinstance(body.get("conf", {}), dict) or len(body.get("note") or "") > 1_000:
            return 422, "conf must be an object, note at most 1000 characters"
        if run in self.runs:
            return 409, "DAGRun already exists"
        self.runs.add(str(run))
        return 200, json.dumps({"dag_run_id": run, "state": "queued"})

    def mlflow(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        wanted = {
            "/registered-models/set-tag": {"name", "key", "value"},
            "/model-versions/set-tag": {"name", "version", "key", "value"},
        }.get(path)
        if wanted is None:
            return 404, "ENDPOINT_NOT_FOUND"
        if set(body) != wanted or not all(isinstance(v, str) and v for v in body.values()):
            return 400, "INVALID_PARAMETER_VALUE: missing or unknown field"
        if not re.fullmatch(r"[\w.\-/ ]{1,250}", body["key"], re.ASCII):
            return 400, "INVALID_PARAMETER_VALUE: invalid tag name"
        if posixpath.normpath(body["key"]) != body["key"]:
            return 400, "INVALID_PARAMETER_VALUE: names must not resolve to other names"
        if len(body["value"]) > 5_000:
            return 400, "INVALID_PARAMETER_VALUE: tag value too long"
        if "version" in body and not re.fullmatch(r"[0-9]+", body["version"]):
            return 400, "INVALID_PARAMETER_VALUE: Model version must be an integer"
        if "version" in body and body["version"] not in self.versions:
            return 404, "RESOURCE_DOES_NOT_EXIST"
        return 200, "{}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        trainers: Trainers = self.server.trainers  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, words = trainers.answer(self.path, headers, body)
        if status < 300:
            trainers.taken.append((self.path, body))
        else:
            trainers.refused.append(words)
        self.send_response(status)
        self.send_header("content-length", str(len(words.encode())))
        self.end_headers()
        self.wfile.write(words.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def trainers() -> Iterator[Trainers]:
    found = Trainers()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        found.port = server.server_address[1]
        server.trainers = found  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        with contextlib.ExitStack() as stack:
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            yield found


def message(kind: MessageType = MessageType.RETRAINING_APPROVED, **fields: Any) -> Message:
    story = Story()
    (request,) = story.see(0, diagnosis(evidence=("x" * 900,) * 5)).retraining
    return told(replace(request, **fields), kind, now=at(1), public_url="https://k.example")


def channel(trainers: Trainers, kind: str) -> Channel:
    url = {"github_dispatch": GITHUB, "airflow": AIRFLOW, "mlflow": ""}[kind]
    notifier = build(kind, kind, {"url": trainers.url(url), "secret": TOKEN})
    return Channel(notifier, parse_networks(["127.0.0.0/8"]))


def send(folder: Path, where: Channel, *messages: Message) -> list[tuple[Outcome, int | None]]:
    """Through the real outbox and the real way out, to loopback."""
    clock = SystemClock()
    with new_database(folder, "flights") as database:
        with database.write() as session:
            for one in messages:
                enqueue(session, one, [where.name], clock.now())
        channels = Channels({where.name: where})
        deliver_due(database, channels, client=Sender(GuardedClient(clock)), clock=clock)
        with database.read() as session:
            return [
                (attempt.outcome, attempt.status)
                for one in messages
                for attempt in delivery_log(session, one.id)
            ]


def test_github_takes_the_event_with_the_id_in_ten_keys_of_payload(
    trainers: Trainers, tmp_path: Path
) -> None:
    approved = message()
    assert send(tmp_path, channel(trainers, "github_dispatch"), approved) == [
        (Outcome.DELIVERED, 204)
    ]
    ((_, body),) = trainers.taken
    assert body["event_type"] == "kedge-retraining"
    assert len(body["client_payload"]) == 10
    assert body["client_payload"]["id"] == approved.body["data"]["id"]
    assert body["client_payload"]["window"]["since"]


def test_airflow_runs_a_request_once_and_a_repeat_is_success(
    trainers: Trainers, tmp_path: Path
) -> None:
    approved = message()
    where = channel(trainers, "airflow")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert send(tmp_path / "a", where, approved) == [(Outcome.DELIVERED, 200)]
    assert send(tmp_path / "b", where, approved) == [(Outcome.DELIVERED, 409)]
    assert trainers.runs == {f"kedge__{approved.body['data']['id']}"}
    ((_, body),) = trainers.taken
    assert body["conf"]["action"]["kind"] == "re-fit head"
    assert body["logical_date"] is None


def test_a_409_from_anybody_else_is_tried_again(trainers: Trainers, tmp_path: Path) -> None:
    """Only where the kind says that it means success."""
    trainers.runs.add(f"kedge__{message().body['data']['id']}")
    outgoing = channel(trainers, "airflow").notifier.prepare(message(), START)
    assert isinstance(outgoing, Outgoing)
    assert outgoing.accepted == {409}
    github = channel(trainers, "github_dispatch").notifier.prepare(message(), START)
    assert isinstance(github, Outgoing)
    assert github.accepted == frozenset()


def test_mlflow_tags_the_model_and_once_it_serves_the_version(
    trainers: Trainers, tmp_path: Path
) -> None:
    asked = message()
    verified = message(
        MessageType.RETRAINING_VERIFIED,
        version="7",
        status=RequestStatus.VERIFIED,
        outcome="loss.mean is back",
    )
    where = channel(trainers, "mlflow")
    assert send(tmp_path, where, asked, verified) == [(Outcome.DELIVERED, 200)] * 2
    paths = [path.removeprefix(MLFLOW) for path, _ in trainers.taken]
    assert paths == ["/registered-models/set-tag", "/model-versions/set-tag"]
    assert trainers.taken[1][1]["version"] == "7"
    assert "verified" in trainers.taken[1][1]["value"]


@pytest.mark.parametrize("domain", ["a//b", "../x", "north/", "d" * 240 + "/" * 20, "ü/&"])
def test_mlflow_takes_the_tag_of_any_domain_and_of_any_name_of_a_version(
    trainers: Trainers, tmp_path: Path, domain: str
) -> None:
    """Its own versions are whole numbers; what Kedge calls one may be a date or a name."""
    asked = message(
        MessageType.RETRAINING_VERIFIED,
        version="2026-05-b",
        status=RequestStatus.VERIFIED,
        outcome="loss.mean is back",
    )
    here = replace(asked, deployment=replace(asked.deployment, domain=domain))

    sent = send(tmp_path, channel(trainers, "mlflow"), here)

    assert sent == [(Outcome.DELIVERED, 200)], trainers.refused
    ((path, body),) = trainers.taken
    assert path.endswith("/registered-models/set-tag")
    assert "(version 2026-05-b)" in body["value"]


def test_what_a_vendor_refuses_is_not_delivered(trainers: Trainers, tmp_path: Path) -> None:
    wrong = build("airflow", "airflow", {"url": trainers.url(AIRFLOW), "secret": "other"})
    where = Channel(wrong, parse_networks(["127.0.0.0/8"]))
    assert send(tmp_path, where, message()) == [(Outcome.RETRY, 401)]
    assert trainers.refused == ["Not authenticated"]


@pytest.mark.parametrize("kind", ["github_dispatch", "airflow", "mlflow"])
def test_nothing_but_training_is_sent_to_a_machine(trainers: Trainers, kind: str) -> None:
    notifier = channel(trainers, kind).notifier
    story = Story()
    opened, requested = story.see(0, diagnosis()).messages
    assert isinstance(notifier.prepare(opened, START), Nothing)
    if kind != "mlflow":
        assert isinstance(notifier.prepare(requested, START), Nothing)
    assert TOKEN not in repr(notifier)


@pytest.mark.parametrize(
    ("kind", "url", "told_words"),
    [
        ("github_dispatch", "https://api.github.com/repos/acme/models", "/dispatches"),
        ("airflow", "http://airflow:8080/api/v1/dags/x/dagRuns", "/api/v2/dags/DAG/dagRuns"),
    ],
)
def test_a_wrong_address_is_refused_with_how_it_should_be(
    kind: str, url: str, told_words: str
) -> None:
    with pytest.raises(ChannelError, match=told_words):
        build(kind, "c", {"url": url, "secret": TOKEN})


def test_machines_hear_of_approved_requests_and_of_no_incident() -> None:
    channels = [
        {"name": "term", "kind": "console"},
        {"name": "flow", "kind": "airflow", "url": f"http://a{AIRFLOW}", "secret_env": "X"},
    ]
    config = parse_config({"channels": channels, "retraining": {"channels": ["flow"]}}, source="t")
    from alerts.routing import destinations

    table = routing_of(config)
    story = Story()
    opened, requested = story.see(0, diagnosis()).messages
    heard = {
        kind: [d.channel for d in destinations(one, table, START)]
        for kind, one in {
            "opened": opened,
            "requested": requested,
            "approved": message(),
            "verified": message(MessageType.RETRAINING_VERIFIED),
        }.items()
    }
    assert heard == {
        "opened": ["term"],
        "requested": ["term"],
        "approved": ["term", "flow"],
        "verified": ["term", "flow"],
    }


def test_the_section_sets_cooldowns_budgets_and_approval() -> None:
    section = {
        "approval": "auto",
        "cooldowns": {"domain": "3d"},
        "budgets": {"all": "2 / 60 d"},
    }
    found = alerts_of(parse_config({"retraining": section}, source="t")).retraining
    assert found.approve_at_once
    assert {s.value: c.days for s, c in found.cooldowns.items()} == {
        "slice": 7,
        "domain": 3,
        "all": 30,
    }
    assert {s.value: (n, span.days) for s, (n, span) in found.budgets.items()}["all"] == (2, 60)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"channels": ["flwo"]}, "no channel 'flwo'"),
        ({"budgets": {"all": "many"}}, "write it as in '4 / 30d'"),
        ({"cooldowns": {"world": "3d"}}, "world"),
        ({"approval": "robot"}, "'robot' is not"),
    ],
)
def test_a_wrong_section_stops_the_start(section: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        parse_config({"retraining": section}, source="t")
