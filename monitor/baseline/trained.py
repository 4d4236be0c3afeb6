"""The scorer that trains the baseline itself: predicts each chunk of cohorts, then learns from it.

The model for the events of a day (a tick, where ticks count rows) has learnt from the days whose
labels had matured when that day began, and before them from the domain's own reference. All of
it follows from event time, so the daemon, a restart and `kedge replay` train the same models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detectors.records import BaselinePlan, Schema, Task, Window
from detectors.transfer.designs import paired_by
from detectors.transfer.losses import VerdictLoss
from detectors.transfer.scratch.state import ScratchState
from detectors.transfer.standing import BaselineFacts
from monitor.baseline.fitting import FitFailedError, FitWorker, worker_for

if TYPE_CHECKING:
    from monitor.rows.base import RowSource


@dataclass(slots=True, eq=False)
class TrainedScorer:
    """One deployment's own baseline. `moved`: its state differs from the one saved last.

    `reference` holds the domain's own reference rows, None where it has none.
    """

    schema: Schema
    plan: BaselinePlan
    reference: Window | None
    chunk_us: int
    delay_us: int
    state: ScratchState
    worker: FitWorker
    loss: VerdictLoss | None = None
    trouble: str = ""
    moved: bool = False
    saved_fits: int = 0

    @classmethod
    def open(
        cls,
        schema: Schema,
        plan: BaselinePlan,
        reference: Window | None,
        *,
        chunk_us: int,
        delay_us: int,
        loss: VerdictLoss | None = None,
        stored: bytes | None = None,
    ) -> TrainedScorer:
        """A scorer as it was saved, or one that has seen nothing."""
        state = ScratchState.fresh(schema) if stored is None else ScratchState.from_bytes(stored)
        worker = worker_for(plan)
        return cls(
            schema,
            plan,
            reference,
            chunk_us,
            delay_us,
            state,
            worker,
            loss,
            saved_fits=state.fits,
        )

    @property
    def facts(self) -> BaselineFacts | None:
        return self.state.facts

    def cohort(
        self, pieces: Iterable[Window], rows: RowSource, start_us: int, end_us: int
    ) -> Iterator[tuple[Window, int]]:
        """Rows scored by the model that had learnt from what was known before their day."""
        del end_us
        chunk_us = start_us // self.chunk_us * self.chunk_us
        self._learn_until(chunk_us, rows)
        for piece in pieces:
            scored = replace(piece, baseline_score=self.state.score(piece, self.schema))
            noted = self.state.noted(scored, self.schema, chunk_us)
            self.moved |= noted is not self.state
            self.state = noted
            yield paired_by(scored, self.loss), 0

    def _learn_until(self, chunk_us: int, rows: RowSource) -> None:
        """Learn from every chunk whose labels had matured when this one began."""
        if self.state.until_us is None:
            self._begin(chunk_us)
        until_us = self.state.until_us
        assert until_us is not None
        while until_us + self.chunk_us + self.delay_us <= chunk_us:
            end_us = until_us + self.chunk_us
            for piece in rows.rows(until_us, end_us, labels_by_us=end_us + self.delay_us):
                self.state = self.state.absorb(piece, self.schema, self.plan)
            until_us = end_us
            self.state = replace(self.state, until_us=until_us)
            self.moved = True
            self._fit_if_due()

    def _begin(self, chunk_us: int) -> None:
        """Learn from the reference first; its labels count if they were known by now."""
        if self.reference is not None and self.reference.ts_us is not None:
            known = self.reference.known_by(chunk_us)
            before = known.take(known.ts_us < chunk_us) if known.ts_us is not None else known
            self.state = self.state.absorb(before, self.schema, self.plan)
        self.state = replace(self.state, until_us=chunk_us)
        self.moved = True
        self._fit_if_due()

    def _fit_if_due(self) -> None:
        if not self.state.is_due(self.schema, self.plan):
            return
        try:
            task = Task.REGRESSION if self.schema.task is Task.REGRESSION else Task.BINARY
            fit = self.worker.fit(self.state.rows, task=task, seed=self.plan.seed)
        except FitFailedError as error:
            self.trouble = f"the baseline could not be trained again: {error}"
            self.state = self.state.given_up()
        else:
            self.trouble = ""
            self.state = self.state.fitted(fit)
