"""Kedge in one thread with faults everywhere; and each call of each deed failing once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import update

from alerts.records import Delivery
from benchmarks.trust.nth_call import DEEDS, try_deed
from benchmarks.trust.simulation import Log, Simulation, run_seeds, simulation
from monitor.outgoing import delivery
from storage.engine import Database
from storage.tables import DeliveryRow

SEEDS = (0, 3, 11, 14, 22, 28)
"""Of two stories, in one domain and in two, with people and without."""


@pytest.fixture(scope="module")
def simulated() -> Iterator[Simulation]:
    with simulation() as opened:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        yield opened
    structlog.reset_defaults()


def test_whatever_fails_nothing_is_lost_doubled_or_renamed(simulated: Simulation) -> None:
    """`python -m benchmarks.trust.simulation --seed N` tells one of them again."""
    problems = {seed: found for seed in SEEDS if (found := simulated.run(seed))}
    assert not problems
    totals = simulated.totals
    assert totals["crashes"] > 3
    assert totals["failed"] > 3
    assert totals["messages"] > 0
    assert totals["deeds of people"] > 0
    assert totals["silences"] > 0


def test_a_seed_tells_the_same_story_twice(simulated: Simulation) -> None:
    told = []
    for _ in range(2):
        before = simulated.totals.copy()
        simulated.run(11)
        told.append(simulated.totals - before)
    assert told[0] == told[1]


@pytest.mark.parametrize("deed", DEEDS)
def test_any_call_of_a_deed_may_fail(simulated: Simulation, deed: str) -> None:
    """A few of the calls, each in one way; the benchmark tries all in every way."""
    tried = try_deed(simulated, deed, every=11, harms=1)
    assert not tried.problems
    assert tried.calls > 5
    assert tried.cases >= tried.calls // 11


def test_a_message_that_is_marked_before_it_is_sent_would_be_seen(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of writes that loses messages: the process dies between the two."""
    genuine = delivery._send

    def marked_first(database: Database, to: Any, given: Delivery, *more: Any) -> Any:
        mine = (
            DeliveryRow.message_id == given.message.id,
            DeliveryRow.channel == given.channel,
        )
        with database.write() as session:
            session.execute(update(DeliveryRow).where(*mine).values(due_at=None))
        return genuine(database, to, given, *more)

    monkeypatch.setattr(delivery, "_send", marked_first)
    assert try_deed(simulated, "delivery", only="HTTP").problems


class CutShort:
    """Seeds that cost nothing, of which one is wrong; the run is cut short before `ends_at`."""

    def __init__(self, ends_at: int) -> None:
        self.ends_at = ends_at
        self.totals: Counter[str] = Counter()
        self.ran: list[int] = []

    def run(self, seed: int) -> list[str]:
        if seed == self.ends_at:
            raise KeyboardInterrupt
        self.ran.append(seed)
        self.totals["calls"] += 10
        return ["something"] if seed == 7 else []


def test_a_run_that_is_cut_short_goes_on_behind_the_last_hundred_and_counts_all(
    tmp_path: Path,
) -> None:
    log = Log(tmp_path / "log", 0)
    with pytest.raises(KeyboardInterrupt):
        run_seeds(CutShort(ends_at=250), log, 320)  # type: ignore[arg-type]
    with (tmp_path / "log").open("a") as file:
        file.write('\n{"next": 30')  # killed while it wrote
    log, rest = Log(tmp_path / "log", 0), CutShort(ends_at=-1)
    log.resume()
    run_seeds(rest, log, 320)  # type: ignore[arg-type]
    assert rest.ran == list(range(200, 320))
    assert (log.wrong, log.totals["calls"]) == (1, 3_200)
    again = Log(tmp_path / "log", 0)
    again.resume()
    assert again.first == 320
