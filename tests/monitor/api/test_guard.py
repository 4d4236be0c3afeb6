"""Who may ask what: every route of the OpenAPI against every way of asking."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.config import parse_config
from tests.monitor.api.asking import TOKEN, World, add_domain, add_incident, world

OPEN = {"/livez", "/readyz", "/healthz"}
PAGES = ("/", "/incidents", "/incidents/inc_x", "/models/credit/domains/VT", "/nowhere")


@pytest.fixture
def anonymous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    with world(tmp_path) as running:
        yield running


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("KEDGE_TOKEN", TOKEN)
    with world(tmp_path) as running:
        yield running


def routes(running: World) -> list[tuple[str, str]]:
    """Every method and path the application describes, parameters filled in, and the pages."""
    described = running.app.openapi()["paths"]
    found = [
        (method.upper(), re.sub(r"\{[^}]+\}", "1", path))
        for path, methods in described.items()
        for method in methods
    ]
    return found + [("GET", page) for page in (*PAGES, "/openapi.json")]


def ask(running: World, method: str, path: str, **headers: str) -> Any:
    body: dict[str, str] | None = {} if method == "POST" else None
    return running.client.request(method, path, json=body, headers=headers)


def test_every_route_but_health_needs_the_token_where_one_is_set(guarded: World) -> None:
    asked = routes(guarded)
    assert len(asked) > 25
    for method, path in asked:
        guarded.clock.instant += timedelta(minutes=1)  # else there are too many wrong tokens
        wanted = path not in OPEN
        wrong = {
            "": ask(guarded, method, path),
            "wrong": ask(guarded, method, path, authorization="Bearer wrong"),
            "longer": ask(guarded, method, path, authorization=f"Bearer {TOKEN}x"),
            "cut": ask(guarded, method, path, authorization=f"Bearer {TOKEN[:-1]}"),
            "no scheme": ask(guarded, method, path, authorization=TOKEN),
            "basic": ask(guarded, method, path, authorization=f"Basic {TOKEN}"),
        }
        refused = {name: reply.status_code == 401 for name, reply in wrong.items()}
        assert set(refused.values()) == {wanted}, (method, path, refused)
        right = ask(guarded, method, path, authorization=f"Bearer {TOKEN}")
        assert right.status_code != 401, (method, path)


def test_a_refusal_says_how_to_show_the_token_and_never_shows_it(guarded: World) -> None:
    reply = guarded.get("/v1/models")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert set(reply.json()) == {"error", "hint"}
    assert "KEDGE_TOKEN" in reply.json()["hint"]
    assert TOKEN not in reply.text


def test_without_a_token_this_machine_may_ask_everything(anonymous: World) -> None:
    for method, path in routes(anonymous):
        assert ask(anonymous, method, path).status_code not in {401, 403, 421}, (method, path)


def test_without_a_token_a_service_others_can_reach_answers_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    config = parse_config({"service": {"host": "0.0.0.0"}}, source="test")
    with world(tmp_path, config) as running:
        assert running.get("/v1/models").status_code == 403
        assert running.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8321", 200),
        ("localhost:9", 200),
        ("[::1]:8321", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_a_name_that_was_pointed_at_this_machine_is_not_answered(
    anonymous: World, host: str, status: int
) -> None:
    """DNS rebinding: a page of evil.example asks its own name, which now is 127.0.0.1."""
    assert anonymous.get("/v1/models", host=host).status_code == status


def test_the_public_name_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    config = parse_config({"service": {"public_url": "https://kedge.example/x"}}, source="test")
    with world(tmp_path, config) as running:
        assert running.get("/v1/models", host="kedge.example").status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8321", 200), ("https://evil.example", 403), ("null", 403)],
)
def test_a_write_that_another_sites_page_sends_is_refused(
    anonymous: World, origin: str, status: int
) -> None:
    incident = add_incident(anonymous)
    path = f"/v1/incidents/{incident.id}/ack"
    assert anonymous.post(path, {"by": "ann"}, origin=origin).status_code == status


def test_every_reply_carries_safe_headers(anonymous: World) -> None:
    add_domain(anonymous)
    for method, path in routes(anonymous):
        headers = ask(anonymous, method, path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path
        assert headers["cache-control"] == "no-store", path
