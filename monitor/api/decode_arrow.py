"""Arrow tables into batches of columns: IPC streams over HTTP, and what pull sources read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.records import (
    BoolArray,
    Categories,
    FloatArray,
    IntArray,
    Kind,
    Schema,
    Task,
    Window,
)
from monitor.api.arrow_bounds import plain_bytes
from monitor.api.arrow_columns import (
    ColumnTypeError,
    categories,
    is_text,
    numbers,
    texts,
    value_type,
    vectors,
)
from monitor.api.decode_json import extra_warnings
from monitor.api.errors import RequestRefusedError
from monitor.api.instants import parse_instants
from monitor.api.json_rows import bound_columns
from monitor.api.limits import IngestLimits, too_large
from monitor.api.new_columns import Admit, first_by_name, new_of_table
from monitor.api.row_types import EVENT_FIELDS, LABEL_FIELDS
from monitor.api.screen import Draft, LabelDraft, screen_events, screen_labels
from monitor.intake.batches import EventBatch, LabelBatch, Rejections, refusal
from monitor.rows.named_classes import numbered

_UTC = pa.timestamp("us", tz="UTC")
_NO_ZONE = r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?)$"


def read_stream(body: bytes, limits: IngestLimits) -> pa.Table:
    """An IPC stream as a table whose every offset and text has been checked.

    Raises:
        RequestRefusedError: 400 empty, damaged or truncated; 413 too much once decompressed or
            too many rows; 422 too many columns.
    """
    if not body:
        raise RequestRefusedError(400, "the body is empty", "send an Arrow IPC stream")
    if body.startswith(_ARROW_FILE):
        raise RequestRefusedError(
            400,
            "the body is an Arrow IPC file, not a stream",
            "write it with pyarrow.ipc.new_stream instead of new_file",
        )
    try:
        if plain_bytes(body) > limits.inflated_bytes:
            raise too_large(limits.inflated_bytes)
        with pa.ipc.open_stream(body) as reader:
            bound_columns(_features(reader.schema.names), limits)
            for field in reader.schema:
                dictionary = pa.types.is_dictionary(field.type)
                kind = field.type.value_type if dictionary else field.type
                if pa.types.is_timestamp(kind):
                    _ = kind.tz  # one that is no UTF-8 raises here, not when it is asked for
            batches = []
            rows = 0
            for batch in reader:
                rows += batch.num_rows
                if rows > limits.rows:
                    raise RequestRefusedError(
                        413, f"more than {limits.rows:,} rows in one body", "split the batch"
                    )
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RequestRefusedError(
            400, f"the Arrow stream is damaged or truncated ({why})", "send one whole IPC stream"
        ) from None
    if not body.endswith(_END_OF_STREAM) and not _ends_cleanly(body):
        raise RequestRefusedError(
            400, "the Arrow stream is truncated", "close the stream writer before sending"
        )
    return table


def _features(names: Sequence[str]) -> int:
    """How many columns are features rather than roles."""
    return sum(name not in EVENT_FIELDS for name in names)


_ARROW_FILE = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def _ends_cleanly(body: bytes) -> bool:
    """Whether a stream without end marker stops right after a message, as the format allows."""
    reader = pa.ipc.MessageReader.open_stream(body)
    try:
        while True:
            reader.read_next_message()
    except StopIteration:
        return True
    except (pa.ArrowException, OSError):
        return False


@dataclass(slots=True)
class _Reader:
    """Reads the columns of one table by name; rows that cannot be used are gathered in `good`."""

    table: pa.Table
    rejections: Rejections
    lenient: bool
    good: BoolArray
    ids: Sequence[str]

    def refuse(
        self, bad: BoolArray, field: str, value: Callable[[int], object], reason: str, remedy: str
    ) -> None:
        rows = np.flatnonzero(bad & self.good)
        self.good[rows] = False
        self.rejections.add_rows(
            rows, lambda row: refusal(row, self.ids[row], field, value(row), reason, remedy)
        )

    def column(self, name: str) -> pa.ChunkedArray | None:
        return self.table.column(name) if name in self.table.column_names else None

    def numbers(self, name: str) -> FloatArray | None:
        column = self.column(name)
        if column is None:
            return None
        try:
            values, wrong = numbers(column, lenient=self.lenient)
        except ColumnTypeError as error:
            raise _wrong_type(name, error) from None
        if wrong.any():
            self.refuse(
                wrong,
                name,
                lambda row: column[row].as_py(),
                "not a finite number",
                "send a finite number, or null if missing",
            )
        return values

    def optional_numbers(self, name: str) -> FloatArray | None:
        values = self.numbers(name)
        return None if values is None or np.isnan(values).all() else values

    def categories(self, name: str) -> Categories | None:
        column = self.column(name)
        if column is None:
            return None
        try:
            return categories(column)
        except ColumnTypeError as error:
            raise _wrong_type(name, error) from None

    def optional_categories(self, name: str) -> Categories | None:
        column = self.categories(name)
        return column if column is not None and column.values else None

    def instants(self, name: str) -> tuple[IntArray, BoolArray, pa.ChunkedArray]:
        """Times (n,), which are good, and the column they came from."""
        column = self.column(name)
        assert column is not None
        kind = value_type(column)
        if is_text(kind):
            plain = _one_array(column.cast(pa.string()).combine_chunks())
            if self.lenient:  # logs often leave the zone out; they mean UTC
                plain = pc.replace_substring_regex(plain, _NO_ZONE, r"\1Z")
            ts_us, good = parse_instants(plain)
            return ts_us, good, column
        zoneless = pa.types.is_timestamp(kind) and kind.tz is None
        if zoneless and self.lenient:
            column = column.cast(pa.timestamp("us"), safe=False).cast(_UTC)
        elif not pa.types.is_timestamp(kind) or zoneless:
            given = f"holds {kind}" + (" without a zone" if zoneless else "")
            raise RequestRefusedError(422, f"column '{name}' {given}", _TS_HINT)
        ts = column.cast(_UTC, safe=False)
        good = np.asarray(ts.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
        ts_us = ts.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        return ts_us, good, column

    def vectors(self, dimension: int) -> object:
        column = self.column("embedding")
        if column is None:
            return np.full((self.table.num_rows, dimension), np.nan, np.float32)
        try:
            values, wrong = vectors(column, dimension)
        except ColumnTypeError as error:
            raise _wrong_type("embedding", error) from None
        self.refuse(
            wrong,
            "embedding",
            lambda row: f"{len(column[row])} numbers",
            "wrong length",
            f"send {dimension} numbers",
        )
        return values


_TS_HINT = "send timestamps with time zone UTC, or RFC 3339 text such as 2026-01-01T00:00:00Z"


def _one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _wrong_type(name: str, error: ColumnTypeError) -> RequestRefusedError:
    given, _, remedy = str(error).partition("; ")
    return RequestRefusedError(422, f"column '{name[:80]}' {given}", remedy)


def _open(
    table: pa.Table, required: Sequence[str], rejections: Rejections, *, lenient: bool
) -> _Reader:
    """A reader whose ids are read: every row needs one."""
    doubled = (
        {name for name in table.column_names if table.column_names.count(name) > 1}
        if len(set(table.column_names)) < table.num_columns
        else set()
    )
    if doubled:
        name = min(doubled)
        raise RequestRefusedError(422, f"two columns are called '{name[:80]}'", "rename one")
    for name in required:
        if name not in table.column_names:
            raise RequestRefusedError(
                422, f"column '{name}' is missing", f"every row needs {', '.join(required)}"
            )
    try:
        ids = texts(table.column("id"))
    except ColumnTypeError as error:
        raise _wrong_type("id", error) from None
    shown = ["" if text is None else text for text in ids]
    return _Reader(table, rejections, lenient, np.ones(table.num_rows, np.bool_), shown)


def decode_arrow_events(
    table: pa.Table,
    *,
    model: str,
    schema: Schema,
    now_us: int,
    limits: IngestLimits,
    lenient: bool = False,
    admit: Admit | None = None,
) -> EventBatch:
    """Events of a table, features as plain columns.

    Of the columns that the schema lacks those that `admit` lets in are kept too.
    A column of the wrong type refuses the whole table; a wrong value refuses its row.

    Raises:
        RequestRefusedError: 422 naming the column.
    """
    schema = schema.recorded
    rejections = Rejections()
    bound_columns(_features(table.column_names), limits)
    reader = _open(table, ("id", "ts"), rejections, lenient=lenient)
    names = {column.name for column in schema.columns}
    known = (*EVENT_FIELDS, *(column.name for column in schema.columns))
    extra = [n for n in table.column_names if n not in names and n not in EVENT_FIELDS]
    new = new_of_table(table, extra, admit or first_by_name(limits.new_columns))
    warnings = extra_warnings(extra, known, kept=new.names)
    numeric: dict[str, FloatArray] = {}
    categorical: dict[str, Categories] = {}
    for spec in schema.columns:
        if spec.name not in table.column_names:
            warnings.append(f"feature '{spec.name[:80]}' is missing in every row: null")
        if spec.kind is Kind.NUMERIC:
            values = reader.numbers(spec.name)
            numeric[spec.name] = np.full(table.num_rows, np.nan) if values is None else values
        else:
            words = reader.categories(spec.name)
            categorical[spec.name] = (
                Categories(np.full(table.num_rows, -1, np.int32), ()) if words is None else words
            )
    score = reader.optional_numbers("score")
    prediction: Categories | None = None
    if schema.task is Task.REGRESSION:
        predicted = reader.optional_numbers("prediction")
        if score is None or predicted is None:
            score = predicted if score is None else score
        else:
            score = np.where(np.isnan(score), predicted, score)
    else:
        prediction = reader.optional_categories("prediction")
    if table.num_rows and schema.has_score and (score is None or np.isnan(score).any()):
        missing = table.num_rows if score is None else int(np.isnan(score).sum())
        warnings.append(f"'score' is missing in {missing:,} of {table.num_rows:,} rows: null")
    weight = reader.optional_numbers("weight")
    embedding = reader.vectors(schema.embedding_dim) if schema.embedding_dim else None
    ts_us, ts_good, ts_column = reader.instants("ts")
    window = Window(
        rows=table.num_rows,
        ts_us=ts_us,
        score=score,
        baseline_score=reader.optional_numbers("baseline_score"),
        head_score=reader.optional_numbers("head_score"),
        full_score=reader.optional_numbers("full_score"),
        prediction=prediction,
        weight=None if weight is None else np.where(np.isnan(weight), 1.0, weight),
        numeric={**numeric, **new.numeric},
        categorical={**categorical, **new.categorical},
        domain=reader.optional_categories("domain"),
        version=reader.optional_categories("version"),
        arm=reader.optional_categories("arm"),
        cluster=reader.optional_categories("cluster"),
        embedding=embedding,  # type: ignore[arg-type]  # read just above
    )
    rows = np.flatnonzero(reader.good)
    draft = Draft(window, reader.ids, np.arange(table.num_rows), ts_good, _shown(ts_column))
    if len(rows) < table.num_rows:
        draft = Draft(
            window.take(rows),
            [reader.ids[row] for row in rows.tolist()],
            rows,
            ts_good[rows],
            lambda row: ts_column[int(rows[row])].as_py(),
        )
    return screen_events(
        draft,
        model=model,
        task=schema.task,
        now_us=now_us,
        future_us=limits.future_us,
        rejections=rejections,
        warnings=warnings,
    )


def _shown(column: pa.ChunkedArray) -> Callable[[int], object]:
    def shown(row: int) -> object:
        try:
            return column[row].as_py()
        except (OverflowError, ValueError):  # the column can hold what a datetime cannot
            return "a time outside the years 1 to 9999"

    return shown


def decode_arrow_labels(
    table: pa.Table,
    *,
    model: str,
    task: Task,
    now_us: int,
    limits: IngestLimits,
    lenient: bool = False,
    classes: Sequence[str] = (),
) -> LabelBatch:
    """Labels of a table with `id`, `label` and perhaps `ts`.

    Where a model has `classes`, the labels may be a column of names of those that were right.

    Raises:
        RequestRefusedError: 422 naming the column.
    """
    rejections = Rejections()
    reader = _open(table, ("id", "label"), rejections, lenient=lenient)
    named = bool(classes) and _is_words(table.schema.field("label").type)
    if named:
        words = reader.categories("label")
        assert words is not None
        of_value = np.append(numbered(words.values, classes), np.nan)
        label = np.asarray(of_value[words.codes], dtype=np.float64)
    else:
        numbers_given = reader.numbers("label")
        assert numbers_given is not None
        label = numbers_given
        reader.refuse(np.isnan(label), "label", lambda _: "", "missing", "send a label, or no row")
    if "ts" in table.column_names:
        ts_us, good, column = reader.instants("ts")
        absent = np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
        ts_us, good = np.where(absent, now_us, ts_us), good | absent
        shown = _shown(column)
    else:
        ts_us, good = np.full(table.num_rows, now_us), np.ones(table.num_rows, np.bool_)
        shown = _no_text
    rows = np.flatnonzero(reader.good)
    draft = LabelDraft(
        ids=[reader.ids[row] for row in rows.tolist()],
        row_numbers=rows,
        label=label[rows],
        ts_us=ts_us[rows],
        ts_good=good[rows],
        ts_text=lambda row: shown(int(rows[row])),
        named=np.full(len(rows), named),
    )
    extra = [name for name in table.column_names if name not in LABEL_FIELDS]
    return screen_labels(
        draft,
        model=model,
        task=task,
        now_us=now_us,
        future_us=limits.future_us,
        rejections=rejections,
        warnings=extra_warnings(extra, LABEL_FIELDS),
        classes=classes,
    )


def _is_words(kind: pa.DataType) -> bool:
    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(held) or pa.types.is_large_string(held))


def _no_text(_: int) -> object:
    return ""
