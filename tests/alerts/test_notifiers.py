"""Channels turn a message into exact bytes, and refuse a configuration that cannot work."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from alerts import notifiers
from alerts.bodies import encode
from alerts.notifiers import ChannelError, Notifier, Outgoing, build
from alerts.records import Message
from tests.alerts.build import Story, diagnosis

SECRET = "whsec_" + "QUJD" * 8
URL = "https://receiver.example/hook/s3cret-token"


def message() -> Message:
    return Story().see(0, diagnosis()).messages[0]


def prepared(notifier: Notifier, sent: Message, now: datetime) -> Outgoing:
    outgoing = notifier.prepare(sent, now)
    assert isinstance(outgoing, Outgoing)
    return outgoing


def test_a_webhook_is_the_signed_body_and_the_id_is_the_messages() -> None:
    sent = message()
    now = datetime.now(UTC)
    outgoing = prepared(build("webhook", "ops", {"url": URL, "secret": SECRET}), sent, now)
    assert outgoing.url == URL
    assert outgoing.headers["webhook-id"] == sent.id
    assert outgoing.headers["content-type"].startswith("application/json")
    assert Verifier(SECRET).verify(outgoing.body, dict(outgoing.headers)) == sent.body


def test_two_attempts_differ_in_timestamp_and_signature_alone() -> None:
    webhook = build("webhook", "ops", {"url": URL, "secret": SECRET})
    first = prepared(webhook, message(), datetime(2026, 1, 1, tzinfo=UTC))
    second = prepared(webhook, message(), datetime(2026, 1, 2, tzinfo=UTC))
    differing = {k for k in first.headers if first.headers[k] != second.headers[k]}
    assert differing == {"webhook-timestamp", "webhook-signature"}
    assert first.body == second.body


def test_the_console_shows_one_readable_block() -> None:
    story = Story()
    (told, _) = story.see(0, diagnosis()).messages
    outgoing = prepared(build("console", "terminal", {}), told, datetime.now(UTC))
    assert outgoing.url == notifiers.CONSOLE_URL
    assert outgoing.body.decode().splitlines() == [
        "[PAGE] incident.opened · high · 2013-11-12 06:00Z",
        f"  {story.only.headline}",
        "  - loss up 0.08 (0.41 → 0.49)",
        "  do: re-fit head · scope this domain · days",
        "  worked if: loss back at 0.41 within 3 d",
        f"  incident: /v1/incidents/{told.incident_id}",
        "  report: /v1/models/flights/domains/OO/report",
        "  runbook: /runbooks/concept-shift",
        f"  id {told.id}",
        "",
    ]


def test_a_reply_or_log_line_with_a_webhook_in_it_shows_no_secret() -> None:
    webhook = build("webhook", "ops", {"url": URL, "secret": SECRET})
    outgoing = prepared(webhook, message(), datetime.now(UTC))
    for shown in (repr(webhook), repr(outgoing)):
        assert "s3cret-token" not in shown
        assert "QUJD" not in shown
        assert "v1," not in shown


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("webhok", {}, "Did you mean 'webhook'"),
        ("webhook", {}, "needs 'url'"),
        ("webhook", {"url": URL}, "needs 'secret'"),
        ("webhook", {"url": URL, "secrets": []}, "needs 'secret'"),
        ("webhook", {"url": "ftp://x/", "secret": SECRET}, "https://"),
        ("webhook", {"url": "https://[::1", "secret": SECRET}, "https://"),
        ("webhook", {"url": "https:///path", "secret": SECRET}, "https://"),
        ("webhook", {"url": URL, "secret": "hunter2-hunter2"}, "must start with"),
        ("webhook", {"url": URL, "secret": SECRET, "secert": "x"}, "no option 'secert'"),
        ("console", {"url": URL}, "no option 'url'"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_in_words(
    kind: str, options: dict[str, object], why: str
) -> None:
    with pytest.raises(ChannelError, match=why) as caught:
        build(kind, "ops", options)
    assert "hunter2" not in str(caught.value)
    assert "QUJD" not in str(caught.value)


def test_an_installed_package_adds_a_kind_but_cannot_replace_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("shout", "alerts.notifiers.console:Console.from_options", "kedge.notifiers")
    usurper = EntryPoint("webhook", "nowhere:nothing", "kedge.notifiers")

    def installed(*, group: str, name: str = "") -> list[EntryPoint]:
        assert group == "kedge.notifiers"
        return [p for p in (point, usurper) if name in {"", p.name}]

    monkeypatch.setattr(notifiers, "entry_points", installed)
    assert "shout" in notifiers.kinds()
    assert build("shout", "loud", {}).name == "loud"
    assert build("webhook", "ops", {"url": URL, "secret": SECRET}).name == "ops"


def test_a_body_is_compact_utf8() -> None:
    body: dict[str, Any] = {"type": "incident.opened", "data": {"headline": "0.41 → 0.49"}}
    assert encode(body) == ('{"type":"incident.opened","data":{"headline":"0.41 → 0.49"}}'.encode())
    with pytest.raises(ValueError, match="JSON"):
        encode({"x": float("nan")})
    assert json.loads(encode(body)) == body
