"""Segments by the week they came, on PostgreSQL: made ahead, and dropped whole when all are old.

Dropping a table gives its room back at once and leaves nothing to vacuum. The week is that of
arrival, not of the event: it is always known ahead, and a history of years that is sent in on
one day needs no partition of its own. Rows of a week nobody made a partition for (a clock that
stands wrong) go to `segments_rest` and are deleted one by one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from detectors.records import to_us
from storage.engine import Database

WEEK = timedelta(days=7)
AHEAD = 5
"""Weeks made ahead: a daemon may be down for a month and still find its partition."""

REST = "segments_rest"
_IMPATIENCE = "SET LOCAL lock_timeout = '400ms'"
"""Waiting for a long reader would make everybody else wait behind us; we come again in an hour."""


def make_partitions(database: Database, now: datetime, *, ahead: int = AHEAD) -> int:
    """Make the partitions of a week and the next ones; how many were new. SQLite has none.

    One that cannot be made now (its rows lie elsewhere already, or the table is busy) is left
    out without harm: its rows go to the rest.
    """
    if database.is_sqlite:
        return 0
    with database.read() as session:
        have = partition_names(session)
    monday = _monday(now)
    made = 0
    for number in range(ahead + 1):
        start = monday + number * WEEK
        if _name(start) in have:
            continue
        try:
            with database.write() as session:
                session.execute(text(_IMPATIENCE))
                session.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {_name(start)} PARTITION OF segments "
                        f"FOR VALUES FROM ('{start.isoformat()}') "
                        f"TO ('{(start + WEEK).isoformat()}')"
                    )
                )
            made += 1
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") not in {"42P17", "23514", "55P03", "42P07"}:
                raise
    return made


def partition_names(session: Session) -> tuple[str, ...]:
    """The partitions of segments by name, oldest first as names go; () on SQLite."""
    if session.get_bind().dialect.name == "sqlite":
        return ()
    query = text(
        "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
        "WHERE inhparent = 'segments'::regclass ORDER BY child.relname"
    )
    return tuple(session.scalars(query))


def drop_old_partitions(database: Database, *, now: datetime, raw: timedelta) -> tuple[int, int]:
    """Drop every partition of past weeks in which each row is older than `raw`.

    Age is event time, counted back from the latest event of the row's own model (a latest event
    in the future counts as `now`). Returns partitions and segments that went.
    """
    if database.is_sqlite:
        return 0, 0
    with database.read() as session:
        names = [name for name in partition_names(session) if name != REST]
    this_week = _name(_monday(now))
    dropped = rows = 0
    for name in names:
        if name != "segments_before" and name >= this_week:
            continue
        if (gone := _drop(database, name, now, raw)) is not None:
            dropped, rows = dropped + 1, rows + gone
    return dropped, rows


def _drop(database: Database, name: str, now: datetime, raw: timedelta) -> int | None:
    """The segments that went with a partition; None where it has to stay for now."""
    still = text(
        f"SELECT count(*), count(*) FILTER (WHERE s.until_us >= "  # noqa: S608  # our own names
        f"least(:now_us, m.latest_event_us) - :raw_us) FROM {name} s "
        "JOIN models m ON m.name = s.model"
    )
    given = {"now_us": to_us(now), "raw_us": raw // timedelta(microseconds=1)}
    with database.read() as session:  # most partitions stay; see so without locking anything
        if session.execute(still, given).one()[1]:
            return None
    try:
        with database.write() as session:
            session.execute(text(_IMPATIENCE))
            # In the order ingest takes them: model first.
            session.execute(text("LOCK TABLE models, segments IN ACCESS EXCLUSIVE MODE"))
            rows, young = session.execute(still, given).one()
            if young:
                return None
            session.execute(text(f"DROP TABLE {name}"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") not in {"55P03", "42P01"}:
            raise
        return None
    return int(rows)


def _monday(now: datetime) -> datetime:
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _name(start: datetime) -> str:
    return f"segments_{start:%Y%m%d}"
