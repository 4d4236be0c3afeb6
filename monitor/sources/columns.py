"""From the columns a source has to the names of the contract."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from monitor.errors import InputError, did_you_mean, shortened
from monitor.files.roles import CONVENTIONAL

_WIRE_NAMES = {"timestamp": "ts"}


def wire_name(role: str, *, labels: bool) -> str:
    """What a role's column is called in the contract; the roles of the command line work too."""
    if labels and role == "label_timestamp":
        return "ts"
    return _WIRE_NAMES.get(role, role)


def as_contract(
    table: pa.Table, columns: Mapping[str, str], *, domain: str | None, labels: bool, what: str
) -> pa.Table:
    """Rename columns: as told by `columns` (role to column), else by their conventional names.

    A table of labels keeps only id, label and ts. `domain` fills a table that has no domain.

    Raises:
        InputError: a column that was named is not there.
    """
    table = _flat(table)
    renamed = {column: wire_name(role, labels=labels) for role, column in columns.items()}
    for column in renamed:
        if column not in table.column_names:
            msg = (
                f"{what}: no column '{column}'; it has {shortened(table.column_names)}."
                f"{did_you_mean(column, table.column_names)}"
            )
            raise InputError(msg)
    taken = set(renamed.values())
    for role, names in CONVENTIONAL.items():
        wire = wire_name(role, labels=labels)
        skip = labels and role == "timestamp" and "label_ts" in table.column_names
        if wire in taken or skip or (not labels and role in {"label", "label_timestamp"}):
            continue
        found = next((n for n in names if n in table.column_names and n not in renamed), None)
        if found is not None:
            renamed[found] = wire
            taken.add(wire)
    # An unnamed column that bears a contract name another one has been given steps aside.
    table = table.drop_columns([n for n in table.column_names if n in taken and n not in renamed])
    table = table.rename_columns([renamed.get(name, name) for name in table.column_names])
    if labels:
        return table.select([name for name in ("id", "label", "ts") if name in table.column_names])
    if domain is not None and "domain" not in table.column_names:
        table = table.append_column("domain", pa.array([domain] * table.num_rows, pa.string()))
    return table


def _flat(table: pa.Table) -> pa.Table:
    """Events in the JSON form of the contract have their features in an object: lift them."""
    if "features" not in table.column_names:
        return table
    features = table.column("features")
    if not pa.types.is_struct(features.type):
        return table
    lifted = pa.table({"features": features}).flatten()
    table = table.drop_columns(["features"])
    for name, column in zip(lifted.column_names, lifted.columns, strict=True):
        table = table.append_column(name.removeprefix("features."), column)
    return table
