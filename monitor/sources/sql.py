"""A SQL prediction log: a query, and a column that only grows.

Reading goes on from the last value seen of that column, that value included: rows that share it
may have come since, and those read before are repeats that change nothing. The log must give
rows their watermark in the order in which they become visible; a row committed late under an
older watermark is not seen (let the query lag, or use a commit timestamp).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from sqlalchemy import Engine, TextClause, create_engine, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from monitor.errors import did_you_mean, shortened
from monitor.sources.base import Portion, SourceError
from monitor.sources.columns import as_contract

PORTION_ROWS = 20_000


@dataclass(slots=True)
class SqlSource:
    """Rows of `query` in the order of `watermark_column`.

    The query may bind `:watermark` itself, as in `… WHERE updated_at >= :watermark`; then
    `start` is bound the first time. Without it, the filter is put around the query.
    """

    url: str
    query: str
    watermark_column: str
    start: Any = "1970-01-01 00:00:00"
    columns: Mapping[str, str] = field(default_factory=dict)
    domain: str | None = None
    labels: bool = False
    _engine: Engine | None = field(default=None, repr=False)

    def read(self, position: Any, now: datetime) -> Iterator[Portion]:
        """Rows from the stored watermark on."""
        del now  # a log has no clock of its own
        watermark = _from_json(position["watermark"]) if position else None
        engine = self._open()
        try:
            with engine.connect() as connection:
                connection = connection.execution_options(stream_results=True)
                statement, bound = self._statement(engine, watermark)
                result = connection.execute(statement, bound)
                names = list(result.keys())
                place = self._watermark_place(names)
                reached = watermark
                for rows in result.partitions(PORTION_ROWS):
                    table = _table(names, rows)
                    seen = [row[place] for row in rows]
                    if any(value is None for value in seen):
                        msg = f"{self.watermark_column} is null in a row; every row needs a value"
                        raise SourceError(msg)
                    # Until the next portion shows that the last value is complete, stay before it.
                    whole = [value for value in seen if value != seen[-1]]
                    reached = whole[-1] if whole else reached
                    yield self._portion(table, reached if len(rows) == PORTION_ROWS else seen[-1])
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            line = str(cause).splitlines()[0][:200]
            msg = f"{engine.url.render_as_string(hide_password=True)}: {line}; check the query"
            raise SourceError(msg) from error

    def _portion(self, table: pa.Table, reached: Any) -> Portion:
        what = f"the query for {self.watermark_column}"
        if self.watermark_column not in {*self.columns.values(), *_CONTRACT_TIMES}:
            table = table.drop_columns([self.watermark_column])
        contract = as_contract(
            table, self.columns, domain=self.domain, labels=self.labels, what=what
        )
        position = {} if reached is None else {"watermark": _to_json(reached)}
        return Portion(contract, position, what)

    def _open(self) -> Engine:
        if self._engine is None:
            try:
                self._engine = create_engine(self.url, pool_pre_ping=True, hide_parameters=True)
            except (ArgumentError, ValueError):  # their words may quote the password
                msg = "not a database URL; use sqlite:///file.db, and %40 for an @ in a password"
                raise SourceError(msg) from None
            except ModuleNotFoundError as error:
                msg = f"not a database URL that can be opened ({error}); use sqlite:///file.db"
                raise SourceError(msg) from error
        return self._engine

    def _statement(self, engine: Engine, watermark: Any) -> tuple[TextClause, dict[str, Any]]:
        quoted = engine.dialect.identifier_preparer.quote(self.watermark_column)
        inner = self.query.strip().rstrip(";")
        own_filter = ":watermark" in inner
        bound: dict[str, Any] = {}
        where = ""
        if own_filter:
            bound = {"watermark": self.start if watermark is None else watermark}
        elif watermark is not None:
            where, bound = f" WHERE {quoted} >= :watermark", {"watermark": watermark}
        # The query is the operator's own configuration; what varies is bound.
        wrapped = f"SELECT * FROM ({inner}) AS kedge_log{where} ORDER BY {quoted}"  # noqa: S608
        return text(wrapped), bound

    def _watermark_place(self, names: Sequence[str]) -> int:
        if self.watermark_column in names:
            return names.index(self.watermark_column)
        msg = (
            f"the query has no column '{self.watermark_column}'; it has {shortened(names)}."
            f"{did_you_mean(self.watermark_column, names)}"
        )
        raise SourceError(msg)


_CONTRACT_TIMES = ("ts", "timestamp", "event_time", "event_timestamp", "label_ts", "id")


def _table(names: Sequence[str], rows: Sequence[Any]) -> pa.Table:
    """Rows as columns; what Arrow has no one type for becomes text."""
    columns = [_array(column) for column in zip(*rows, strict=True)]
    return pa.Table.from_arrays(columns, names=list(names))


def _array(column: Sequence[Any]) -> pa.Array:
    if any(isinstance(value, Decimal) for value in column):
        column = [float(value) if isinstance(value, Decimal) else value for value in column]
    try:
        return pa.array(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in column], pa.string())


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, str | int | float):
        return value
    msg = f"a watermark of type {type(value).__name__}; use a number, text or time"
    raise SourceError(msg)


def _from_json(value: Any) -> Any:
    match value:
        case {"datetime": str(written)}:
            return datetime.fromisoformat(written)
        case {"date": str(written)}:
            return date.fromisoformat(written)
        case {"decimal": str(written)}:
            return Decimal(written)
        case _:
            return value
