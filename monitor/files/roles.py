"""Which column plays which part, as named on the command line or inferred from a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import pyarrow as pa

from detectors.records import Output, Says, Task, Window
from detectors.transfer.class_losses import classes_apart
from monitor.errors import UsageError, did_you_mean, shortened

# A column with one of these names takes the role when nobody says otherwise. The first are
# Kedge's own words, the rest are what peers call the same thing.
CONVENTIONAL: dict[str, tuple[str, ...]] = {
    "id": ("id", "event_id"),
    "timestamp": ("ts", "timestamp", "event_time", "event_timestamp"),
    "domain": ("domain",),
    "score": ("score", "y_pred_proba", "predicted_probability"),
    "prediction": ("prediction", "y_pred"),
    "baseline_score": ("baseline_score",),
    "head_score": ("head_score",),
    "full_score": ("full_score",),
    "label": ("label", "y_true"),
    "label_timestamp": ("label_ts", "label_timestamp"),
    "arm": ("arm",),
    "version": ("version", "model_version"),
    "embedding": ("embedding",),
    "cluster": ("cluster",),
    "weight": ("weight",),
}
ROLE_NAMES = tuple(CONVENTIONAL)
LONGEST_NAME = 200
# Names that databases, logs or replies cannot hold; from whoever sends the first events.
_NO_NAME = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_RESERVED = frozenset(name for names in CONVENTIONAL.values() for name in names)
_OPTION = {
    Says.CLASS: "probability",
    Says.BASELINE_CLASS: "baseline_probability",
    Says.QUANTILE: "quantile",
    Says.SD: "sd",
}
BASELINE_CLASSES = _OPTION[Says.BASELINE_CLASS]
"""The name, among roles, of the columns with a baseline's class probabilities."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The part each column plays. Columns without a role are features."""

    id: str | None = None
    timestamp: str | None = None
    domain: str | None = None
    score: str | None = None
    prediction: str | None = None
    baseline_score: str | None = None
    head_score: str | None = None
    full_score: str | None = None
    label: str | None = None
    label_timestamp: str | None = None
    arm: str | None = None
    version: str | None = None
    embedding: str | None = None
    cluster: str | None = None
    weight: str | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    slices: tuple[tuple[str, ...], ...] = ()
    ignore: tuple[str, ...] = ()
    task: Task | None = None
    outputs: tuple[Output, ...] = ()

    def taken(self) -> dict[str, str]:
        """Column name to role name, for the roles that are filled."""
        named = {name: getattr(self, name) for name in ROLE_NAMES}
        found = {column: role for role, column in named.items() if column is not None}
        return {**{one.column: _OPTION[one.says] for one in self.outputs}, **found}


def is_name(text: str) -> bool:
    """Whether databases, logs and replies can hold a column's name."""
    return 0 < len(text) <= LONGEST_NAME and not _NO_NAME.search(text)


def may_be_new(name: str) -> bool:
    """Whether a column may be a feature nobody declared; not what rows say of ids and outcomes."""
    return is_name(name) and name not in _RESERVED and not name.startswith("@")


def has_baseline(window: Window, outputs: tuple[Output, ...]) -> bool:
    """Whether rows hold anything a baseline said: its score, or its class probabilities."""
    theirs = (one.column for one in outputs if one.says is Says.BASELINE_CLASS)
    return window.baseline_score is not None or any(name in window.numeric for name in theirs)


def check_names(roles: Roles, schema: pa.Schema, *, source: str) -> None:
    """Refuse a role or list that names a column the file does not have.

    Raises:
        UsageError: naming the column, what the file has, and the nearest match.
    """
    known = schema.names
    asked = [(role, column) for column, role in roles.taken().items()]
    asked += [("numeric", name) for name in roles.numeric]
    asked += [("categorical", name) for name in roles.categorical]
    asked += [("slice", name) for names in roles.slices for name in names]
    asked += [("ignore", name) for name in roles.ignore]
    for role, column in asked:
        if column not in known:
            msg = (
                f"--{role.replace('_', '-')} {column}: no such column in {source}; it has "
                f"{shortened(known)}.{did_you_mean(column, known)}"
            )
            raise UsageError(msg)


def infer_roles(roles: Roles, schema: pa.Schema) -> tuple[Roles, tuple[str, ...]]:
    """Fill roles nobody named by the conventional names, and say which.

    Returns the completed roles and one "role = column" line per inferred role.
    """
    taken = set(roles.taken()) | set(roles.ignore) | set(roles.numeric) | set(roles.categorical)
    found: dict[str, str] = {}
    for role in ROLE_NAMES:
        if getattr(roles, role) is not None:
            continue
        for name in CONVENTIONAL[role]:
            if name in schema.names and name not in taken and _fits(role, schema.field(name).type):
                found[role] = name
                taken.add(name)
                break
    if roles.timestamp is None and "timestamp" not in found:
        instants = [f.name for f in schema if pa.types.is_timestamp(f.type) and f.name not in taken]
        if len(instants) == 1:
            found["timestamp"] = instants[0]
    completed = replace(roles, **found)  # type: ignore[arg-type]  # the keys are role names
    return completed, tuple(f"{role} = {column}" for role, column in found.items())


def parse_outputs(
    probabilities: tuple[str, ...],
    quantiles: tuple[str, ...],
    sd: str | None,
    baseline: tuple[str, ...] = (),
) -> tuple[Output, ...]:
    """`--probability cat=p_cat --quantile 0.9=q90 --sd sigma` as outputs.

    `baseline` is as `probabilities`, of the from-scratch baseline.

    Raises:
        UsageError: naming what is no NAME=COLUMN, no level between 0 and 1, a column or a class
            that is named twice, or classes that only one of the two models has.
    """
    found = [Output(column, Says.CLASS, of) for of, column in _pairs("probability", probabilities)]
    for level, column in _pairs("quantile", quantiles):
        try:
            inside = 0.0 < float(level) < 1.0
        except ValueError:
            inside = False
        if not inside:
            msg = f"--quantile {level}={column}: a level lies between 0 and 1, as in 0.9={column}"
            raise UsageError(msg)
        found.append(Output(column, Says.QUANTILE, level))
    if sd is not None:
        found.append(Output(sd, Says.SD))
    found += [
        Output(column, Says.BASELINE_CLASS, of)
        for of, column in _pairs("baseline-probability", baseline)
    ]
    columns = [one.column for one in found]
    for one in found:
        if columns.count(one.column) > 1:
            msg = f"the column '{one.column}' is named as two outputs"
            raise UsageError(msg)
        if (
            one.says is not Says.SD
            and [(o.says, o.of) for o in found].count((one.says, one.of)) > 1
        ):
            msg = f"--{_OPTION[one.says].replace('_', '-')} {one.of}: two columns are named for it"
            raise UsageError(msg)
    if apart := classes_apart(found):
        raise UsageError(apart)
    return tuple(found)


def _pairs(option: str, texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, _, column = text.partition("=")
        if not name.strip() or not column.strip():
            msg = f"--{option} {text}: write NAME=COLUMN, as in cat=p_cat or 0.9=q90"
            raise UsageError(msg)
        yield name.strip(), column.strip()


def _fits(role: str, kind: pa.DataType) -> bool:
    """Whether a column of this type could play the role at all."""
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if role in {"score", "baseline_score", "head_score", "full_score", "weight"}:
        return bool(number)
    if role in {"timestamp", "label_timestamp"}:
        return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind) or _is_text(kind))
    if role == "embedding":
        return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind))
    return not pa.types.is_nested(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def parse_slices(texts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """`--slice c --slice c,d` as tuples of column names."""
    return tuple(tuple(name.strip() for name in text.split(",") if name.strip()) for text in texts)


assert {f.name for f in fields(Roles)} >= set(ROLE_NAMES)
