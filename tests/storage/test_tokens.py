"""Tokens: shown once, kept as hashes, live until they expire or are revoked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from storage.engine import Database
from storage.tables import Base
from storage.tenancy import EVERYTHING, Tenant
from storage.tokens import (
    IMPLIED,
    Scope,
    Token,
    TokenError,
    UnknownTokenError,
    any_live_token,
    any_token,
    close_browser_session,
    create_token,
    find_browser_session,
    find_token,
    get_token,
    list_tokens,
    note_use,
    open_browser_session,
    parse_token,
    revoke_token,
)
from tests.monitor.serving import NOW

DAY = timedelta(days=1)


def make(database: Database, *scopes: Scope, tenant: Tenant = EVERYTHING) -> tuple[Token, str]:
    with database.write() as session:
        return create_token(
            session,
            name="ann",
            scopes=scopes or (Scope.READ,),
            tenant=tenant,
            now=NOW,
            by="root",
            expires_at=NOW + DAY,
        )


def found(database: Database, shown: str, at: timedelta = timedelta(0)) -> Token | None:
    with database.read() as session:
        return find_token(session, shown, NOW + at)


def test_a_token_is_found_by_its_text_and_comes_back_as_it_was_made(database: Database) -> None:
    made, shown = make(database, Scope.INGEST, Scope.READ, tenant=Tenant(("credit",), ("n*",)))
    assert shown.startswith(f"kdg_{made.id}_")
    assert found(database, shown) == made
    assert made.tenant == Tenant(("credit",), ("n*",))
    with database.read() as session:
        assert list_tokens(session) == (made,)


def test_whatever_is_not_exactly_the_token_is_nobody(database: Database) -> None:
    made, shown = make(database)
    secret = shown.removeprefix(f"kdg_{made.id}_")
    other, other_shown = make(database)
    wrong = [
        "",
        "kdg",
        "kdg_",
        f"kdg_{made.id}",
        f"kdg_{made.id}_",
        f"kdg_{made.id}_{secret[:-1]}",
        f"kdg_{made.id}_{secret}x",
        f"kdg_{made.id}_{secret.swapcase()}",
        f"KDG_{made.id}_{secret}",
        f"kdg_{made.id.upper()}_{secret}",
        f"kdg_{other.id}_{secret}",
        f"kdg_{'a' * 12}_{secret}",
        f"kdg_%_{secret}",
        f"kdg_{made.id}_\udcff",
        f"kdg_{made.id}_" + "x" * 1_000_000,
        secret,
        shown + "\x00",
    ]
    assert [text for text in wrong if found(database, text) is not None] == []
    assert found(database, other_shown) == other


def test_a_token_ends_at_its_expiry_and_at_once_when_it_is_revoked(database: Database) -> None:
    made, shown = make(database)
    assert found(database, shown, DAY - timedelta(seconds=1)) == made
    assert found(database, shown, DAY) is None
    with database.write() as session:
        assert revoke_token(session, made.id, now=NOW, by="bob")
        assert not revoke_token(session, made.id, now=NOW + DAY, by="eve")
        with pytest.raises(UnknownTokenError):
            revoke_token(session, "nothing", now=NOW, by="bob")
    assert found(database, shown) is None
    with database.read() as session:
        ended = get_token(session, made.id)
        assert (ended.revoked_at, ended.revoked_by) == (NOW, "bob")
        assert any_token(session)
        assert not any_live_token(session, NOW)


def test_a_dump_of_the_database_holds_no_secret(database: Database) -> None:
    """Every cell of every table, as text: neither the token nor the cookie stands anywhere."""
    made, shown = make(database)
    with database.write() as session:
        cookie = open_browser_session(session, token_id=made.id, proof="", now=NOW, lasts=DAY)
    secret = shown.rpartition(f"{made.id}_")[2]
    dump = ""
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(text(f'SELECT * FROM "{table.name}"')):
                dump += repr(tuple(row))
    assert made.id in dump
    assert secret not in dump
    assert secret[:16] not in dump
    assert cookie not in dump


def test_secrets_differ_and_are_long(database: Database) -> None:
    shown = {make(database)[1] for _ in range(50)}
    parsed = [parse_token(one) for one in shown]
    assert len({one[1] for one in parsed if one is not None}) == 50
    assert all(one is not None and len(one[1]) == 43 for one in parsed)  # 256 bits in base64


def test_what_a_scope_includes() -> None:
    """Written out: only admin includes another kind of deed than its own."""
    included = {scope.value: {one.value for one in IMPLIED[scope]} for scope in Scope}
    assert included == {
        "ingest": {"ingest"},
        "read": {"read"},
        "operate": {"operate", "read"},
        "admin": {"ingest", "read", "operate", "admin"},
    }


def test_a_token_that_makes_no_sense_is_refused(database: Database) -> None:
    with database.write() as session:
        for scopes, tenant, expires_at, told in [
            ((), EVERYTHING, None, "needs a scope"),
            ((Scope.ADMIN,), Tenant(("credit",)), None, "cannot be bound"),
            ((Scope.READ,), EVERYTHING, NOW, "expired already"),
        ]:
            with pytest.raises(TokenError, match=told):
                create_token(
                    session,
                    name="x",
                    scopes=scopes,
                    tenant=tenant,
                    now=NOW,
                    by="",
                    expires_at=expires_at,
                )


def test_the_last_use_is_kept_to_the_minute(database: Database) -> None:
    made, _ = make(database)
    for seconds, noted in [(0, 0), (30, 0), (59, 0), (60, 60), (61, 60)]:
        with database.write() as session:
            note_use(session, made.id, NOW + timedelta(seconds=seconds))
        with database.read() as session:
            assert get_token(session, made.id).last_used_at == NOW + timedelta(seconds=noted)


def test_a_browser_session_ends_by_time_by_logging_out_and_with_its_token(
    database: Database,
) -> None:
    made, _ = make(database)
    with database.write() as session:
        kept, left, late = (
            open_browser_session(session, token_id=made.id, proof="", now=NOW, lasts=lasts)
            for lasts in (DAY, DAY, timedelta(hours=1))
        )
        close_browser_session(session, left)
    with database.read() as session:
        assert find_browser_session(session, kept, NOW) == (made.id, "")
        assert find_browser_session(session, left, NOW) is None
        assert find_browser_session(session, late, NOW + timedelta(hours=1)) is None
        assert find_browser_session(session, "", NOW) is None
    with database.write() as session:
        revoke_token(session, made.id, now=NOW, by="")
        assert find_browser_session(session, kept, NOW) is None
