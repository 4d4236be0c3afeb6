import pytest
from sqlalchemy import func, select

from detectors.records import Finding, Tier
from storage.checkpoints import (
    Checkpoint,
    StaleCheckpointError,
    drop_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from storage.engine import Database
from storage.findings import list_findings, save_findings
from storage.tables import CheckpointRow
from tests.storage.rows import DAY, START, VERMONT, known_model


def save(database: Database, epoch: int, body: bytes = b"state") -> int:
    with database.write() as session:
        return save_checkpoint(
            session,
            VERMONT,
            epoch=epoch,
            fingerprint="f1",
            evaluated_until_us=epoch,
            body=body,
            now=START,
        )


def test_state_is_replaced_and_the_epoch_counts(database: Database) -> None:
    assert save(database, 0, b"one") == 1
    assert save(database, 1, b"two") == 2
    with database.read() as session:
        assert load_checkpoint(session, VERMONT) == Checkpoint(VERMONT, 2, "f1", 1, b"two")
        assert session.scalar(select(func.count()).select_from(CheckpointRow)) == 1


@pytest.mark.parametrize("epoch", [0, 1])
def test_of_two_that_loaded_the_same_state_only_one_can_save(
    database: Database, epoch: int
) -> None:
    if epoch:
        save(database, 0)
    with database.read() as one, database.read() as two:
        assert load_checkpoint(one, VERMONT) == load_checkpoint(two, VERMONT)
    save(database, epoch, b"winner")
    with pytest.raises(StaleCheckpointError, match=f"no longer at epoch {epoch}"):
        save(database, epoch, b"loser")
    with database.read() as session:
        loaded = load_checkpoint(session, VERMONT)
    assert loaded is not None
    assert loaded.body == b"winner"


def test_what_a_stale_writer_found_is_undone_with_it(database: Database) -> None:
    known_model(database)
    save(database, 0)
    finding = Finding("drift", START, START - DAY, "loss.mean", Tier.PAGE)

    def check() -> None:
        with database.write() as session:
            save_findings(session, VERMONT, [finding])
            save_checkpoint(
                session,
                VERMONT,
                epoch=0,
                fingerprint="f1",
                evaluated_until_us=0,
                body=b"",
                now=START,
            )

    with pytest.raises(StaleCheckpointError):
        check()
    with database.read() as session:
        assert list_findings(session, VERMONT) == ()


def test_dropped_state_is_gone_and_starts_again(database: Database) -> None:
    save(database, 0)
    with database.write() as session:
        drop_checkpoint(session, VERMONT)
        assert load_checkpoint(session, VERMONT) is None
    assert save(database, 0) == 1
