"""A world to put faults into: rows of one domain and the models that might serve there.

Versions that are at fault are trained, not made up, and shared by every window of a world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults.model import Model, importance
from benchmarks.faults.simulator import partner
from benchmarks.faults.tables import Rows, Split, load
from detectors.alignment.anchors import AnchorChange, Anchors, compare_anchors
from detectors.alignment.forgetting import Forgetting, probe_change
from detectors.alignment.staleness import VersionMap
from detectors.records import FloatArray, Schema, Settings, State, Task, TransferVerdict, Window
from detectors.transfer.single_look import single_look_verdict

SIMULATOR = "simulator"
PROBE_ROWS, ANCHOR_ROWS = 2_000, 2_000
TRUE_MARGIN, CLEAR_SE = 0.02, 3.0


@dataclass(frozen=True, eq=False)
class World:
    """One domain of one set. Faulty versions are made once, at the first window that asks."""

    name: str
    seed: int
    split: Split
    served: Model
    baseline: Model

    @cached_property
    def schema(self) -> Schema:
        return self.split.reference.schema(self.split.task)

    @cached_property
    def reference(self) -> Window:
        return self.window(self.split.reference)

    @cached_property
    def importance(self) -> dict[str, float]:
        rows = self.split.reference.take(slice(0, 2000))
        return importance(self.served, rows, np.random.default_rng(self.seed))

    def window(self, rows: Rows, logit: FloatArray | None = None) -> Window:
        """Rows as they are served, or with other scores."""
        return rows.window(self.served.logit(rows) if logit is None else logit, self.split.task)

    @cached_property
    def others(self) -> dict[str, Model]:
        return {}

    def version(self, name: str, make: Callable[[], Model]) -> Model:
        """A version at fault, trained the first time it is asked for."""
        if name not in self.others:
            self.others[name] = make()
        return self.others[name]


def open_world(name: str, seed: int, data: Path | None) -> World:
    """The simulator's partner of this seed, or a domain of a public set."""
    if name == SIMULATOR:
        split, served, baseline = partner(seed)
        return World(name, seed, split, served, baseline)
    if data is None:
        msg = f"--data is needed for {name}"
        raise SystemExit(msg)
    split = load(name, data, seed)
    return World(name, seed, split, Model.transferred(split, seed), Model.scratch(split, seed))


def forgetful(world: World, epochs: int) -> Model:
    """Fine-tuned on and on with a high rate, on rows of the domain alone."""
    return world.version(
        f"forgetful {epochs}",
        lambda: _overtuned(world.served, world.split.tuning, world.seed, epochs),
    )


def _overtuned(model: Model, rows: Rows, seed: int, epochs: int) -> Model:
    """No rows held back to stop at: the last epoch is what is served."""
    for epoch in range(epochs):
        model = model.tuned(rows, seed + epoch, 1, 64, 3e-3, 2)
    return model


def forgotten_words(world: World, now: Model, rng: np.random.Generator) -> str:
    """What the product says of the source probe, "" where it finds nothing forgotten."""
    found = probed(world, now, rng)
    return found.words if found.state is State.DRIFT else ""


def probed(world: World, now: Model, rng: np.random.Generator) -> Forgetting:
    """The source probe under version "1", in service, and under the version after it."""
    source = world.split.source
    probe = source.take(rng.choice(len(source), min(PROBE_ROWS, len(source)), replace=False))
    return probe_change(
        "1",
        world.served.score(probe),
        "2",
        now.score(probe),
        probe.label,
        task=world.split.task,
        version=1,
    )


def clearly_worse(
    now: FloatArray, was: FloatArray, *, rows: int, margin: float = TRUE_MARGIN
) -> bool:
    """Whether losses rose beyond the margin by three standard errors of what so many rows show."""
    rise = now - was
    error = float(rise.std() / np.sqrt(min(rows, len(rise))))
    return float(rise.mean()) - CLEAR_SE * error > margin * float(was.mean())


def has_forgotten(world: World, now: Model) -> bool:
    """The truth, on all source rows."""
    source = world.split.source
    return clearly_worse(now.loss(source), world.served.loss(source), rows=PROBE_ROWS)


def other_body(world: World) -> Model:
    """The embedding of a version trained from another start, under the head in service."""

    def make() -> Model:
        start = Model.fresh(world.split.source, world.seed + 77, world.split.task)
        if world.name == SIMULATOR:
            torch.manual_seed(world.seed + 77)
            start = replace(world.served, network=type(world.served.network)(world.served.encoder))
        other = start.tuned(world.split.source, world.seed + 77, 6, 256, 2e-3, 3)
        return world.served.with_body_of(other)

    return world.version("other body", make)


def incompatible_words(world: World, now: Model, share: float, rng: np.random.Generator) -> str:
    """What the product says against an embedding, "" where it fits."""
    found = compared(world, now, share, rng)
    return found.words if found.incompatible else ""


def compared(world: World, now: Model, share: float, rng: np.random.Generator) -> AnchorChange:
    """Anchors of version "1", in service, and of "2", that embeds a share of them by `now`."""
    rows = anchor_rows(world, rng)
    turned = rng.random(len(rows)) < share
    before, after = world.served.embedding(rows), now.embedding(rows)
    score = np.where(turned, now.score(rows), world.served.score(rows))
    label = rows.label
    return compare_anchors(
        Anchors("1", before, label, world.served.score(rows)),
        Anchors("2", np.where(turned[:, None], after, before), label, score),
    )


def next_version(world: World) -> Model:
    """The version after the one in service: its embedding trained on, and its head with it."""

    def make() -> Model:
        source, tuning = world.split.source, world.split.tuning
        on = world.served.tuned(source, world.seed + 55, 6, 256, 2e-3, 3)
        return on.tuned(tuning, world.seed + 55, 10, 64, 5e-4, 3)

    return world.version("next", make)


def version_maps(world: World, now: Model, rng: np.random.Generator) -> tuple[VersionMap, ...]:
    """The anchors of the version in service, "1", and of the one that rows name, "2"."""
    anchors = anchor_rows(world, rng)
    return tuple(
        VersionMap(name, model.embedding(anchors).astype(np.float32))
        for name, model in (("1", world.served), ("2", now))
    )


def anchor_rows(world: World, rng: np.random.Generator) -> Rows:
    pool = world.split.reference
    return pool.take(rng.choice(len(pool), min(ANCHOR_ROWS, len(pool)), replace=False))


def misled(world: World, share: float) -> Model:
    """Pre-trained where a share of labels means the opposite, and served as it is."""

    def make() -> Model:
        rng = np.random.default_rng([world.seed, 5])
        source, tuning = world.split.source, world.split.tuning
        turned = rng.random(len(source)) < share
        if world.split.task is Task.REGRESSION:
            other = source.label + share * float(source.label.std()) * np.where(turned, 1.0, -1.0)
        else:
            other = np.where(turned, 1 - source.label, source.label)
        start = replace(world.served, network=world.served.network)
        wrong = replace(source, label=other)
        model = start.tuned(wrong, world.seed, 6, 256, 2e-3, 3)
        return model.tuned(tuning, world.seed, 2, 64, 1e-4, 2)

    return world.version(f"misled {share}", make)


def hurts_by(world: World, model: Model, rows: int) -> bool:
    """The truth: on the whole pool the model clearly loses to the baseline beyond the margin."""
    pool = world.split.pool
    return clearly_worse(model.loss(pool), world.baseline.loss(pool), rows=rows, margin=0.01)


def verdict_of(world: World, window: Window, rows: Rows) -> TransferVerdict:
    """The product's verdict on one window with the baseline's scores beside."""
    both = replace(window, baseline_score=world.baseline.score(rows))
    return single_look_verdict(both, task=world.split.task, settings=Settings())
