"""Each kind of channel words every message inside the limits of its service."""

from __future__ import annotations

import email
import email.policy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier

from alerts import telling
from alerts.bodies import BODY_BYTES
from alerts.closing import acknowledge, resolve_by_person
from alerts.notifiers import ChannelError, Letter, Nothing, Outgoing, Relayed, build
from alerts.notifiers.alertmanager import LIVES, Alertmanager
from alerts.pace import Pace
from alerts.records import Incident, Message, MessageType, Severity
from alerts.settings import AlertSettings
from detectors.records import Deployment, Mode
from tests.alerts.build import MAPPING, OO, START, Story, at, diagnosis
from tests.monitor.vendors import ROUTING_KEY, pagerduty, slack

SECRET = "whsec_" + "QUJD" * 8
OLD_SECRET = "whsec_" + "WFla" * 8
NOW = START + timedelta(hours=3)
SETTINGS = AlertSettings(public_url="https://kedge.example")
HOSTILE = "<!here> <https://evil.example|x> & \r\nBcc: all@example.com\x00 \u202e'\"`*_~"
JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}


def story(deployment: Deployment = OO, **fields: Any) -> Story:
    told = Story(deployment, SETTINGS)
    told.see(0, diagnosis(**fields))
    return told


def life_of(told: Story) -> list[Message]:
    """An incident opened, taken by ann, resolved by bob; with its retraining request."""
    (taken,) = acknowledge(told.only, by="ann", now=at(1), settings=SETTINGS).incidents
    first = acknowledge(told.only, by="ann", now=at(1), settings=SETTINGS).messages
    last = resolve_by_person(taken, by="bob", now=at(2), settings=SETTINGS).messages
    return [*told.messages, *first, *last]


def every_message(deployment: Deployment, evidence: tuple[str, ...]) -> list[Message]:
    found = life_of(story(deployment, evidence=evidence))
    mapping = Story(deployment, SETTINGS)
    mapping.see(0, diagnosis(Mode.SCHEMA_MISMATCH, action=MAPPING, evidence=evidence))
    bare = replace(found[0], id="msg_bare", body={"type": "x", "data": {"é": "→"}})
    empty = replace(found[0], id="msg_empty", body={})
    test = replace(found[0], id="msg_test", type=MessageType.TEST)
    return [*found, *mapping.messages, bare, empty, test]


CHANNELS: dict[str, dict[str, object]] = {
    "webhook": {"url": "https://hooks.example/", "secret": SECRET, "format": "cloudevents"},
    "slack": {"secret": "https://hooks.slack.example/services/T0/B0/s3cret"},
    "pagerduty": {"secret": ROUTING_KEY},
    "alertmanager": {"url": "https://alerts.example/", "labels": {"team": "ml"}},
    "email": {"host": "mail.example", "sender": "kedge@example.com", "to": ["ops@example.com"]},
    "apprise": {"secret": "ntfy://topic"},
    "console": {},
}


def sent(kind: str, message: Message, now: datetime = NOW) -> Outgoing:
    outgoing = build(kind, "ops", CHANNELS[kind]).prepare(message, now)
    assert isinstance(outgoing, Outgoing)
    return outgoing


def check(kind: str, message: Message) -> None:
    """What the service behind the channel would say; nothing is sent."""
    prepared = build(kind, "ops", CHANNELS[kind]).prepare(message, NOW)
    match prepared:
        case Nothing(why):
            assert why
        case Letter():
            mail = read(prepared)
            assert mail["Subject"]
            assert mail["Bcc"] is None
        case Relayed():
            assert len(prepared.text) <= 4_000
        case Outgoing() if kind == "slack":
            assert slack(prepared.body, prepared.headers) == ""
        case Outgoing() if kind == "pagerduty":
            assert pagerduty(prepared.body, prepared.headers) == ""
        case Outgoing():
            assert kind == "console" or len(prepared.body) < BODY_BYTES
            assert kind == "console" or json.loads(prepared.body)


def read(letter: Letter) -> EmailMessage:
    return email.message_from_bytes(letter.body, policy=email.policy.default)


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("words", ["loss up", HOSTILE, "é→漢" * 3_000])
def test_every_message_of_every_kind_is_inside_the_limits_of_the_service(
    kind: str, words: str
) -> None:
    deployment = Deployment(words[:500], words[:500])
    for message in every_message(deployment, (words,) * 9):
        check(kind, message)


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=400), st.lists(st.text(max_size=4_000), max_size=5))
def test_no_text_from_data_breaks_a_channel(domain: str, seen: list[str]) -> None:
    for message in every_message(Deployment("m", domain or "d"), tuple(seen)):
        for kind in CHANNELS:
            check(kind, message)


# ---- webhook


def test_during_a_rotation_the_old_and_the_new_secret_verify() -> None:
    (message, *_) = story().messages
    both = build(
        "webhook", "ops", {"url": "https://x.example", "secret": f"{SECRET}\n{OLD_SECRET}"}
    )
    outgoing = both.prepare(message, datetime.now(UTC))
    assert isinstance(outgoing, Outgoing)
    for secret in (SECRET, OLD_SECRET):
        assert Verifier(secret).verify(outgoing.body, dict(outgoing.headers)) == message.body
    assert len(outgoing.headers["webhook-signature"].split()) == 2


def test_a_cloudevent_is_read_by_the_official_library_and_still_signed() -> None:
    (message, *_) = story().messages
    options = {**CHANNELS["webhook"], "source": "https://kedge.example"}
    outgoing = build("webhook", "ops", options).prepare(message, datetime.now(UTC))
    assert isinstance(outgoing, Outgoing)
    event = from_http_event(HTTPMessage(dict(outgoing.headers), outgoing.body))
    assert (event.get_id(), event.get_source()) == (message.id, "https://kedge.example")
    assert event.get_type() == "kedge.incident.opened"
    assert event.get_subject() == message.incident_id
    assert event.get_time() == message.created_at
    assert event.get_data() == message.body["data"]
    assert outgoing.headers["content-type"].startswith("application/cloudevents+json")
    Verifier(SECRET).verify(outgoing.body, dict(outgoing.headers))


# ---- Slack


def test_slack_shows_the_headline_the_facts_the_evidence_and_links() -> None:
    (message, *_) = story().messages
    body = json.loads(sent("slack", message).body)
    text = json.dumps(body, ensure_ascii=False)
    assert body["text"].startswith("[PAGE] opened · flights/OO: concept shift")
    for wanted in ("loss up 0.08", "re-fit head, this domain, days", "confidence 90%"):
        assert wanted in text
    assert f"<https://kedge.example/v1/incidents/{message.incident_id}|incident>" in text


def test_slack_cannot_be_made_to_mention_or_link() -> None:
    (message, *_) = story(evidence=(HOSTILE,)).messages
    body = json.loads(sent("slack", message).body)
    shown = json.dumps(body)
    assert "<!here>" not in shown
    assert "<https://evil" not in shown
    assert "&lt;!here&gt;" in shown


# ---- PagerDuty


def test_one_pagerduty_key_an_incident_through_trigger_acknowledge_and_resolve() -> None:
    told = story()
    messages = life_of(told)
    events = [
        json.loads(prepared.body)
        for message in messages
        if isinstance(
            prepared := build("pagerduty", "pd", CHANNELS["pagerduty"]).prepare(message, NOW),
            Outgoing,
        )
    ]
    assert [event["event_action"] for event in events] == ["trigger", "acknowledge", "resolve"]
    assert {event["dedup_key"] for event in events} == {told.only.id}
    assert events[0]["payload"]["severity"] == "error"
    assert events[0]["payload"]["class"] == "concept shift"
    assert {link["text"] for link in events[0]["links"]} >= {"incident", "report"}


@pytest.mark.parametrize(
    ("severity", "theirs"),
    list(zip(Severity, ["info", "warning", "error", "critical"], strict=True)),
)
def test_a_severity_has_its_pagerduty_name(severity: Severity, theirs: str) -> None:
    (message, *_) = story().messages
    event = json.loads(sent("pagerduty", replace(message, severity=severity)).body)
    assert event["payload"]["severity"] == theirs


# ---- Alertmanager


def test_an_alert_lives_a_few_turns_and_ends_when_its_incident_does() -> None:
    told = story()
    opened, *_, resolved = life_of(told)
    (alert,) = json.loads(sent("alertmanager", opened).body)
    assert alert["startsAt"] == "2013-11-12T06:00:00Z"
    ends = datetime.fromisoformat(alert["endsAt"])
    assert ends - NOW == LIVES * timedelta(minutes=1)
    assert alert["labels"] == {
        "alertname": "KedgeIncident",
        "team": "ml",
        "model": "flights",
        "domain": "OO",
        "severity": "high",
        "tier": "page",
        "incident": told.only.id,
    }
    (over,) = json.loads(sent("alertmanager", resolved).body)
    assert over["labels"] == alert["labels"]
    assert datetime.fromisoformat(over["endsAt"]) == NOW


def test_what_is_still_open_is_said_again_in_one_request() -> None:
    (first, *_), (second, *_) = (story(Deployment("m", d)).messages for d in ("a", "b"))
    channel = Alertmanager.from_options("am", CHANNELS["alertmanager"])
    alerts = json.loads(channel.refresh([first, second], NOW).body)
    assert [alert["labels"]["domain"] for alert in alerts] == ["a", "b"]


def test_an_incident_dated_ahead_of_the_wall_clock_starts_now() -> None:
    (opened, *_) = story().messages
    before = START - timedelta(minutes=30)
    (alert,) = json.loads(sent("alertmanager", opened, before).body)
    assert datetime.fromisoformat(alert["startsAt"]) == before


# ---- e-mail


def test_a_mail_has_both_parts_a_thread_and_no_foreign_header() -> None:
    told = story(Deployment("flights", "OO"), evidence=(f"<b>{HOSTILE}",))
    first, *_, last = life_of(told)
    channel = build("email", "mail", CHANNELS["email"])
    letters = [channel.prepare(message, NOW) for message in (first, last)]
    mails = [read(letter) for letter in letters if isinstance(letter, Letter)]
    assert len({mail["References"] for mail in mails}) == 1
    assert mails[0]["Message-ID"] == f"<{first.id}.mail@example.com>"
    assert mails[0]["Auto-Submitted"] == "auto-generated"
    plain, html = (mails[0].get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert "likely cause: concept shift" in plain.get_content()
    assert "<b>" not in html.get_content().replace("<body", "")
    assert "&lt;b&gt;" in html.get_content()
    assert letters[0] == channel.prepare(first, NOW), "two attempts are the same bytes"


# ---- configurations that cannot work


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("slack", {}, "needs 'secret'"),
        ("slack", {"secret": "xoxb-s3cret"}, "must start with https"),
        ("pagerduty", {"secret": "s3cret"}, "this one has 6 characters"),
        ("pagerduty", {"secret": ROUTING_KEY, "url": "ftp://x"}, "must start with"),
        ("alertmanager", {}, "needs 'url'"),
        ("alertmanager", {"url": "https://x", "labels": {"alertname": "x"}}, "'alertname'"),
        ("alertmanager", {"url": "https://x", "labels": {"a-b": "x"}}, "'a-b'"),
        ("email", {"host": "h", "sender": "a@b.c"}, "needs 'to'"),
        ("email", {"host": "h", "sender": "a@b.c", "to": ["x\r\nDATA"]}, "is no address"),
        ("email", {"host": "h", "sender": "a", "to": ["a@b.c"]}, "is no address"),
        ("email", {"host": "h", "sender": "a@b.c", "to": ["a@b.c"], "tls": "ssl"}, "tls must be"),
        (
            "email",
            {
                "host": "h",
                "sender": "a@b.c",
                "to": ["a@b.c"],
                "tls": "none",
                "username": "u",
                "secret": "s3cret",
            },
            "not sent in clear",
        ),
        ("apprise", {"secret": "s3cret"}, "one apprise URL"),
        ("webhook", {"url": "https://x", "secret": SECRET, "format": "xml"}, "format must be"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_and_shows_no_secret(
    kind: str, options: dict[str, object], why: str
) -> None:
    with pytest.raises(ChannelError, match=why) as caught:
        build(kind, "ops", options)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", CHANNELS)
def test_neither_a_channel_nor_what_it_sends_shows_its_secret(kind: str) -> None:
    options = {**CHANNELS[kind]}
    if kind == "email":
        options |= {"username": "u", "secret": "s3cret-password"}
    secret = str(options.get("secret", "none"))
    channel = build(kind, "ops", options)
    (message, *_) = story().messages
    for shown in (repr(channel), repr(channel.prepare(message, NOW))):
        assert secret not in shown


# ---- pace


def test_a_pace_lets_a_burst_through_and_then_one_at_a_time() -> None:
    """Compared with the definition: never more than burst + elapsed / every in any window."""
    pace = Pace.parse("30/min")
    assert pace == Pace(timedelta(seconds=2), 30)
    now, free_at, taken = NOW, None, []
    next_at = NOW
    for _ in range(100):
        now = max(now, next_at)
        taken.append(now)
        free_at, next_at = pace.take(free_at, now)
    assert taken.count(NOW) == 30
    for i, start in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= 30 + (taken[j] - start) / timedelta(seconds=2)
    assert taken[-1] - taken[0] == timedelta(seconds=2) * 70
    with pytest.raises(ValueError, match="'fast' is no rate"):
        Pace.parse("fast")


def test_a_message_without_a_headline_still_says_where_it_is_from() -> None:
    (message, *_) = story().messages
    assert telling.subject(replace(message, body={})) == "[PAGE] opened · flights/OO: opened"
    incident: Incident = story().only
    assert incident.id in json.dumps(telling.links(message))
