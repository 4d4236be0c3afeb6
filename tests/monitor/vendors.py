"""Slack and PagerDuty on loopback, as strict as what the vendors publish about themselves.

Each check returns "" for a body that the vendor takes, else the vendor's words of refusal. Slack:
docs.slack.dev/reference/block-kit and messaging/sending-messages-using-incoming-webhooks.
PagerDuty: the OpenAPI of Events API v2 and developer.pagerduty.com/docs/send-alert-event.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ROUTING_KEY = "0123456789abcdef0123456789ABCDEF"


@dataclass
class Vendor:
    """A running vendor: what it took, and what it refused and why."""

    port: int
    check: Callable[[bytes, Mapping[str, str]], str]
    taken: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/B0/s3cret"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        vendor: Vendor = self.server.vendor  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["content-length"]))
        wrong = vendor.check(body, {k.lower(): v for k, v in self.headers.items()})
        if wrong:
            vendor.refused.append(wrong)
        else:
            vendor.taken.append(json.loads(body))
        answer = wrong.encode() or b"ok"
        self.send_response(400 if wrong else 202)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextlib.contextmanager
def vendor(check: Callable[[bytes, Mapping[str, str]], str]) -> Iterator[Vendor]:
    """A vendor on a free loopback port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        running = Vendor(int(server.server_address[1]), check)
        server.vendor = running  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()


class RefusalError(Exception):
    """What a vendor says to a body it does not take."""


def _need(holds: object, words: str) -> None:
    if not holds:
        raise RefusalError(words)


def slack(body: bytes, headers: Mapping[str, str]) -> str:
    """Slack's incoming webhook: JSON, a fallback text, blocks inside their limits."""
    try:
        _need(headers["content-type"].startswith("application/json"), "invalid_payload")
        message = json.loads(body)
        _need(set(message) <= {"text", "blocks"}, "invalid_payload: unknown field")
        _need(isinstance(message.get("text"), str) and message["text"], "no_text")
        _need(len(message["text"]) <= 40_000, "msg_too_long")
        blocks = message.get("blocks", [])
        _need(len(blocks) <= 50, "invalid_blocks: more than 50")
        for block in blocks:
            _slack_block(block)
    except RefusalError as refusal:
        return str(refusal)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"invalid_payload: {error!r}"
    return ""


def _slack_block(block: Mapping[str, Any]) -> None:
    match block["type"]:
        case "header":
            _need(set(block) == {"type", "text"}, "invalid_blocks: header")
            _slack_text(block["text"], 150, {"plain_text"})
        case "section":
            _need(set(block) <= {"type", "text", "fields"}, "invalid_blocks: section")
            _need("text" in block or "fields" in block, "invalid_blocks: empty section")
            if "text" in block:
                _slack_text(block["text"], 3_000)
            fields = block.get("fields")
            _need(fields is None or 1 <= len(fields) <= 10, "invalid_blocks: fields")
            for one in fields or []:
                _slack_text(one, 2_000)
        case "context":
            _need(1 <= len(block["elements"]) <= 10, "invalid_blocks: context")
            for one in block["elements"]:
                _slack_text(one, 3_000)
        case other:
            raise RefusalError(f"invalid_blocks: type {other}")


def _slack_text(
    text: Mapping[str, Any],
    limit: int,
    kinds: frozenset[str] | set[str] = frozenset({"mrkdwn", "plain_text"}),
) -> None:
    _need(text["type"] in kinds, "invalid_blocks: text type")
    allowed = (
        {"type", "text", "verbatim"} if text["type"] == "mrkdwn" else {"type", "text", "emoji"}
    )
    _need(set(text) <= allowed, "invalid_blocks: text field")
    _need(1 <= len(text["text"]) <= limit, f"invalid_blocks: {len(text['text'])} of {limit}")
    if text["type"] == "mrkdwn":
        # Outside of our own links no control character of the mark-up may be left.
        rest = re.sub(r"<https?://[^|<>]+\|[a-z]+>", "", text["text"])
        _need(not re.search(r"[<>]|&(?!(amp|lt|gt);)", rest), f"unescaped: {rest[:80]}")


def pagerduty(body: bytes, headers: Mapping[str, str]) -> str:
    """PagerDuty's /v2/enqueue."""
    try:
        _need(headers["content-type"].startswith("application/json"), "invalid content type")
        _need(len(body) <= 512_000, "Event object is too large")
        event = json.loads(body)
        known = {"routing_key", "event_action", "dedup_key", "payload", "images", "links"}
        _need(set(event) <= known | {"client", "client_url"}, "unknown field")
        _need(len(event["routing_key"]) == 32, "Length of 'routing_key' is incorrect")
        action = event["event_action"]
        _need(action in {"trigger", "acknowledge", "resolve"}, "'event_action' is invalid")
        key = event.get("dedup_key", "")
        _need(len(key) <= 255, "'dedup_key' is too long")
        _need(key or action == "trigger", "'dedup_key' is missing or blank")
        if action == "trigger":
            _pagerduty_payload(event["payload"])
        for link in event.get("links", []):
            _need(set(link) <= {"href", "text"} and urlsplit(link["href"]).netloc, "bad link")
    except RefusalError as refusal:
        return f"invalid event: {refusal}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"invalid event: {error!r}"
    return ""


def _pagerduty_payload(payload: Mapping[str, Any]) -> None:
    known = {"summary", "source", "severity", "timestamp", "component", "group", "class"}
    _need(set(payload) <= known | {"custom_details"}, "unknown field in payload")
    _need(1 <= len(payload["summary"]) <= 1_024, "'payload.summary' is missing or too long")
    _need(payload["source"], "'payload.source' is missing or blank")
    severities = {"critical", "warning", "error", "info"}
    _need(payload["severity"] in severities, "'payload.severity' is invalid")
    if "timestamp" in payload:
        datetime.fromisoformat(payload["timestamp"])
    for part in ("component", "group", "class"):
        _need(isinstance(payload.get(part, ""), str), f"'payload.{part}' is no string")
    _need(isinstance(payload.get("custom_details", {}), dict), "'custom_details' is no object")
