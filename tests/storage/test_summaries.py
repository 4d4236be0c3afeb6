from detectors.records import Deployment
from storage.engine import Database
from storage.summaries import (
    Clock,
    StoredSummary,
    last_summary_us,
    read_summaries,
    save_summaries,
)
from tests.storage.rows import VERMONT

HOUR = 3_600_000_000


def summary(start: int, body: bytes = b"body", **changes: object) -> StoredSummary:
    fields = {"clock": Clock.FEATURE, "profile": "p1", "tick_us": HOUR, "rows": 3}
    return StoredSummary(**(fields | {"start_us": start * HOUR, "body": body} | changes))  # type: ignore[arg-type]


def read(database: Database, **options: object) -> list[StoredSummary]:
    with database.read() as session:
        return list(
            read_summaries(session, VERMONT, Clock.FEATURE, "p1", tick_us=HOUR, **options)  # type: ignore[arg-type]
        )


def test_ticks_come_back_in_order_of_time_and_by_range(database: Database) -> None:
    ticks = [summary(start, bytes([start % 256, 0])) for start in range(600)]
    with database.write() as session:
        save_summaries(session, VERMONT, reversed(ticks))
        assert last_summary_us(session, VERMONT, Clock.FEATURE, "p1", tick_us=HOUR) == 599 * HOUR
    assert read(database) == ticks
    assert read(database, since_us=10 * HOUR, until_us=12 * HOUR) == ticks[10:12]


def test_summarising_a_tick_again_replaces_it(database: Database) -> None:
    for body in (b"first", b"second"):
        with database.write() as session:
            save_summaries(session, VERMONT, [summary(1, body)])
    assert [tick.body for tick in read(database)] == [b"second"]


def test_clocks_profiles_tick_lengths_and_domains_are_kept_apart(database: Database) -> None:
    with database.write() as session:
        save_summaries(
            session,
            VERMONT,
            [
                summary(1),
                summary(1, b"a", clock=Clock.LABEL),
                summary(1, b"b", profile="p2"),
                summary(1, b"c", tick_us=6 * HOUR, start_us=HOUR),
            ],
        )
        save_summaries(session, Deployment("credit", "NH"), [summary(1, b"d")])
        save_summaries(session, VERMONT, [])
    assert [tick.body for tick in read(database)] == [b"body"]
    with database.read() as session:
        labels = read_summaries(session, VERMONT, Clock.LABEL, "p1", tick_us=HOUR)
        assert [tick.body for tick in labels] == [b"a"]
        assert last_summary_us(session, VERMONT, Clock.LABEL, "p2", tick_us=HOUR) is None
