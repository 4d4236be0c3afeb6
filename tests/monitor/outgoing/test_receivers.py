"""Against receivers that were not written by us: Alertmanager, SMTP, and vendors' own schemas."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from alerts.closing import acknowledge, resolve_by_person
from alerts.notifiers import Letter, Relayed, build
from alerts.pace import Pace
from alerts.records import Incident, Message, Outcome
from alerts.schedule import Reply
from alerts.settings import AlertSettings
from detectors.records import Deployment
from monitor.clock import SystemClock
from monitor.config import parse_config
from monitor.metrics import Metrics
from monitor.outgoing.addresses import parse_networks
from monitor.outgoing.couriers import Couriers
from monitor.outgoing.delivery import Channel, Channels
from monitor.outgoing.mail import send_letter
from monitor.outgoing.outbound import GuardedClient
from monitor.outgoing.relaying import relay
from monitor.outgoing.sending import Sender
from monitor.outgoing.trial import try_channel
from storage.engine import Database, open_database
from storage.incidents import save_incidents
from storage.migrations import upgrade
from storage.outbox import delivery_log, enqueue, incident_log
from tests.alerts.build import Story, at, diagnosis
from tests.monitor.receiver import closed_port, receiving
from tests.monitor.vendors import ROUTING_KEY, pagerduty, slack, vendor

LOOPBACK = parse_networks(["127.0.0.0/8"])
SETTINGS = AlertSettings(public_url="https://kedge.example")
CLOCK = SystemClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", *words.split(), *subject.split(), "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    return cert, key


@contextlib.contextmanager
def couriers(database: Database, *channels: Channel) -> Iterator[Couriers]:
    """The real way out, to loopback."""
    config = parse_config({}, source="test")
    running = Couriers(
        database,
        lambda: Channels({channel.name: channel for channel in channels}),
        Sender(GuardedClient(CLOCK, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))),
        CLOCK,
        Metrics(database, CLOCK, lambda: config),
    )
    yield running
    assert running.close(30)


def deliver(running: Couriers) -> None:
    running.tick()
    running.wait()


def keep(database: Database, incident: Incident, *messages: Message, to: str) -> None:
    """What a check or a person's deed writes in one transaction."""
    with database.write() as session:
        save_incidents(session, [incident])
        for message in messages:
            enqueue(session, message, [to], CLOCK.now())


def opened(domain: str = "OO") -> tuple[Incident, Message]:
    story = Story(Deployment("flights", domain), SETTINGS)
    story.see(0, diagnosis())
    return story.only, story.messages[0]


# ---- Prometheus Alertmanager


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real one on loopback, or a skip that says what is missing."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("no prometheus-alertmanager here (Debian: apt-get install it)")
    folder, port = tmp_path_factory.mktemp("alertmanager"), closed_port()
    (folder / "config.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={folder / 'config.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{url}/-/ready", trust_env=False).status_code == 200:
                    break
            assert process.poll() is None, "alertmanager ended by itself"
            time.sleep(0.1)
        else:
            pytest.fail("alertmanager does not get ready")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def alerts_in(url: str, incident: Incident) -> list[dict[str, Any]]:
    """What it says is firing."""
    reply = httpx2.get(
        f"{url}/api/v2/alerts", params={"filter": f'incident="{incident.id}"'}, trust_env=False
    )
    found: list[dict[str, Any]] = reply.raise_for_status().json()
    return found


def test_alertmanager_shows_an_open_incident_with_its_words_and_links(
    alertmanager: str, database: Database
) -> None:
    options = {"url": alertmanager, "labels": {"team": "ml"}}
    channel = Channel(build("alertmanager", "am", options), LOOPBACK)
    incident, message = opened("läst – <b>")
    keep(database, incident, message, to="am")
    with couriers(database, channel) as running:
        deliver(running)
        (alert,) = alerts_in(alertmanager, incident)
        assert alert["labels"]["domain"] == "läst – <b>"
        assert alert["labels"]["severity"] == "high"
        assert alert["labels"]["team"] == "ml"
        assert alert["annotations"]["summary"] == incident.headline
        assert alert["generatorURL"].endswith(f"/v1/incidents/{incident.id}")
        assert alert["annotations"]["runbook_url"].endswith("/runbooks/concept-shift")
        assert datetime.fromisoformat(alert["startsAt"]) == incident.opened_at


def test_an_alert_that_is_said_again_lives_on_and_ends_with_its_incident(
    alertmanager: str, database: Database
) -> None:
    options = {"url": alertmanager, "resend_every_us": 60_000_000}
    notifier = build("alertmanager", "am", options)
    channel = Channel(notifier, LOOPBACK)
    incident, message = opened("again")
    keep(database, incident, message, to="am")
    with couriers(database, channel) as running:
        deliver(running)
        (first,) = alerts_in(alertmanager, incident)
        running._said_at.clear()  # its minute is over
        deliver(running)
        (second,) = alerts_in(alertmanager, incident)
        assert second["fingerprint"] == first["fingerprint"]
        ends = [datetime.fromisoformat(alert["endsAt"]) for alert in (first, second)]
        assert ends[0] < ends[1]
        assert ends[1] - CLOCK.now() < timedelta(minutes=4)

        decision = resolve_by_person(incident, by="ann", now=at(5), settings=SETTINGS)
        keep(database, decision.incidents[0], *decision.messages, to="am")
        deliver(running)
        assert alerts_in(alertmanager, incident) == []
        running._said_at.clear()
        deliver(running)
        assert alerts_in(alertmanager, incident) == [], "a resolved incident is not said again"


def test_alertmanager_takes_a_test_message(alertmanager: str) -> None:
    channel = Channel(build("alertmanager", "am", {"url": alertmanager}), LOOPBACK)
    trial = try_channel(channel, client=Sender(GuardedClient(CLOCK)), clock=CLOCK)
    assert trial.delivered, trial.words
    reply = httpx2.get(
        f"{alertmanager}/api/v2/alerts", params={"filter": "alertname=KedgeTest"}, trust_env=False
    )
    assert len(reply.json()) == 1


# ---- Slack and PagerDuty, as strict as their published schemas


def test_pagerduty_follows_one_incident_through_its_life(database: Database) -> None:
    incident, message = opened()
    with vendor(pagerduty) as service:
        options = {"secret": ROUTING_KEY, "url": service.url}
        channel = Channel(build("pagerduty", "pd", options), LOOPBACK)
        keep(database, incident, message, to="pd")
        with couriers(database, channel) as running:
            deliver(running)
            taken = acknowledge(incident, by="ann", now=at(1), settings=SETTINGS)
            keep(database, taken.incidents[0], *taken.messages, to="pd")
            deliver(running)
            over = resolve_by_person(taken.incidents[0], by="bob", now=at(2), settings=SETTINGS)
            keep(database, over.incidents[0], *over.messages, to="pd")
            deliver(running)
        assert service.refused == []
        events = [(event["event_action"], event["dedup_key"]) for event in service.taken]
    assert events == [(a, incident.id) for a in ("trigger", "acknowledge", "resolve")]


def test_a_page_that_was_overtaken_does_not_open_again_what_is_resolved(
    database: Database,
) -> None:
    """The pager was away; the incident is over when it is back. Only the end is told."""
    incident, message = opened()
    over = resolve_by_person(incident, by="bob", now=at(2), settings=SETTINGS)
    with vendor(pagerduty) as service:
        options = {"secret": ROUTING_KEY, "url": service.url}
        channel = Channel(build("pagerduty", "pd", options), LOOPBACK)
        # Enqueued in the wrong order, which is what a retry makes of the right one.
        keep(database, over.incidents[0], *over.messages, message, to="pd")
        with couriers(database, channel) as running:
            deliver(running)
        assert [event["event_action"] for event in service.taken] == ["resolve"]
    with database.read() as session:
        (line,) = delivery_log(session, message.id)
        log = incident_log(session, incident.id)
    assert line.outcome is Outcome.SKIPPED
    assert line.words.startswith(f"overtaken by {over.messages[0].id}")
    assert {told.attempt.outcome for told in log if told.attempt} == {
        Outcome.SKIPPED,
        Outcome.DELIVERED,
    }


def test_a_test_on_pagerduty_resolves_itself() -> None:
    with vendor(pagerduty) as service:
        options = {"secret": ROUTING_KEY, "url": service.url}
        channel = Channel(build("pagerduty", "pd", options), LOOPBACK)
        trial = try_channel(channel, client=Sender(GuardedClient(CLOCK)), clock=CLOCK)
        assert trial.delivered
        assert [event["event_action"] for event in service.taken] == ["trigger", "resolve"]
        assert len({event["dedup_key"] for event in service.taken}) == 1


def test_slack_gets_one_message_a_second(database: Database) -> None:
    incident, message = opened()
    many = [replace(message, id=f"msg_{i}") for i in range(3)]
    with vendor(slack) as service:
        notifier = build("slack", "chat", {"secret": service.url})
        channel = Channel(notifier, LOOPBACK, Pace(timedelta(hours=1)))
        keep(database, incident, *many, to="chat")
        with couriers(database, channel) as running:
            deliver(running)
            deliver(running)
        assert service.refused == []
        assert len(service.taken) == 1
    with database.read() as session:
        waits = [told for told in incident_log(session, incident.id) if told.attempt is None]
    assert len(waits) == 2, "waiting for their turn cost no attempt"


def test_the_strict_vendors_refuse_what_theirs_would() -> None:
    """Else the tests above would prove nothing."""
    assert slack(b'{"text": ""}', {"content-type": "application/json"}) == "no_text"
    long = {
        "text": "x",
        "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
    }
    assert "151 of 150" in slack(json.dumps(long).encode(), {"content-type": "application/json"})
    event = {"routing_key": ROUTING_KEY, "event_action": "trigger", "payload": {"summary": "x"}}
    assert "source" in pagerduty(json.dumps(event).encode(), {"content-type": "application/json"})
    event = {"routing_key": "short", "event_action": "resolve"}
    assert "routing_key" in pagerduty(
        json.dumps(event).encode(), {"content-type": "application/json"}
    )


# ---- e-mail


@dataclass
class Mailbox:
    """What aiosmtpd calls; it refuses whom the test names."""

    mails: list[Envelope] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        self.secure.append(session.ssl is not None)
        return "250 kept"


@contextlib.contextmanager
def smtp(
    mailbox: Mailbox, certificate: tuple[Path, Path] | None = None, **options: Any
) -> Iterator[int]:
    """A mail server on loopback; with a certificate it offers STARTTLS and asks for a login."""
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

        def check(*arguments: Any) -> AuthResult:
            given = arguments[-1]
            assert isinstance(given, LoginPassword)
            known = (given.login, given.password) == (b"kedge", b"s3cret")
            return AuthResult(success=known, handled=False)

        options |= {"tls_context": context, "authenticator": check, "auth_required": True}
    controller = Controller(mailbox, hostname="127.0.0.1", port=closed_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def letter(port: int, **options: object) -> Letter:
    given: dict[str, object] = {
        "host": "localhost",
        "port": port,
        "tls": "none",
        "sender": "kedge@example.com",
        "to": ["ops@example.com", "ml@example.com"],
    }
    _, message = opened()
    made = build("email", "mail", given | options).prepare(message, datetime.now(UTC))
    assert isinstance(made, Letter)
    return made


def send(made: Letter, cafile: Path | None = None, deadline_s: float = 20.0) -> Reply:
    client = GuardedClient(CLOCK, resolve=lambda *_: ["127.0.0.1"])
    context = ssl.create_default_context(cafile=cafile)
    return send_letter(
        made, client=client, allowed=LOOPBACK, deadline_s=deadline_s, ssl_context=context
    )


def test_a_mail_arrives_over_starttls_after_a_login(certificate: tuple[Path, Path]) -> None:
    mailbox = Mailbox()
    with smtp(mailbox, certificate) as port:
        made = letter(port, tls="starttls", username="kedge", secret="s3cret")
        reply = send(made, certificate[0])
        assert (reply.status, reply.error) == (250, "")
    (mail,) = mailbox.mails
    assert mail.rcpt_tos == ["ops@example.com", "ml@example.com"]
    assert mail.mail_from == "kedge@example.com"
    assert mail.content == made.body
    assert mailbox.secure == [True]


def test_a_wrong_password_is_tried_again_and_not_told(certificate: tuple[Path, Path]) -> None:
    mailbox = Mailbox()
    with smtp(mailbox, certificate) as port:
        made = letter(port, tls="starttls", username="kedge", secret="wr0ng")
        reply = send(made, certificate[0])
    assert reply.status is None
    assert not reply.permanent
    assert "535" in reply.error
    assert "wr0ng" not in reply.error


def test_a_certificate_nobody_vouches_for_ends_it_before_the_password(
    certificate: tuple[Path, Path],
) -> None:
    mailbox = Mailbox()
    with smtp(mailbox, certificate) as port:
        reply = send(letter(port, tls="starttls", username="kedge", secret="s3cret"))
    assert "CERTIFICATE_VERIFY_FAILED" in reply.error
    assert mailbox.mails == []


def test_a_server_without_starttls_gets_no_mail_in_clear() -> None:
    mailbox = Mailbox()
    with smtp(mailbox) as port:
        reply = send(letter(port, tls="starttls"))
    assert reply.status is None
    assert mailbox.mails == []


def test_one_refused_recipient_does_not_keep_the_others_from_the_mail() -> None:
    mailbox = Mailbox(refuse={"ml@example.com": "550 no such user"})
    with smtp(mailbox) as port:
        reply = send(letter(port))
    assert (reply.status, reply.error) == (250, "1 of 2 recipients refused")
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(("said", "permanent"), [("550 no such user", True), ("451 later", False)])
def test_a_refusal_for_good_is_final_and_one_for_now_is_not(said: str, permanent: bool) -> None:
    mailbox = Mailbox(refuse=dict.fromkeys(["ops@example.com", "ml@example.com"], said))
    with smtp(mailbox) as port:
        reply = send(letter(port))
    assert (reply.status, reply.permanent) == (None, permanent)
    assert said in reply.error


def test_mail_goes_to_no_address_that_http_would_not_go_to() -> None:
    client = GuardedClient(CLOCK, resolve=lambda *_: ["169.254.169.254"])
    reply = send_letter(letter(25), client=client)
    assert reply.permanent
    assert "169.254.169.254" in reply.error


@pytest.mark.parametrize("answer", ["drip-head", "silent", "endless-head", "garbage", "close"])
def test_a_mail_server_that_misbehaves_has_one_deadline_and_a_cap(answer: str) -> None:
    """An HTTP receiver that misbehaves is no mail server either; none of it may hang or flood."""
    import socketserver
    import threading

    class Rude(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                match answer:
                    case "drip-head":
                        for _ in range(500):
                            self.request.sendall(b"2")
                            if released.wait(0.02):
                                return
                    case "silent":
                        released.wait(30)
                    case "endless-head":
                        while True:
                            self.request.sendall(b"220-" + b"x" * 4_000 + b"\r\n")
                    case "garbage":
                        self.request.sendall(b"\x00\xff\x16\x03nonsense\r\n\r\n")

    released = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Rude) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        reply = send(letter(server.server_address[1]), deadline_s=0.3)
        released.set()
        server.shutdown()
        thread.join()
    assert reply.status is None
    assert not reply.permanent
    assert reply.error
    assert reply.duration_ms < 8_000


# ---- apprise


def test_apprise_sends_through_the_same_table_of_refused_addresses() -> None:
    pytest.importorskip("apprise", reason="the extra `apprise` is not installed")
    with receiving() as receiver:
        address = f"json://127.0.0.1:{receiver.port}/s3cret"
        refused = relay(Relayed(address, "title", "text"), clock=CLOCK)
        assert refused.permanent
        assert "allow_networks" in refused.error
        assert receiver.requests == []
        sent = relay(Relayed(address, "title", "text"), clock=CLOCK, allowed=LOOPBACK)
        assert sent.status == 200, sent.error
        (request,) = receiver.requests
        assert json.loads(request.body)["message"] == "text"
    unknown = relay(Relayed("nonsense://s3cret", "title", "text"), clock=CLOCK)
    assert unknown.permanent
    assert "s3cret" not in unknown.error + refused.error
