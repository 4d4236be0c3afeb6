import pytest

from storage.engine import Database
from storage.identity import Identity
from storage.inbox import append_events, read_window
from storage.sources import (
    StalePositionError,
    list_positions,
    load_position,
    save_position,
)
from tests.storage.rows import (
    DAY,
    EVER,
    START,
    VERMONT,
    events,
    ids,
    known_model,
)

PLACE = {"file": "☃.parquet", "row_group": 3, "after": ["2026-03-01", 17]}


def pull(identity: Identity, name: int, epoch: int) -> int:
    """Read one row from the source: the row and the position in one transaction."""
    with identity.database.write() as session:
        append_events(session, identity, events([name]), *ids(name), received_at=START)
        return save_position(session, "flights", {"row": name}, START + name * DAY, epoch=epoch)


def test_reading_goes_on_exactly_where_it_stopped(database: Database) -> None:
    with database.write() as session:
        assert load_position(session, "flights") is None
        assert save_position(session, "flights", PLACE, START, epoch=0) == 1
    with database.read() as session:
        found = load_position(session, "flights")
        assert found is not None
        assert (found.value, found.epoch, found.updated_at) == (PLACE, 1, START)
        assert list_positions(session) == (found,)


@pytest.mark.parametrize("epoch", [0, 1])
def test_two_readers_of_one_source_do_not_both_store_its_rows(
    database: Database, epoch: int
) -> None:
    identity = known_model(database)
    for before in range(epoch):
        pull(identity, before, before)
    pull(identity, 5, epoch)
    with pytest.raises(StalePositionError, match=f"no longer at epoch {epoch}"):
        pull(identity, 6, epoch)
    with database.read() as session:
        rows = read_window(session, VERMONT, *EVER).numeric["x"].tolist()
        position = load_position(session, "flights")
    assert rows == [*range(epoch), 5]
    assert position is not None
    assert position.value == {"row": 5}
