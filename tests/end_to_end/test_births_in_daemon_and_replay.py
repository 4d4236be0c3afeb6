"""A new column, a new category and a new slice: the daemon says of them what replay says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import DAY_US, Deployment
from monitor.files.references import add_reference_table
from monitor.files.tables import Table, to_table
from monitor.replaying.replay import Replay, replay
from monitor.watching.progress import Progress
from storage.checkpoints import load_checkpoint
from storage.deployments import get_deployment
from storage.references import Role
from tests.end_to_end.histories import ROLES, START_US, as_table, history
from tests.end_to_end.test_daemon_is_replay import (
    LIVE_DAYS,
    MODEL,
    FixedClock,
    alarms_of,
    configuration,
    push,
    replayed,
    service,
)

SHIFTS = 52


@pytest.fixture(scope="module")
def reference() -> Table:
    return as_table(with_channel(history(days=30, rows_a_day=250, seed=1), new=False))


@pytest.fixture(scope="module")
def log() -> pa.Table:
    return with_channel(history(days=LIVE_DAYS, rows_a_day=250, seed=2, first_day=30), new=True)


def with_channel(table: pa.Table, *, new: bool) -> pa.Table:
    """`channel` in all rows; from the fourth day of the log on "chat" in it, and `promo`, `flag`.

    `promo` moves by a standard deviation on day 52.
    """
    rng = np.random.default_rng(table.num_rows)
    day = (table.column("ts").cast(pa.int64()).to_numpy() - START_US) / DAY_US
    here = day >= 33.5
    channel = rng.choice(["phone", "web"], table.num_rows).astype(object)
    if new:
        channel[here & (rng.random(table.num_rows) < 0.25)] = "chat"
        promo = np.where(here, rng.normal(5.0 + 2.0 * (day >= SHIFTS), 2.0), np.nan)
        drawn = rng.random(table.num_rows) < 0.4
        table = table.append_column("promo", pa.array(promo, from_pandas=True))
        table = table.append_column("flag", pa.array(drawn, pa.bool_(), mask=~here))
    return table.append_column("channel", pa.array(channel.tolist()))


@pytest.fixture(scope="module")
def result(reference: Table, log: pa.Table) -> Replay:
    settings = configuration("sqlite://").models[MODEL].settings()
    settings = replace(settings, review_us=LIVE_DAYS * DAY_US)
    rows = to_table(
        log.drop_columns(["id"]), replace(ROLES, id=None), like=reference, new_columns=50
    )
    return replay(reference, rows, settings, model=MODEL)


def test_daemon_and_replay_say_the_same_of_what_is_new(
    tmp_path: Path, reference: Table, log: pa.Table, result: Replay
) -> None:
    """Across a restart, with the same bytes of what has been learnt at the end."""
    url = f"sqlite:///{tmp_path / 'kedge.db'}"
    running = service(url)
    add_reference_table(
        running.database,
        reference,
        model=MODEL,
        role=Role.ONBOARDING,
        domain=None,
        slices=(("plan",),),
        now=FixedClock().now(),
    )
    running.ingest.start()
    for day in range(30, 30 + LIVE_DAYS, 4):
        since_us = START_US + day * DAY_US
        push(running, log, since_us, since_us + 4 * DAY_US)
        running.check(MODEL)
        if day == 46:
            running.ingest.stop()
            running.database.close()
            running = service(url)
            running.ingest.start()
    push(running, log, START_US + 70 * DAY_US, START_US + 90 * DAY_US)
    running.flush(MODEL)
    for domain in result.domains:
        name = domain.deployment.domain
        found = alarms_of(running, name)
        assert found == replayed(result, name)
        assert any(stream == "column.location:promo" for _, stream, _, _ in found)
        with running.database.read() as session:
            stored = load_checkpoint(session, Deployment(MODEL, name))
            state = get_deployment(session, Deployment(MODEL, name))
        assert stored is not None
        mine, theirs = Progress.from_bytes(stored.body).newcomers, domain.progress.newcomers
        assert mine is not None
        assert theirs is not None
        assert {one.name for one in mine.joined} == {"promo", "flag", "channel=chat"}
        assert mine.extras() == theirs.extras()
        assert [clock.bank.to_bytes() for clock in mine.clocks] == [
            clock.bank.to_bytes() for clock in theirs.clocks
        ]
        assert state is not None
        assert state.status is not None
        said = state.status["by_day"]["newcomers"]
        assert said["columns"]["promo"]["state"] == "guaranteed"
    running.ingest.stop()
    running.database.close()
