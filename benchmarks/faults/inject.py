"""One fault at a time, put into fresh rows of a real table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.faults.model import Model
from benchmarks.faults.tables import Rows
from detectors.records import BoolArray, FloatArray, Mode, Task
from detectors.transfer.loss import loss_of


@dataclass(frozen=True)
class Fault:
    """A window with one known cause; `logit` is set where the scoring layer is at fault."""

    mode: Mode
    name: str
    rows: Rows
    logit: FloatArray | None = None


@dataclass(frozen=True)
class Injector:
    """Draws windows of n rows from the pool and breaks them, the important columns first."""

    model: Model
    reference: Rows
    pool: Rows
    importance: dict[str, float]
    rng: np.random.Generator
    n: int

    def faults(self) -> Iterator[Fault]:
        yield Fault(Mode.NONE, "none", self.draw())
        yield Fault(Mode.NONE, "none again", self.draw())
        yield from self.broken_numbers()
        yield from self.broken_categories()
        yield from self.broken_labels()
        yield from self.moved_inputs()
        for factor in (1.5, 0.67):
            rows = self.draw()
            yield Fault(
                Mode.MISCALIBRATION, f"temperature {factor}", rows, self.model.logit(rows) * factor
            )
        for step in (0.4, -0.8):
            rows = self.draw()
            yield Fault(Mode.MISCALIBRATION, f"shift {step}", rows, self.model.logit(rows) + step)

    def draw(self, weight: FloatArray | None = None) -> Rows:
        share = None if weight is None else weight / weight.sum()
        return self.pool.take(
            self.rng.choice(len(self.pool), self.n, replace=weight is not None, p=share)
        )

    def some(self, share: float) -> BoolArray:
        return self.rng.random(self.n) < share

    def ranked(self, names: dict[str, object]) -> list[str]:
        return sorted(names, key=lambda name: -self.importance[name])

    @property
    def numeric(self) -> list[str]:
        return self.ranked(dict(self.reference.numeric))

    @property
    def categorical(self) -> list[str]:
        return self.ranked(dict(self.reference.categorical))

    def by_count(self, name: str) -> list[str]:
        values, counts = np.unique(self.reference.categorical[name], return_counts=True)
        return [str(v) for v in values[np.argsort(-counts, kind="stable")]]

    def broken_numbers(self) -> Iterator[Fault]:
        for name in self.numeric[:2]:
            for share, mode in ((0.3, Mode.SCHEMA_MISMATCH), (1.0, Mode.FEATURE_ABSENT)):
                rows = self.draw()
                values = np.where(self.some(share), 0.0, rows.numeric[name])
                yield Fault(mode, f"zero {share:.0%}", rows.with_numeric(name, values))
            for factor in (1000, 2.54, 0.4536):
                rows = self.draw()
                values = rows.numeric[name] * factor
                yield Fault(Mode.SCHEMA_MISMATCH, f"unit {factor}", rows.with_numeric(name, values))
            rows = self.draw()
            values = np.full(self.n, np.nan)
            yield Fault(Mode.FEATURE_ABSENT, "all null", rows.with_numeric(name, values))
        rows, name = self.draw(), self.numeric[0]
        values = rows.numeric[name] + 32
        yield Fault(Mode.SCHEMA_MISMATCH, "offset 32", rows.with_numeric(name, values))

    def broken_categories(self) -> Iterator[Fault]:
        for name in self.categorical[:2]:
            values = self.by_count(name)
            first, second = values[:2]
            rows = self.draw()
            column = rows.categorical[name]
            swapped = np.where(column == first, second, np.where(column == second, first, column))
            yield Fault(Mode.SCHEMA_MISMATCH, "swap", rows.with_category(name, swapped))
            rows = self.draw()
            renamed = np.char.add("x_", rows.categorical[name])
            yield Fault(Mode.SCHEMA_MISMATCH, "rename", rows.with_category(name, renamed))
            if len(values) > 3:
                rows = self.draw()
                column = rows.categorical[name]
                merged = np.where(np.isin(column, values[2:7]), first, column)
                yield Fault(Mode.SCHEMA_MISMATCH, "parent", rows.with_category(name, merged))
            rows = self.draw()
            constant = np.full(self.n, first)
            yield Fault(Mode.FEATURE_ABSENT, "constant", rows.with_category(name, constant))

    def broken_labels(self) -> Iterator[Fault]:
        def flipped(rows: Rows, where: BoolArray) -> Rows:
            return replace(rows, label=np.where(where, 1 - rows.label, rows.label))

        for share in (0.15, 0.3):
            yield Fault(
                Mode.LABEL_SEMANTICS, f"flip {share}", flipped(self.draw(), self.some(share))
            )
        for share in (0.5, 0.25):
            rows = self.draw()
            where = (rows.label == 1) & self.some(share)
            yield Fault(Mode.LABEL_SEMANTICS, f"thin {share}", flipped(rows, where))
        number, category = self.numeric[0], self.categorical[0]
        high = np.nanquantile(self.reference.numeric[number], 0.6)
        common = self.by_count(category)[0]
        for share in (0.3, 0.6):
            rows = self.draw()
            where = (rows.numeric[number] > high) & self.some(share)
            yield Fault(Mode.CONCEPT_SHIFT, f"region number {share}", flipped(rows, where))
            rows = self.draw()
            where = (rows.categorical[category] == common) & self.some(share)
            yield Fault(Mode.CONCEPT_SHIFT, f"region category {share}", flipped(rows, where))

    def moved_inputs(self) -> Iterator[Fault]:
        for odds in (0.33, 2.0, 4.0):
            weight = np.where(self.pool.label == 1, odds, 1.0)
            yield Fault(Mode.PRIOR_SHIFT, f"odds x {odds}", self.draw(weight))
        z = self.standardised(self.numeric[0])
        for tilt in (0.7, -0.7, 1.5):
            yield self.tilted(f"tilt {tilt}", np.exp(tilt * z))
        top = self.categorical[0]
        common = self.pool.categorical[top] == self.by_count(top)[0]
        yield self.tilted("category x 4", np.where(common, 4.0, 1.0))
        z = self.standardised(self.numeric[-1])
        yield self.tilted("unimportant number", np.exp(1.2 * z))
        last = self.categorical[-1]
        values, counts = np.unique(self.pool.categorical[last], return_counts=True)
        common = self.pool.categorical[last] == values[np.argmax(counts)]
        yield self.tilted("unimportant category", np.where(common, 0.25, 1.0))

    def tilted(self, name: str, weight: FloatArray) -> Fault:
        """Draw inputs unevenly; a covariate shift if that costs what this many rows can show.

        The truth is the weighted loss of the whole pool, not that of the window drawn.
        """
        loss = loss_of(Task.BINARY, 1 / (1 + np.exp(-self.model.logit(self.pool))), self.pool.label)
        rise = float(np.average(loss, weights=weight) - loss.mean())
        error = float(loss.std() * np.sqrt(1 / self.n + 1 / len(self.reference)))
        mode = Mode.COVARIATE_SHIFT if rise > 2 * error else Mode.BENIGN
        return Fault(mode, name, self.draw(weight))

    def standardised(self, name: str) -> FloatArray:
        column = self.pool.numeric[name]
        z = (column - np.nanmean(column)) / (np.nanstd(column) + 1e-9)
        clipped: FloatArray = np.clip(np.nan_to_num(z), -2.5, 2.5)
        return clipped
