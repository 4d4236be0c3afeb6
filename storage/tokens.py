"""Tokens and browser sessions. Only hashes of their secrets are kept: a dump lets nobody in.

A secret is 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slow hash
would protect. Made here, and shown once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from storage.engine import rows_changed
from storage.tables import BrowserSessionRow, TokenRow
from storage.tenancy import Tenant

ID_CHARACTERS = 12
SECRET_BYTES = 32
USE_NOTED_EVERY = timedelta(minutes=1)
_ID_ALPHABET = string.ascii_lowercase + string.digits
_NO_HASH = "0" * 64


class Scope(StrEnum):
    """What a token lets its holder do. `operate` includes `read`, `admin` everything."""

    INGEST = "ingest"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


IMPLIED: dict[Scope, frozenset[Scope]] = {
    Scope.INGEST: frozenset({Scope.INGEST}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.OPERATE: frozenset({Scope.OPERATE, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


class UnknownTokenError(LookupError):
    """No token has this id."""


class TokenError(ValueError):
    """A token that cannot be made as asked."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret. `expires_at` None: never."""

    id: str
    name: str
    scopes: frozenset[Scope]
    tenant: Tenant
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""
    last_used_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def may(self, scope: Scope) -> bool:
        """Whether one of its scopes is this one or includes it."""
        return any(scope in IMPLIED[own] for own in self.scopes)


def create_token(
    session: Session,
    *,
    name: str,
    scopes: Iterable[Scope],
    tenant: Tenant,
    now: datetime,
    by: str,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """A new token and the text that shows it, `kdg_<id>_<secret>`: the only time it is known.

    Raises:
        TokenError: no scope, an admin with bounds, or an expiry that is over.
    """
    wanted = frozenset(scopes)
    if not wanted:
        msg = f"a token needs a scope; give one or more of {', '.join(Scope)}"
        raise TokenError(msg)
    if Scope.ADMIN in wanted and tenant.is_bound:
        msg = "an admin token cannot be bound to models or domains; it could make one that is not"
        raise TokenError(msg)
    if expires_at is not None and expires_at <= now:
        msg = "the token would have expired already; give a later time"
        raise TokenError(msg)
    identity = "".join(secrets.choice(_ID_ALPHABET) for _ in range(ID_CHARACTERS))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    row = TokenRow(
        id=identity,
        name=name,
        secret_hash=hashed(secret),
        scopes=sorted(wanted),
        models=list(tenant.models),
        domains=list(tenant.domains),
        created_at=now,
        created_by=by,
        expires_at=expires_at,
        revoked_by="",
    )
    session.add(row)
    session.flush()
    return _token(row), f"kdg_{identity}_{secret}"


def parse_token(text: str) -> tuple[str, str] | None:
    """Id and secret of a text that looks like a token, else None."""
    prefix, _, rest = text.partition("_")
    identity, _, secret = rest.partition("_")
    if prefix != "kdg" or len(identity) != ID_CHARACTERS or not secret or len(secret) > 100:
        return None
    return identity, secret


def find_token(session: Session, text: str, now: datetime) -> Token | None:
    """The live token that this text shows, or None: unknown, wrong, revoked and expired alike."""
    parsed = parse_token(text)
    if parsed is None:
        return None
    identity, secret = parsed
    row = session.get(TokenRow, identity)
    same = hmac.compare_digest(hashed(secret), row.secret_hash if row is not None else _NO_HASH)
    if row is None or not same:
        return None
    token = _token(row)
    return token if token.is_live(now) else None


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def get_token(session: Session, token_id: str) -> Token:
    """A token by its id. UnknownTokenError if there is none."""
    row = session.get(TokenRow, token_id)
    if row is None:
        raise UnknownTokenError(token_id)
    return _token(row)


def list_tokens(session: Session) -> tuple[Token, ...]:
    """Every token that was ever made, the newest first."""
    query = select(TokenRow).order_by(TokenRow.created_at.desc(), TokenRow.id)
    return tuple(_token(row) for row in session.scalars(query))


def any_token(session: Session) -> bool:
    """Whether a token was ever made. Revoking the last one must not open the door again."""
    return session.scalar(select(TokenRow.id).limit(1)) is not None


def any_live_token(session: Session, now: datetime) -> bool:
    """Whether somebody can come in with a token of the database."""
    alive = or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > now)
    query = select(TokenRow.id).where(TokenRow.revoked_at.is_(None), alive).limit(1)
    return session.scalar(query) is not None


def revoke_token(session: Session, token_id: str, *, now: datetime, by: str) -> bool:
    """End a token and its browser sessions; False if it was revoked before.

    Raises:
        UnknownTokenError: no token has this id.
    """
    if session.get(TokenRow, token_id) is None:
        raise UnknownTokenError(token_id)
    session.execute(delete(BrowserSessionRow).where(BrowserSessionRow.token_id == token_id))
    statement = (
        update(TokenRow)
        .where(TokenRow.id == token_id, TokenRow.revoked_at.is_(None))
        .values(revoked_at=now, revoked_by=by)
    )
    return rows_changed(session, statement) == 1


def note_use(session: Session, token_id: str, now: datetime) -> None:
    """Remember when a token was last used, to the minute."""
    stale = or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at <= now - USE_NOTED_EVERY)
    session.execute(update(TokenRow).where(TokenRow.id == token_id, stale).values(last_used_at=now))


# ---- browser sessions


def open_browser_session(
    session: Session, *, token_id: str, proof: str, now: datetime, lasts: timedelta
) -> str:
    """The secret of a new browser session, for a cookie. Those that are over are deleted.

    `token_id` is "" for the shared token, whose hash is the `proof`: another shared token ends it.
    """
    session.execute(delete(BrowserSessionRow).where(BrowserSessionRow.expires_at <= now))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    session.add(
        BrowserSessionRow(
            secret_hash=hashed(secret),
            token_id=token_id,
            proof=proof,
            created_at=now,
            expires_at=now + lasts,
        )
    )
    return secret


def find_browser_session(session: Session, secret: str, now: datetime) -> tuple[str, str] | None:
    """Token id and proof of a browser session that is not over, else None.

    It is found by the hash of 256 random bits, so how long the look-up takes tells nothing.
    """
    row = session.get(BrowserSessionRow, hashed(secret))
    return None if row is None or row.expires_at <= now else (row.token_id, row.proof)


def close_browser_session(session: Session, secret: str) -> None:
    """Log out."""
    session.execute(
        delete(BrowserSessionRow).where(BrowserSessionRow.secret_hash == hashed(secret))
    )


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        scopes=frozenset(Scope(scope) for scope in row.scopes),
        tenant=Tenant(tuple(row.models), tuple(row.domains)),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        last_used_at=row.last_used_at,
    )
