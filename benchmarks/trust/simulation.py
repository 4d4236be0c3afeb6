"""The whole of Kedge in one thread, with faults at every database and HTTP call, from a seed.

    python -m benchmarks.trust.simulation --seeds 10000 --log seeds.txt
    python -m benchmarks.trust.simulation --seed 4711        # one of them again, told in full

A sender posts a few days of events and labels, shuffled, partly twice and partly far too late,
until each batch is acknowledged; half of the seeds let the service pull its events instead. The
rows are of one to three domains that fall ill together. In between the service checks, delivers and
tends in an order that the seed draws. In half of the seeds people work on incidents and silence
them, messages follow routes and quiet hours, and retention takes old rows. Any statement, commit or
request may fail before or after its effect, or be the last thing the process does: then its memory
is dropped and a new one opens the same SQLite file. The clock is a variable, the network a list.

After each seed: what was acknowledged is stored, exactly once; alarms are those of `kedge replay`
over the same rows; every message arrived, none with two bodies, and no body under two ids. Without
people incidents are a replay's too, and each change of one has one message, under the id it has in
a run without faults; with people see `people.py`.

With `--log` a line is written for every hundred seeds, and a run that was cut short goes on behind
the last of them. Opening a reference and diagnosing are remembered across seeds by all that goes
into them: they are pure, and not what is on trial here.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from benchmarks.trust.faulty import Faults, Harm
from benchmarks.trust.fuzz_decoders import resident_bytes
from benchmarks.trust.people import PeopledWorld
from benchmarks.trust.stories import DOMAINS, SECRET, TROUBLES, Story, tell
from benchmarks.trust.world import World, quick
from monitor.watching import judgement, runner
from storage.migrations import upgrade

MOST_FAULTS = 12
RATES = (0.0, 0.002, 0.005, 0.01, 0.03)
WIDTHS = (1, 1, 1, 2, 2, 3)
LINE_EVERY = 100


_REMEMBERED: dict[bytes, Any] = {}


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, asked once for the same arguments; each answer is a new object.

    Where an argument is no value (a fleet reads the database), it is asked each time.
    """

    @functools.wraps(function)
    def asked(*given: Any, **named: Any) -> Any:
        try:
            written = pickle.dumps((function.__name__, given, sorted(named.items())))
        except (AttributeError, TypeError, pickle.PicklingError):
            return function(*given, **named)
        key = hashlib.sha256(written)
        if key.digest() not in _REMEMBERED:
            _REMEMBERED[key.digest()] = pickle.dumps(function(*given, **named))
        return pickle.loads(_REMEMBERED[key.digest()])

    return asked


@dataclass(slots=True)
class Simulation:
    """Many seeds, one after the other. `home` should be in memory."""

    home: Path
    stories: dict[tuple[str, int], Story] = field(default_factory=dict)
    names: dict[tuple[str, int], frozenset[str]] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)

    def story(self, trouble: str, width: int = 1) -> Story:
        """A story in so many domains, told once."""
        key = trouble, width
        if key not in self.stories:
            opening = functools.partial(quick, upgrade)
            self.stories[key] = tell(self.home, trouble, DOMAINS[:width], opening)
            # Without faults once: the messages there must be.
            world = self.world(self.stories[key], random.Random(0), Faults())
            world.live()
            problems = world.problems(None)
            assert not problems, (key, problems)
            self.names[key] = world.own_messages()
            world.close()
        return self.stories[key]

    def run(self, seed: int, *, told: bool = False) -> list[str]:
        """One seed; what is not as promised."""
        rng = random.Random(seed)
        width = rng.choice(WIDTHS)
        story = self.story(rng.choice(TROUBLES), width)
        kind = rng.choice((World, PeopledWorld))
        rate = rng.choice(RATES)
        left = [MOST_FAULTS]

        def plan(_number: int, what: str) -> Harm | None:
            if left[0] == 0 or rng.random() >= (10 * rate if what == "HTTP" else rate):
                return None
            left[0] -= 1
            return rng.choice(tuple(Harm))

        faults = Faults(plan)
        world = self.world(story, rng, faults, kind)
        world.live()
        problems = world.problems(self.names[story.trouble, width])
        if told:
            print(f"{kind.__name__}, {story.trouble} in {width}, rate {rate}, {dict(world.counts)}")
            print("\n".join(faults.done))
        self.totals.update(world.counts)
        self.totals["faults"] += len(faults.done)
        self.totals["calls"] += faults.calls
        self.totals["messages"] += len({name for name, *_ in world.wire.taken})
        self.totals["sent"] += len(world.wire.taken)
        world.close()
        return problems

    def world(
        self, story: Story, rng: random.Random, faults: Faults, kind: type[World] = World
    ) -> World:
        """A world before the first row."""
        path = self.home / "run.db"
        for old in self.home.glob("run.db*"):
            old.unlink()
        shutil.copy(story.template, path)
        return kind(story, path, rng, faults)


@contextmanager
def simulation() -> Iterator[Simulation]:
    """A simulation in memory, with what is pure remembered."""
    os.environ["KEDGE_SIMULATED_SECRET"] = SECRET
    shared = Path("/dev/shm")
    pure: tuple[tuple[Any, str], ...] = (
        (runner, "open_watch"),
        (runner, "open_progress"),
        (judgement, "diagnose"),
    )
    genuine = {name: getattr(module, name) for module, name in pure}
    for module, name in pure:
        setattr(module, name, _remembering(genuine[name]))
    try:
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
            yield Simulation(Path(folder))
    finally:
        for module, name in pure:
            setattr(module, name, genuine[name])


@dataclass(slots=True)
class Log:
    """How far a run of many seeds has come, a line of JSON for each hundred."""

    path: Path | None
    first: int
    wrong: int = 0
    seconds: float = 0.0
    totals: Counter[str] = field(default_factory=Counter)

    def resume(self) -> None:
        """Go on behind the last line that was written whole."""
        lines = self.path.read_text().splitlines() if self.path and self.path.is_file() else []
        for line in reversed(lines):
            try:
                last = json.loads(line)
            except ValueError:
                continue
            self.first, self.wrong = last["next"], last["wrong"]
            self.seconds, self.totals = last["s"], Counter(last["totals"])
            return

    def write(self, following: int) -> None:
        """Every seed below `following` is done."""
        line = {
            "next": following,
            "wrong": self.wrong,
            "s": round(self.seconds, 1),
            "MiB": resident_bytes() >> 20,
            "totals": dict(self.totals),
        }
        if self.path is not None:
            with self.path.open("a") as file:
                file.write("\n" + json.dumps(line))  # a line cut short does not spoil the next


def run_seeds(simulated: Simulation, log: Log, until: int) -> None:
    """Every seed up to `until`, on from where the log stands."""
    for seed in range(log.first, until):
        began = time.monotonic()
        before = simulated.totals.copy()
        try:
            problems = simulated.run(seed)
        except Exception as error:
            problems = [f"{type(error).__name__}: {error}"]
        log.wrong += bool(problems)
        log.seconds += time.monotonic() - began
        log.totals.update(simulated.totals - before)
        for problem in problems:
            print(f"seed {seed}: {problem}", flush=True)
        if (seed + 1) % LINE_EVERY == 0 or seed + 1 == until:
            log.write(seed + 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--log", type=Path, help="where to write how far it has come, and go on")
    parser.add_argument("--seed", type=int, help="this one alone, with its faults")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with simulation() as simulated:
        if given.seed is not None:
            problems = simulated.run(given.seed, told=True)
            print("\n".join(problems) or "nothing wrong")
            return 1 if problems else 0
        log = Log(given.log, given.first)
        log.resume()
        run_seeds(simulated, log, given.first + given.seeds)
    t = log.totals
    print("| seeds | calls | faults | crashes | failed deeds | messages | sent | wrong | s |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {given.seeds:,} | {t['calls']:,} | {t['faults']:,} "
        f"| {t['crashes']:,} | {t['failed']:,} | {t['messages']:,} | {t['sent']:,} "
        f"| {log.wrong} | {log.seconds:.0f} |"
    )
    return 1 if log.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
