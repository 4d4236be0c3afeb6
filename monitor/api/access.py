"""Who asks, and what they may: the principal of a request, and the scope every route declares.

The guard finds out who asks and notes it for the length of the request. Three things read it: the
scope check that stands before every route, the sessions of `fenced`, which find only what belongs
to the tenant, and the field that says who did something. No route has to remember any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.params import Depends as Dependency
from fastapi.routing import iter_route_contexts
from sqlalchemy.orm import Session

from monitor.api.errors import RequestRefusedError
from storage.engine import Database
from storage.tenancy import EVERYTHING, Tenant, fence
from storage.tokens import IMPLIED, Scope

OPEN = None
"""The scope of a route that anybody may ask."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks. `name` "" is a person at this machine who showed no token.

    `token_id` is "" for the shared token and for nobody; `by_cookie` where a browser showed it.
    """

    name: str = ""
    scopes: frozenset[Scope] = frozenset()
    tenant: Tenant = EVERYTHING
    token_id: str = ""
    by_cookie: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether one of its scopes is this one or includes it."""
        return any(scope in IMPLIED[own] for own in self.scopes)


ANYBODY = Principal()
"""May ask only what is open to all."""
SOMEBODY_HERE = Principal(scopes=frozenset({Scope.ADMIN}))
"""Whoever sits at this machine, where no token was ever made."""

_asking: ContextVar[Principal] = ContextVar("kedge_principal", default=ANYBODY)


def asking() -> Principal:
    """Who asks in this request."""
    return _asking.get()


@contextmanager
def as_principal(principal: Principal) -> Iterator[None]:
    """Everything inside is asked by this principal, worker threads of the routes included."""
    before = _asking.set(principal)
    try:
        yield
    finally:
        _asking.reset(before)


class Needs:
    """A dependency that does nothing but say which scope a route needs."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self) -> None:
        """The check is `authorise`, which sees routes that declare nothing too."""


def needs(scope: Scope | None) -> Any:
    """For `dependencies=[…]` of a router or a route; declared twice, both must hold.

    `OPEN` lets everybody in. A route that declares nothing is for admins only, and fails a test.
    """
    return Depends(Needs(scope))


def declared_scopes(app: FastAPI) -> Iterator[tuple[Any, list[Scope | None]]]:
    """Every route of an application with what it declares."""
    for route in iter_route_contexts(app.routes):
        found: list[Any] = list(getattr(route, "dependencies", None) or ())
        declared = [each.dependency for each in found if isinstance(each, Dependency)]
        yield route, [each.scope for each in declared if isinstance(each, Needs)]


def install_scopes(app: FastAPI) -> None:
    """Work out once what every route needs; call it when all routes are there."""
    required: dict[int, frozenset[Scope]] = {}
    for route, scopes in declared_scopes(app):
        wanted = frozenset(scope for scope in scopes if scope is not None)
        required[id(route.original_route)] = wanted if scopes else frozenset({Scope.ADMIN})
    app.state.required_scopes = required


async def authorise(request: Request) -> None:
    """The one check before every route: 403 for a known caller without the scope."""
    required: dict[int, frozenset[Scope]] = request.app.state.required_scopes
    principal = asking()
    route = request.scope.get("route")
    for scope in sorted(required.get(id(route), frozenset({Scope.ADMIN}))):
        if not principal.may(scope):
            has = ", ".join(sorted(principal.scopes)) or "none"
            raise RequestRefusedError(
                403,
                f"this needs a token with the scope {scope}; this one has {has}",
                "`kedge token create` makes one",
            )


def refuse_bound(what: str, *, only_to_domains: bool = False) -> None:
    """403 for a principal that holds only some models or domains, where a deed is about all."""
    tenant = asking().tenant
    if tenant.domains if only_to_domains else tenant.is_bound:
        raise RequestRefusedError(
            403, f"{what}, and this token is bound to some", "use a token without bounds"
        )


def author(given: str | None) -> str:
    """Who did something: the token's name; what was given only where no token is in use.

    Raises:
        ValueError: nobody is named.
    """
    name = asking().name or given
    if not name:
        msg = "say who does this: without a token nobody else can"
        raise ValueError(msg)
    return name


class FencedDatabase(Database):
    """The same database; what its sessions find belongs to the tenant of the request."""

    def __init__(self, inner: Database) -> None:
        self.__dict__ = inner.__dict__

    @contextmanager
    def write(self) -> Iterator[Session]:
        with super().write() as session:
            fence(session, asking().tenant)
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        with super().read() as session:
            fence(session, asking().tenant)
            yield session
