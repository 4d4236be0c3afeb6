"""A training table without times: the daemon and a replay let the same first days replace it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from detectors.records import DAY_US, HOUR_US, Deployment
from monitor.config import Config, parse_config
from monitor.files.references import add_reference_table
from monitor.files.tables import Table, to_table
from monitor.process.daemon import Service
from monitor.replaying.replay import replay
from monitor.watching.progress import Progress
from storage.checkpoints import load_checkpoint
from storage.references import Role
from tests.end_to_end.histories import ROLES, START_US, as_table, history
from tests.end_to_end.test_daemon_is_replay import MODEL, FixedClock, alarms_of, push, replayed

LIVE_DAYS, FAULT_DAY, STEP = 24, 17, 5


def training_table() -> Table:
    """What the model was trained on: domains, no times."""
    arrow = history(days=10, rows_a_day=120, seed=1).drop_columns(["id", "ts", "label_ts"])
    return to_table(arrow, replace(ROLES, id=None, timestamp=None, label_timestamp=None))


def configuration(url: str) -> Config:
    model = {"label_delay": "2d", "lateness": "0s", "review": f"{LIVE_DAYS}d", "tick": "6h"}
    return parse_config({"service": {"database": url}, "models": {MODEL: model}}, source="test")


def served(log: pa.Table, url: str, reference: Table) -> Service:
    """The log pushed in steps of five days, across a restart after the fortnight."""
    running = Service(configuration(url), FixedClock())
    add_reference_table(
        running.database,
        reference,
        model=MODEL,
        role=Role.ONBOARDING,
        domain=None,
        slices=(),
        now=FixedClock().now(),
    )
    running.ingest.start()
    for day in range(0, LIVE_DAYS + STEP, STEP):
        push(running, log, START_US + day * DAY_US, START_US + (day + STEP) * DAY_US)
        running.check(MODEL)
        if day == 3 * STEP:
            running.ingest.stop()
            running.database.close()
            running = Service(configuration(url), FixedClock())
            running.ingest.start()
    running.flush(MODEL)
    running.ingest.stop()
    return running


def test_the_daemon_lets_the_first_days_replace_a_table_as_a_replay_does(tmp_path: Path) -> None:
    reference = training_table()
    reference = replace(reference, schema=replace(reference.schema, slices=()))
    # The first row comes some minutes after midnight, so the fortnight begins a day later.
    log = history(days=LIVE_DAYS, rows_a_day=120, seed=2, fault_day=FAULT_DAY)
    running = served(log, f"sqlite:///{tmp_path / 'kedge.db'}", reference)
    settings = running.settings_of(MODEL)
    told = replay(reference, as_table(log, like=reference), settings, model=MODEL)
    for one in told.domains:
        domain = one.deployment.domain
        assert alarms_of(running, domain) == replayed(told, domain)
        with running.database.read() as session:
            stored = load_checkpoint(session, Deployment(MODEL, domain))
        assert stored is not None
        live, past = Progress.from_bytes(stored.body), one.progress
        assert live.first_days == past.first_days
        assert live.first_days is not None
        assert live.first_days.span_us == (START_US + DAY_US, START_US + 15 * DAY_US)
        assert live.feature.bank.to_bytes() == past.feature.bank.to_bytes()
        assert live.feature.tick_us == 6 * HOUR_US
    assert any(tier == "page" for *_, tier in replayed(told, "south"))
    assert not any(tier == "page" for *_, tier in replayed(told, "north"))
    running.database.close()
