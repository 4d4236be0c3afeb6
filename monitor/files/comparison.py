"""Two tables, one report a domain: what `kedge check` does between reading and printing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from detectors.records import Deployment, Schema, Settings, Task, TransferVerdict, Window
from detectors.transfer.class_losses import class_columns
from detectors.transfer.designs import with_contrast
from detectors.transfer.losses import chosen_loss, own_loss
from detectors.transfer.sums import sums_of
from detectors.transfer.verdict import Trajectory, trajectory, transfer_verdict
from monitor.baseline.baselines import refuse_loss
from monitor.files.tables import Table, split_domains
from monitor.reports.build import ReferenceLine, answer, single_look_budget, write_down
from monitor.reports.transfer import gate_json, gate_of, transfer_details
from monitor.watching.watch import mean_loss

FEWEST_DAYS = 14
"""Days with labelled pairs below which a day is no unit to learn a variance from."""

MANY_SCHEMA = "kedge.reports/1"
"""Around several reports: {schema, model, reports[], absent[{domain, only_in, rows}]}."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A domain that only one of the files has, so that there is nothing to hold it against."""

    domain: str
    only_in: str
    rows: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The reports of all domains, and what is worth saying beside them."""

    model: str
    by_domain: bool
    reports: tuple[dict[str, Any], ...]
    absent: tuple[Absent, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The single report, or with a domain column the object around all of them."""
        if not self.by_domain:
            return self.reports[0]
        return {
            "schema": MANY_SCHEMA,
            "model": self.model,
            "reports": list(self.reports),
            "absent": [
                {"domain": one.domain, "only_in": one.only_in, "rows": one.rows}
                for one in self.absent
            ],
        }


def compare_tables(
    reference: Table, current: Table, settings: Settings, *, model: str, now: datetime
) -> Comparison:
    """One report for every domain that both tables have.

    Where they have no domain in common, or the reference names none, every domain of `current`
    is held against the whole reference and a note says so.
    """
    settings = own_loss(settings, reference.schema)
    refuse_loss(reference.schema, settings)
    before = dict(split_domains(reference.window))
    after = dict(split_domains(current.window))
    notes: list[str] = []
    absent: list[Absent] = []
    if reference.window.domain is None and current.window.domain is None:
        pairs = [("default", reference.window, current.window)]
    elif not before.keys() & after.keys():
        if current.window.domain is None:
            notes.append(
                f"{_name(current)} has no domain column: all of it is held against all of "
                f"{_name(reference)}"
            )
        else:
            notes.append(
                f"no domain is in both files: each of {_name(current)} is held against all of "
                f"{_name(reference)}"
            )
        pairs = [(domain, reference.window, window) for domain, window in after.items()]
    else:
        pairs = [(name, before[name], window) for name, window in after.items() if name in before]
        absent += [Absent(n, "current file", w.rows) for n, w in after.items() if n not in before]
        absent += [Absent(n, "reference", w.rows) for n, w in before.items() if n not in after]
    return Comparison(
        model=model,
        by_domain=current.window.domain is not None,
        reports=tuple(
            _report(Deployment(model, domain), a, b, reference, settings, now)
            for domain, a, b in _least_memory(pairs)
        ),
        absent=tuple(absent),
        notes=tuple(notes),
    )


def _least_memory(
    pairs: list[tuple[str, Window, Window]],
) -> Iterator[tuple[str, Window, Window]]:
    """Each pair once, forgotten after use."""
    pairs.reverse()
    while pairs:
        yield pairs.pop()


def _report(
    deployment: Deployment,
    before: Window,
    after: Window,
    reference: Table,
    settings: Settings,
    now: datetime,
) -> dict[str, Any]:
    plan, task = settings.baseline, reference.schema.task
    centre = mean_loss(before, reference.schema)
    loss = chosen_loss(reference.schema, settings, before)
    before, after = (
        with_contrast(w, plan, task=task, centre=centre, loss=loss) for w in (before, after)
    )
    verdict, path = _transfer_over_time(before, after, reference.schema, settings)
    answers = answer(before, after, reference.schema, settings, transfer=verdict)
    details, standing = transfer_details(
        answers.transfer,
        after,
        task=task,
        settings=settings,
        facts=None,
        now_us=None,
        classes=class_columns(reference.schema),
    )
    return write_down(
        deployment,
        answers,
        reference=before,
        current=after,
        references=[ReferenceLine(_name(reference), "onboarding", 1, before.rows)],
        now=now,
        budget=single_look_budget(settings, timed=after.ts_us is not None),
        path=path,
        details=details,
        gate=gate_json(gate_of(answers.transfer, standing, checks=answers.checks)),
    )


def _transfer_over_time(
    before: Window, after: Window, schema: Schema, settings: Settings
) -> tuple[TransferVerdict | None, Trajectory | None]:
    """The verdict from days as units, where rows have times on enough of them.

    Rows of one day share their weather; an interval from days allows for it, one from rows does
    not. With fewer days there is the single look at all rows.
    """
    sums = None if after.ts_us is None else sums_of(after, task=schema.task)
    if sums is None or len(sums.filled().rows) < FEWEST_DAYS:
        return None, None
    rate = None
    if before.label is not None and schema.task is not Task.REGRESSION:
        known = before.label[~np.isnan(before.label)]
        rate = float(min(known.mean(), 1.0 - known.mean())) if len(known) else None
    verdict = transfer_verdict(
        sums, task=schema.task, settings=settings, ended=True, minority_rate=rate
    )
    path = trajectory(sums, task=schema.task, alpha=settings.alpha, minority_rate=rate, ended=True)
    return verdict, path


def _name(table: Table) -> str:
    return Path(table.path).name or "the table"
