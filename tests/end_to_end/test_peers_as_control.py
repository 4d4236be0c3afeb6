"""A fleet that wanders together: one domain's own fault stands out, replayed and in the daemon."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from alerts.grouping import regroup
from alerts.records import Incident
from alerts.settings import AlertSettings
from detectors.records import DAY_US, Deployment, Settings, to_datetime, to_us
from monitor.api.decode_arrow import decode_arrow_events
from monitor.api.limits import IngestLimits
from monitor.config import parse_config
from monitor.files.references import add_reference_table
from monitor.process.daemon import Service
from monitor.replaying.replay import DomainReplay, FleetReplay, Replay, replay
from storage.checkpoints import load_checkpoint
from storage.findings import list_findings
from storage.references import Role
from tests.end_to_end.fleets import DAYS, DOMAINS, REFERENCE_DAYS, START_US, cut, fleet

MODEL = "loans"
FAULT_DAY, FAULT = 50, {"south": (50, 1.2)}
GONE = {"east": (55, 62)}
"""A peer that sends nothing for a week."""
BY_PEERS = "column.location:income~peers"


class FixedClock:
    def now(self) -> datetime:
        return to_datetime(START_US + 400 * DAY_US).astimezone(UTC)

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return fleet(FAULT, absent=GONE)


@pytest.fixture(scope="module")
def ill(rows: pa.Table) -> Replay:
    return replay(*cut(rows), Settings(tick_us=DAY_US, lateness_us=0), model=MODEL)


def domain(result: Replay, name: str) -> DomainReplay:
    return next(one for one in result.domains if one.deployment.domain == name)


def together_of(result: Replay) -> tuple[Incident, ...]:
    return () if result.fleet is None else result.fleet.incidents


def streams(one: DomainReplay | FleetReplay) -> set[str]:
    """What alarmed in the week after the fault; tickets come by chance at other times too."""
    since_us = START_US + FAULT_DAY * DAY_US
    week = (since_us, since_us + 7 * DAY_US)
    return {f.stream for f in one.findings if week[0] < to_us(f.ts) <= week[1]}


def test_only_the_domain_with_a_fault_of_its_own_differs_from_its_peers(ill: Replay) -> None:
    """The fault is smaller than the common weather; the others are not blamed for it."""
    assert BY_PEERS in streams(domain(ill, "south"))
    first = next(f for f in domain(ill, "south").findings if f.stream == BY_PEERS)
    day = (to_us(first.ts) - START_US) // DAY_US
    assert FAULT_DAY < day <= FAULT_DAY + 7
    assert "more than in its peers" in first.detail
    for name in set(DOMAINS) - {"south"}:
        assert BY_PEERS not in streams(domain(ill, name))


def test_an_ill_domain_leaves_the_control_of_the_others_from_the_next_tick_on(ill: Replay) -> None:
    south = domain(ill, "south").progress
    (span,) = south.ill["column.location:income"][:1]
    known_us = span[0]
    assert FAULT_DAY < (known_us - START_US) // DAY_US <= FAULT_DAY + 7
    assert not south.was_ill("column.location:income", known_us)
    assert south.was_ill("column.location:income", known_us + DAY_US)


def test_what_moves_every_domain_is_no_difference_from_peers_and_one_incident_of_the_fleet() -> (
    None
):
    moved = dict.fromkeys(DOMAINS, (FAULT_DAY, 2.5))
    result = replay(*cut(fleet(moved)), Settings(tick_us=DAY_US, lateness_us=0), model=MODEL)
    for one in result.domains:
        assert BY_PEERS not in streams(one)
    assert sum("column.location:income" in streams(one) for one in result.domains) >= 3
    assert result.fleet is not None
    assert "column.location:income~fleet" in streams(result.fleet)
    together = next(i for i in result.fleet.incidents if "income" in i.columns)
    assert FAULT_DAY < (to_us(together.opened_at) - START_US) // DAY_US <= FAULT_DAY + 4
    assert "in the median of 5 domains" in together.headline
    # At the service the incidents of the domains and of the fleet are told as one.
    every = [*together_of(result), *(i for one in result.domains for i in one.incidents)]
    early = [i for i in every if i.is_open and "income" in i.columns]
    made = regroup(early, (), now=together.updated_at, settings=AlertSettings())
    group = next(one for one in made if together.id in {i.id for i in one.joined})
    assert len(group.group.domains) >= 2
    assert "" not in group.group.domains


def test_a_fault_of_one_domain_is_not_the_fleets(ill: Replay) -> None:
    assert ill.fleet is not None
    assert "column.location:income~fleet" not in streams(ill.fleet)


def test_the_daemon_compares_peers_as_the_replay_does(
    rows: pa.Table, ill: Replay, tmp_path: Path
) -> None:
    """Ten days between two checks, a restart in between, a peer away for a week: the same."""
    running = service(tmp_path)
    reference, _ = cut(rows)
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
    for day in range(REFERENCE_DAYS, DAYS, 10):
        push(running, rows, day, day + 10)
        running.check(MODEL)
        if day == REFERENCE_DAYS + 10:
            running.ingest.stop()
            running.database.close()
            running = service(tmp_path)
            running.ingest.start()
    running.flush(MODEL)
    running.ingest.stop()
    for name in DOMAINS:
        with running.database.read() as session:
            found = list_findings(session, Deployment(MODEL, name), limit=10_000)
        told = {(f.ts, f.stream, f.tier) for f in found}
        assert told == {(f.ts, f.stream, f.tier) for f in domain(ill, name).findings}
    assert ill.fleet is not None
    with running.database.read() as session:
        of_all = list_findings(session, Deployment(MODEL, ""), limit=100)
        stored = load_checkpoint(session, Deployment(MODEL, ""))
    assert stored is not None
    assert stored.evaluated_until_us == ill.fleet.watch.clock.next_us
    assert {(f.ts, f.stream) for f in of_all} == {(f.ts, f.stream) for f in ill.fleet.findings}
    running.database.close()


def service(folder: Path) -> Service:
    url = f"sqlite:///{folder / 'kedge.db'}"
    model = {"tick": "1d", "lateness": "0s"}
    return Service(
        parse_config({"service": {"database": url}, "models": {MODEL: model}}, source="test"),
        FixedClock(),
    )


def push(running: Service, rows: pa.Table, first_day: int, until_day: int) -> None:
    """Send the events of some days."""
    ts = rows.column("ts").cast(pa.int64()).to_numpy()
    since_us, until_us = START_US + first_day * DAY_US, START_US + until_day * DAY_US
    schema = running.schemas.schema_of(MODEL)
    assert schema is not None
    batch = decode_arrow_events(
        rows.filter(pa.array((ts >= since_us) & (ts < until_us))),
        model=MODEL,
        schema=schema,
        now_us=to_us(FixedClock().now()),
        limits=IngestLimits(),
    )
    assert running.ingest.submit_events(batch).result().rejected == 0
