"""The way in for a browser: a cookie that no script and no other site can use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest

from monitor.config import parse_config
from monitor.web.login import own_path
from storage.tenancy import EVERYTHING
from storage.tokens import Scope, create_token, revoke_token
from tests.monitor.api.asking import HOSTILE, TOKEN, World, add_domain, add_incident, world
from tests.monitor.api.test_pages import Page
from tests.monitor.serving import NOW

HERE = {"origin": "http://127.0.0.1:8321"}


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("KEDGE_TOKEN", TOKEN)
    with world(tmp_path) as running:
        yield running


def log_in(running: World, token: str, **fields: str) -> Any:
    form = {"token": token, "next": "/incidents", **fields}
    return running.client.post("/login", data=form, headers=HERE, follow_redirects=False)


def cookie_of(reply: Any) -> dict[str, str]:
    """The secret of the session, for the next request."""
    found = SimpleCookie(reply.headers["set-cookie"])["kedge_session"]
    return {"cookie": f"kedge_session={found.value}"}


def ask(running: World, path: str, method: str = "GET", **headers: str) -> Any:
    running.client.cookies.clear()
    return running.client.request(method, path, headers=headers, follow_redirects=False)


def test_a_browser_is_led_to_the_login_page_and_back(guarded: World) -> None:
    add_domain(guarded, tick_us=1)
    sent = ask(guarded, "/incidents?state=open", accept="text/html")
    assert sent.status_code == 303
    assert sent.headers["location"] == "/login?next=%2Fincidents%3Fstate%3Dopen"
    page = ask(guarded, sent.headers["location"], accept="text/html")
    assert page.status_code == 200
    fields = {attrs.get("name"): attrs.get("value") for tag, attrs in Page(page.text).tags}
    assert fields["next"] == "/incidents?state=open"

    entered = log_in(guarded, TOKEN, next="/incidents?state=open")
    assert (entered.status_code, entered.headers["location"]) == (303, "/incidents?state=open")
    shown = ask(guarded, "/", accept="text/html", **cookie_of(entered))
    assert shown.status_code == 200
    assert ("form", {"method": "post", "action": "/logout"}) in Page(shown.text).tags
    assert TOKEN not in entered.text + shown.text + str(entered.headers)


def test_the_cookie_is_for_this_site_and_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: World
) -> None:
    (given,) = SimpleCookie(log_in(guarded, TOKEN).headers["set-cookie"]).values()
    assert given["httponly"]
    assert given["samesite"] == "strict"
    assert given["path"] == "/"
    assert not given["domain"]
    assert not given["secure"]  # plain HTTP on this machine
    folder = tmp_path / "https"
    folder.mkdir()
    config = parse_config({"service": {"public_url": "https://kedge.example"}}, source="test")
    with world(folder, config) as running:
        (given,) = SimpleCookie(log_in(running, TOKEN).headers["set-cookie"]).values()
        assert given["secure"]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], "kdg_aaaaaaaaaaaa_x", "\udcff"])
def test_a_wrong_token_gets_the_form_again_and_no_cookie(guarded: World, token: str) -> None:
    body = b"token=" + token.encode(errors="surrogateescape")
    headers = {**HERE, "content-type": "application/x-www-form-urlencoded"}
    reply = guarded.client.post("/login", content=body, headers=headers)
    assert reply.status_code == 401
    assert "set-cookie" not in reply.headers
    assert "not known" in reply.text


def test_api_calls_without_a_token_are_told_401_and_not_sent_anywhere(guarded: World) -> None:
    for path, accept in (("/v1/models", "text/html"), ("/", "application/json"), ("/", "*/*")):
        assert ask(guarded, path, accept=accept).status_code == 401


def test_a_token_of_the_database_logs_in_with_its_own_scopes(guarded: World) -> None:
    add_domain(guarded, tick_us=1)
    with guarded.database.write() as session:
        token, text = create_token(
            session, name="eye", scopes=[Scope.READ], tenant=EVERYTHING, now=NOW, by=""
        )
    cookie = cookie_of(log_in(guarded, text))
    assert ask(guarded, "/", **cookie).status_code == 200
    incident = add_incident(guarded)
    path = f"/v1/incidents/{incident.id}/resolve"
    assert ask(guarded, path, "POST", **cookie, **HERE).status_code in {403, 422}
    reply = guarded.client.post(path, json={}, headers={**cookie, **HERE})
    assert reply.status_code == 403
    with guarded.database.write() as session:
        revoke_token(session, token.id, now=NOW, by="")
    guarded.clock.instant += timedelta(seconds=1)
    assert ask(guarded, "/", **cookie).status_code == 401


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (HERE, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "http://127.0.0.1:8321.evil.example"}, False),
        ({"origin": "http://["}, False),
        ({}, False),
    ],
)
def test_a_write_with_a_cookie_must_come_from_our_own_pages(
    guarded: World, headers: dict[str, str], allowed: bool
) -> None:
    incident = add_incident(guarded)
    cookie = cookie_of(log_in(guarded, TOKEN))
    guarded.client.cookies.clear()
    path = f"/v1/incidents/{incident.id}/ack"
    reply = guarded.client.post(path, json={}, headers={**cookie, **headers})
    assert reply.status_code == (200 if allowed else 403)
    if not allowed:
        assert guarded.incident(incident.id) == incident
    form = {"token": TOKEN}
    again = guarded.client.post("/login", data=form, headers=headers, follow_redirects=False)
    assert again.status_code == (303 if allowed else 403)


def test_logging_out_ends_the_session_on_the_server(guarded: World) -> None:
    cookie = cookie_of(log_in(guarded, TOKEN))
    assert ask(guarded, "/incidents", **cookie).status_code == 200
    left = ask(guarded, "/logout", "POST", **cookie, **HERE)
    assert (left.status_code, left.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert ask(guarded, "/incidents", **cookie).status_code == 401


def test_a_session_ends_after_twelve_hours_and_with_the_shared_token(
    guarded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = cookie_of(log_in(guarded, TOKEN))
    guarded.clock.instant += timedelta(hours=11, minutes=59)
    assert ask(guarded, "/incidents", **cookie).status_code == 200
    monkeypatch.setenv("KEDGE_TOKEN", "another-0123456789abcdefghij")
    guarded.clock.instant += timedelta(seconds=1)
    assert ask(guarded, "/incidents", **cookie).status_code == 401
    monkeypatch.setenv("KEDGE_TOKEN", TOKEN)
    guarded.clock.instant += timedelta(minutes=1)
    assert ask(guarded, "/incidents", **cookie).status_code == 401


@pytest.mark.parametrize(
    "given",
    [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/a\r\nset-cookie: x=1",
        "/\t/evil.example",
        "",
        "/" + "a" * 3_000,
    ],
)
def test_the_login_page_leads_nowhere_else(guarded: World, given: str) -> None:
    assert own_path(given) == "/"
    assert log_in(guarded, TOKEN, next=given).headers["location"] == "/"


def test_the_login_page_holds_to_the_policy_and_escapes(guarded: World) -> None:
    reply = guarded.client.get("/login", params={"next": f"/{HOSTILE}"})
    assert "'unsafe-inline'" not in reply.headers["content-security-policy"]
    tags = {tag for tag, _ in Page(reply.text).tags}
    assert "script" not in tags
    page = guarded.client.get("/login", params={"next": '/"><img src=x onerror=1>'})
    assert "img" not in {tag for tag, _ in Page(page.text).tags}


def test_where_no_token_was_made_nobody_needs_to_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    with world(tmp_path) as running:
        page = ask(running, "/", accept="text/html")
        assert page.status_code == 200
        assert "Log out" not in page.text
