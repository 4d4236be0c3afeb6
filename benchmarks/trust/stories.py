"""What happens in a simulation, whatever the faults: rows of a few days, and what comes of them.

Each story is what `kedge replay` makes of it, which has no daemon, no database and no network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from detectors.records import DAY_US, to_datetime
from monitor.config import Config, parse_config
from monitor.files.references import add_reference_table
from monitor.files.tables import Table, to_table
from monitor.process.daemon import Service
from monitor.replaying.replay import replay
from storage.references import Role
from tests.end_to_end.histories import ROLES, START_US, history, part

MODEL = "churn"
DOMAINS = ("north", "east", "west")
PAST, LIVE = 20, 4
CHANNELS = ("ops", "desk")
SECRET = "whsec_" + "QUJD" * 8
TROUBLES = ("nothing", "null", "cents", "both")
RETENTION_DAYS = 5
"""Late rows are older than this at the end, and all others younger."""

Alarm = tuple[str, str, str, str, str]


@dataclass(slots=True)
class SimulatedClock:
    """Stands still until it is moved; seconds of work take none."""

    instant: datetime

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """The rows in the order of their days, those that come far too late, and what must be found.

    `alarms` and `incidents` are those of a replay. `late_values` are of rows that retention takes.
    """

    trouble: str
    domains: tuple[str, ...]
    template: Path
    days: tuple[tuple[tuple[pa.Table, ...], pa.Table], ...]
    late: pa.Table
    values: frozenset[float]
    late_values: frozenset[float]
    alarms: frozenset[Alarm]
    incidents: frozenset[tuple[Any, ...]]


@functools.cache
def configuration(database: Path, *, peopled: bool = False) -> Config:
    """A daily tick, labels a day behind; with people there are routes, quiet hours, escalation."""
    model = {"tick": "1d", "label_delay": "1d", "lateness": "1d", "baseline": {"kind": "none"}}
    service = {"database": f"sqlite:///{database}", "retention": f"{RETENTION_DAYS}d"}
    channels: list[dict[str, Any]] = [
        {
            "name": name,
            "kind": "webhook",
            "url": f"https://{name}.example/",
            "secret_env": "KEDGE_SIMULATED_SECRET",
        }
        for name in CHANNELS
    ]
    raw: dict[str, Any] = {"service": service, "models": {MODEL: model}, "channels": channels}
    if peopled:
        channels[1]["quiet_hours"] = {"start": "22:00", "end": "06:00"}
        ops, desk = CHANNELS
        raw["routes"] = [
            {
                "name": "pages",
                "channels": [ops],
                "tiers": ["page"],
                "escalate_after": "2h",
                "escalate_to": [desk],
            },
            {"name": "one domain", "channels": [desk], "domains": ["ea*"], "keep_on": True},
            {"name": "the rest", "channels": [desk]},
        ]
    return parse_config(raw, source="simulation")


Opening = Callable[[], AbstractContextManager[None]]


def tell(home: Path, trouble: str, domains: tuple[str, ...], opening: Opening) -> Story:
    """A story and what `kedge replay` makes of it; its database before the first row."""
    past = rows_of(domains, days=PAST, rows_a_day=40, seed=1)
    log = rows_of(domains, days=LIVE, rows_a_day=40, seed=2, first_day=PAST)
    log = _troubled(log, trouble)
    database = home / f"{trouble}-{len(domains)}.db"
    clock = SimulatedClock(to_datetime(START_US + PAST * DAY_US))
    with opening():
        service = Service(configuration(database), clock)
        add_reference_table(
            service.database,
            _table(past),
            model=MODEL,
            role=Role.ONBOARDING,
            domain=None,
            slices=(),
            now=clock.now(),
        )
        settings = replace(service.settings_of(MODEL), review_us=None)
        service.database.close()
    reference = _table(past)
    result = replay(reference, _table(log, like=reference), settings, model=MODEL)
    alarms = {(one.deployment.domain, f) for one in result.domains for f in one.findings}
    incidents = {incident for one in result.domains for incident in one.incidents}
    if result.fleet is not None:
        incidents |= set(result.fleet.incidents)
    early = rows_of(domains, days=1, rows_a_day=8, seed=3, first_day=PAST - 3)
    late_values = frozenset(early.column("age").to_pylist())
    return Story(
        trouble=trouble,
        domains=domains,
        template=database,
        days=_by_day(log),
        late=early.drop_columns(["label", "label_ts"]),
        values=frozenset(log.column("age").to_pylist()) | late_values,
        late_values=late_values,
        alarms=frozenset(
            (domain, f.ts.isoformat(), f.stream, f.kind, f.tier.value) for domain, f in alarms
        ),
        incidents=frozenset((i.id, i.mode, i.state, i.alarms) for i in incidents),
    )


def rows_of(
    domains: tuple[str, ...], *, days: int, rows_a_day: int, seed: int, first_day: int = 0
) -> pa.Table:
    """Rows of each domain, alike and yet none twice."""
    parts = []
    for number, name in enumerate(domains):
        rows = history(
            days=days, rows_a_day=rows_a_day, seed=seed + 10 * number, first_day=first_day
        )
        mine = pa.array([domain == "north" for domain in rows.column("domain").to_pylist()])
        rows = rows.filter(mine).drop_columns(["baseline_score"])
        at = rows.column_names.index("domain")
        rows = rows.set_column(at, "domain", pa.array([name] * rows.num_rows))
        parts.append(rows)
    return pa.concat_tables(parts).sort_by("ts")


def _troubled(log: pa.Table, trouble: str) -> pa.Table:
    """The rows with what goes wrong in them, in every domain at once."""
    day = log.column("ts").cast(pa.int64()).to_numpy() // DAY_US - START_US // DAY_US - PAST
    spend = log.column("spend").to_numpy(zero_copy_only=False).astype(float)
    if trouble in {"null", "both"}:
        spend = np.where(day == 1, np.nan, spend)
    if trouble in {"cents", "both"}:
        spend = np.where(day >= 2, 100 * spend, spend)
    at = log.column_names.index("spend")
    log = log.set_column(at, "spend", pa.array(spend, from_pandas=True))
    if trouble == "null":
        at = log.column_names.index("plan")
        plan = log.column("plan").to_numpy(zero_copy_only=False)
        log = log.set_column(at, "plan", pa.array(np.where(day >= 2, None, plan), pa.string()))
    return log


def _by_day(log: pa.Table) -> tuple[tuple[tuple[pa.Table, ...], pa.Table], ...]:
    """Each day's events in pieces, and the labels that became known on it."""
    days = []
    moments = log.column("label_ts").cast(pa.int64()).to_numpy()
    size = log.num_rows // (2 * LIVE)
    for day in range(PAST, PAST + LIVE + 1):
        since_us = START_US + day * DAY_US
        events = part(log, since_us=since_us, until_us=since_us + DAY_US)
        cut = [events.slice(n, size) for n in range(0, events.num_rows, size)]
        known = log.filter(pa.array((moments >= since_us) & (moments < since_us + DAY_US)))
        labels = {"id": "id", "label": "label", "ts": "label_ts"}
        days.append(
            (
                tuple(piece.drop_columns(["label", "label_ts"]) for piece in cut),
                pa.table({new: known.column(old) for new, old in labels.items()}),
            )
        )
    return tuple(days)


def _table(arrow: pa.Table, *, like: Table | None = None) -> Table:
    return to_table(
        arrow.drop_columns(["id"]),
        replace(ROLES, id=None, baseline_score=None, slices=()),
        like=like,
    )
