"""A file's columns under the names the daemon takes, in types that it takes.

Only names and types change here: whether a value is right is for the daemon to say, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from detectors.records import Says
from monitor.api.row_types import EVENT_FIELDS
from monitor.errors import InputError, UsageError, shortened
from monitor.files.roles import Roles
from monitor.sources.columns import wire_name

_UTC = pa.timestamp("us", tz="UTC")
_NO_ZONE = r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?)$"
_DAY_ONLY = r"^(\d{4}-\d\d-\d\d)$"
_EPOCH = ((1e8, 1e11, 1_000_000), (1e11, 1e14, 1_000), (1e14, 1e17, 1))
_LABEL_ROLES = ("label", "label_timestamp")


def events_of(table: pa.Table, roles: Roles, *, domain: str | None, source: str) -> pa.Table:
    """Events: roles renamed, features as they are called, labels and ignored columns left out.

    `domain` is the domain of all rows and takes the place of a column.

    Raises:
        UsageError: no id or time column is known, or a feature bears a name of the contract.
        InputError: a column cannot be read as what it is said to be.
    """
    _need(roles, ("id", "timestamp"), table, source)
    taken = roles.taken()
    further = {one.column for one in roles.outputs}
    columns: dict[str, pa.ChunkedArray] = {}
    for name in table.column_names:
        # What a model gives beside its score is sent like features, under its own name.
        role = None if name in further else taken.get(name)
        if name in roles.ignore or role in _LABEL_ROLES or (role == "domain" and domain):
            continue
        column = table.column(name)
        if role is None and name in EVENT_FIELDS:
            msg = (
                f"{source}: '{name}' would be sent as a feature, but is a name of the contract; "
                f"rename it, or leave it out with --ignore {name}"
            )
            raise UsageError(msg)
        wire = name if role is None else wire_name(role, labels=False)
        columns[wire] = _typed(column, name, role, roles, source)
    if domain is not None:
        columns["domain"] = pa.chunked_array([pa.array([domain] * table.num_rows, pa.string())])
    return pa.table(columns)


def labels_of(table: pa.Table, roles: Roles, *, source: str) -> pa.Table:
    """Labels: id, label and, where there is one, when it became known. Rows without one are left.

    A text label beside a text prediction becomes 1 where the two agree.

    Raises:
        UsageError: no id or label column is known.
        InputError: a label that is neither a number nor comparable with a prediction.
    """
    _need(roles, ("id", "label"), table, source)
    assert roles.id is not None
    assert roles.label is not None
    columns = {
        "id": _plain(table.column(roles.id)),
        "label": _label(table, roles, source),
    }
    if roles.label_timestamp is not None:
        columns["ts"] = _instants(table.column(roles.label_timestamp), source)
    labels = pa.table(columns)
    return labels.filter(pc.is_valid(labels.column("label")))


def _need(roles: Roles, wanted: tuple[str, ...], table: pa.Table, source: str) -> None:
    for role in wanted:
        if getattr(roles, role) is None:
            msg = (
                f"{source}: which column is the {role}? name it with --{role}; "
                f"there is: {shortened(table.column_names)}"
            )
            raise UsageError(msg)


def _typed(
    column: pa.ChunkedArray, name: str, role: str | None, roles: Roles, source: str
) -> pa.ChunkedArray:
    if role == "timestamp":
        return _instants(column, source)
    try:
        if name in roles.numeric:
            return _without_nan(_plain(column).cast(pa.float64()))
        if name in roles.categorical:
            return _plain(column).cast(pa.string())
    except pa.ArrowException as error:
        first = str(error).splitlines()[0][:120]
        msg = f"{source}: {name} cannot be read as asked ({first})"
        raise InputError(msg) from error
    if role in {"domain", "version", "arm", "cluster", "id"} and not _is_nested(column):
        column = _plain(column)
    if pa.types.is_temporal(column.type):
        return column.cast(pa.string())
    return _without_nan(column)


def _is_nested(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_nested(column.type))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without its dictionary."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """NaN is how files of pandas write "missing"; the contract writes null."""
    if not pa.types.is_floating(column.type) or not pc.any(pc.is_nan(column)).as_py():
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _instants(column: pa.ChunkedArray, source: str) -> pa.ChunkedArray:
    """Times with a zone: without one they mean UTC; whole numbers count from 1970."""
    column = _plain(column)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        dated = pc.replace_substring_regex(column, _DAY_ONLY, r"\1T00:00:00Z")
        return pc.replace_substring_regex(dated, _NO_ZONE, r"\1Z")
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", tz=kind.tz), safe=False).cast(_UTC)
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).cast(_UTC)
    if pa.types.is_integer(kind):
        largest = pc.max(pc.abs(column.cast(pa.int64()))).as_py() or 0
        for low, high, factor in _EPOCH:
            if low <= largest < high:
                return pc.multiply(column.cast(pa.int64()), factor).cast(_UTC)
    msg = f"{source}: the time column holds {kind} that are no times since 1970"
    raise InputError(msg)


def _label(table: pa.Table, roles: Roles, source: str) -> pa.ChunkedArray:
    label = _plain(table.column(roles.label))
    kind = label.type
    if pa.types.is_boolean(kind):
        return label.cast(pa.int8())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return _without_nan(label)
    if pa.types.is_decimal(kind):
        return label.cast(pa.float64())
    if any(one.says is Says.CLASS for one in roles.outputs) and pa.types.is_string(kind):
        return label  # the daemon knows the classes by name
    if roles.prediction is not None and pa.types.is_string(kind):
        predicted = _plain(table.column(roles.prediction))
        if predicted.type == kind:
            return pc.equal(predicted, label).cast(pa.int8())
    values = pc.unique(label).to_pylist()[:3]
    seen = ", ".join(repr(value) for value in values if value is not None)
    msg = f"{source}: label {roles.label} holds {kind} ({seen}); the daemon takes numbers, 0 or 1"
    raise InputError(msg)


def bodies(table: pa.Table, rows: int) -> Iterator[tuple[int, int, bytes]]:
    """The table as IPC streams of at most `rows` rows: first row, number of rows, bytes."""
    for first in range(0, table.num_rows, rows):
        part = table.slice(first, rows).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.schema) as writer:
            writer.write_table(part)
        yield first, part.num_rows, sink.getvalue().to_pybytes()
