"""Older domains lend a new one what they know, by event time, live as in replay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from detectors.records import DAY_US, Deployment, to_datetime, to_us
from monitor.api.decode_arrow import decode_arrow_events
from monitor.api.limits import IngestLimits
from monitor.config import parse_config
from monitor.files.references import add_reference_table
from monitor.files.roles import Roles
from monitor.files.tables import Table, to_table
from monitor.process.daemon import Service
from monitor.replaying.replay import DomainReplay, replay
from monitor.watching.lender import Lender
from monitor.watching.lending import MOST_LENDERS, lenders_for
from monitor.watching.progress import Progress
from storage.checkpoints import load_checkpoint
from storage.findings import list_findings
from storage.references import Role

START_US = 1_750_000_000_000_000 // DAY_US * DAY_US
OLD = ("a", "b", "c")
MODEL = "churn"
REFERENCE_DAYS = 16
LIVE_DAYS = 13
FAULT_DAY = REFERENCE_DAYS + 7


class LaterClock:
    """A clock that stands after the end of the history."""

    def now(self) -> datetime:
        return to_datetime(START_US + 400 * DAY_US).astimezone(UTC)

    def monotonic(self) -> float:
        return 0.0


def lender(domain: str, since_day: int, until_day: int) -> Lender:
    return Lender(domain, domain, since_day * DAY_US, until_day * DAY_US)


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        ([("a", 0, 20), ("b", 0, 20), ("c", 0, 20)], "abc"),
        ([("a", 0, 20), ("b", 0, 20)], ""),  # two may both be odd
        ([("a", 0, 20), ("b", 0, 20), ("new", 0, 20)], ""),  # a domain lends itself nothing
        ([("a", 0, 20), ("b", 0, 20), ("c", 7, 20)], ""),  # 13 days know too little
        ([("a", 0, 20), ("b", 0, 20), ("c", 0, 30)], ""),  # ends with the new domain's start
        ([("a", 0, 20), ("b", 0, 25), ("c", 0, 20), ("d", 0, 29)], "dbac"),
    ],
)
def test_which_domains_lend_is_a_matter_of_event_time(
    known: list[tuple[str, int, int]], chosen: str
) -> None:
    found = lenders_for("new", 30 * DAY_US, [lender(*one) for one in known])
    assert "".join(one.domain for one in found) == chosen


def test_a_dozen_lenders_are_enough() -> None:
    many = [lender(f"{k:02d}", 0, 20) for k in range(40)]
    assert len(lenders_for("new", 30 * DAY_US, many)) == MOST_LENDERS


def history(names: tuple[str, ...], first_day: int, days: int, seed: int) -> pa.Table:
    """Four rows an hour a domain; the scores of "new" rise by 2 sd on FAULT_DAY."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in names:
        ts_us = START_US + first_day * DAY_US + np.arange(days * 96, dtype=np.int64) * DAY_US // 96
        logit = rng.normal(-1.0, 0.5, len(ts_us))
        if name == "new":
            logit[ts_us >= START_US + FAULT_DAY * DAY_US] += 1.0
        parts.append(
            pa.table(
                {
                    "id": [f"{name}-{first_day}-{i}" for i in range(len(ts_us))],
                    "ts": pa.array(ts_us, pa.timestamp("us", tz="UTC")),
                    "domain": [name] * len(ts_us),
                    "age": rng.normal(40.0, 10.0, len(ts_us)),
                    "score": 1 / (1 + np.exp(-logit)),
                }
            )
        )
    return pa.concat_tables(parts)


def as_table(arrow: pa.Table, *, like: Table | None = None) -> Table:
    roles = Roles(timestamp="ts", domain="domain", score="score")
    return to_table(arrow.drop_columns(["id"]), roles, like=like)


def service(url: str) -> Service:
    models = {MODEL: {"tick": "6h", "lateness": "0s", "review": f"{LIVE_DAYS}d"}}
    return Service(
        parse_config({"service": {"database": url}, "models": models}, source="test"), LaterClock()
    )


def alarms(found: DomainReplay) -> set[tuple[str, str, str]]:
    return {(f.ts.isoformat(), f.stream, f.tier.value) for f in found.findings}


def test_a_new_domain_pages_before_two_weeks_only_with_a_fleet_and_the_daemon_agrees(
    tmp_path: Path,
) -> None:
    """The daemon reads stored references, replay a file: the same prior, the same alarms."""
    past = as_table(history(OLD, 0, REFERENCE_DAYS, 1))
    log = history(("new",), REFERENCE_DAYS, LIVE_DAYS, 2)
    running = service(f"sqlite:///{tmp_path / 'kedge.db'}")
    for role in (Role.SOURCE, Role.ONBOARDING):
        add_reference_table(
            running.database, past, model=MODEL, role=role, domain=None, now=LaterClock().now()
        )
    settings = replace(running.settings_of(MODEL), review_us=LIVE_DAYS * DAY_US)
    (told,) = replay(past, as_table(log, like=past), settings, model=MODEL).domains
    alone_past = as_table(history(OLD[:2], 0, REFERENCE_DAYS, 1))
    (alone,) = replay(alone_past, as_table(log, like=alone_past), settings, model=MODEL).domains

    pages = [f for f in told.findings if f.tier.value == "page"]
    assert pages, "a shift of two sd of the scores on day 7 pages before day 14"
    (incident,) = [one for one in told.incidents if one.tier.value == "page"]
    assert "(provisional)" in incident.headline
    assert min(to_us(page.ts) for page in pages) >= START_US + FAULT_DAY * DAY_US
    assert not [f for f in alone.findings if f.tier.value == "page"]

    running.ingest.start()
    schema = running.schemas.schema_of(MODEL)
    assert schema is not None
    batch = decode_arrow_events(
        log,
        model=MODEL,
        schema=schema,
        now_us=to_us(LaterClock().now()),
        limits=IngestLimits(),
    )
    assert running.ingest.submit_events(batch).result().rejected == 0
    running.flush(MODEL)
    deployment = Deployment(MODEL, "new")
    with running.database.read() as session:
        found = list_findings(session, deployment, limit=1000)
        stored = load_checkpoint(session, deployment)
    running.ingest.stop()
    running.database.close()
    assert {(f.ts.isoformat(), f.stream, f.tier.value) for f in found} == alarms(told)
    assert stored is not None
    kept = Progress.from_bytes(stored.body).feature.bank.prior
    lent = told.progress.feature.bank.prior
    assert kept is not None
    assert lent is not None
    assert_array_equal(kept.phi_weights, lent.phi_weights)
    assert kept.season.keys() == lent.season.keys()
