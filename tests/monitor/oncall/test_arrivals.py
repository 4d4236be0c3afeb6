"""The job over both databases: learns pauses, opens once, and keeps out of evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from alerts.arrival import ArrivalSettings
from alerts.records import IncidentKind
from alerts.routing import RoutingTable
from alerts.settings import AlertSettings
from detectors.records import DAY_US, Deployment, Tier, to_us
from monitor.oncall.arrivals import look_at_arrivals
from storage.arrivals import label_ticks, load_waits
from storage.deployments import Arrival, note_arrivals, register_model, set_evaluated
from storage.engine import Database
from storage.incidents import list_incidents, open_incidents
from storage.outbox import waiting_count
from storage.summaries import Clock, StoredSummary, save_summaries
from tests.storage.conftest import (  # noqa: F401  # fixtures
    database,
    migrated_postgres,
    migrated_sqlite,
    postgres,
    postgres_url,
    sqlite,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OO = Deployment("flights", "OO")
TABLE = RoutingTable(default={Tier.TICKET: ("desk",)})


def receive(database: Database, at: datetime) -> None:  # noqa: F811
    with database.write() as session:
        register_model(session, "flights", at)
        note_arrivals(session, "flights", [Arrival("OO", 9, 0, to_us(at), to_us(at))], at)


def look(database: Database, now: datetime, up_since: datetime = START) -> int:  # noqa: F811
    return look_at_arrivals(
        database,
        ["flights"],
        lambda _: ArrivalSettings(),
        TABLE,
        AlertSettings(),
        now=now,
        up_since=up_since,
    )


def test_a_source_that_sends_hourly_for_a_week_is_missed_after_two(database: Database) -> None:  # noqa: F811
    at = START
    for hour in range(8 * 24):
        at = START + hour * HOUR
        receive(database, at)
        assert look(database, at + HOUR / 2) == 0
    assert look(database, at + 2 * HOUR) == 0
    assert look(database, at + 2.1 * HOUR) == 1
    assert look(database, at + 20 * HOUR) == 0
    # A daemon that starts now has not heard the silence, and does not take it back either.
    assert look(database, at + 20 * HOUR, up_since=at + 20 * HOUR) == 0
    with database.read() as session:
        (incident,) = list_incidents(session)
        assert incident.kind is IncidentKind.SOURCE_QUIET
        # Evidence and reports ask for their own kind alone.
        assert open_incidents(session, OO) == ()
        assert waiting_count(session) == 1
        assert load_waits(session, "flights")["OO"].longest == HOUR
    receive(database, at + 21 * HOUR)
    assert look(database, at + 21 * HOUR) == 1
    with database.read() as session:
        (incident,) = list_incidents(session)
    assert not incident.is_open
    assert [change.what for change in incident.history] == ["opened", "resolved"]


def test_labels_and_rows_are_read_from_the_ticks_that_were_judged(database: Database) -> None:  # noqa: F811
    days = 21
    with database.write() as session:
        register_model(session, "flights", START)
        first, last = to_us(START), to_us(START + days * DAY)
        note_arrivals(session, "flights", [Arrival("OO", 9, 0, first, last)], START + days * DAY)
        for clock in Clock:
            counts = [5 if clock is Clock.FEATURE or day < 15 else 0 for day in range(days)]
            save_summaries(
                session,
                OO,
                [
                    StoredSummary(clock, profile, DAY_US, first + day * DAY_US, count, b"")
                    for day, count in enumerate(counts)
                    # A new profile summarised the last days again: the same rows, not more.
                    for profile in ("p1", *(["p2"] if day > 10 else []))
                ],
            )
        set_evaluated(session, OO, evaluated_until_us=first + days * DAY_US)
        ticks = label_ticks(session, OO, START)
    assert ticks.labelled == (5,) * 15 + (0,) * 6
    assert look(database, START + (days + 1) * DAY) == 2
    with database.read() as session:
        found = {i.kind: i for i in list_incidents(session)}
    assert set(found) == {IncidentKind.NO_LABELS, IncidentKind.TOO_LITTLE_DATA}
    assert "35 rows in 7 days" in found[IncidentKind.TOO_LITTLE_DATA].headline
