"""Which models there are and what their rows look like, for ingest and for checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from detectors.records import Says, Schema, Task
from monitor.config import Config
from monitor.errors import InputError, did_you_mean, shortened
from storage.deployments import keep_learnt_schema, learnt_schema, list_models
from storage.engine import Database
from storage.references import ReferenceStatus, Role, list_references


@dataclass(slots=True, eq=False)
class StoredSchemas:
    """Schemas of models, read from SQL once and kept until `forget`. Safe to share."""

    database: Database
    config: Callable[[], Config]
    _held: dict[str, Schema] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def models(self) -> Sequence[str]:
        """Models of the configuration and of the database, by name."""
        with self.database.read() as session:
            stored = list_models(session)
        return sorted({*self.config().models, *stored})

    def task_of(self, model: str) -> Task | None:
        """What a model predicts, None for one nobody has named."""
        known = self.schema_of(model)
        if known is not None:
            return known.task
        section = self.config().models.get(model)
        if section is not None:
            return section.task
        return Task.BINARY if model in self.models() else None

    def schema_of(self, model: str) -> Schema | None:
        """From the newest active reference, else as learnt from events, else None."""
        with self._lock:
            held = self._held.get(model)
        if held is not None:
            return held
        found = self._stored(model)
        if found is None:
            return None
        found = self._configured(model, found)
        with self._lock:
            return self._held.setdefault(model, found)

    def learnt(self, model: str, schema: Schema) -> Schema:
        """Keep a provisional schema unless another holds already; the one that holds."""
        with self.database.write() as session:
            keep_learnt_schema(session, model, schema)
        return self.schema_of(model) or schema

    def forget(self) -> None:
        """Read SQL and configuration again: a reference was added, or settings reloaded."""
        with self._lock:
            self._held.clear()

    def _stored(self, model: str) -> Schema | None:
        with self.database.read() as session:
            active = [
                reference
                for reference in list_references(session, model)
                if reference.status is ReferenceStatus.ACTIVE
            ]
            if not active:
                return learnt_schema(session, model)
        # The source names every column the model was trained on; onboarding windows may lack some.
        active.sort(key=lambda r: (r.role is Role.SOURCE, r.created_at))
        schemas = [reference.schema for reference in active]
        # A source seldom has baseline scores; what any reference records, the model records.
        return replace(
            schemas[-1],
            has_score=any(schema.has_score for schema in schemas),
            has_baseline=any(schema.has_baseline for schema in schemas),
            has_label=any(schema.has_label for schema in schemas),
        )

    def _configured(self, model: str, schema: Schema) -> Schema:
        """The schema with the slices and the further outputs of the configuration.

        Raises:
            InputError: if a slice names a column the model does not have.
        """
        section = self.config().models.get(model)
        if section is not None and (outputs := section.outputs()):
            named = {one.column for one in outputs}
            kept = tuple(column for column in schema.columns if column.name not in named)
            theirs = any(one.says is Says.BASELINE_CLASS for one in outputs)
            schema = replace(
                schema,
                columns=kept,
                outputs=outputs,
                has_baseline=schema.has_baseline or theirs,
            )
        if section is None or not section.slices:
            return schema
        known = [column.name for column in schema.columns]
        for name in {name for names in section.slices for name in names}:
            if name not in known:
                msg = (
                    f"models.{model}.slices: no column '{name}'; the reference has "
                    f"{shortened(known)}.{did_you_mean(name, known)}"
                )
                raise InputError(msg)
        return replace(schema, slices=section.slices)
