"""Read a source and store what it has: rows and the new position in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from sqlalchemy.orm import Session

from detectors.records import Schema, Task, to_us
from monitor.api.decode_arrow import decode_arrow_events, decode_arrow_labels
from monitor.api.errors import RequestRefusedError
from monitor.api.learn_schema import learn_arrow_schema
from monitor.api.limits import IngestLimits
from monitor.clock import Clock
from monitor.intake.ingest import Ingest, Receipt
from monitor.sources.base import Portion, Source, SourceError
from storage.engine import Database
from storage.sources import load_position, save_position

log = structlog.get_logger(__name__)


class PulledModel(Protocol):
    """What pulling needs to know of models: a part of what the HTTP routes ask."""

    def task_of(self, model: str) -> Task | None: ...

    def schema_of(self, model: str) -> Schema | None: ...

    def learnt(self, model: str, schema: Schema) -> Schema: ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one look at a source brought; `errors` are lines about what was passed over."""

    receipts: tuple[Receipt, ...]
    errors: tuple[str, ...]

    @property
    def accepted(self) -> int:
        return sum(receipt.accepted for receipt in self.receipts)

    @property
    def rejected(self) -> int:
        return sum(receipt.rejected for receipt in self.receipts)


def pull_once(
    name: str,
    source: Source,
    *,
    model: str,
    labels: bool,
    ingest: Ingest,
    schemas: PulledModel,
    database: Database,
    clock: Clock,
    limits: IngestLimits | None = None,
) -> Pulled:
    """Store everything that has come since the last look. Call it from one thread at a time.

    Raises:
        SourceError: the source cannot be read, or none of it can be used; nothing is lost.
        OverloadedError: the ingest queue is full; what was stored stays, call again later.
        StalePositionError: another process reads the same source; nothing was stored twice.
    """
    limits = limits if limits is not None else IngestLimits()
    task = schemas.task_of(model)
    if task is None:
        msg = f"source {name}: unknown model '{model}'"
        raise SourceError(msg)
    with database.read() as session:
        stored = load_position(session, name)
    epoch = 0 if stored is None else stored.epoch
    position = None if stored is None else stored.value
    receipts: list[Receipt] = []
    errors: list[str] = []
    for portion in source.read(position, clock.now()):
        error = portion.error
        if not error:
            try:
                receipts.append(
                    _store(
                        portion, name, epoch, model, task, labels, ingest, schemas, clock, limits
                    )
                )
            except RequestRefusedError as refused:
                error = f"{portion.what}: {refused}"
                if portion.position_if_refused is None:
                    raise SourceError(error) from None
        if error:
            log.warning("source.passed_over", source=name, error=error)
            errors.append(error)
            passed = portion.position_if_refused
            after = portion.position if passed is None else passed(error)
            with database.write() as session:
                save_position(session, name, after, clock.now(), epoch=epoch)
        epoch += 1
    return Pulled(tuple(receipts), tuple(errors))


def _store(
    portion: Portion,
    name: str,
    epoch: int,
    model: str,
    task: Task,
    labels: bool,
    ingest: Ingest,
    schemas: PulledModel,
    clock: Clock,
    limits: IngestLimits,
) -> Receipt:
    now = clock.now()

    def save(session: Session) -> None:
        save_position(session, name, portion.position, now, epoch=epoch)

    if labels:
        known = schemas.schema_of(model)
        label_batch = decode_arrow_labels(
            portion.table,
            model=model,
            task=task,
            now_us=to_us(now),
            limits=limits,
            lenient=True,
            classes=() if known is None else known.classes,
        )
        return ingest.submit_labels(label_batch, within=save).result()
    schema = schemas.schema_of(model)
    if schema is None:
        schema = schemas.learnt(model, learn_arrow_schema(portion.table, task))
    admit = partial(ingest.new_names.admit, model, now_us=to_us(now), most=limits.new_columns)
    batch = decode_arrow_events(
        portion.table,
        model=model,
        schema=schema,
        now_us=to_us(now),
        limits=limits,
        lenient=True,
        admit=admit,
    )
    return ingest.submit_events(batch, within=save).result()
