"""How soon is a fault seen, and what is it called, when history runs through the pipeline?

    python -m benchmarks.faults.delay --seeds 1000-1004 --save FILE
    python -m benchmarks.faults.delay --read FILE ...

The simulator's partner sends 400 impressions a day: 28 days are the reference, then ten healthy
days, then 18 with one fault, through the same code as `kedge replay` and the daemon. Every seed
also runs once without a fault. Detected is an alarm of page or ticket tier after the change on
something that did not alarm in the healthy run; the delay is event time from the change to it.
Named is the mode of the incident it opened, as it stands at the end.

Rows of a version at fault name it, and its anchors and source probe are known when it comes.
Negative transfer is not here: a verdict of harm has no moment at which it begins.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults.confusion import numbers, share_of
from benchmarks.faults.inject import EPOCHS, LEVELS, MIXED, Injector, Severity
from benchmarks.faults.simulator import Log, impressions, partner, places
from benchmarks.faults.tables import Rows
from benchmarks.faults.worlds import (
    SIMULATOR,
    World,
    compared,
    forgetful,
    next_version,
    other_body,
    probed,
    version_maps,
)
from detectors.records import (
    DAY_US,
    HOUR_US,
    Categories,
    Deployment,
    Finding,
    IntArray,
    Mode,
    Settings,
    Tier,
    Window,
    concat_windows,
    to_us,
)
from monitor.replaying.replay import DomainReplay, replay_domain
from monitor.watching.alignment import NOTHING_KNOWN, VersionFacts

A_DAY, REFERENCE_DAYS, HEALTHY_DAYS, FAULTY_DAYS = 400, 28, 10, 18
MOST_DRAWN = 4
"""Rows that unevenly drawn windows are chosen from, for each row that is kept."""

MODES = (
    Mode.PIPELINE_FAULT,
    Mode.FEATURE_ABSENT,
    Mode.SCHEMA_MISMATCH,
    Mode.PRIOR_SHIFT,
    Mode.LABEL_SEMANTICS,
    Mode.CONCEPT_SHIFT,
    Mode.COVARIATE_SHIFT,
    Mode.MISCALIBRATION,
    Mode.BENIGN,
    Mode.FORGETTING,
    Mode.EMBEDDING,
    Mode.STALE_EMBEDDINGS,
)
SETTINGS = Settings(tick_us=6 * HOUR_US, label_delay_us=DAY_US)


@dataclass(frozen=True)
class Seen:
    """One run with a fault. Hours are None where nothing of that tier came."""

    seed: int
    true: str
    severity: str
    kind: str
    alarm_hours: float | None
    page_hours: float | None
    named: str
    candidates: tuple[str, ...]
    healthy_pages: int
    healthy_tickets: int
    healthy_named: tuple[str, ...]


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--seeds", default="0")
    ask.add_argument("--severities", default=",".join(LEVELS))
    ask.add_argument("--modes", default="")
    ask.add_argument("--save", type=Path)
    ask.add_argument("--read", type=Path, nargs="*", default=[])
    given = ask.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    found = [Seen(**json.loads(line)) for path in given.read for line in path.open()]
    if not given.read:
        wanted = given.modes.split(",") if given.modes else [mode.value for mode in MODES]
        severities = [Severity(name) for name in given.severities.split(",")]
        for seed in numbers(given.seeds):
            for one in run(seed, severities, [mode for mode in MODES if mode.value in wanted]):
                found.append(one)
                if given.save:
                    with given.save.open("a") as out:
                        out.write(json.dumps(asdict(one)) + "\n")
    print_table(found)
    print(f"\n{len(found)} runs with a fault, {time.perf_counter() - start:.0f} s")


@dataclass(frozen=True)
class InOrder(Injector):
    """An injector whose windows are rows in order of time: `taken` says which of the pool."""

    taken: list[IntArray] = None  # type: ignore[assignment]

    def take(self, rows: IntArray) -> Rows:
        self.taken.append(np.sort(rows))
        return self.pool.take(self.taken[-1])


def run(seed: int, severities: list[Severity], modes: list[Mode]) -> Iterator[Seen]:
    """One healthy run, then one for each mode and severity, of the same reference and start."""
    fresh, number = divmod(seed, 1000)
    which = 100 * fresh + number % 8
    split, served, baseline = partner(which)
    _, place = places(which)
    rng = np.random.default_rng([seed, 3])
    days = REFERENCE_DAYS + HEALTHY_DAYS
    before = impressions(place, A_DAY * days, days=days, rng=rng)
    change_us = int(before.ts_us[0]) // DAY_US * DAY_US + days * DAY_US
    after = impressions(
        place,
        MOST_DRAWN * A_DAY * FAULTY_DAYS,
        days=FAULTY_DAYS,
        rng=rng,
        start_us=change_us,
    )
    is_reference = np.asarray(before.ts_us < change_us - HEALTHY_DAYS * DAY_US)
    split = replace(split, reference=before.rows.take(is_reference), pool=after.rows)
    world = World(SIMULATOR, which, split, served, baseline)

    def timed(log: Log, window: Window) -> Window:
        return replace(
            window,
            ts_us=log.ts_us,
            label_ts_us=log.label_ts_us,
            baseline_score=baseline.score(log.rows),
        )

    first = of_version("1", timed(before, world.window(before.rows)))
    vectors = served.embedding(before.rows).astype(np.float32)

    def replayed(rows: Window, versions: VersionFacts = NOTHING_KNOWN) -> DomainReplay:
        embedded = rows.embedding is not None
        past = replace(first, embedding=vectors) if embedded else first
        return replay_domain(
            Deployment("ctr", "partner"),
            replace(world.schema, embedding_dim=vectors.shape[1] if embedded else 0),
            SETTINGS,
            reference=past.take(is_reference),
            pooled=past.take(is_reference),
            rows=concat_windows([past.take(~is_reference), rows]),
            versions=versions,
        )

    n = A_DAY * FAULTY_DAYS
    plain = InOrder(world, np.random.default_rng([seed, 4]), n, seed, taken=[])
    calm_rows = plain.draw()
    calm = of_version("1", timed(after.take(plain.taken[-1]), world.window(calm_rows)))
    calm_vectors = served.embedding(calm_rows).astype(np.float32)
    healthy = replayed(calm)
    embedded = cache(lambda: replayed(replace(calm, embedding=calm_vectors)))
    for mode in modes:
        for severity in severities:
            level = LEVELS.index(severity)
            injector = InOrder(world, np.random.default_rng([seed, 5, level]), n, seed, taken=[])
            facts = NOTHING_KNOWN
            if mode is Mode.PIPELINE_FAULT:
                kind, rows = pipeline_fault(calm, injector, level)
            else:
                fault = injector.fault(mode, severity)
                if fault is None:
                    continue
                kind = fault.kind
                facts = facts_of(mode, kind, level, world, injector.rng)
                rows = timed(after.take(injector.taken[-1]), fault.window)
                rows = of_version("1" if facts is NOTHING_KNOWN else "2", rows)
            usual = healthy if rows.embedding is None else embedded()
            yield seen(seed, mode, severity, kind, usual, replayed(rows, facts), change_us)


def of_version(name: str, rows: Window) -> Window:
    return replace(rows, version=Categories(np.zeros(rows.rows, np.int32), (name,)))


def facts_of(
    mode: Mode, kind: str, level: int, world: World, rng: np.random.Generator
) -> VersionFacts:
    """What anchors and a probe say of version "2", where the fault is a version's."""
    if mode is Mode.FORGETTING:
        return VersionFacts(probe=(probed(world, forgetful(world, EPOCHS[level]), rng),))
    if mode is Mode.EMBEDDING:
        return VersionFacts(anchors=(compared(world, other_body(world), MIXED[level], rng),))
    if mode is Mode.STALE_EMBEDDINGS and "frozen" not in kind:
        now = next_version(world)
        maps = version_maps(world, now, rng)
        return VersionFacts(anchors=(compared(world, now, 1.0, rng),), maps=maps)
    return NOTHING_KNOWN


def pipeline_fault(calm: Window, injector: Injector, level: int) -> tuple[str, Window]:
    """Rows lost, labels late, or a join that fails for a share of rows: in turn."""
    rng, turn = injector.rng, injector.turn % 3
    if turn == 0:
        kept = rng.random(calm.rows) < (1 / 4, 1 / 6, 1 / 12)[level]
        return "rows lost", calm.take(np.flatnonzero(kept))
    if turn == 1:
        assert calm.label_ts_us is not None
        assert calm.ts_us is not None
        later = (4, 8, 16)[level] * (calm.label_ts_us - calm.ts_us)
        return "labels late", replace(calm, label_ts_us=calm.ts_us + later)
    broken = rng.random(calm.rows) < (0.3, 0.6, 0.95)[level]
    numeric = {name: np.where(broken, np.nan, x) for name, x in calm.numeric.items()}
    words = {
        name: replace(column, codes=np.where(broken, -1, column.codes).astype(np.int32))
        for name, column in calm.categorical.items()
    }
    return "join fails", replace(calm, numeric=numeric, categorical=words)


def seen(
    seed: int,
    mode: Mode,
    severity: Severity,
    kind: str,
    healthy: DomainReplay,
    changed: DomainReplay,
    change_us: int,
) -> Seen:
    """What only the changed run has, from the change on."""
    usual = {(finding.stream, to_us(finding.ts)) for finding in healthy.findings}
    new = [
        finding
        for finding in changed.findings
        if to_us(finding.ts) > change_us
        and (finding.stream, to_us(finding.ts)) not in usual
        and finding.tier is not Tier.LOG
    ]

    def hours(wanted: Callable[[Finding], bool]) -> float | None:
        at = [to_us(finding.ts) for finding in new if wanted(finding)]
        return (min(at) - change_us) / HOUR_US if at else None

    streams = {finding.stream for finding in new}
    opened = [
        incident
        for incident in changed.incidents
        if streams & set(incident.streams) and to_us(incident.updated_at) > change_us
    ]
    opened.sort(key=lambda incident: (incident.tier is not Tier.PAGE, incident.opened_at))
    calm = [incident for incident in healthy.incidents if incident.tier is not Tier.LOG]
    return Seen(
        seed,
        mode.value,
        severity.value,
        kind,
        hours(lambda finding: True),
        hours(lambda finding: finding.tier is Tier.PAGE),
        opened[0].mode.value if opened else "",
        tuple(incident.mode.value for incident in opened),
        sum(incident.tier is Tier.PAGE for incident in calm),
        sum(incident.tier is Tier.TICKET for incident in calm),
        tuple(incident.mode.value for incident in calm),
    )


def print_table(found: list[Seen]) -> None:
    print("| fault | severity | runs | detected | median delay | paged | named | otherwise |")
    print("|---|---|---|---|---|---|---|---|")
    groups: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for one in found:
        groups[one.true, one.severity].append(one)
    for (true, severity), part in groups.items():
        delays = sorted(one.alarm_hours for one in part if one.alarm_hours is not None)
        middle = f"{np.median(delays):.0f} h" if delays else "-"
        others = Counter(one.named or "nothing" for one in part if one.named != true)
        print(
            f"| {true} | {severity} | {len(part)} "
            f"| {share_of(bool(one.alarm_hours) for one in part)} "
            f"| {middle} | {share_of(bool(one.page_hours) for one in part)} "
            f"| {share_of(one.named == true for one in part)} "
            f"| {', '.join(f'{n} {name}' for name, n in others.most_common())} |"
        )
    calm = {one.seed: one for one in found}.values()
    days = (HEALTHY_DAYS + FAULTY_DAYS) * len(calm)
    pages, tickets = sum(c.healthy_pages for c in calm), sum(c.healthy_tickets for c in calm)
    named = Counter(name for one in calm for name in one.healthy_named)
    print(
        f"\nhealthy runs: {len(calm)} of {HEALTHY_DAYS + FAULTY_DAYS} days; {pages} pages "
        f"({30 * pages / max(days, 1):.2f} ± {30 * np.sqrt(max(pages, 1)) / max(days, 1):.2f} "
        f"in 30 days, budget 1), {tickets} tickets, named "
        f"{', '.join(f'{n} {name}' for name, n in named.most_common()) or 'nothing'}"
    )


if __name__ == "__main__":
    main()
