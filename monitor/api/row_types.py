"""The shape of one JSON row as a typed struct, built from a model's schema.

msgspec decodes straight into these: numbers are numbers (no text, no booleans, nothing beyond
the range of a double), text is text, and nothing else needs to look at a value again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from detectors.records import Schema, Task
from monitor.api.errors import RequestRefusedError
from monitor.errors import shortened

Word = str | bool | int | float | None
"""What may stand for a category: whole numbers and booleans are read as their text."""

MISSING_NUMBER = float("nan")
MISSING_WORD = "\0missing\0"
"""Defaults told apart from null by identity: a NaN or a NUL never comes out of valid JSON here."""

_AWKWARD = re.compile(r'["\\\x00-\x1f]')

EVENT_FIELDS = (
    "id",
    "ts",
    "domain",
    "version",
    "features",
    "score",
    "baseline_score",
    "prediction",
    "arm",
    "weight",
    "embedding",
    "cluster",
    "head_score",
    "full_score",
)
LABEL_FIELDS = ("id", "label", "ts")


@dataclass(frozen=True, slots=True, eq=False)
class RowType:
    """A struct for one row and decoders of a whole body.

    `strict` refuses members that are not in the schema, `lenient` skips them. `feature_type` is
    None for labels.
    """

    envelope_key: str
    fields: tuple[str, ...]
    features: frozenset[str]
    feature_type: type[msgspec.Struct] | None
    strict: msgspec.json.Decoder[Any]
    lenient: msgspec.json.Decoder[Any]
    strict_row: msgspec.json.Decoder[Any]
    lenient_row: msgspec.json.Decoder[Any]


@lru_cache(maxsize=64)
def event_rows(schema: Schema) -> RowType:
    """The row type of a schema's events.

    Raises:
        RequestRefusedError: 422 where a feature's name cannot be matched in JSON.
    """
    awkward = [c.name for c in schema.columns if _AWKWARD.search(c.name)]
    if awkward:
        raise RequestRefusedError(
            422,
            f"feature names with quotes, backslashes or control characters: {shortened(awkward)}",
            "rename these features in the reference, or send Arrow",
        )
    numeric = [(name, float | None, MISSING_NUMBER) for name in schema.numeric]
    words = [(name, Word, MISSING_WORD) for name in schema.categorical]
    members = [(f"f{i}", kind, default) for i, (_, kind, default) in enumerate([*numeric, *words])]
    renamed = {f"f{i}": name for i, (name, _, _) in enumerate([*numeric, *words])}
    prediction = float | None if schema.task is Task.REGRESSION else Word
    types: list[Any] = []
    for strict in (True, False):
        features = msgspec.defstruct(
            "Features", members, rename=renamed, forbid_unknown_fields=strict, gc=False
        )
        types.append(
            msgspec.defstruct(
                "Event",
                [
                    ("id", str),
                    ("ts", str),
                    ("domain", str | None, None),
                    ("version", Word, None),
                    ("features", features | None, None),
                    ("score", float | None, None),
                    ("baseline_score", float | None, None),
                    ("prediction", prediction, None),
                    ("arm", Word, None),
                    ("weight", float | None, None),
                    ("embedding", list[float] | None, None),
                    ("cluster", Word, None),
                    ("head_score", float | None, None),
                    ("full_score", float | None, None),
                ],
                forbid_unknown_fields=strict,
                gc=False,
            )
        )
    names = frozenset(column.name for column in schema.columns)
    # Missing features are filled from the struct of the lenient type; both have equal fields.
    return _row_type("events", EVENT_FIELDS, names, features, types)


@lru_cache(maxsize=2)
def label_rows(*, named: bool = False) -> RowType:
    """The row type of labels, which may be the `named` class that was right."""
    label: Any = float | str if named else float
    types = [
        msgspec.defstruct(
            "Label",
            [("id", str), ("label", label), ("ts", str | None, None)],
            forbid_unknown_fields=strict,
            gc=False,
        )
        for strict in (True, False)
    ]
    return _row_type("labels", LABEL_FIELDS, frozenset(), None, types)


def _row_type(
    key: str,
    fields: tuple[str, ...],
    features: frozenset[str],
    feature_type: type[msgspec.Struct] | None,
    types: list[Any],
) -> RowType:
    bodies = [
        msgspec.defstruct(
            "Body",
            [("rows", list[row]), ("model", str | None, None)],  # type: ignore[valid-type]
            rename={"rows": key},
            forbid_unknown_fields=strict,
            gc=False,
        )
        for row, strict in zip(types, (True, False), strict=True)
    ]
    strict, lenient = (msgspec.json.Decoder(body) for body in bodies)
    strict_row, lenient_row = (msgspec.json.Decoder(row) for row in types)
    return RowType(key, fields, features, feature_type, strict, lenient, strict_row, lenient_row)
