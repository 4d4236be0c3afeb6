"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

Serial = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit key the database counts up; SQLite only does so for INTEGER."""


class UtcDateTime(TypeDecorator[datetime]):
    """An instant, kept in UTC and given back aware.

    SQLite has no time zones and would drop them without a word, so an instant is turned to UTC
    on the way in and marked as UTC on the way out. One without a zone is refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"a time without a zone: {value.isoformat()}; make it aware, in UTC"
            raise ValueError(msg)
        instant = value.astimezone(UTC)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """Plain JSON values as text, keys in order, so that equal values are equal bytes.

    NaN and infinities are refused: they are not JSON. Everything outside ASCII is escaped, so
    text PostgreSQL cannot hold (NUL, lone surrogates) still comes back as it went in.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> str | None:
        return None if value is None else to_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any | None:
        return None if value is None else json.loads(value)


def to_json(value: Any) -> str:
    """JSON text of plain values, the same for equal values; ValueError for NaN or infinity."""
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
