"""Losses of whole class probabilities: what a model said of every class, not of its top one alone.

A row is compared where the true class is known by name, both models said a probability of every
class, and these sum to 1 as far as rounding to two decimals lets them. Other rows are left out of
the comparison, of no other answer, and `class_warnings` says how many there are and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from detectors.records import BoolArray, FloatArray, IntArray, Output, Says, Schema, Window
from detectors.transfer.loss import CLIP

CLASS_LOSS_NAME: Mapping[str, str] = MappingProxyType(
    {"multiclass_log": "multiclass log loss", "multiclass_brier": "multiclass Brier score"}
)
CLASS_LOSSES = tuple(CLASS_LOSS_NAME)
ROUNDING = 0.005
"""What rounding to two decimals moves one probability by at most; a sum may be off by that a class,
and by .01 in any case."""
FEW_NAMES = 3
ENOUGH = 0.95
"""Of the labelled rows: where fewer can be compared, a verdict says so."""

ClassLoss = Callable[[FloatArray, IntArray], FloatArray]


@dataclass(frozen=True, slots=True)
class ClassColumns:
    """The columns with each class's probability, in the order of `classes`.

    `baseline` is () where only the model that served a row has said probabilities of it.
    """

    classes: tuple[str, ...]
    served: tuple[str, ...]
    baseline: tuple[str, ...]


def class_columns(schema: Schema) -> ClassColumns | None:
    """Where the class probabilities of rows stand; None for a schema without them."""
    if not schema.classes:
        return None
    theirs = {one.of: one.column for one in schema.outputs if one.says is Says.BASELINE_CLASS}
    served = tuple(one.column for one in schema.outputs if one.says is Says.CLASS)
    known = theirs.keys() == set(schema.classes)
    return ClassColumns(
        schema.classes, served, tuple(theirs[name] for name in schema.classes) if known else ()
    )


def baseline_columns(schema: Schema) -> tuple[str, ...]:
    """The columns in which a baseline's class probabilities come; () without any."""
    return tuple(one.column for one in schema.outputs if one.says is Says.BASELINE_CLASS)


def classes_apart(outputs: Iterable[Output]) -> str:
    """Why the two models' probabilities are not of the same classes; "" where they are."""
    listed = tuple(outputs)
    ours = dict.fromkeys(one.of for one in listed if one.says is Says.CLASS)
    theirs = dict.fromkeys(one.of for one in listed if one.says is Says.BASELINE_CLASS)
    if not theirs:
        return ""
    if not ours:
        return "the baseline has class probabilities and the model has none beside them"
    lacking = ", ".join(name for name in ours if name not in theirs)
    more = ", ".join(name for name in theirs if name not in ours)
    parts = [f"lack {lacking}"] if lacking else []
    parts += [f"name {more}, which the model's do not"] if more else []
    return f"the baseline's class probabilities {' and '.join(parts)}" if parts else ""


def multiclass_log_loss(probabilities: FloatArray, classes: IntArray) -> FloatArray:
    """-ln of the probability of the true class; probabilities (n, k), classes (n,) in 0…k-1.

    Clipped from below at .02 / k and renormalised: with two classes that is the binary loss, with
    more a sure miss costs ln(k / .02), so that a thousand classes do not drown in the floor. A
    class of -1 is missing: NaN.
    """
    p = np.clip(probabilities, 2.0 * CLIP / max(probabilities.shape[1], 2), None)
    p = p / p.sum(axis=1, keepdims=True)
    return -np.log(_of_true(p, classes))


def multiclass_brier(probabilities: FloatArray, classes: IntArray) -> FloatArray:
    """Σ_k (p_k - 1{k is true})²; probabilities (n, k), classes (n,), between 0 and 2."""
    squares = (probabilities**2).sum(axis=1)
    return np.asarray(squares - 2.0 * _of_true(probabilities, classes) + 1.0, dtype=np.float64)


def _of_true(table: FloatArray, classes: IntArray) -> FloatArray:
    known = classes >= 0
    picked = table[np.arange(len(classes)), np.where(known, classes, 0)]
    return np.where(known, picked, np.nan)


CLASS_LOSS: Mapping[str, ClassLoss] = MappingProxyType(
    {"multiclass_log": multiclass_log_loss, "multiclass_brier": multiclass_brier}
)


def class_losses(
    window: Window, loss: ClassLoss, classes: tuple[str, ...], columns: tuple[str, ...]
) -> FloatArray:
    """Loss (n,) of the probabilities in `columns`, one a class; NaN where a row tells none."""
    found = np.full(window.rows, np.nan)
    if not columns:
        return found
    true = true_classes(window, classes)
    table = probabilities_of(window, columns)
    rows = np.flatnonzero((true >= 0) & np.isfinite(table).all(axis=1))
    found[rows] = loss(table[rows], true[rows])
    return found


def true_classes(window: Window, classes: tuple[str, ...]) -> IntArray:
    """The number of each row's true class (n,), -1 where it is not known or none of `classes`."""
    if window.truth is None:
        return np.full(window.rows, -1, np.int64)
    places = {name: at for at, name in enumerate(classes)}
    mapping = np.array([*(places.get(name, -1) for name in window.truth.values), -1], np.int64)
    found: IntArray = mapping[window.truth.codes]
    # a label that is taken away again, because it had not come by then, takes its class along
    return found if window.label is None else np.where(np.isfinite(window.label), found, -1)


def probabilities_of(window: Window, columns: tuple[str, ...]) -> FloatArray:
    """Probabilities (n, k) that sum to 1; rows where they do not, or one is missing, are NaN."""
    table = _table(window, columns)
    with np.errstate(invalid="ignore"):
        total = table.sum(axis=1)
        fit = _inside(table) & (np.abs(total - 1.0) <= _slack(len(columns)))
        return np.where(fit[:, None], table / np.where(fit, total, 1.0)[:, None], np.nan)


def compared_words(labelled: int, compared: int) -> str:
    """What of the labelled rows a loss of whole probabilities left out; "" while it is little."""
    if not labelled or compared >= ENOUGH * labelled:
        return ""
    return (
        f"{compared:,} of {labelled:,} labelled rows are compared: the others lack the name of a "
        "known class, or probabilities of both models that sum to 1"
    )


def class_warnings(window: Window, columns: ClassColumns) -> tuple[str, ...]:
    """Sentences about rows that losses of whole probabilities leave out, and why; () if none."""
    said = [
        line
        for who, names in (("model", columns.served), ("baseline", columns.baseline))
        if names
        for line in _unfit(window, who, names)
    ]
    labelled = window.rows if window.label is None else int(np.isfinite(window.label).sum())
    if window.label is None or not labelled:
        return tuple(said)
    nameless = labelled
    if window.truth is not None:
        codes = np.where(np.isfinite(window.label), window.truth.codes, -1)
        nameless = labelled - int((codes >= 0).sum())
        outside = [name not in columns.classes for name in window.truth.values]
        strange = codes[np.array([*outside, False])[codes]]
        if len(strange):
            names = [window.truth.values[code] for code in np.unique(strange).tolist()]
            more = ", …" if len(names) > FEW_NAMES else ""
            said.append(
                f"{len(strange):,} labels name a class of which no probability is known "
                f"({', '.join(names[:FEW_NAMES])}{more}): these rows are not compared"
            )
    if nameless:
        said.append(
            f"{nameless:,} of {labelled:,} labels say right or wrong and not which class was "
            "right: these rows are not compared"
        )
    return tuple(said)


def _unfit(window: Window, who: str, names: tuple[str, ...]) -> list[str]:
    """Rows of which a model said no probabilities, or none that can be."""
    table = _table(window, names)
    missing = ~np.isfinite(table).all(axis=1)
    said = []
    if missing.any():
        said.append(
            f"the {who}'s class probabilities are missing in {int(missing.sum()):,} of "
            f"{window.rows:,} rows, which are not compared"
        )
    wrong = ~missing & np.isnan(probabilities_of(window, names)).any(axis=1)
    if wrong.any():
        first = int(np.argmax(wrong))
        what = f"sum to {table[first].sum():.3g}"
        if not _inside(table)[first]:
            worst = table[first][np.argmax(np.abs(table[first] - 0.5))]
            what = f"hold {worst:.3g}"
        said.append(
            f"the {who}'s class probabilities are none in {int(wrong.sum()):,} of "
            f"{window.rows:,} rows (row {first}: they {what}), which are not compared"
        )
    return said


def _table(window: Window, columns: tuple[str, ...]) -> FloatArray:
    """The columns (n, k) as they are, NaN where a column did not come."""
    nothing = np.full(window.rows, np.nan)
    if not columns:
        return np.empty((window.rows, 0))
    return np.column_stack([window.numeric.get(name, nothing) for name in columns])


def _inside(table: FloatArray) -> BoolArray:
    """Whether every probability of a row (n,) lies in [0, 1]."""
    return np.asarray(((table >= 0.0) & (table <= 1.0)).all(axis=1), dtype=np.bool_)


def _slack(classes: int) -> float:
    return max(2.0, classes) * ROUNDING
