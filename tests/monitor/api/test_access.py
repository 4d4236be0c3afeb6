"""Scope × route × tenant, made from the OpenAPI; and every route says which scope it needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from monitor.api.access import declared_scopes, install_scopes
from monitor.api.app import create_app
from storage.tokens import IMPLIED, Scope, list_tokens, revoke_token
from tests.monitor.api.asking import add_incident, world
from tests.monitor.api.two_tenants import (
    MARK,
    MINE,
    SIBLING,
    THEIRS,
    Route,
    Tenants,
    routes_of,
    two_tenants,
)

OPEN = {"/livez", "/readyz", "/healthz", "/login", "/logout"}
ABOUT_ALL = {
    ("POST", "/v1/silences"),
    ("GET", "/metrics"),
    ("POST", "/v1/flush"),
    ("POST", "/v1/labels"),
    ("POST", "/v1/models/{model}/anchors"),
    ("POST", "/v1/models/{model}/probe"),
    ("POST", "/v1/models/{model}/probe/scores"),
}
"""What a token that is bound to domains may not do, although it has the scope."""


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with (
        pytest.MonkeyPatch.context() as patch,
        two_tenants(tmp_path_factory.mktemp("tenants")) as running,
    ):
        patch.delenv("KEDGE_TOKEN", raising=False)
        yield running


def scope_of(app: FastAPI, route: Route) -> Scope | None:
    """The scope a route declares, read off the application, not off its behaviour."""
    for found, scopes in declared_scopes(app):
        plain = (found.path or "").replace(":path}", "}")
        if plain == route.path and route.method in (found.methods or set()):
            return max(scopes, key=lambda s: -1 if s is None else list(Scope).index(s))
    raise LookupError(route)


def test_every_route_declares_a_scope(tenants: Tenants) -> None:
    """Pages and the description included. One that does not is for admins only, and fails here."""
    silent = [route.path for route, scopes in declared_scopes(tenants.world.app) if not scopes]
    assert silent == []
    opened = {r.path for r, scopes in declared_scopes(tenants.world.app) if set(scopes) == {None}}
    assert opened == OPEN


def test_a_route_that_declares_nothing_is_for_admins_only(tenants: Tenants) -> None:
    forgotten = APIRouter()

    @forgotten.get("/forgotten")
    def forgotten_route() -> dict[str, str]:
        return {}

    app = create_app(tenants.world.context)
    app.include_router(forgotten)
    install_scopes(app)
    assert [r.path for r, scopes in declared_scopes(app) if not scopes] == ["/forgotten"]
    client = TestClient(app, base_url="http://127.0.0.1:8321")
    for name, text in tenants.tokens.items():
        reply = client.get("/forgotten", headers={"authorization": f"Bearer {text}"})
        assert reply.status_code == (200 if name == "admin" else 403), name


def test_scope_by_route_by_tenant(tenants: Tenants) -> None:
    """Every cell. A missing scope is 403; another tenant's object is 404, as if it were not there.

    Nothing that a bound token is told, errors and hints included, holds a name of another tenant.
    """
    app = tenants.world.app
    described = app.openapi()
    schemas = described["components"]["schemas"]
    cells = 0
    wrong: list[str] = []
    for route in routes_of(described):
        scope = scope_of(app, route)
        for name in tenants.tokens:
            own, bound = Scope(name.split()[0]), name.endswith("bound")
            for whose in (MINE, SIBLING, THEIRS):
                objects = tenants.objects[whose]
                has_scope = scope is None or scope in IMPLIED[own]
                if whose is SIBLING and not (about_domain(route) and has_scope):
                    continue
                body = route.body(schemas, objects)
                reply = tenants.ask(name, route.method, route.address(objects), body)
                wanted = expected(route, scope, own, bound=bound, own_object=whose is MINE)
                cells += 1
                if reply.status_code not in wanted:
                    what = f"{name}: {route.method} {route.path} of {whose}"
                    wrong.append(f"{what}: {reply.status_code}, not {wanted}: {reply.text[:200]}")
                if bound and reply.status_code < 400 and MARK in reply.text.lower():
                    wrong.append(f"{name}: {route.method} {route.path} tells of {whose}")
                if bound and reply.status_code >= 400:
                    told = reply.text
                    for given in objects.values():
                        told = told.replace(given, "")
                    if MARK in told.lower():
                        wrong.append(f"{name}: {route.method} {route.path} hints: {told}")
    assert wrong == []
    assert cells > 300


def about_domain(route: Route) -> bool:
    named = {"domain", "incident_id", "request_id", "reference_id", "message_id", "mapping_id"}
    in_body = {("POST", "/v1/events"), ("POST", "/v1/mappings")}
    return bool(named & set(route.parameters)) or (route.method, route.path) in in_body


def about_model(route: Route) -> bool:
    return "model" in route.parameters or route.path in {"/v1/labels", "/v1/flush"}


def expected(
    route: Route, scope: Scope | None, own: Scope, *, bound: bool, own_object: bool
) -> set[int]:
    """The statuses that this cell may have."""
    fine = {200, 201, 202, 409}
    if scope is not None and scope not in IMPLIED[own]:
        return {403}
    known = {"model", "domain", "stream", "incident_id", "request_id", "reference_id"}
    known |= {"message_id", "mapping_id"}
    if set(route.parameters) - known:
        return fine | {404, 422}  # an object that this table does not know yet
    if bound and not own_object and (about_domain(route) or about_model(route)):
        return {404}
    if bound and (route.method, route.path) in ABOUT_ALL:
        return {403}
    return fine


@pytest.mark.parametrize("page", ["/", "/incidents", "/incidents?model=credit"])
def test_pages_show_a_tenant_its_own(tenants: Tenants, page: str) -> None:
    everything = tenants.ask("read", "GET", page)
    mine = tenants.ask("read bound", "GET", page)
    assert mine.status_code == everything.status_code == 200
    assert MARK in everything.text
    assert MARK not in mine.text
    assert "minedom" in mine.text


def test_pages_of_others_are_not_there(tenants: Tenants) -> None:
    for whose, status in ((MINE, 200), (SIBLING, 404), (THEIRS, 404)):
        objects = tenants.objects[whose]
        for page in (
            f"/incidents/{objects['incident_id']}",
            f"/models/{objects['model']}/domains/{objects['domain']}",
        ):
            assert tenants.ask("read bound", "GET", page).status_code == status, page
            assert tenants.ask("read", "GET", page).status_code == 200, page


def test_filters_and_counts_tell_nothing_of_others(tenants: Tenants) -> None:
    def ask(path: str) -> Any:
        return tenants.ask("read bound", "GET", path).json()

    (line,) = ask("/v1/models")["models"]
    listed = {one["domain"] for one in ask("/v1/models/credit/domains")["domains"]}
    # Other tests may have opened domains of its own by now; never one of somebody else's.
    assert MINE.domain in listed
    assert not listed & {SIBLING.domain, THEIRS.domain}
    assert (line["name"], line["domains"]) == ("credit", len(listed))
    for path, key in (
        ("/v1/incidents?model=theirmodel", "incidents"),
        ("/v1/incidents?model=credit&domain=theirsib", "incidents"),
        ("/v1/references?model=theirmodel", "references"),
        ("/v1/retraining-requests?model=theirmodel&domain=theirdom", "requests"),
    ):
        assert ask(path)[key] == [], path
    outbox = ask("/v1/outbox")
    shown = outbox["dead_letters"] + outbox["deliveries"]
    assert {line["domain"] for line in shown} == {"minedom"}
    assert outbox["waiting"] + outbox["dead"] == len(shown)


def test_deeds_are_signed_by_the_token_whatever_the_body_says(tenants: Tenants) -> None:
    mine = tenants.objects[MINE]["incident_id"]
    path = f"/v1/incidents/{mine}/feedback"
    for body in ({"by": "somebody else", "note": "x"}, {"note": "y"}):
        reply = tenants.ask("operate bound", "POST", path, body)
        assert reply.json()["history"][-1]["by"] == "operate bound"
        assert "somebody else" not in reply.text


def test_without_a_token_the_body_names_the_author(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    with world(tmp_path) as running:
        path = f"/v1/incidents/{add_incident(running).id}/feedback"
        assert running.post(path, {"note": "x"}).status_code == 422
        assert running.post(path, {"by": "ann", "note": "x"}).json()["history"][-1]["by"] == "ann"


def test_a_batch_with_one_row_of_another_tenant_is_refused_whole(tenants: Tenants) -> None:
    ts = "2026-01-09T22:00:00Z"
    rows = [
        {"id": f"w{n}", "ts": ts, "domain": domain, "features": {"age": 1}, "score": 0.5}
        for n, domain in enumerate(["minedom", "mine too", "theirsib"])
    ]
    body = {"model": "credit", "events": rows}
    refused = tenants.ask("ingest bound", "POST", "/v1/events", body)
    assert refused.status_code == 404
    assert refused.json() == {"error": "no domain 'theirsib'", "hint": "this token has: mine*"}
    taken = tenants.ask("ingest bound", "POST", "/v1/events", {**body, "events": rows[:2]})
    assert (taken.status_code, taken.json()["accepted"]) == (202, 2)


def test_tokens_are_made_and_revoked_over_http_and_end_at_once(tmp_path: Path) -> None:
    with two_tenants(tmp_path) as running:
        wanted = {"name": "dash", "scopes": ["read"], "models": ["credit"], "domains": ["m*"]}
        made = running.ask("admin", "POST", "/v1/tokens", wanted)
        assert made.status_code == 201
        running.tokens["dash"] = made.json()["token"]
        assert made.json()["created_by"] == "admin"
        assert running.ask("dash", "GET", "/v1/models").status_code == 200
        listed = running.ask("admin", "GET", "/v1/tokens")
        assert running.tokens["dash"] not in listed.text
        assert running.tokens["dash"][-20:] not in listed.text
        by_name = {line["name"]: line for line in listed.json()["tokens"]}
        assert by_name["dash"]["last_used_at"] == "2026-01-10T00:00:00Z"
        assert by_name["operate"]["last_used_at"] is None

        identity = made.json()["id"]
        ended = running.ask("admin", "POST", f"/v1/tokens/{identity}/revoke")
        assert (ended.json()["state"], ended.json()["revoked_by"]) == ("revoked", "admin")
        assert running.ask("dash", "GET", "/v1/models").status_code == 401
        assert running.ask("admin", "POST", "/v1/tokens/nothing/revoke").status_code == 404


def test_a_token_revoked_elsewhere_ends_within_a_second(tmp_path: Path) -> None:
    with two_tenants(tmp_path) as running:
        assert running.ask("read", "GET", "/v1/models").status_code == 200
        with running.world.database.write() as session:
            (mine,) = [token for token in list_tokens(session) if token.name == "read"]
            revoke_token(session, mine.id, now=running.world.clock.now(), by="command line")
        running.world.clock.instant += timedelta(seconds=1)
        assert running.ask("read", "GET", "/v1/models").status_code == 401


def test_an_expired_token_is_nobody(tmp_path: Path) -> None:
    with two_tenants(tmp_path) as running:
        at = (running.world.clock.now() + timedelta(hours=1)).isoformat()
        wanted = {"name": "short", "scopes": ["read"], "expires_at": at}
        running.tokens["short"] = running.ask("admin", "POST", "/v1/tokens", wanted).json()["token"]
        assert running.ask("short", "GET", "/v1/models").status_code == 200
        running.world.clock.instant += timedelta(hours=1)
        assert running.ask("short", "GET", "/v1/models").status_code == 401


def test_once_a_token_was_made_nobody_comes_in_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And revoking the last one does not open the door again."""
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    with world(tmp_path) as running:
        assert running.get("/v1/models").status_code == 200
        made = running.post("/v1/tokens", {"name": "first", "scopes": ["admin"]}).json()
        assert running.get("/v1/models").status_code == 401
        shown = {"authorization": f"Bearer {made['token']}"}
        ended = running.client.post(f"/v1/tokens/{made['id']}/revoke", headers=shown)
        assert ended.json()["state"] == "revoked"
        assert running.get("/v1/models").status_code == 401


def test_a_token_that_asks_too_often_has_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDGE_SERVICE__REQUESTS_PER_MINUTE", "60")
    with two_tenants(tmp_path) as running:
        asked = [running.ask("read", "GET", "/v1/models") for _ in range(12)]
        assert [reply.status_code for reply in asked] == [200] * 10 + [429] * 2
        assert asked[-1].headers["retry-after"] == "1"
        assert running.ask("operate", "GET", "/v1/models").status_code == 200
        running.world.clock.instant += timedelta(seconds=1)
        assert running.ask("read", "GET", "/v1/models").status_code == 200
        assert running.ask("read", "GET", "/v1/models").status_code == 429


def test_wrong_tokens_are_answered_so_many_times(tmp_path: Path) -> None:
    with two_tenants(tmp_path) as running:
        running.tokens["wrong"] = "kdg_aaaaaaaaaaaa_wrong"
        statuses = [running.ask("wrong", "GET", "/v1/models").status_code for _ in range(120)]
        assert statuses == [401] * 100 + [429] * 20
        assert running.ask("read", "GET", "/v1/models").status_code == 200
