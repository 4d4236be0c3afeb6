"""One fault at a time, put into fresh rows of a world: the modes, each at three severities.

A window is only made where the truth is clear: a covariate shift costs the whole pool three
standard errors of what a window can show, benign drift less than one; a version has forgotten, no
longer fits, reads old vectors, or hurts, by three standard errors of what a probe, anchors or the
window can show.
Where a world cannot carry a mode at a severity, there is no window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from benchmarks.faults.model import score_of
from benchmarks.faults.tables import NULL, Rows
from benchmarks.faults.worlds import (
    ANCHOR_ROWS,
    World,
    clearly_worse,
    forgetful,
    forgotten_words,
    has_forgotten,
    hurts_by,
    incompatible_words,
    misled,
    next_version,
    other_body,
    verdict_of,
    version_maps,
)
from detectors.alignment.staleness import frozen, served_by_old
from detectors.diagnosis import DiagnosisContext
from detectors.records import BoolArray, FloatArray, IntArray, Mode, Task, Window
from detectors.transfer.loss import loss_of


class Severity(StrEnum):
    """How strong a fault is."""

    MILD = "mild"
    MIDDLE = "middle"
    SEVERE = "severe"


LEVELS = tuple(Severity)
TRIES = 20
"""Draws that say what drawing unevenly costs."""
MISLED = (0.1, 0.2, 0.35)
EPOCHS, MIXED = (2, 6, 20), (0.1, 0.5, 1.0)
"""Of fine-tuning too many; rows under another version's embedding."""

Change = Callable[[Rows], Rows]


@dataclass(frozen=True)
class Fault:
    """A window with one known cause, and what is known besides its rows."""

    mode: Mode
    severity: Severity
    kind: str
    reference: Window
    window: Window
    context: DiagnosisContext

    @property
    def keeps_inputs(self) -> bool:
        """Whether its inputs are those of the injector's plain rows."""
        return self.mode in INPUTS_KEPT


INPUTS_KEPT = frozenset(
    {
        Mode.NONE,
        Mode.LABEL_SEMANTICS,
        Mode.CONCEPT_SHIFT,
        Mode.MISCALIBRATION,
        Mode.FORGETTING,
        Mode.EMBEDDING,
        Mode.NEGATIVE_TRANSFER,
    }
)
Made = tuple[str, Window, DiagnosisContext]


@dataclass(frozen=True)
class Injector:
    """Draws windows of n rows from the pool and breaks them; `turn` chooses between kinds.

    Faults that leave inputs alone are put into the same `plain` rows, so that what inputs say
    is computed once.
    """

    world: World
    rng: np.random.Generator
    n: int
    turn: int = 0

    @cached_property
    def plain(self) -> Rows:
        return self.draw()

    def fault(self, mode: Mode, severity: Severity) -> Fault | None:
        """One window with this mode, None where the world does not carry it."""
        made = self._make(mode, LEVELS.index(severity))
        if made is None:
            return None
        kind, window, context = made
        reference = self.world.reference
        if mode is Mode.STALE_EMBEDDINGS:  # the reference has the vectors of the version in service
            reference = self._embedded(self.world.split.reference)
        if mode is Mode.NEGATIVE_TRANSFER:  # nothing changed: the model served was never any good
            model = misled(self.world, MISLED[LEVELS.index(severity)])
            rows = self.world.split.reference
            reference = self.world.window(rows, model.logit(rows))
        return Fault(mode, severity, kind, reference, window, context)

    def _make(self, mode: Mode, level: int) -> Made | None:
        makers: dict[Mode, Callable[[int], Made | None]] = {
            Mode.NONE: lambda level: self._plain("none", self.plain),
            Mode.FEATURE_ABSENT: self.absent,
            Mode.SCHEMA_MISMATCH: self.mismatched,
            Mode.PRIOR_SHIFT: self.prior,
            Mode.LABEL_SEMANTICS: self.relabelled,
            Mode.CONCEPT_SHIFT: self.concept,
            Mode.COVARIATE_SHIFT: lambda level: self.moved(level, costly=True),
            Mode.BENIGN: lambda level: self.moved(level, costly=False),
            Mode.MISCALIBRATION: self.rescored,
            Mode.FORGETTING: self.forgotten,
            Mode.EMBEDDING: self.incompatible,
            Mode.NEGATIVE_TRANSFER: self.misled,
            Mode.STALE_EMBEDDINGS: self.stale,
        }
        return makers[mode](level)

    def _plain(self, kind: str, rows: Rows, logit: FloatArray | None = None) -> Made:
        return kind, self.world.window(rows, logit), DiagnosisContext()

    # ---- drawing

    @property
    def pool(self) -> Rows:
        return self.world.split.pool

    @property
    def binary(self) -> bool:
        return self.world.split.task is Task.BINARY

    def draw(self, weight: FloatArray | None = None) -> Rows:
        """Rows of the pool, each at most once: a row twice would tell two windows apart."""
        if weight is None:
            return self.take(self.rng.permutation(len(self.pool))[: self.n])
        return self.take(unevenly(weight, self.n, self.rng))

    def take(self, rows: IntArray) -> Rows:
        return self.pool.take(rows)

    def some(self, share: float) -> BoolArray:
        return self.rng.random(self.n) < share

    def ranked(self, names: dict[str, object]) -> list[str]:
        return sorted(names, key=lambda name: -self.world.importance[name])

    @property
    def numeric(self) -> list[str]:
        return self.ranked(dict(self.pool.numeric))

    @property
    def categorical(self) -> list[str]:
        return self.ranked(dict(self.pool.categorical))

    def by_count(self, name: str) -> list[str]:
        """Values of a category in the reference, the commonest first, nulls left out."""
        column = self.world.split.reference.categorical[name]
        values, counts = np.unique(column[column != NULL], return_counts=True)
        return [str(v) for v in values[np.argsort(-counts, kind="stable")]]

    def standardised(self, name: str) -> FloatArray:
        column = self.pool.numeric[name]
        z = (column - np.nanmean(column)) / (np.nanstd(column) + 1e-9)
        clipped: FloatArray = np.clip(np.nan_to_num(z), -2.5, 2.5)
        return clipped

    # ---- columns

    def absent(self, level: int) -> Made | None:
        """The third, second, most important column goes null, or to its commonest value."""
        names = self.ranked({**self.pool.numeric, **self.pool.categorical})
        fit = [name for name in names if self._varies(name)]
        if not fit:
            return None
        name = fit[min(2 - level, len(fit) - 1)]
        rows, null = self.draw(), self.turn % 2 == 0
        if name in rows.numeric:
            fill = np.nan if null else 0.0
            return self._plain(
                f"{'null' if null else 'zero'} {name}",
                rows.with_numeric(name, np.full(self.n, fill)),
            )
        value = NULL if null else self.by_count(name)[0]
        return self._plain(
            f"{'null' if null else 'constant'} {name}",
            rows.with_category(name, np.full(self.n, value)),
        )

    def _varies(self, name: str) -> bool:
        """Whether a column could go: no value, null included, in 90 % of rows."""
        reference = self.world.split.reference
        if name in reference.categorical:
            _, counts = np.unique(reference.categorical[name], return_counts=True)
        else:
            _, counts = np.unique(reference.numeric[name], return_counts=True, equal_nan=True)
        return bool(counts.max() < 0.9 * len(reference))

    def mismatched(self, level: int) -> Made | None:
        """Units, zeros, swaps, renames, parents, offsets: in turn, of columns that allow it."""
        kinds = [
            self.unit,
            self.zero_filled,
            self.swapped,
            self.renamed,
            self.merged,
            self.offset,
        ]
        for step in range(len(kinds)):
            rows = self.draw()
            made = kinds[(self.turn + step) % len(kinds)](rows, level)
            if made is not None:
                return self._plain(*made)
        return None

    def unit(self, rows: Rows, level: int) -> tuple[str, Rows] | None:
        """× 1.609, 0.4536 or 1,000, of a number with many values."""
        known = self.world.split.reference.numeric
        many = [
            name
            for name in self.numeric
            if len(np.unique(np.nanquantile(known[name], np.arange(0.05, 0.96, 0.05)))) >= 8
        ]
        if not many:
            return None
        name, factor = many[min(2 - level, len(many) - 1)], (1.609344, 0.45359237, 1000.0)[level]
        return f"unit {name}", rows.with_numeric(name, rows.numeric[name] * factor)

    def offset(self, rows: Rows, level: int) -> tuple[str, Rows] | None:
        """0.7, 1, 2 interquartile ranges more, of the most important number."""
        if not self.numeric:
            return None
        name = self.numeric[0]
        low, high = np.nanquantile(self.world.split.reference.numeric[name], [0.25, 0.75])
        step = float(high - low) * (0.7, 1.0, 2.0)[level]
        return f"offset {name}", rows.with_numeric(name, rows.numeric[name] + step)

    def zero_filled(self, rows: Rows, level: int) -> tuple[str, Rows] | None:
        known = self.world.split.reference.numeric
        rare = [name for name in self.numeric if np.mean(known[name] == 0) < 0.05]
        if not rare:
            return None
        values = np.where(self.some((0.15, 0.3, 0.6)[level]), 0.0, rows.numeric[rare[0]])
        return f"zero-fill {rare[0]}", rows.with_numeric(rare[0], values)

    def swapped(self, rows: Rows, level: int) -> tuple[str, Rows] | None:
        """Two values of the most important category: second and third, or the commonest two."""
        for name in self.categorical:
            values = self.by_count(name)
            first = 1 if level == 0 else 0
            if len(values) < first + 2 or self._share(name, values[first + 1]) < 0.03:
                continue
            one, two = values[first], values[first + 1]
            if level == 2 and len(values) > 2 and self._share(name, values[2]) >= 0.1:
                two = values[2]
            column = rows.categorical[name]
            turned = np.where(column == one, two, np.where(column == two, one, column))
            return f"swap {name}", rows.with_category(name, turned)
        return None

    def renamed(self, rows: Rows, level: int) -> tuple[str, Rows] | None:
        """A third, two thirds, all of the rows of a category under new names."""
        for name in self.categorical:
            values, share, taken = self.by_count(name), 0.0, []
            for value in values:
                if share < (0.34, 0.67, 1.0)[level]:
                    taken.append(value)
                    share += self._share(name, value)
            if len(values) < 2 or share < 0.25:
                continue
            column = rows.categorical[name]
            new = np.where(np.isin(column, taken), np.char.add("x_", column), column)
            return f"rename {name}", rows.with_category(name, new)
        return None

    def merged(self, rows: Rows, level: int) -> tuple[str, Rows] | None:
        """Two, three, five leaves come under the name of the commonest value."""
        for name in self.categorical:
            values = self.by_count(name)
            leaves = values[1 : (3, 4, 6)[level]]
            if len(values) < 4 or self._share(name, leaves[-1]) < 0.02:
                continue
            column = rows.categorical[name]
            return f"parent {name}", rows.with_category(
                name, np.where(np.isin(column, leaves), values[0], column)
            )
        return None

    def _share(self, name: str, value: str) -> float:
        return float(np.mean(self.world.split.reference.categorical[name] == value))

    # ---- labels

    def relabelled(self, level: int) -> Made | None:
        """Labels turned round at random, or positive ones that no longer count."""
        if not self.binary:
            return None
        rows = self.plain
        if self.turn % 2:
            where = (rows.label == 1) & self.some((0.3, 0.5, 0.75)[level])
            return self._plain("thin", _flipped(rows, where))
        return self._plain("flip", _flipped(rows, self.some((0.15, 0.3, 0.45)[level])))

    def concept(self, level: int) -> Made | None:
        """Another answer in one region: above a number's .6 quantile, or for one category."""
        rows, share = self.plain, (0.3, 0.6, 0.9)[level]
        region = self.region(rows)
        if region is None:
            return None
        kind, where = region
        if self.binary:
            return self._plain(kind, _flipped(rows, where & self.some(share)))
        moved = rows.label + share * float(self.pool.label.std()) * where
        return self._plain(kind, replace(rows, label=moved))

    def region(self, rows: Rows) -> tuple[str, BoolArray] | None:
        """Rows of a region, of a number and of a category in turn."""
        if self.numeric and (self.turn % 2 == 0 or not self.categorical):
            name = self.numeric[0]
            edge = np.nanquantile(self.world.split.reference.numeric[name], 0.6)
            return f"region of {name}", rows.numeric[name] > edge
        if not self.categorical:
            return None
        name = self.categorical[0]
        return f"region of {name}", rows.categorical[name] == self.by_count(name)[0]

    # ---- inputs

    def prior(self, level: int) -> Made | None:
        """The odds of a positive row × 2, 4, 8, or divided by as much."""
        if not self.binary:
            return None
        odds = (2.0, 4.0, 8.0)[level]
        odds = 1 / odds if self.turn % 2 else odds
        one = self.pool.label == 1
        positive = odds * float(one.mean()) / (1 + (odds - 1) * float(one.mean()))
        ones = self.rng.binomial(self.n, positive)
        if ones > 0.9 * one.sum() or self.n - ones > 0.9 * (~one).sum():
            return None
        rows = [
            self.rng.permutation(np.flatnonzero(mask))[:count]
            for mask, count in ((one, ones), (~one, self.n - ones))
        ]
        drawn = self.take(self.rng.permutation(np.concatenate(rows)))
        return self._plain(f"odds × {odds:.3g}", drawn)

    def moved(self, level: int, *, costly: bool) -> Made | None:
        """Inputs drawn unevenly, one of the tilts whose cost on the whole pool is clear."""
        loss = self.world.served.loss(self.pool)
        error = float(loss.std() * np.sqrt(1 / self.n + 1 / len(self.world.split.reference)))
        clear, rng = [], np.random.default_rng(self.turn)
        for kind, weight in self.tilts((0.7, 1.1, 1.5)[level]):
            tries = [loss[unevenly(weight, self.n, rng)].mean() for _ in range(TRIES)]
            rise = float(np.mean(tries) - loss.mean())
            if rise > 3 * error if costly else rise < error:
                clear.append((kind, weight))
        if not clear:
            return None
        kind, weight = clear[self.turn % len(clear)]
        return self._plain(kind, self.draw(weight))

    def tilts(self, size: float) -> list[tuple[str, FloatArray]]:
        """Weights of the pool: numbers tilted either way, common categories more or less."""
        found = []
        for name in [*self.numeric[:3], *self.numeric[-1:]]:
            z = self.standardised(name)
            found += [(f"{name} up", np.exp(size * z)), (f"{name} down", np.exp(-size * z))]
        for name in [*self.categorical[:2], *self.categorical[-1:]]:
            common = self.pool.categorical[name] == self.by_count(name)[0]
            factor = float(np.exp(1.4 * size))
            found += [
                (f"{name} more", np.where(common, factor, 1.0)),
                (f"{name} less", np.where(common, 1 / factor, 1.0)),
            ]
        if self.pool.embedding is not None:
            centred = self.pool.embedding - self.pool.embedding.mean(axis=0)
            _, _, directions = np.linalg.svd(centred[:500], full_matrices=False)
            for at, direction in enumerate(directions[:3]):
                z = centred @ direction
                z = np.clip(z / z.std(), -2.5, 2.5).astype(np.float64)
                found += [(f"direction {at} up", np.exp(size * z))]
                found += [(f"direction {at} down", np.exp(-size * z))]
        return found

    # ---- scores and versions

    def rescored(self, level: int) -> Made | None:
        """Scores sharpened, blunted, raised or lowered after the model."""
        rows = self.plain
        logit = self.world.served.logit(rows)
        scale = 1.0 if self.binary else float(logit.std())
        factor, step = (1.35, 1.6, 2.5)[level], (0.4, 0.7, 1.2)[level] * scale
        if not self.binary:
            step *= 0.5
        middle = 0.0 if self.binary else float(logit.mean())
        changes = (
            ("sharper", middle + factor * (logit - middle)),
            ("lower", logit - step),
            ("blunter", middle + (logit - middle) / factor),
            ("higher", logit + step),
        )
        kind, changed = changes[self.turn % len(changes)]
        return self._plain(kind, rows, changed)

    def forgotten(self, level: int) -> Made | None:
        """The version served was fine-tuned for 2, 6 or 20 epochs too many."""
        epochs = EPOCHS[level]
        model = forgetful(self.world, epochs)
        if not has_forgotten(self.world, model):
            return None
        rows = self.plain
        context = DiagnosisContext(forgotten=forgotten_words(self.world, model, self.rng))
        return f"{epochs} epochs", self.world.window(rows, model.logit(rows)), context

    def incompatible(self, level: int) -> Made | None:
        """A tenth, a half, all of the rows embedded by a version whose head is not served."""
        share, model = MIXED[level], other_body(self.world)
        turned = self.rng.random(len(self.pool)) < share
        was = self.world.served.loss(self.pool)
        if not clearly_worse(np.where(turned, model.loss(self.pool), was), was, rows=ANCHOR_ROWS):
            return None
        rows = self.plain
        mixed = np.where(self.some(share), model.logit(rows), self.world.served.logit(rows))
        words = incompatible_words(self.world, model, share, self.rng)
        context = DiagnosisContext(incompatible=words)
        return f"{share:.0%} of rows", self.world.window(rows, mixed), context

    def stale(self, level: int) -> Made | None:
        """Old vectors under a new name (30, 60, 100 % of rows), or frozen ones (70, 85, 100 %).

        In turn: rows name the next version, whose head reads vectors of the one before; or vectors
        are no longer made anew, and rows come with those of rows of the reference.
        """
        rows, served = self.plain, self.world.served
        if self.turn % 2:
            now, pool = next_version(self.world), self.pool
            read_old = score_of(now.logit_of(served.embedding(pool), pool), now.task)
            lost = loss_of(now.task, read_old, pool.label)
            if not clearly_worse(lost, now.loss(pool), rows=ANCHOR_ROWS):
                return None
            share = (0.3, 0.6, 1.0)[level]
            old = self.some(share)[:, None]
            vectors = np.where(old, served.embedding(rows), now.embedding(rows))
            found = served_by_old(
                vectors.astype(np.float32), ["2"] * self.n, version_maps(self.world, now, self.rng)
            )
            context = DiagnosisContext(
                stale="" if found is None else found.words,
                incompatible=incompatible_words(self.world, now, 1.0, self.rng),
            )
            window = self.world.window(rows, now.logit_of(vectors, rows))
            window = replace(window, embedding=vectors.astype(np.float32))
            return f"{share:.0%} of an old version", window, context
        share = (0.7, 0.85, 1.0)[level]
        before = self.world.split.reference
        older = before.take(self.rng.integers(0, len(before), self.n))
        frozen_here = self.some(share)[:, None]
        vectors = np.where(frozen_here, served.embedding(older), served.embedding(rows))
        window = self.world.window(rows, served.logit_of(vectors, rows))
        window = replace(window, embedding=vectors.astype(np.float32))
        context = DiagnosisContext(stale=frozen(self._embedded(before), window))
        return f"{share:.0%} frozen", window, context

    def _embedded(self, rows: Rows) -> Window:
        """Rows in order of time, with the vectors that the version in service makes of them."""
        return replace(
            self.world.window(rows),
            embedding=self.world.served.embedding(rows).astype(np.float32),
            ts_us=np.arange(len(rows), dtype=np.int64),
        )

    def misled(self, level: int) -> Made | None:
        """A source where 10, 20, 35 % of labels mean the opposite; nothing changed in service.

        The reference is of the same model, so the contrasts are those of a window without change.
        """
        share = MISLED[level]
        model = misled(self.world, share)
        if not hurts_by(self.world, model, self.n):
            return None
        rows = self.plain
        window = self.world.window(rows, model.logit(rows))
        context = DiagnosisContext(transfer=verdict_of(self.world, window, rows))
        return f"{share:.0%} turned", window, context


def unevenly(weight: FloatArray, n: int, rng: np.random.Generator) -> IntArray:
    """Index of n different rows, the next one always by weight (Efraimidis & Spirakis, 2006)."""
    keys = np.log(rng.random(len(weight))) / weight
    return np.argpartition(-keys, n - 1)[:n].astype(np.int64)


def _flipped(rows: Rows, where: BoolArray) -> Rows:
    return replace(rows, label=np.where(where, 1 - rows.label, rows.label))
