"""Files of rows (Parquet, CSV, JSON lines) as a `Window` and its `Schema`.

Assumes nothing about a file but its ending; what the columns mean comes from `Roles`. One
Arrow column at a time is turned into NumPy, so a file costs little more than its columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.records import (
    Categories,
    ColumnSpec,
    FloatArray,
    IntArray,
    Kind,
    Says,
    Schema,
    Task,
    Window,
)
from monitor.errors import InputError, UsageError, did_you_mean, shortened
from monitor.files.roles import (
    BASELINE_CLASSES,
    ROLE_NAMES,
    Roles,
    check_names,
    has_baseline,
    infer_roles,
    may_be_new,
)

MAX_COLUMNS = 2_000
_PANDAS_INDEX = re.compile(r"^__index_level_\d+__$")
_EPOCH_UNITS = ((1e8, 1e11, 1_000_000), (1e11, 1e14, 1_000), (1e14, 1e17, 1))


@dataclass(frozen=True, slots=True)
class Table:
    """A file read into columns, and how it was read: `notes` are lines worth showing."""

    window: Window
    schema: Schema
    roles: Roles
    notes: tuple[str, ...]
    path: str


def read_arrow(path: str | Path) -> pa.Table:
    """A Parquet, CSV or JSON-lines file as an Arrow table, text dictionary-encoded.

    Raises:
        InputError: if the file is missing, empty, truncated, of an unknown ending, or has
            more than 2,000 columns.
    """
    file = Path(path)
    if not file.is_file():
        msg = f"{file}: no such file; give a Parquet, CSV or JSON-lines file"
        raise InputError(msg)
    if file.stat().st_size == 0:
        msg = f"{file}: the file is empty; it needs a header or schema and at least one row"
        raise InputError(msg)
    try:
        table = _read(file)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0][:200]
        msg = f"{file}: cannot be read as {_format(file)} ({first}); is it complete?"
        raise InputError(msg) from error
    if table.num_columns > MAX_COLUMNS:
        msg = f"{file}: {table.num_columns:,} columns; at most {MAX_COLUMNS:,} can be monitored"
        raise InputError(msg)
    return table


def _format(file: Path) -> str:
    endings = {
        ".parquet": "Parquet",
        ".pq": "Parquet",
        ".csv": "CSV",
        ".ndjson": "JSON lines",
        ".jsonl": "JSON lines",
        ".json": "JSON lines",
        ".arrow": "Arrow IPC",
        ".arrows": "Arrow IPC",
    }
    try:
        return endings[file.suffix.lower()]
    except KeyError:
        msg = (
            f"{file}: unknown ending '{file.suffix}'; use .parquet, .csv, .jsonl, .ndjson or .arrow"
        )
        raise InputError(msg) from None


def _read(file: Path) -> pa.Table:
    match _format(file):
        case "Parquet":
            import pyarrow.parquet as pq

            stored = pq.ParquetFile(file)
            schema = stored.schema_arrow
            text = [f.name for f in schema if pa.types.is_string(f.type) or _is_large(f.type)]
            return pq.read_table(file, read_dictionary=text)
        case "CSV":
            from pyarrow import csv

            convert = csv.ConvertOptions(strings_can_be_null=True)
            return _utf8(csv.read_csv(file, convert_options=convert), file)
        case "JSON lines":
            from pyarrow import json

            return json.read_json(file)
        case _:
            with pa.memory_map(str(file)) as mapped:
                return pa.ipc.open_stream(mapped).read_all()


def _utf8(table: pa.Table, file: Path) -> pa.Table:
    """The table, unless a column of it is bytes because its text is not UTF-8."""
    for field in table.schema:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            msg = f"{file}: column {field.name} holds bytes that are no UTF-8; save it as UTF-8"
            raise InputError(msg)
    return table


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind))


def read_table(
    path: str | Path,
    roles: Roles,
    *,
    like: Table | None = None,
    optional: frozenset[str] = frozenset(),
    besides: frozenset[str] = frozenset(),
    new_columns: int = 0,
) -> Table:
    """A file as columns, roles filled in.

    `like` is the reference this file is held against: its roles, task and kinds are taken
    over, so that a column which changed its type is seen as changed and not as another kind.
    `optional` names roles that this file may lack though the user named them, because the other
    file has them; what neither has is refused when that one is read. `besides` names columns to
    read though the reference does not have them; of the others that it lacks `new_columns` are
    read, the first by name.

    Raises:
        InputError: if the file cannot be read or a role's column holds the wrong thing.
        UsageError: if a role names a column that is not there.
    """
    arrow = read_arrow(path)
    inferred: tuple[str, ...] = ()
    if like is None:
        names = optional & set(ROLE_NAMES)
        absent = [r for r in names if getattr(roles, r) not in {None, *arrow.schema.names}]
        roles = replace(roles, **dict.fromkeys(absent))  # type: ignore[arg-type]  # role names
        there = _baseline_there(roles, arrow.schema) if BASELINE_CLASSES in optional else roles
        check_names(there, arrow.schema, source=str(path))
        completed, inferred = infer_roles(there, arrow.schema)
        roles = replace(completed, outputs=roles.outputs)
    else:
        _look_in_both(like, arrow.schema, source=str(path))
        roles = _present(like.roles, roles, arrow.schema, source=str(path))
    return to_table(
        arrow,
        roles,
        path=str(path),
        inferred=inferred,
        like=like,
        besides=besides,
        new_columns=new_columns,
    )


def _baseline_there(roles: Roles, schema: pa.Schema) -> Roles:
    """The roles without a baseline's class probabilities, where the file has none of them."""
    theirs = [one for one in roles.outputs if one.says is Says.BASELINE_CLASS]
    if any(one.column in schema.names for one in theirs):
        return roles
    return replace(roles, outputs=tuple(one for one in roles.outputs if one not in theirs))


def _look_in_both(reference: Table, schema: pa.Schema, *, source: str) -> None:
    """Refuse a baseline's class probability that neither the reference nor this file has."""
    for one in reference.roles.outputs:
        known = one.column in schema.names or one.column in reference.window.numeric
        if one.says is Says.BASELINE_CLASS and not known:
            msg = (
                f"--{BASELINE_CLASSES.replace('_', '-')} {one.of}={one.column}: no such column in "
                f"{source}; it has {shortened(schema.names)}."
                f"{did_you_mean(one.column, schema.names)}"
            )
            raise UsageError(msg)


def _present(wanted: Roles, asked: Roles, schema: pa.Schema, *, source: str) -> Roles:
    """The reference's roles, less those whose column this file does not have.

    A role the user named must be in at least one of the two files; the log often has what
    the reference lacks (a baseline score, labels) and the other way round.
    """
    inferred, _ = infer_roles(asked, schema)
    merged: dict[str, str | None] = {}
    for name in ROLE_NAMES:
        column = getattr(asked, name) or getattr(wanted, name) or getattr(inferred, name)
        if column is not None and column not in schema.names:
            nowhere = getattr(wanted, name) != getattr(asked, name)
            needed = nowhere or name in {"timestamp", "score", "domain"}
            if getattr(asked, name) is not None and needed:
                msg = (
                    f"--{name.replace('_', '-')} {column}: no such column in {source}; "
                    f"it has {shortened(schema.names)}"
                )
                raise UsageError(msg)
            column = None
        merged[name] = column
    return replace(wanted, **merged)  # type: ignore[arg-type]  # the keys are role names


def to_table(
    arrow: pa.Table,
    roles: Roles,
    *,
    path: str = "",
    inferred: tuple[str, ...] = (),
    like: Table | None = None,
    besides: frozenset[str] = frozenset(),
    new_columns: int = 0,
) -> Table:
    """An Arrow table whose roles are known, as columns."""
    source = path or "the table"
    if arrow.num_rows == 0:
        msg = f"{source}: no rows; a window needs at least one"
        raise InputError(msg)
    notes = [f"inferred {line}" for line in inferred]
    outputs = _outputs(arrow, roles, source)
    task, score, label, prediction, truth, task_notes = _outcome(
        arrow, roles, source, like, outputs
    )
    notes += task_notes
    weight = _optional_floats(arrow, roles.weight, source)
    if weight is not None and not np.all((weight > 0) & np.isfinite(weight)):
        msg = f"{source}: --weight {roles.weight} must be above 0 and finite in every row"
        raise InputError(msg)
    numeric, categorical, feature_notes = _features(arrow, roles, like, besides, new_columns)
    notes += feature_notes
    ts_us, ts_notes = _instants(arrow, roles.timestamp, source)
    notes += ts_notes
    label_ts_us, _ = _instants(arrow, roles.label_timestamp, source)
    window = Window(
        rows=arrow.num_rows,
        ts_us=ts_us,
        score=score,
        baseline_score=_scores(arrow, roles.baseline_score, task, source),
        head_score=_scores(arrow, roles.head_score, task, source),
        full_score=_scores(arrow, roles.full_score, task, source),
        label=label,
        label_ts_us=label_ts_us,
        prediction=prediction,
        truth=truth,
        weight=weight,
        numeric={**numeric, **outputs},
        categorical=categorical,
        domain=_optional_categories(arrow, roles.domain),
        version=_optional_categories(arrow, roles.version),
        arm=_optional_categories(arrow, roles.arm),
        cluster=_optional_categories(arrow, roles.cluster),
        embedding=embedding_column(arrow, roles.embedding, source),
    )
    if like is None:
        columns = tuple(
            ColumnSpec(name, Kind.NUMERIC if name in numeric else Kind.CATEGORICAL)
            for name in arrow.column_names
            if name in numeric or name in categorical
        )
        schema = Schema(
            task=task,
            columns=columns,
            slices=roles.slices,
            has_score=score is not None,
            has_baseline=has_baseline(window, roles.outputs),
            has_label=label is not None,
            embedding_dim=0 if window.embedding is None else window.embedding.shape[1],
            outputs=roles.outputs,
        )
    else:
        schema = like.schema
    return Table(window=window, schema=schema, roles=roles, notes=tuple(notes), path=path)


def _features(
    arrow: pa.Table, roles: Roles, like: Table | None, besides: frozenset[str], new_columns: int
) -> tuple[dict[str, FloatArray], dict[str, Categories], list[str]]:
    """Every column without a role, by the kind asked for, the reference's kind, or its type."""
    taken = set(roles.taken()) | set(roles.ignore)
    extra: list[str] = []
    numeric: dict[str, FloatArray] = {}
    categorical: dict[str, Categories] = {}
    notes: list[str] = []
    known = {} if like is None else {c.name: c.kind for c in like.schema.columns}
    # What is new is not compared; where something is gone it may be that, under another name.
    renamed = any(name not in arrow.column_names for name in known)
    beyond = {*known, *besides, *taken}
    fresh = [] if like is None else [n for n in arrow.column_names if n not in beyond]
    fresh = _watchable(arrow, fresh)[:new_columns]
    for name in arrow.column_names:
        # A column that both plays a role and is named as a feature or slice stays a feature.
        wanted = name in roles.numeric or name in roles.categorical
        if _PANDAS_INDEX.match(name) and not wanted:
            notes.append(f"ignored {name}: a row index that pandas wrote along")
            continue
        sliced = any(name in names for names in roles.slices)
        if name in taken and not (wanted or sliced):
            continue
        if like is not None and name not in known and name not in besides:
            if name not in fresh:
                extra.append(name)
            if name not in fresh and not renamed:
                continue
        kind = arrow.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if name in roles.categorical or (sliced and name not in roles.numeric):
            categorical[name] = _categories(arrow.column(name))
        elif pa.types.is_null(kind):
            if known.get(name) is Kind.CATEGORICAL:
                categorical[name] = Categories(np.full(arrow.num_rows, -1, np.int32), ())
            else:
                numeric[name] = np.full(arrow.num_rows, np.nan)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            if known.get(name) is Kind.CATEGORICAL and pa.types.is_integer(kind):
                categorical[name] = _categories(arrow.column(name))
            else:
                numeric[name] = _floats(arrow.column(name))
        elif pa.types.is_boolean(kind) or pa.types.is_string(kind) or _is_large(kind):
            if name in roles.numeric:
                msg = f"--numeric {name}: the column holds text, not numbers; name it --categorical"
                raise UsageError(msg)
            categorical[name] = _categories(arrow.column(name))
        else:
            notes.append(f"ignored {name}: a {kind} column is no feature")
    if fresh:
        what = "the reference does not have them"
        notes.append(f"followed from their own first days, because {what}: {shortened(fresh)}")
    if extra:
        notes.append(f"not compared, because the reference does not have them: {shortened(extra)}")
    return numeric, categorical, notes


def _watchable(arrow: pa.Table, names: list[str]) -> list[str]:
    """By name, the columns that could be features: numbers, texts and booleans with some value."""
    found = []
    for name in sorted(names):
        kind = arrow.schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        text = pa.types.is_boolean(kind) or pa.types.is_string(kind) or _is_large(kind)
        held = number or pa.types.is_decimal(kind) or text
        if held and may_be_new(name) and arrow.column(name).null_count < arrow.num_rows:
            found.append(name)
    return found


def _outputs(arrow: pa.Table, roles: Roles, source: str) -> dict[str, FloatArray]:
    """The further outputs that this file has, by column."""
    return {
        one.column: _numbers(arrow.column(one.column), f"output {one.column}", source)
        for one in roles.outputs
        if one.column in arrow.column_names
    }


def _largest(
    outputs: dict[str, FloatArray], roles: Roles
) -> tuple[FloatArray | None, Categories | None]:
    """The largest class probability of each row and its class; None without class probabilities."""
    classes = [one for one in roles.outputs if one.says is Says.CLASS and one.column in outputs]
    if not classes:
        return None, None
    table = np.stack([outputs[one.column] for one in classes], axis=1)
    known = np.isfinite(table).any(axis=1)
    filled = np.where(np.isfinite(table), table, -np.inf)
    best = np.where(known, filled.argmax(axis=1), -1).astype(np.int32)
    score = np.where(known, filled.max(axis=1), np.nan)
    return score, Categories(best, tuple(one.of for one in classes))


def _outcome(
    arrow: pa.Table,
    roles: Roles,
    source: str,
    like: Table | None,
    outputs: dict[str, FloatArray],
) -> tuple[
    Task, FloatArray | None, FloatArray | None, Categories | None, Categories | None, list[str]
]:
    """Task, score, label, prediction and true class in the meaning `Window` gives them."""
    notes: list[str] = []
    task = roles.task or (like.schema.task if like is not None else None)
    raw_label = None if roles.label is None else arrow.column(roles.label)
    if task is None:
        classed = any(one.says is Says.CLASS for one in roles.outputs)
        task = Task.MULTICLASS if classed else _infer_task(arrow, roles, raw_label)
        notes.append(f"inferred task = {task}")
    prediction = (
        _categories(arrow.column(roles.prediction)) if roles.prediction is not None else None
    )
    score = _scores(arrow, roles.score, task, source)
    label: FloatArray | None = None
    truth: Categories | None = None
    if task is Task.MULTICLASS:
        if prediction is None or score is None:
            largest, named = _largest(outputs, roles)
            score, prediction = (largest, named) if prediction is None else (score, prediction)
        if raw_label is not None and prediction is not None:
            truth = _categories(raw_label)
            label = _same(prediction, truth)
        elif raw_label is not None:
            notes.append("label ignored: a multiclass task needs --prediction beside it")
        return task, score, label, prediction, truth, notes
    if task is Task.REGRESSION:
        if score is None and roles.prediction is not None:
            score, prediction = _floats(arrow.column(roles.prediction)), None
        label = None if raw_label is None else _numbers(raw_label, f"--label {roles.label}", source)
        return task, score, label, prediction, None, notes
    if raw_label is not None:
        label, label_notes = _binary_label(raw_label, f"--label {roles.label}", source)
        notes += label_notes
    return task, score, label, prediction, None, notes


def _infer_task(arrow: pa.Table, roles: Roles, label: pa.ChunkedArray | None) -> Task:
    """Binary for two label values (or a score in [0, 1]), multiclass for text, else regression."""
    if label is not None:
        distinct = pc.count_distinct(label.combine_chunks() if label.num_chunks else label)
        if distinct.as_py() <= 2:
            return Task.BINARY
        kind = label.type.value_type if pa.types.is_dictionary(label.type) else label.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return Task.MULTICLASS
        if roles.prediction is not None and roles.score is not None:
            return Task.MULTICLASS
        return Task.REGRESSION
    if roles.score is not None:
        extremes = pc.min_max(arrow.column(roles.score)).as_py()
        if extremes["min"] is not None and extremes["min"] >= 0 and extremes["max"] <= 1:
            return Task.BINARY
        return Task.REGRESSION
    return Task.BINARY


def _binary_label(column: pa.ChunkedArray, what: str, source: str) -> tuple[FloatArray, list[str]]:
    """Labels as 0, 1 and NaN. Two other values are ordered; the larger becomes 1."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_boolean(kind):
        return _floats(pc.cast(column, pa.int8())), []
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        named = _categories(column)
        present = sorted(named.values[code] for code in np.unique(named.codes) if code >= 0)
        if len(present) > 2:
            msg = f"{source}: {what} has {len(present)} values; a binary task needs two"
            raise InputError(msg)
        positive = present[-1] if present else ""
        ones = np.array([value == positive for value in named.values] + [False])
        label = np.where(named.codes >= 0, ones[named.codes].astype(float), np.nan)
        return label, [f"label '{positive}' read as 1"]
    values = _floats(column)
    present_values = np.unique(values[~np.isnan(values)])
    if np.isin(present_values, (0.0, 1.0)).all():
        return values, []
    if len(present_values) > 2:
        msg = (
            f"{source}: {what} has {len(present_values)} values (such as {present_values[0]:g}, "
            f"{present_values[1]:g}, {present_values[2]:g}); a binary task needs 0 and 1, or use "
            "--task regression"
        )
        raise InputError(msg)
    positive_value = float(present_values[-1])
    label = np.where(np.isnan(values), np.nan, (values == positive_value).astype(float))
    return label, [f"label {positive_value:g} read as 1"]


def _same(prediction: Categories, truth: Categories) -> FloatArray:
    """1 where the predicted class is the true one, 0 where not, NaN where either is null."""
    index = {value: code for code, value in enumerate(truth.values)}
    mapping = np.array([*(index.get(value, -2) for value in prediction.values), -2], np.int32)
    right: FloatArray = (mapping[prediction.codes] == truth.codes).astype(float)
    right[(truth.codes < 0) | (prediction.codes < 0)] = np.nan
    return right


def _scores(arrow: pa.Table, name: str | None, task: Task, source: str) -> FloatArray | None:
    values = _optional_floats(arrow, name, source)
    if values is None:
        return None
    if np.isinf(values).any():
        msg = f"{source}: score column {name} holds infinity; leave a missing score null"
        raise InputError(msg)
    if task is not Task.REGRESSION:
        outside = (values < 0) | (values > 1)
        if outside.any():
            row = int(np.argmax(outside))
            msg = (
                f"{source}: score column {name} is {values[row]:g} in row {row}; a {task} task "
                "needs probabilities in [0, 1], or use --task regression"
            )
            raise InputError(msg)
    return values


def _optional_floats(arrow: pa.Table, name: str | None, source: str) -> FloatArray | None:
    return None if name is None else _numbers(arrow.column(name), f"column {name}", source)


def _optional_categories(arrow: pa.Table, name: str | None) -> Categories | None:
    return None if name is None else _categories(arrow.column(name))


def _numbers(column: pa.ChunkedArray, what: str, source: str) -> FloatArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or _is_large(kind) or pa.types.is_nested(kind):
        msg = f"{source}: {what} holds {kind}, not numbers"
        raise InputError(msg)
    return _floats(column)


def _floats(column: pa.ChunkedArray) -> FloatArray:
    """A number column as float64 (n,), null as NaN."""
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    values = column.cast(pa.float64()) if not pa.types.is_float64(column.type) else column
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _categories(column: pa.ChunkedArray) -> Categories:
    """Any scalar column as codes and text values."""
    if pa.types.is_null(column.type):
        return Categories(np.full(len(column), -1, np.int32), ())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = joined.chunk(0) if joined.num_chunks else pa.array([], column.type)
    indices = joined.indices.cast(pa.int32())
    codes = indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    words = joined.dictionary
    if not (pa.types.is_string(words.type) or _is_large(words.type)):
        words = _as_text(words)
    return Categories(codes, tuple(words.to_pylist()))


def _as_text(values: pa.Array) -> pa.Array:
    """Category values as text; whole floats lose their '.0' so that 3.0 and 3 are one value."""
    if pa.types.is_floating(values.type):
        finite = values.to_numpy(zero_copy_only=False)
        return pa.array(
            [str(int(value)) if value.is_integer() else repr(value) for value in finite.tolist()]
        )
    return values.cast(pa.string())


def _instants(
    arrow: pa.Table, name: str | None, source: str
) -> tuple[IntArray | None, tuple[str, ...]]:
    """A time column as microseconds since 1970 UTC, and how it was read."""
    if name is None:
        return None, ()
    column = arrow.column(name)
    notes: tuple[str, ...] = ()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or _is_large(kind):
        try:
            text = column.cast(pa.string())
            zoned = pc.match_substring_regex(text, r"(Z|[+-]\d\d:?\d\d)$")
            if pc.all(zoned).as_py():
                column = text.cast(pa.timestamp("us", tz="UTC"))
            else:
                column = text.cast(pa.timestamp("us"))
                notes = (f"{name} has no time zone: read as UTC",)
        except pa.ArrowInvalid as error:
            msg = f"{source}: {name} holds text that is no ISO 8601 time ({str(error)[:120]})"
            raise InputError(msg) from error
    elif pa.types.is_integer(kind):
        column, notes = _epoch(column, name, source)
    elif pa.types.is_timestamp(kind):
        if kind.tz is None:
            notes = (f"{name} has no time zone: read as UTC",)
    elif pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    else:
        msg = f"{source}: {name} holds {kind}, not times"
        raise InputError(msg)
    if column.null_count and name is not None:
        label_time = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)))
        filled = label_time.cast(pa.int64()).fill_null(np.iinfo(np.int64).max)
        return np.asarray(filled.to_numpy(), dtype=np.int64), notes
    stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
    return np.asarray(stamps.cast(pa.int64()).to_numpy(), dtype=np.int64), notes


def _epoch(
    column: pa.ChunkedArray, name: str, source: str
) -> tuple[pa.ChunkedArray, tuple[str, ...]]:
    largest = pc.max(pc.abs(column)).as_py() or 0
    for low, high, factor in _EPOCH_UNITS:
        if low <= largest < high:
            micro = pc.multiply(column.cast(pa.int64()), factor)
            unit = {1_000_000: "seconds", 1_000: "milliseconds", 1: "microseconds"}[factor]
            return micro.cast(pa.timestamp("us")), (f"{name} read as {unit} since 1970 UTC",)
    msg = (
        f"{source}: --timestamp {name} holds whole numbers up to {largest:,}, which are no times; "
        "for rows in file order use --tick 50rows and no --timestamp"
    )
    raise InputError(msg)


def embedding_column(arrow: pa.Table, name: str | None, source: str) -> NDArray[np.float32] | None:
    """A column of lists of one length as (n, d); InputError for anything else."""
    if name is None:
        return None
    column = arrow.column(name)
    if column.null_count:
        msg = f"{source}: --embedding {name} has {column.null_count} nulls; every row needs one"
        raise InputError(msg)
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = pa.concat_arrays(joined.chunks)
    if not (pa.types.is_list(joined.type) or pa.types.is_fixed_size_list(joined.type)):
        msg = f"{source}: --embedding {name} holds {joined.type}, not lists of numbers"
        raise InputError(msg)
    with np.errstate(over="ignore"):  # what is too large for 32 bits becomes infinite
        flat = joined.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if len(flat) % arrow.num_rows:
        msg = f"{source}: --embedding {name} has rows of different length; all must be equal"
        raise InputError(msg)
    vectors: NDArray[np.float32] = flat.reshape(arrow.num_rows, -1)
    return vectors


def split_domains(window: Window, *, default: str = "default") -> Iterator[tuple[str, Window]]:
    """The rows of each domain, in order of first appearance; a null domain is left out."""
    if window.domain is None:
        yield default, window
        return
    codes = window.domain.codes
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    for code, name in enumerate(window.domain.values):
        first, last = np.searchsorted(sorted_codes, [code, code + 1])
        if last > first:
            yield name, replace(window.take(order[first:last]), domain=None)
