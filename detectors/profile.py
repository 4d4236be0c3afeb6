"""What is frozen of a reference: the cells, counts, scales, slices and curve ticks are held to.

A profile is made once, stored with its reference, and never changed: its fingerprint is carried
by every tick summary that was counted with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from detectors.alignment.embedded import EmbeddingMap, fit_map, other_rows
from detectors.calibration.dispersion import day_dispersion
from detectors.cells import (
    NULL,
    CategoricalCells,
    Cells,
    NumericCells,
    fit_categorical,
    fit_numeric,
)
from detectors.packing import body_of, digest, pack, unpack
from detectors.records import (
    Categories,
    ColumnSpec,
    FloatArray,
    Kind,
    Output,
    Says,
    Schema,
    Task,
    Window,
)
from detectors.slices import SliceRef, fit_slices, slice_codes
from detectors.sums import (
    ALL_ROWS,
    Curve,
    Ruler,
    Scale,
    Sum,
    calibration_of_rows,
    label_sums,
    losses,
    seen_sums,
)

MAGIC = b"KPF1"
SCORE_COLUMN = "@score"
"""The name under which the score has cells; a feature may itself be called "score"."""
PREDICTION_COLUMN = "@prediction"
"""The name under which a multiclass model's predicted classes have cells."""
LOSS_COLUMN = "@loss"
"""The name under which the losses of labelled rows have cells, where the reference has any."""
CURVE_EVENTS = 10
"""A recalibration curve is learnt from at least this many labels of each kind."""


@dataclass(frozen=True, slots=True)
class HeadScale:
    """How often a further output came true in the reference, and its recalibration curve."""

    rate: float
    curve: Curve | None


@dataclass(frozen=True, eq=False)
class Profile:
    """A frozen reference. `counts` and `slice_sums` are what the reference's own rows gave.

    `clusters` counts the groups of its labelled rows that share an outcome, 0 where none is named.
    `dispersion` is how much more labels scatter from day to day than independent rows would, None
    where that cannot be told. `heads` say, by name, what the chances of further outputs meant.
    `embedding` is None where the reference has none, or was frozen before embeddings were followed.
    """

    schema: Schema
    rows: int
    columns: Mapping[str, Cells]
    counts: Mapping[str, FloatArray]
    ruler: Ruler
    clipped: Scale
    loss: Scale | None
    baseline_loss: Scale | None
    difference: Scale | None
    slices: tuple[SliceRef, ...]
    slice_sums: Mapping[str, FloatArray]
    too_small: tuple[str, ...]
    too_small_count: int
    clusters: int = 0
    dispersion: float | None = None
    heads: Mapping[str, HeadScale] = field(default_factory=dict)
    embedding: EmbeddingMap | None = None

    @property
    def labelled(self) -> int:
        """Rows of the reference that have a label."""
        return int(self.slice_sums[ALL_ROWS][Sum.LABELLED_ROWS])

    @property
    def label_rate(self) -> float | None:
        """Mean label of the reference; None where it has none."""
        sums = self.slice_sums[ALL_ROWS]
        return float(sums[Sum.LABEL] / sums[Sum.LABELLED]) if sums[Sum.LABELLED] > 0.0 else None

    def null_share(self, column: str) -> float:
        """Share of the reference's rows that are null in a column."""
        counts = self.counts[column][0]
        total = counts.sum()
        return float(counts[NULL] / total) if total > 0.0 else 0.0

    def shares(self, column: str) -> FloatArray:
        """Share (cells,) of the reference's rows in each cell, null among them."""
        counts = self.counts[column][0]
        total = float(counts.sum())
        return np.asarray(counts / total if total > 0.0 else np.zeros(len(counts)))

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits; the same content has the same fingerprint in every process."""
        return digest(self._body)

    def to_bytes(self) -> bytes:
        return pack(MAGIC, self._body)

    @property
    def _heads_out(self) -> dict[str, Any]:
        return {
            name: [one.rate, None if one.curve is None else one.curve.to_dict()]
            for name, one in self.heads.items()
        }

    @property
    def head_curves(self) -> dict[str, Curve]:
        """The curves of further outputs, by name, where there are labels enough for one."""
        return {name: one.curve for name, one in self.heads.items() if one.curve is not None}

    @property
    def _body(self) -> bytes:
        arrays: dict[str, Any] = {}
        cells: dict[str, Any] = {}
        for at, (name, column) in enumerate(self.columns.items()):
            arrays[f"counts:{at}"] = self.counts[name]
            if isinstance(column, NumericCells):
                cells[name] = {"at": at, "kind": "numeric"}
                arrays[f"edges:{at}"] = column.edges
                arrays[f"spikes:{at}"] = column.spikes
            else:
                cells[name] = {
                    "at": at,
                    "kind": "categorical",
                    "values": list(column.values),
                    "open": column.open,
                    "unseen_rate": column.unseen_rate,
                }
                arrays[f"rest:{at}"] = column.rest
        names = [ALL_ROWS, *(ref.name for ref in self.slices)]
        arrays["slice_sums"] = np.stack([self.slice_sums[name] for name in names])
        if self.embedding is not None:
            arrays |= self.embedding.arrays()
        curve = self.ruler.curve
        header = {
            "schema": _schema_out(self.schema),
            "rows": self.rows,
            "columns": cells,
            "score": _scale_out(self.ruler.score),
            "residual": _scale_out(self.ruler.residual),
            "curve": None if curve is None else curve.to_dict(),
            "clipped": _scale_out(self.clipped),
            "loss": _scale_out(self.loss),
            "baseline_loss": _scale_out(self.baseline_loss),
            "difference": _scale_out(self.difference),
            "slices": [[r.name, list(r.columns), list(r.values), r.rows] for r in self.slices],
            "too_small": list(self.too_small),
            "too_small_count": self.too_small_count,
            **({"clusters": self.clusters} if self.clusters else {}),
            **({} if self.dispersion is None else {"dispersion": self.dispersion}),
            **({"heads": self._heads_out} if self.heads else {}),
            **({"embedding": self.embedding.described()} if self.embedding else {}),
        }
        return body_of(header, arrays)

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Read what `to_bytes` wrote. Raises ValueError for anything else."""
        header, arrays = unpack(MAGIC, blob, "profile")
        schema = _schema_in(header["schema"])
        columns: dict[str, Cells] = {}
        described = sorted(header["columns"].items(), key=lambda item: int(item[1]["at"]))
        for name, column in described:
            at = column["at"]
            if column["kind"] == "numeric":
                columns[name] = NumericCells(arrays[f"edges:{at}"], arrays[f"spikes:{at}"])
            else:
                columns[name] = CategoricalCells(
                    tuple(column["values"]),
                    arrays[f"rest:{at}"],
                    column["open"],
                    column["unseen_rate"],
                )
        slices = tuple(
            SliceRef(name, tuple(keys), tuple(values), rows)
            for name, keys, values, rows in header["slices"]
        )
        names = [ALL_ROWS, *(ref.name for ref in slices)]
        score, clipped = _scale_in(header["score"]), _scale_in(header["clipped"])
        assert score is not None
        assert clipped is not None
        return cls(
            schema=schema,
            rows=header["rows"],
            columns=columns,
            counts={name: arrays[f"counts:{at}"] for at, name in enumerate(columns)},
            ruler=Ruler(
                schema.task, score, _scale_in(header["residual"]), _curve_in(header["curve"])
            ),
            clipped=clipped,
            loss=_scale_in(header["loss"]),
            baseline_loss=_scale_in(header["baseline_loss"]),
            difference=_scale_in(header["difference"]),
            slices=slices,
            slice_sums=dict(zip(names, arrays["slice_sums"], strict=True)),
            too_small=tuple(header["too_small"]),
            too_small_count=header["too_small_count"],
            clusters=header.get("clusters", 0),
            dispersion=header.get("dispersion"),
            heads={
                name: HeadScale(rate, _curve_in(described))
                for name, (rate, described) in header.get("heads", {}).items()
            },
            embedding=(
                EmbeddingMap.of(header["embedding"], arrays) if "embedding" in header else None
            ),
        )


def fit_profile(reference: Window, schema: Schema) -> Profile:
    """Freeze a reference. Raises ValueError where it has no rows.

    A feature column that the reference lacks is kept as one that is always null.
    """
    if not reference.rows:
        msg = "a reference without rows freezes nothing; give at least one row, better 1,000"
        raise ValueError(msg)
    weight = reference.weight
    columns: dict[str, Cells] = {}
    counts: dict[str, FloatArray] = {}
    for spec in followed_columns(schema):
        if spec.kind is Kind.NUMERIC:
            numbers = numeric_column(reference, spec.name)
            numbers = _nothing(reference.rows) if numbers is None else numbers
            numeric = fit_numeric(numbers, weight)
            columns[spec.name], counts[spec.name] = numeric, numeric.count(numbers, weight)
        else:
            words = categorical_column(reference, spec.name)
            words = _no_words(reference.rows) if words is None else words
            categorical = fit_categorical(words, weight)
            columns[spec.name], counts[spec.name] = categorical, categorical.count(words, weight)

    embedding = fit_map(reference, schema.task) if schema.embedding_dim else None
    if embedding is not None:
        usual = other_rows(reference)
        for name, numbers in embedding.numbers(usual).items():
            numeric = fit_numeric(numbers, usual.weight)
            columns[name], counts[name] = numeric, numeric.count(numbers, usual.weight)
    mass = reference.weights()
    score = _nothing(reference.rows) if reference.score is None else reference.score
    scale = Scale.of(score, mass) or Scale(0.0, 1.0)
    clipped = Scale.of(scale.standardise(score), mass) or Scale(0.0, 0.0)
    label = _nothing(reference.rows) if reference.label is None else reference.label
    loss = losses(schema.task, reference.score, label)
    if np.isfinite(loss).any():
        of_losses = fit_numeric(loss, weight)
        columns[LOSS_COLUMN] = of_losses
        counts[LOSS_COLUMN] = of_losses.count(loss, weight)
    baseline = losses(schema.task, reference.baseline_score, label)
    difference = loss - baseline
    if reference.contrast is not None:
        difference, baseline = reference.contrast[:, 0], reference.contrast[:, 1]
    residual = Scale.of(label - score, mass) if schema.task is Task.REGRESSION else None
    ruler = Ruler(schema.task, scale, residual, _fit_curve(schema.task, score, label, mass))
    fitted = fit_slices(reference, schema.slices)
    codes = slice_codes(reference, fitted.slices)
    sums = seen_sums(reference, ruler, codes, len(fitted.slices))
    sums += label_sums(reference, ruler, codes, len(fitted.slices))
    names = [ALL_ROWS, *(ref.name for ref in fitted.slices)]
    return Profile(
        schema=schema,
        rows=reference.rows,
        columns=columns,
        counts=counts,
        ruler=ruler,
        clipped=clipped,
        loss=Scale.of(loss, mass),
        baseline_loss=Scale.of(baseline, mass),
        difference=Scale.of(difference, mass),
        slices=fitted.slices,
        slice_sums=dict(zip(names, sums, strict=True)),
        too_small=fitted.too_small,
        too_small_count=fitted.too_small_count,
        clusters=_clusters(reference),
        dispersion=_dispersion(reference, ruler),
        heads=_head_scales(reference, schema),
        embedding=embedding,
    )


def followed_columns(schema: Schema) -> tuple[ColumnSpec, ...]:
    """The columns that get cells: the features, the score, and a multiclass model's classes."""
    extra = []
    if schema.has_score:
        extra.append(ColumnSpec(SCORE_COLUMN, Kind.NUMERIC))
    if schema.task is Task.MULTICLASS:
        extra.append(ColumnSpec(PREDICTION_COLUMN, Kind.CATEGORICAL))
    return (*schema.columns, *extra)


def numeric_column(window: Window, name: str) -> FloatArray | None:
    """A numeric column of a window, or its score."""
    return window.score if name == SCORE_COLUMN else window.numeric.get(name)


def categorical_column(window: Window, name: str) -> Categories | None:
    """A categorical column of a window, or its predicted classes."""
    return window.prediction if name == PREDICTION_COLUMN else window.categorical.get(name)


def _head_scales(reference: Window, schema: Schema) -> dict[str, HeadScale]:
    """What the reference's labels say of each further output that they tell."""
    if not schema.outputs:
        return {}
    from detectors.calibration.heads import head_rows

    weight, found = reference.weights(), {}
    for head, chance, outcome in head_rows(reference, schema):
        known = np.isfinite(outcome)
        if known.any():
            rate = float(weight[known] @ outcome[known] / weight[known].sum())
            curve = _fit_curve(Task.BINARY, chance, outcome, weight)
            found[head.name] = HeadScale(rate, curve)
    return found


def _dispersion(reference: Window, ruler: Ruler) -> float | None:
    """How labels scatter around the reference's own curve; None without times, or for values."""
    if ruler.task is Task.REGRESSION or ruler.curve is None or reference.ts_us is None:
        return None
    assert reference.score is not None
    assert reference.label is not None
    judged = np.flatnonzero(np.isfinite(reference.score) & np.isfinite(reference.label))
    residual, information = calibration_of_rows(
        ruler, reference.score[judged], reference.label[judged]
    )
    return day_dispersion(reference.ts_us[judged], residual, information)


def _clusters(reference: Window) -> int:
    """How many groups of rows that share an outcome have a label; 0 where none are recorded."""
    if reference.cluster is None or reference.label is None:
        return 0
    codes = reference.cluster.codes[np.isfinite(reference.label)]
    return len(np.unique(codes[codes >= 0]))


def _nothing(rows: int) -> FloatArray:
    return np.full(rows, np.nan)


def _no_words(rows: int) -> Categories:
    return Categories(np.full(rows, -1, np.int32), ())


def _fit_curve(
    task: Task, score: FloatArray, label: FloatArray, weight: FloatArray
) -> Curve | None:
    """r̂, or None (scores are believed) where there are too few labels to learn one."""
    if task is Task.REGRESSION:
        return None
    judged = np.isfinite(score) & np.isfinite(label)
    ones = int((label[judged] > 0.5).sum())
    if min(ones, int(judged.sum()) - ones) < CURVE_EVENTS:
        return None
    from detectors.calibration.recalibration import fit_recalibration

    curve: Curve = fit_recalibration(score[judged], label[judged], weight[judged])
    return curve


def _curve_in(described: Any) -> Curve | None:
    if described is None:
        return None
    from detectors.calibration.recalibration import Recalibration

    curve: Curve = Recalibration.from_dict(described)
    return curve


def _scale_out(scale: Scale | None) -> list[float] | None:
    return None if scale is None else [scale.mean, scale.sd, scale.kurtosis]


def _scale_in(pair: Any) -> Scale | None:
    return None if pair is None else Scale(*pair)


def _schema_out(schema: Schema) -> dict[str, Any]:
    return {
        "task": schema.task.value,
        "columns": [[column.name, column.kind.value] for column in schema.columns],
        "slices": [list(names) for names in schema.slices],
        "has_score": schema.has_score,
        "has_baseline": schema.has_baseline,
        "has_label": schema.has_label,
        "embedding_dim": schema.embedding_dim,
        **(
            {"outputs": [[o.column, o.says.value, o.of] for o in schema.outputs]}
            if schema.outputs
            else {}
        ),
    }


def _schema_in(described: Any) -> Schema:
    return Schema(
        task=Task(described["task"]),
        columns=tuple(ColumnSpec(name, Kind(kind)) for name, kind in described["columns"]),
        slices=tuple(tuple(names) for names in described["slices"]),
        has_score=described["has_score"],
        has_baseline=described["has_baseline"],
        has_label=described["has_label"],
        embedding_dim=described["embedding_dim"],
        outputs=tuple(Output(c, Says(says), of) for c, says, of in described.get("outputs", ())),
    )
