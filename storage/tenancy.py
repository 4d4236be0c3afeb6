"""Who may see which deployments, held at the session: a query that forgets to ask cannot leak.

A `Tenant` names models and domains. `fence(session, tenant)` narrows every SELECT of the session
to rows of those, whatever function asks. A table that belongs to nobody's model is closed to a
tenant, so a new one has to be let in on purpose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, event, false, or_, select, true
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from storage.tables import (
    AttemptRow,
    Base,
    DeliveryRow,
    GroupMemberRow,
    HeldRow,
    IncidentChangeRow,
    IncidentRow,
    MessageRow,
    ModelRow,
    ReferenceChunkRow,
    ReferenceProfileRow,
    ReferenceRow,
    RetrainingChangeRow,
    RetrainingRow,
)

PARENTS: dict[type[Any], tuple[str, type[Any], str]] = {
    AttemptRow: ("message_id", MessageRow, "id"),
    DeliveryRow: ("message_id", MessageRow, "id"),
    GroupMemberRow: ("incident_id", IncidentRow, "id"),
    HeldRow: ("incident_id", IncidentRow, "id"),
    IncidentChangeRow: ("incident_id", IncidentRow, "id"),
    ReferenceChunkRow: ("reference_id", ReferenceRow, "id"),
    ReferenceProfileRow: ("reference_id", ReferenceRow, "id"),
    RetrainingChangeRow: ("request_id", RetrainingRow, "id"),
}
"""Rows that belong to a deployment through another row."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Models and domains by exact name, or by a pattern in which `*` stands for any text.

    An empty tuple sets no bound. Other signs mean themselves.
    """

    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def is_bound(self) -> bool:
        """Whether there is anything it may not see."""
        return bool(self.models or self.domains)

    def has_model(self, model: str) -> bool:
        """Whether the model is one of its own, in some domain at least."""
        return _fits(model, self.models)

    def has_domain(self, domain: str) -> bool:
        """Whether a domain of its models is one of its own."""
        return _fits(domain, self.domains)

    def has(self, model: str, domain: str) -> bool:
        """Whether a deployment is one of its own."""
        return self.has_model(model) and self.has_domain(domain)


EVERYTHING = Tenant()


def fence(session: Session, tenant: Tenant) -> None:
    """From now on this session finds only what belongs to the tenant; writes are not touched."""
    if not tenant.is_bound:
        return
    criteria = _criteria(session.get_bind().dialect.name, tenant)

    def narrow(state: ORMExecuteState) -> None:
        if state.is_select:
            state.statement = state.statement.options(*criteria)

    event.listen(session, "do_orm_execute", narrow)


@lru_cache(maxsize=256)
def _criteria(dialect: str, tenant: Tenant) -> tuple[Any, ...]:
    rows = [mapper.class_ for mapper in Base.registry.mappers]
    return tuple(
        with_loader_criteria(row, _condition(row, dialect, tenant), include_aliases=True)
        for row in rows
    )


def _condition(row: Any, dialect: str, tenant: Tenant) -> ColumnElement[bool]:
    if row is ModelRow:
        return _among(row.name, tenant.models, dialect)
    if row in PARENTS:
        column, parent, key = PARENTS[row]
        # An alias: the query around it may join the same table, and is not meant.
        own = parent.__table__.alias()
        wanted = select(own.c[key]).where(_of_tenant(own.c, dialect, tenant))
        inside: ColumnElement[bool] = getattr(row, column).in_(wanted)
        return inside
    named = {key: getattr(row, key) for key in ("model", "domain") if key in row.__table__.c}
    return _of_tenant(named, dialect, tenant) if "model" in named else false()


def _of_tenant(columns: Any, dialect: str, tenant: Tenant) -> ColumnElement[bool]:
    models = _among(columns["model"], tenant.models, dialect)
    if "domain" not in columns:
        return models
    # No domain means every domain of the model: its own too.
    every = columns["domain"] == ""
    return and_(models, or_(_among(columns["domain"], tenant.domains, dialect), every))


def _among(column: Any, patterns: tuple[str, ...], dialect: str) -> ColumnElement[bool]:
    if not patterns:
        return true()
    exact = [pattern for pattern in patterns if "*" not in pattern]
    wild = [pattern for pattern in patterns if "*" in pattern]
    return or_(column.in_(exact), *(_like(column, pattern, dialect) for pattern in wild))


def _like(column: Any, pattern: str, dialect: str) -> ColumnElement[bool]:
    """The pattern in the dialect's own words; SQLite's LIKE would not tell a from A."""
    if dialect == "sqlite":
        return column.op("GLOB")(re.sub(r"([\[?])", r"[\1]", pattern))  # type: ignore[no-any-return]
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern).replace("*", "%")
    return column.like(escaped, escape="\\")  # type: ignore[no-any-return]


def _fits(text: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(_matches(text, pattern) for pattern in patterns)


def _matches(text: str, pattern: str) -> bool:
    """`*` stands for any text. Linear in both, whatever a hostile name looks like."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    if not text.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(rest[-1]) and text.endswith(rest[-1])
