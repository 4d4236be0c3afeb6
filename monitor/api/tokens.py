"""Tokens over HTTP, for admins: make, list, revoke."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from monitor.api.access import asking, needs
from monitor.api.context import ApiContext
from monitor.api.door import Door
from monitor.api.errors import RequestRefusedError
from monitor.api.forms import moment
from monitor.api.problems import PROBLEMS
from monitor.api.shapes import Name
from monitor.reports.forms import iso
from storage.tenancy import Tenant
from storage.tokens import (
    Scope,
    Token,
    TokenError,
    UnknownTokenError,
    create_token,
    get_token,
    list_tokens,
    revoke_token,
)

log = structlog.get_logger(__name__)

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
TokenId = Annotated[str, Path(max_length=100)]


class TokenShape(BaseModel):
    """A token without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    models: list[str] = Field(description="Names or patterns with *; empty: every model")
    domains: list[str] = Field(description="Names or patterns with *; empty: every domain")
    state: str = Field(description="live, expired, revoked")
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None = Field(description="To the minute")


class TokenList(BaseModel):
    tokens: list[TokenShape]


class NewToken(BaseModel):
    """What a token is for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "scorer", "scopes": ["ingest"]}}
    )

    name: Name = Field(description="Who or what uses it; stands in histories as the author")
    scopes: list[Scope] = Field(min_length=1, max_length=4)
    models: list[Pattern] = Field(default=[], max_length=100)
    domains: list[Pattern] = Field(default=[], max_length=100)
    expires_at: AwareDatetime | None = None


class MadeToken(TokenShape):
    """A new token; nothing can show its text again."""

    token: str


def tokens_router(context: ApiContext, door: Door) -> APIRouter:
    """Routes that decide who may come in."""
    router = APIRouter(
        prefix="/v1/tokens",
        responses=PROBLEMS,
        tags=["tokens"],
        dependencies=[needs(Scope.ADMIN)],
    )

    @router.get("", response_model=TokenList)
    def tokens() -> dict[str, Any]:
        """Every token that was ever made, without secrets, the newest first."""
        with context.database.read() as session:
            found = list_tokens(session)
        now = context.clock.now()
        return {"tokens": [token_json(token, now) for token in found]}

    @router.post("", response_model=MadeToken, status_code=201)
    def make(body: NewToken) -> dict[str, Any]:
        """Make a token. The reply is the only place its text ever stands."""
        now = context.clock.now()
        try:
            with context.database.write() as session:
                token, text = create_token(
                    session,
                    name=body.name,
                    scopes=body.scopes,
                    tenant=Tenant(tuple(body.models), tuple(body.domains)),
                    now=now,
                    by=asking().name,
                    expires_at=body.expires_at,
                )
        except TokenError as error:
            what, _, hint = str(error).partition("; ")
            raise RequestRefusedError(422, what, hint) from error
        door.forget()
        log.info("token.made", id=token.id, name=token.name, scopes=sorted(token.scopes))
        return {**token_json(token, now), "token": text}

    @router.post("/{token_id}/revoke", response_model=TokenShape)
    def revoke(token_id: TokenId) -> dict[str, Any]:
        """End a token and the browser sessions that began with it. Twice is once."""
        now = context.clock.now()
        try:
            with context.database.write() as session:
                revoke_token(session, token_id, now=now, by=asking().name)
                token = get_token(session, token_id)
        except UnknownTokenError as error:
            hint = "GET /v1/tokens lists them"
            raise RequestRefusedError(404, "no token has this id", hint) from error
        door.forget()
        log.info("token.revoked", id=token.id, name=token.name)
        return token_json(token, now)

    return router


def token_json(token: Token, now: datetime) -> dict[str, Any]:
    """A token as it is shown."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "models": list(token.tenant.models),
        "domains": list(token.tenant.domains),
        "state": state_of(token, now),
        "created_at": iso(token.created_at),
        "created_by": token.created_by,
        "expires_at": moment(token.expires_at),
        "revoked_at": moment(token.revoked_at),
        "revoked_by": token.revoked_by or None,
        "last_used_at": moment(token.last_used_at),
    }


def state_of(token: Token, now: datetime) -> str:
    """Live, expired or revoked."""
    if token.revoked_at is not None:
        return "revoked"
    return "live" if token.is_live(now) else "expired"
