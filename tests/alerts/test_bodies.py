"""Bodies fit, are JSON, and carry no character that could hurt a reader or a header."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.bodies import BODY_BYTES, encode, incident_body
from alerts.plain import plain
from alerts.records import MessageType
from detectors.records import Action, Deployment, Diagnosis, Mode
from tests.alerts.build import Story, at, diagnosis, finding

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Text as an attacker would write it: astral (four bytes), quotes (escaped), controls, overrides.
hostile = st.one_of(
    st.text(st.characters(), max_size=300),
    st.sampled_from(
        ["\U0001f600" * 5000, '"\\' * 5000, "\x00\x1b[2J\u202e" * 2000, "\ud800" * 900]
    ),
)


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@settings(max_examples=80, deadline=None)
@given(*[hostile] * 6)
def test_no_name_makes_a_body_large_unsafe_or_unreadable(
    model: str, domain: str, column: str, stream: str, sentence: str, action: str
) -> None:
    found = Diagnosis(
        mode=Mode.SCHEMA_MISMATCH,
        confidence=0.3,
        runner_up=Mode.CONCEPT_SHIFT,
        evidence=(sentence,) * 9,
        action=Action(action, action, action, action, retraining=True),
        columns=(column,) * 3,
    )
    story = Story(deployment=Deployment(model, domain))
    seen = [
        finding(stream=f"loss.mean:{i}{stream}", column=f"{i}{column}", detail=sentence)
        for i in range(60)
    ]
    decision = story.see(0, found, findings=seen)
    assert len(decision.messages) == 2
    for message in decision.messages:
        sent = encode(message.body)
        assert len(sent) < BODY_BYTES
        assert json.loads(sent) == message.body
        for text in strings(message.body):
            assert not {unicodedata.category(character) for character in text} & UNSAFE


def test_the_largest_body_keeps_what_receivers_rely_on() -> None:
    long = "\U0001f600" * 10_000
    story = Story(deployment=Deployment(long, long))
    columns = tuple(f"{i}{long}" for i in range(10))
    action = Action(long, long, long, long)
    found = diagnosis(evidence=columns[:5], columns=columns, action=action)
    seen = [finding(stream=f"{i}{long}", column=f"{i}{long}") for i in range(50)]
    body = story.see(0, found, findings=seen).messages[0].body
    assert len(encode(body)) < BODY_BYTES
    data = body["data"]
    assert data["truncated"] is True
    assert 0 < len(data["evidence"]) < 5
    assert {"id", "model", "domain", "headline", "severity", "diagnosis", "action", "links"} <= set(
        data
    )


def test_the_body_of_the_contract() -> None:
    story = Story()
    story.settings = replace(story.settings, public_url="https://kedge.example/")
    message = story.see(0, diagnosis(evidence=tuple("abcdefg"))).messages[0]
    assert message.body["type"] == "incident.opened"
    assert message.body["timestamp"] == "2013-11-12T06:00:00Z"
    data = message.body["data"]
    assert data["evidence"] == list("abcde")
    assert data["diagnosis"] == {
        "mode": "concept shift",
        "confidence": 0.9,
        "runner_up": "covariate shift",
        "columns": [],
    }
    assert data["links"] == {
        "incident": f"https://kedge.example/v1/incidents/{story.only.id}",
        "report": "https://kedge.example/v1/models/flights/domains/OO/report",
        "runbook": "https://kedge.example/runbooks/concept-shift",
    }


def test_a_domain_cannot_leave_its_place_in_a_link() -> None:
    story = Story(deployment=Deployment("m", "../../admin?x=1#é\ud800"))
    data = story.see(0, diagnosis()).messages[0].body["data"]
    assert data["links"]["report"] == (
        "/v1/models/m/domains/..%2F..%2Fadmin%3Fx%3D1%23%C3%A9%3F/report"
    )


def test_the_bytes_of_a_body_survive_storage() -> None:
    """The signature is over bytes; a body read back from JSON must make the same ones."""
    story = Story()
    story.see(0, diagnosis())
    body = incident_body(MessageType.UPDATED, story.only, now=at(1), public_url="")
    assert encode(json.loads(json.dumps(body))) == encode(body)


@settings(deadline=None)
@given(st.text(st.characters(), max_size=300), st.integers(2, 100))
def test_plain_is_one_short_line_and_does_nothing_twice(text: str, limit: int) -> None:
    line = plain(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert plain(line, limit) == line


def test_plain_leaves_ordinary_words_of_any_script_alone() -> None:
    for text in ("origin=JFK", "loss up 0.08 (0.41 → 0.49)", "日本語 ümlaut ελληνικά", ""):
        assert plain(text) == text
    assert plain("a\r\nb\tc\u2028d") == "a b c d"
    assert plain("x" * 401) == "x" * 399 + "…"
