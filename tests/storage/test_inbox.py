import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from detectors.records import DAY_US, Deployment, Window, concat_windows
from storage.deployments import (
    UnknownModelError,
    get_deployment,
    latest_event_us,
    list_deployments,
)
from storage.engine import Database
from storage.identity import Identity
from storage.inbox import append_events, count_rows, read_model, read_rows, read_window
from storage.labels import settle_waiting
from storage.tables import IdRunRow, SegmentRow
from tests.storage.rows import (
    DAY,
    EVER,
    START,
    START_US,
    VERMONT,
    assert_same_bits,
    codes,
    events,
    ids,
    known_model,
    plain,
    send,
    tell,
    undone,
)


def window_of(database: Database, deployment: Deployment = VERMONT, **options: Any) -> Window:
    with database.read() as session:
        return read_window(session, deployment, *EVER, **options)


def xs(window: Window) -> list[float]:
    """The numbers of column `x`, which tests use as a name for the row."""
    return window.numeric["x"].tolist() if window.rows else []


def test_rows_come_back_as_they_were_sent(database: Database) -> None:
    identity = known_model(database)
    window = events(
        [0, 5, 9],
        score=np.array([0.25, np.nan, 0.1 + 0.2]),
        weight=np.array([1.0, 4.0, 1.5]),
        categorical={"job": codes("nurse", None, "☃ 'or 1=1")},
        version=codes("2", "3", None),
    )
    receipt = send(identity, window, ids(1, 2, 3))
    assert receipt.rows == 3
    assert not receipt.duplicate.any()
    back = window_of(database)
    assert plain(back) == [row | {"label": None} for row in plain(window)]


def test_a_batch_sent_again_stores_nothing(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 1, 2]), ids(1, 2, 3))
    again = send(identity, events([0, 1, 2]), ids(1, 2, 3))
    assert again.seq is None
    assert again.rows == 0
    assert again.duplicate.tolist() == [True, True, True]
    assert xs(window_of(database)) == [0, 1, 2]
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(SegmentRow)) == 1
        state = get_deployment(session, VERMONT)
    assert state is not None
    assert state.rows == 3


def test_repeats_inside_a_batch_and_across_batches_are_dropped(database: Database) -> None:
    identity = known_model(database)
    first = send(identity, events([0, 1, 0]), ids(1, 2, 1))
    assert first.duplicate.tolist() == [False, False, True]
    second = send(identity, events([1, 2]), ids(2, 3))
    assert second.duplicate.tolist() == [True, False]
    assert xs(window_of(database)) == [0, 1, 2]


def test_a_repeat_is_recognised_after_a_restart(database: Database) -> None:
    send(known_model(database), events([0, 1]), ids(1, 2))
    restarted = Identity(database, "credit")
    assert send(restarted, events([1, 2]), ids(2, 3)).duplicate.tolist() == [True, False]


def test_a_repeat_stamped_after_midnight_is_recognised(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([DAY_US - 1]), ids(1))
    assert send(identity, events([DAY_US + 1]), ids(1)).duplicate.tolist() == [True]


def test_two_batches_of_one_transaction_see_each_other(database: Database) -> None:
    identity = known_model(database)
    with database.write() as session:
        append_events(session, identity, events([0]), *ids(1), received_at=START)
        second = append_events(session, identity, events([0, 1]), *ids(1, 2), received_at=START)
    assert second.duplicate.tolist() == [True, False]
    assert send(identity, events([0, 1]), ids(1, 2)).duplicate.all()


def test_rows_of_a_transaction_that_failed_may_be_sent_again(database: Database) -> None:
    """Remembering them would drop the retry as a repeat: acknowledged and lost."""
    identity = known_model(database)
    send(identity, events([7]), ids(7))
    with undone(database) as session:
        append_events(session, identity, events([0, 1]), *ids(1, 2), received_at=START)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(SegmentRow)) == 1
        assert session.scalar(select(func.count()).select_from(IdRunRow)) == 1
        assert latest_event_us(session, "credit") == START_US + 7
    assert not send(identity, events([0, 1]), ids(1, 2)).duplicate.any()
    assert xs(window_of(database)) == [0, 1, 7]


def test_the_same_id_of_another_model_is_another_event(database: Database) -> None:
    credit, fraud = known_model(database), known_model(database, "fraud")
    send(credit, events([0]), ids(1))
    assert not send(fraud, events([0]), ids(1)).duplicate.any()
    assert window_of(database, Deployment("fraud", "VT")).rows == 1


def test_only_the_interval_and_the_domain_asked_for_is_read(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 10, 20], domain=["VT", "NH", "VT"]), ids(1, 2, 3))
    send(identity, events([20, 30], domain=["VT", "NH"]), ids(4, 5))
    with database.read() as session:
        parts = read_rows(session, VERMONT, START_US + 10, START_US + 21)
        assert [x for part in parts for x in xs(part)] == [20.0, 20.0]
        assert list(read_rows(session, VERMONT, START_US + 21, START_US + 100)) == []
        assert xs(read_window(session, VERMONT, START_US, START_US + 20)) == [0]
        assert list(read_rows(session, Deployment("credit", "ME"), *EVER)) == []


def test_many_rows_come_in_pieces_and_in_the_order_they_arrived(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that differ in their columns are never one piece, whatever their size."""
    monkeypatch.setattr("storage.inbox._PIECE_ROWS", 3)
    identity = known_model(database)
    for i in range(4):
        send(identity, events([10 - i, 20 + i]), ids(2 * i, 2 * i + 1))
    wider = replace(events([5]), numeric={"x": np.array([5.0]), "z": np.array([1.0])})
    send(identity, wider, ids(100))
    with database.read() as session:
        parts = list(read_rows(session, VERMONT, *EVER))
        assert [xs(part) for part in parts] == [[10, 20, 9, 21], [8, 22, 7, 23], [5]]
        assert count_rows(session, "credit", START_US + 22, START_US + 23) == 4


def test_all_domains_of_a_model_are_read_in_one_go(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([3, 1, 2], domain=["VT", "NH", "VT"]), ids(1, 2, 3))
    send(identity, events([0, 4], domain=["NH", "ME"]), ids(4, 5))
    with database.read() as session:
        windows = read_model(session, "credit", *EVER)
        assert {name: xs(window) for name, window in windows.items()} == {
            "ME": [4],
            "NH": [0, 1],
            "VT": [2, 3],
        }
        for name, window in windows.items():
            alone = read_window(session, Deployment("credit", name), *EVER)
            assert_same_bits(window, alone)


def test_rows_that_name_no_domain_belong_to_the_default_one(database: Database) -> None:
    identity = known_model(database)
    send(identity, Window(rows=1, ts_us=np.array([START_US]), numeric={"x": np.zeros(1)}), ids(1))
    named = events([1, 2], domain="VT")
    unnamed = Window(
        rows=2, ts_us=named.ts_us, numeric=named.numeric, domain=codes("default", None)
    )
    send(identity, unnamed, ids(2, 3))
    assert xs(window_of(database, Deployment("credit", "default"))) == [0, 1, 2]


def test_late_rows_are_kept_for_reports_and_hidden_from_evidence(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([0, 100]), ids(1, 2))
    send(identity, events([5, 200], domain="VT"), ids(3, 4), late=[True, False])
    send(identity, events([6]), ids(5), late=[True])
    assert xs(window_of(database)) == [0, 100, 200]
    assert xs(window_of(database, include_late=True)) == [0, 5, 6, 100, 200]
    with database.read() as session:
        state = get_deployment(session, VERMONT)
    assert state is not None
    assert (state.rows, state.late_rows) == (5, 2)


def test_what_has_come_is_counted_by_domain(database: Database) -> None:
    identity = known_model(database)
    send(identity, events([50, 10, 20], domain=["VT", "NH", "VT"]), ids(1, 2, 3))
    send(identity, events([5, 60], domain=["VT", "NH"]), ids(4, 5), late=[True, False])
    with database.read() as session:
        found = {
            state.deployment.domain: (
                state.rows,
                state.late_rows,
                state.first_event_us,
                state.last_event_us,
            )
            for state in list_deployments(session, "credit")
        }
        assert latest_event_us(session, "credit") == START_US + 60
    assert found == {
        "NH": (2, 0, START_US + 10, START_US + 60),
        "VT": (3, 1, START_US + 5, START_US + 50),
    }


def test_events_of_an_unknown_model_are_refused_by_name(database: Database) -> None:
    known_model(database, "credit")
    with pytest.raises(UnknownModelError, match="Did you mean 'credit'"):
        send(Identity(database, "credits"), events([0]), ids(1))


def test_events_without_a_time_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="ts_us"):
        send(known_model(database), Window(rows=1), ids(1))


def test_repeated_and_shuffled_delivery_gives_the_same_bits(database: Database) -> None:
    """A fifth of the batches comes twice, and all of them in another order, labels too."""
    rng = np.random.default_rng(20)
    batches = []
    for number in range(12):
        rows = 25
        names = range(number * rows, (number + 1) * rows)
        # Many events share an instant, so time alone does not order them.
        times = (rng.integers(0, 40, rows) * (DAY_US // 10)).tolist()
        window = events(
            times,
            domain=rng.choice(["VT", "NH"], rows).tolist(),
            score=rng.random(rows),
            categorical={"job": codes(*rng.choice(["nurse", "cook", "smith"], rows).tolist())},
        )
        batches.append((window, ids(*names), rng.integers(0, 2, rows).astype(float).tolist()))
    clean = known_model(database)
    for window, hashes, labels in batches:
        send(clean, window, hashes)
        tell(clean, hashes, labels)
    messy = known_model(database, "messy")
    jobs = [("send", batch) for batch in batches] + [("tell", batch) for batch in batches]
    jobs += [jobs[at] for at in rng.choice(len(jobs), len(jobs) // 5, replace=False)]
    for at in rng.permutation(len(jobs)):
        kind, (window, hashes, labels) = jobs[at]
        shuffled = rng.permutation(window.rows)
        mixed = (hashes[0][shuffled], hashes[1][shuffled])
        if kind == "send":
            send(messy, window.take(shuffled), mixed)
        else:
            tell(messy, mixed, np.array(labels)[shuffled].tolist())
    with database.read() as session:
        left = read_model(session, "credit", *EVER)
        right = read_model(session, "messy", *EVER)
    assert sum(window.rows for window in left.values()) == 300
    assert not np.isnan(np.concatenate([window.label for window in left.values()])).any()
    assert list(left) == list(right)
    for name in left:
        assert_same_bits(left[name], right[name])


Step = tuple[str, list[tuple[int, int]]]
NAMES = st.integers(0, 12)
COUNTER = itertools.count()
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["events", "labels", "restart", "compact", "settle", "roll back"]),
        st.lists(st.tuples(NAMES, st.integers(0, 2)), max_size=8),
    ),
    max_size=12,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_any_history_reads_as_a_dictionary_would(sqlite: Database, steps: Sequence[Step]) -> None:
    """The oracle keeps each event once, with the first label it was ever sent."""
    model = f"m{next(COUNTER)}"
    identity = known_model(sqlite, model)
    stored: dict[int, int] = {}
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for kind, pairs in steps:
        names = [name for name, _ in pairs]
        # The time of an event follows from its id, as for a sender that repeats itself.
        times = [name * DAY_US // 3 for name in names]
        if kind == "events":
            receipt = send(identity, events(times), ids(*names))
            fresh = [name not in stored and name not in names[:at] for at, name in enumerate(names)]
            assert receipt.duplicate.tolist() == [not new for new in fresh]
            stored |= dict(zip(names, times, strict=True))
        elif kind == "labels" and names:
            told = tell(identity, ids(*names), [float(label) for _, label in pairs])
            assert (told.waiting & ~told.duplicate).tolist() == [
                name not in stored and not same
                for name, same in zip(names, told.duplicate, strict=True)
            ]
            for place, (name, label) in enumerate(pairs):
                assert told.duplicate[place] == (first.get(name) == label), place
                assert told.correction[place] == (name in first and first[name] != label)
                first.setdefault(name, float(label))
                last[name] = float(label) if first[name] != label else last.get(name, float(label))
        elif kind == "restart":
            identity = Identity(sqlite, model, max_ids=5)
        elif kind == "compact":
            for day in range(6):
                identity.compact(START_US // DAY_US + day)
        elif kind == "settle":
            with sqlite.write() as session:
                settle_waiting(session, identity)
        elif kind == "roll back" and names:
            with undone(sqlite) as session:
                append_events(session, identity, events(times), *ids(*names), received_at=START)
    with sqlite.read() as session:
        window = read_window(session, Deployment(model, "VT"), *EVER)
        reported = read_window(session, Deployment(model, "VT"), *EVER, corrected=True)
        parts = concat_windows(read_rows(session, Deployment(model, "VT"), *EVER))
    expected = [
        {"numeric x": float(times), "label": first.get(name)}
        for name, times in sorted(stored.items(), key=lambda item: item[1])
    ]
    found = [{key: row[key] for key in ("numeric x", "label")} for row in plain(window)]
    assert found == expected
    assert [row["label"] for row in plain(reported)] == [
        last.get(name) for name, _ in sorted(stored.items(), key=lambda item: item[1])
    ]
    assert sorted(xs(parts)) == xs(window)


def test_the_memory_of_ids_is_bounded_and_old_days_are_read_again(sqlite: Database) -> None:
    known_model(sqlite)
    identity = Identity(sqlite, "credit", max_ids=25)
    for day in range(10):
        times = [day * DAY_US + second for second in range(10)]
        send(identity, events(times), ids(*range(day * 10, day * 10 + 10)), at=START + day * DAY)
        assert identity.ids.held_ids <= 30
    assert send(identity, events([0, 1]), ids(0, 1)).duplicate.all()
