"""Files of rows become reference windows: frozen, versioned, one for each domain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from detectors.profile import fit_profile
from detectors.records import Schema, Window
from monitor.files.tables import Table, split_domains
from storage.deployments import register_model
from storage.engine import Database
from storage.references import Reference, Role, add_reference, save_profile


@dataclass(frozen=True, slots=True)
class Added:
    """References that were stored, and domains left out with the reason."""

    references: tuple[Reference, ...]
    left_out: tuple[str, ...]


def add_reference_table(
    database: Database,
    table: Table,
    *,
    model: str,
    role: Role,
    domain: str | None,
    slices: tuple[tuple[str, ...], ...] = (),
    note: str = "",
    activate: bool = True,
    now: datetime,
) -> Added:
    """Store a table as references of a model, each with its fitted profile.

    A source reference holds all rows for every domain. Otherwise a table with a domain column
    gives one reference a domain, and one without needs `domain`, or serves every domain.
    """
    schema = replace(table.schema, slices=slices or table.schema.slices)
    parts: list[tuple[str | None, Window]]
    if role is Role.SOURCE or table.window.domain is None:
        parts = [(None if role is Role.SOURCE else domain, replace(table.window, domain=None))]
    else:
        parts = [(name, rows) for name, rows in split_domains(table.window)]
        if domain is not None:
            parts = [(name, rows) for name, rows in parts if name == domain]
    added, left_out = [], []
    for name, rows in parts:
        try:
            added.append(
                _add(database, rows, schema, model, role, name, note, activate=activate, now=now)
            )
        except ValueError as error:
            left_out.append(f"{name}: {error}")
    return Added(tuple(added), tuple(left_out))


def _add(
    database: Database,
    rows: Window,
    schema: Schema,
    model: str,
    role: Role,
    domain: str | None,
    note: str,
    *,
    activate: bool,
    now: datetime,
) -> Reference:
    profile = fit_profile(rows, schema)
    with database.write() as session:
        register_model(session, model, now)
        reference = add_reference(
            session, model, domain, role, rows, schema, now, note=note, activate=activate
        )
        save_profile(session, reference.id, profile.fingerprint, profile.to_bytes(), now)
    return reference
