"""Every single database and HTTP call of a deed fails or kills, one at a time: nothing goes wrong.

    python -m benchmarks.trust.nth_call

The deeds are an ingest of events, one of labels, a pull, a check that opens an incident, and a
delivery. A deed is done once without faults to count its calls; then for N = 1, 2, … it is done on
the same beginning with the N-th call failing before or after its effect, or ending the process, and
after that once more without faults, as the job's next turn or the client's next try would. What is
stored and sent then must be what it is without faults.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from benchmarks.trust.faulty import Faults, Harm
from benchmarks.trust.simulation import Simulation, simulation
from benchmarks.trust.stories import MODEL, PAST, Story
from benchmarks.trust.world import World
from detectors.records import DAY_US, to_datetime
from tests.end_to_end.histories import START_US

HARMS = tuple(Harm)


@dataclass(frozen=True, slots=True)
class Deed:
    """What must be there before, and what is done."""

    before: Callable[[World], None]
    do: Callable[[World], None]


def _nothing(_: World) -> None:
    """The beginning of the story."""


def _rows(world: World) -> None:
    for pieces, labels in world.story.days[:3]:
        for piece in pieces:
            world.push(piece)
        world.label(labels)


def _checked(world: World) -> None:
    _rows(world)
    world.service().flush(MODEL)


def _fed(world: World) -> None:
    world.feed.tables.extend(world.story.days[0][0])


def _flush(world: World) -> None:
    world.service().flush(MODEL)


DEEDS: dict[str, Deed] = {
    "ingest of events": Deed(_nothing, lambda world: world.push(world.story.days[0][0][0])),
    "ingest of labels": Deed(_nothing, lambda world: world.label(world.story.days[0][1])),
    "pull": Deed(_fed, World.pull),
    "check": Deed(_rows, _flush),
    "delivery": Deed(_checked, World.deliver),
}


@dataclass(frozen=True, slots=True)
class Tried:
    """How a deed fared: its calls, how many ways of failing were tried, and what went wrong."""

    calls: int
    cases: int
    problems: tuple[str, ...]


def try_deed(
    simulated: Simulation, name: str, *, every: int = 1, harms: int = 4, only: str = ""
) -> Tried:
    """Harm each `every`-th call of a deed, in `harms` ways of the four, which take turns.

    `only`: calls that read so, such as "HTTP" or "COMMIT".
    """
    deed = DEEDS[name]
    story = simulated.story("null")
    begun = simulated.home / "begun.db"
    world = _world(simulated, story, story.template, Faults())
    deed.before(world)
    wanted_feed = list(world.feed.tables)
    world.close()
    shutil.copy(world.path, begun)
    names: list[str] = []
    faults = Faults(lambda _number, what: names.append(what))
    world = _world(simulated, story, begun, faults)
    world.feed.tables = wanted_feed
    world.service()
    faults.armed = True
    deed.do(world)
    faults.armed = False
    calls = faults.calls
    world.settle()
    expected = seen(world)
    world.close()
    problems = []
    cases = 0
    chosen = [n for n, what in enumerate(names, 1) if not only or what == only]
    for number in chosen[::every]:
        for harm in (HARMS[(number + turn) % len(HARMS)] for turn in range(harms)):
            cases += 1
            faults = Faults(lambda call, _, n=number, h=harm: h if call == n else None)  # type: ignore[misc]
            world = _world(simulated, story, begun, faults)
            world.feed.tables = wanted_feed
            world.service()
            faults.armed = True
            world.attempt(lambda world=world: deed.do(world))  # type: ignore[misc]
            faults.armed = False
            deed.do(world)
            world.settle()
            if seen(world) != expected:
                problems.append(f"{name}: {', '.join(faults.done)}")
            world.close()
    return Tried(calls, cases, tuple(problems))


def _world(simulated: Simulation, story: Story, path: Path, faults: Faults) -> World:
    world = simulated.world(story, random.Random(0), faults)
    shutil.copy(path, world.path)
    world.clock.instant = to_datetime(START_US + (PAST + 3) * DAY_US)
    return world


def seen(world: World) -> tuple[object, ...]:
    """All that people can see: rows, labels, alarms, incidents, and what was sent."""
    return (frozenset(world.stored()), world.labels(), *world.told(), world.sent())


def main() -> int:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    wrong = 0
    print("| deed | calls | cases | wrong | s |\n|---|---:|---:|---:|---:|")
    with simulation() as simulated:
        for name, tried, seconds in _all(simulated):
            wrong += len(tried.problems)
            counts = f"{tried.calls} | {tried.cases} | {len(tried.problems)}"
            print(f"| {name} | {counts} | {seconds:.0f} |")
            print("".join(f"- {problem}\n" for problem in tried.problems), end="", flush=True)
    return 1 if wrong else 0


def _all(simulated: Simulation) -> Iterator[tuple[str, Tried, float]]:
    for name in DEEDS:
        began = time.monotonic()
        tried = try_deed(simulated, name)
        yield name, tried, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
