"""JSON and NDJSON bodies into batches of columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.records import Categories, FloatArray, Schema, Task, Window
from monitor.api.instants import parse_instants
from monitor.api.json_rows import Rows, bound_columns, decode_body, sample_rows
from monitor.api.learn_schema import LEARN_ROWS, learn_schema
from monitor.api.limits import IngestLimits
from monitor.api.new_columns import Admit, NewColumns, first_by_name, new_of_rows
from monitor.api.row_types import (
    EVENT_FIELDS,
    LABEL_FIELDS,
    MISSING_NUMBER,
    MISSING_WORD,
    event_rows,
    label_rows,
)
from monitor.api.screen import Draft, LabelDraft, screen_events, screen_labels
from monitor.api.words import categories_of
from monitor.errors import did_you_mean
from monitor.intake.batches import EventBatch, LabelBatch, Rejections, refusal
from monitor.rows.named_classes import numbered


def decode_json_events(
    body: bytes,
    *,
    model: str,
    schema: Schema,
    now_us: int,
    limits: IngestLimits,
    lines: bool = False,
    admit: Admit | None = None,
) -> EventBatch:
    """Events of one JSON envelope, or of one object a line, as columns.

    Of the features that the schema lacks those that `admit` lets in are columns too.

    Raises:
        RequestRefusedError: where the body as a whole cannot be read. Rows that cannot are in
            `batch.refused`.
    """
    schema = schema.recorded
    rejections = Rejections()
    bound_columns(len(schema.columns), limits)
    rows = decode_body(body, event_rows(schema), limits, rejections, lines=lines)
    known = (*EVENT_FIELDS, *(column.name for column in schema.columns))
    new = new_of_rows(rows.unknown, admit or first_by_name(limits.new_columns))
    warnings = extra_warnings(rows.extra, known, kept=new.names)
    draft = _event_draft(rows, schema, new, warnings, rejections)
    return screen_events(
        draft,
        model=model,
        task=schema.task,
        now_us=now_us,
        future_us=limits.future_us,
        rejections=rejections,
        warnings=warnings,
    )


def decode_json_labels(
    body: bytes,
    *,
    model: str,
    task: Task,
    now_us: int,
    limits: IngestLimits,
    lines: bool = False,
    classes: Sequence[str] = (),
) -> LabelBatch:
    """Labels of one JSON envelope, or of one object a line. One without `ts` is known as of now.

    Where a model has `classes`, a label may be the name of the one that was right.

    Raises:
        RequestRefusedError: where the body as a whole cannot be read. Rows that cannot are in
            `batch.refused`.
    """
    rejections = Rejections()
    rows = decode_body(body, label_rows(named=bool(classes)), limits, rejections, lines=lines)
    texts = [row.ts for row in rows.rows]
    parsed = pa.array(texts, pa.string())
    ts_us, good = parse_instants(parsed)
    absent = parsed.is_null().to_numpy(zero_copy_only=False)
    draft = LabelDraft(
        ids=[row.id for row in rows.rows],
        row_numbers=rows.row_numbers,
        label=numbered([row.label for row in rows.rows], classes),
        named=np.array([isinstance(row.label, str) for row in rows.rows], dtype=np.bool_),
        ts_us=np.where(absent, now_us, ts_us),
        ts_good=good | absent,
        ts_text=texts.__getitem__,
    )
    return screen_labels(
        draft,
        model=model,
        task=task,
        now_us=now_us,
        future_us=limits.future_us,
        rejections=rejections,
        warnings=extra_warnings(rows.extra, LABEL_FIELDS),
        classes=classes,
    )


def learn_json_schema(
    body: bytes,
    task: Task,
    limits: IngestLimits,
    *,
    slices: tuple[tuple[str, ...], ...] = (),
    lines: bool = False,
) -> Schema:
    """The provisional schema that the first rows of a body suggest.

    Raises:
        RequestRefusedError: 400 where the body cannot be read, 422 for too many columns.
    """
    schema = learn_schema(sample_rows(body, "events", LEARN_ROWS, lines=lines), task, slices)
    bound_columns(len(schema.columns), limits)
    return schema


def extra_warnings(
    extra: Sequence[str], known: Iterable[str], *, kept: Collection[str] = ()
) -> list[str]:
    """One line for each member that is not in the schema; those `kept` are new columns."""
    names = list(known)
    return [
        f"'{name[:80]}' is not in the schema and was "
        f"{'kept as a new column' if name in kept else 'ignored'}.{did_you_mean(name, names)}"
        for name in extra
    ]


def _event_draft(
    rows: Rows, schema: Schema, new: NewColumns, warnings: list[str], rejections: Rejections
) -> Draft:
    events, numbers = rows.rows, rows.row_numbers
    if schema.embedding_dim:
        good = _embedding_rows(events, numbers, schema.embedding_dim, rejections)
        if len(good) < len(events):
            events, numbers = [events[row] for row in good.tolist()], numbers[good]
            new = new.take(good)
    column = dict(zip(EVENT_FIELDS, _columns(events, len(EVENT_FIELDS)), strict=True))
    if not schema.embedding_dim and _present(column["embedding"]):
        warnings.append("'embedding' is not in the schema and was ignored.")
    features = _feature_columns(column["features"], schema)
    numeric = {name: _numbers(name, features[name], warnings) for name in schema.numeric}
    categorical = {name: _words(name, features[name], warnings) for name in schema.categorical}
    ts_us, ts_good = parse_instants(pa.array(column["ts"], pa.string()))
    score = _optional_numbers(column["score"])
    prediction: Categories | None = None
    if schema.task is Task.REGRESSION:
        predicted = _optional_numbers(column["prediction"])
        score = predicted if score is None else _fill(score, predicted)
    else:
        prediction = _optional_words(column["prediction"])
    if schema.has_score:
        _warn_missing_score(score, len(events), warnings)
    weight = _optional_numbers(column["weight"])
    window = Window(
        rows=len(events),
        ts_us=ts_us,
        score=score,
        baseline_score=_optional_numbers(column["baseline_score"]),
        head_score=_optional_numbers(column["head_score"]),
        full_score=_optional_numbers(column["full_score"]),
        prediction=prediction,
        weight=None if weight is None else np.where(np.isnan(weight), 1.0, weight),
        numeric={**numeric, **new.numeric},
        categorical={**categorical, **new.categorical},
        domain=_optional_words(column["domain"]),
        version=_optional_words(column["version"]),
        arm=_optional_words(column["arm"]),
        cluster=_optional_words(column["cluster"]),
        embedding=_vectors(column["embedding"], schema.embedding_dim),
    )
    return Draft(window, column["id"], numbers, ts_good, column["ts"].__getitem__)


def _columns(rows: Sequence[Any], width: int) -> list[tuple[Any, ...]]:
    """The members of structs (n,) as `width` tuples of n values."""
    if not rows:
        return [()] * width
    return list(zip(*map(msgspec.structs.astuple, rows), strict=True))


def _feature_columns(features: Sequence[Any], schema: Schema) -> dict[str, tuple[Any, ...]]:
    names = (*schema.numeric, *schema.categorical)
    if not _full(features):
        feature_type = event_rows(schema).feature_type
        assert feature_type is not None
        nothing = feature_type()
        features = [nothing if row is None else row for row in features]
    columns = _columns(features, len(names)) if names else []
    return dict(zip(names, columns, strict=True))


def _present(values: Sequence[Any]) -> bool:
    return values.count(None) < len(values)


def _full(values: Sequence[Any]) -> bool:
    return None not in values


def _numbers(name: str, column: tuple[Any, ...], warnings: list[str]) -> FloatArray:
    values = np.array(column, dtype=np.float64)
    nulls = np.flatnonzero(np.isnan(values)).tolist()
    missing = sum(column[row] is MISSING_NUMBER for row in nulls)
    _warn_missing(name, missing, len(column), warnings)
    return values


def _words(name: str, column: tuple[Any, ...], warnings: list[str]) -> Categories:
    _warn_missing(name, column.count(MISSING_WORD), len(column), warnings)
    return categories_of(column)


def _warn_missing(name: str, missing: int, rows: int, warnings: list[str]) -> None:
    if missing:
        warnings.append(f"feature '{name[:80]}' is missing in {missing:,} of {rows:,} rows: null")


def _warn_missing_score(score: FloatArray | None, rows: int, warnings: list[str]) -> None:
    missing = rows if score is None else int(np.isnan(score).sum())
    if missing:
        warnings.append(f"'score' is missing in {missing:,} of {rows:,} rows: null")


def _optional_numbers(values: Sequence[float | None]) -> FloatArray | None:
    return np.array(values, dtype=np.float64) if _present(values) else None


def _optional_words(values: Sequence[Any]) -> Categories | None:
    return categories_of(values) if _present(values) else None


def _fill(score: FloatArray, predicted: FloatArray | None) -> FloatArray:
    return score if predicted is None else np.where(np.isnan(score), predicted, score)


def _embedding_rows(
    events: Sequence[Any], numbers: NDArray[np.int64], dimension: int, rejections: Rejections
) -> NDArray[np.int64]:
    """Rows whose embedding is absent or of the right length; the others are refused."""
    sizes = np.fromiter(
        (dimension if event.embedding is None else len(event.embedding) for event in events),
        np.int64,
        len(events),
    )
    rejections.add_rows(
        np.flatnonzero(sizes != dimension),
        lambda row: refusal(
            int(numbers[row]),
            events[row].id,
            "embedding",
            f"{sizes[row]} numbers",
            "wrong length",
            f"send {dimension} numbers",
        ),
    )
    return np.flatnonzero(sizes == dimension)


def _vectors(column: Sequence[Any], dimension: int) -> NDArray[np.float32] | None:
    if not dimension:
        return None
    nothing = [float("nan")] * dimension
    rows = [nothing if vector is None else vector for vector in column]
    return np.array(rows, dtype=np.float32).reshape(len(rows), dimension)
