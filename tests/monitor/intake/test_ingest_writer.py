"""The group-commit writer: answers after the commit, failures that stay alone, bounded queues."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from detectors.records import HOUR_US, Categories, Window, to_us
from monitor.ids import hash_texts
from monitor.intake.batches import EventBatch, LabelBatch
from monitor.intake.ingest import Ingest, ModelIngest, OverloadedError, Receipt, StoppingError
from monitor.intake.sampling import Sampling
from storage.deployments import UnknownModelError
from storage.engine import Database
from storage.tables import SegmentRow
from tests.monitor.serving import NOW, FixedClock, new_database


def batch(*ids: str, model: str = "m", ts_us: int | None = None) -> EventBatch:
    rows = len(ids)
    hi, lo = hash_texts(model, ids)
    window = Window(
        rows=rows,
        ts_us=np.full(rows, to_us(NOW) if ts_us is None else ts_us),
        score=np.full(rows, 0.5),
        domain=Categories(np.zeros(rows, np.int32), ("default",)),
    )
    return EventBatch(model, window, hi, lo)


def labels(*ids: str) -> LabelBatch:
    hi, lo = hash_texts("m", ids)
    return LabelBatch("m", hi, lo, np.ones(len(ids)), np.full(len(ids), to_us(NOW)))


def writer(database: Database, *, max_rows: int = 1_000) -> Ingest:
    return Ingest(database, FixedClock(), lambda _: ModelIngest(), max_rows=max_rows)


def segments(database: Database) -> list[int]:
    with database.read() as session:
        return list(session.scalars(select(SegmentRow.rows).order_by(SegmentRow.seq)))


def test_what_waits_together_is_one_transaction_and_one_segment(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        ingest = writer(database)
        futures = [ingest.submit_events(batch(f"a{i}", f"b{i}")) for i in range(5)]
        futures.append(ingest.submit_events(batch("a0", "new")))
        label_future = ingest.submit_labels(labels("a0", "zz"))
        ingest.start()

        receipts = [future.result(10) for future in futures]
        assert [(r.accepted, r.duplicate) for r in receipts] == [(2, 0)] * 5 + [(1, 1)]
        label = label_future.result(10)
        assert (label.accepted, label.waiting) == (2, 1)
        assert segments(database) == [11]
        assert ingest.stats.groups == 1
        assert ingest.stats.events["m"].accepted == 11
        assert ingest.stop()


def test_nothing_is_answered_before_its_commit(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        ingest = writer(database)
        answered: list[int] = []
        release = threading.Event()

        def hold(session: Session) -> None:
            stored = session.scalar(select(func.count()).select_from(SegmentRow))
            assert stored == 1  # written, in the transaction that is not yet committed
            assert release.wait(10)
            answered.append(0)

        future = ingest.submit_events(batch("a"), within=hold)
        ingest.start()
        with pytest.raises(TimeoutError):
            future.result(0.05)
        assert segments(database) == []
        release.set()
        assert future.result(10).accepted == 1
        assert answered == [0]
        assert segments(database) == [1]
        assert ingest.stop()


def test_a_batch_that_fails_sinks_only_itself(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        ingest = writer(database)

        def fail(_: Session) -> None:
            raise LookupError("not this one")

        good = [ingest.submit_events(batch("a")), ingest.submit_events(batch("b"))]
        bad = ingest.submit_events(batch("c"), within=fail)
        unknown = ingest.submit_events(batch("d", model="never registered"))
        good.append(ingest.submit_events(batch("e")))
        ingest.start()

        assert [future.result(10).accepted for future in good] == [1, 1, 1]
        with pytest.raises(LookupError, match="not this one"):
            bad.result(10)
        with pytest.raises(UnknownModelError):
            unknown.result(10)
        again = ingest.submit_events(batch("c"))
        assert again.result(10).accepted == 1, "a failed batch may be sent again"
        assert segments(database) == [1, 1, 1, 1]
        assert ingest.stop()


def test_late_is_judged_in_order_of_arrival_however_batches_are_grouped(tmp_path: Path) -> None:
    hour = 3_600_000_000
    times = [to_us(NOW) - 5 * hour, to_us(NOW), to_us(NOW) - 2 * hour, to_us(NOW) - hour // 2]
    late: list[list[int]] = []
    for grouped in (True, False):
        folder = tmp_path / str(grouped)
        folder.mkdir()
        with new_database(folder, "m") as database:
            ingest = writer(database)
            if not grouped:
                ingest.start()
            futures: list[Future[Receipt]] = []
            for i, ts_us in enumerate(times):
                futures.append(ingest.submit_events(batch(f"e{i}", ts_us=ts_us)))
                if not grouped:
                    futures[-1].result(10)
            if grouped:
                ingest.start()
            late.append([future.result(10).late for future in futures])
            assert ingest.stop()
    assert late[0] == late[1] == [0, 0, 1, 0]


def test_a_full_queue_refuses_at_once_and_takes_again_once_drained(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        ingest = writer(database, max_rows=3)
        first = ingest.submit_events(batch("a", "b"))
        with pytest.raises(OverloadedError):
            ingest.submit_events(batch("c", "d"))
        ingest.start()
        assert first.result(10).accepted == 2
        assert ingest.submit_events(batch("c", "d")).result(10).accepted == 2
        assert ingest.stop()


def test_a_batch_larger_than_the_queue_still_gets_through(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        ingest = writer(database, max_rows=2)
        future = ingest.submit_events(batch("a", "b", "c"))
        ingest.start()
        assert future.result(10).accepted == 3
        assert ingest.stop()


def test_stopping_refuses_new_batches_and_writes_the_queued_ones(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        ingest = writer(database)
        futures = [ingest.submit_events(batch(f"e{i}")) for i in range(20)]
        ingest.start()
        assert ingest.stop()
        assert all(future.result(0).accepted == 1 for future in futures)
        with pytest.raises(StoppingError):
            ingest.submit_events(batch("late"))


def test_a_caller_who_gave_up_is_left_out(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        ingest = writer(database)
        gone = ingest.submit_events(batch("a"))
        stays = ingest.submit_events(batch("b"))
        assert gone.cancel()
        ingest.start()
        assert stays.result(10).accepted == 1
        assert segments(database) == [1]
        assert ingest.stop()


def test_floors_are_remembered_between_groups(tmp_path: Path) -> None:
    settings = ModelIngest(sampling=Sampling(rate=0.01, floor_rows=50))
    with new_database(tmp_path, "m") as database:
        ingest = Ingest(database, FixedClock(), lambda _: settings)
        ingest.start()
        kept = []
        for tick in range(2):
            names = [f"e{tick}-{i}" for i in range(40)]
            sent = batch(*names, ts_us=to_us(NOW) + tick * HOUR_US)
            kept.append(ingest.submit_events(sent).result(10).accepted)
        assert ingest.stop()
    assert kept[0] < 10
    assert kept[1] == 40, "the tick before had fewer rows than the floor"


def test_repeats_are_recognised_after_a_restart(tmp_path: Path) -> None:
    with new_database(tmp_path, "m") as database:
        for expected in ((2, 0), (0, 2)):
            ingest = writer(database)
            ingest.start()
            receipt = ingest.submit_events(batch("a", "b")).result(10)
            assert (receipt.accepted, receipt.duplicate) == expected
            assert ingest.stop()
