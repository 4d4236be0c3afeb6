"""A label may name the true class: from the wire, through storage, to what is read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa

from detectors.calibration.heads import head_rows
from detectors.records import Categories, Output, Says, Schema, Task, Window
from monitor.api.decode_arrow import decode_arrow_labels
from monitor.api.decode_json import decode_json_labels
from monitor.api.limits import IngestLimits
from monitor.rows.named_classes import numbered, with_true_classes

CLASSES = ("cat", "dog", "owl")
SENT = ["owl", "dog", "bird", 1.0, "cat"]


def test_names_become_numbers_on_the_wire_and_what_names_no_class_is_refused() -> None:
    rows = [{"id": f"e{at}", "label": label} for at, label in enumerate(SENT)]
    batch = decode_json_labels(
        json.dumps({"labels": rows}).encode(),
        model="m",
        task=Task.MULTICLASS,
        now_us=0,
        limits=IngestLimits(),
        classes=CLASSES,
    )
    assert batch.label.tolist() == [4.0, 3.0, 1.0, 2.0]
    (refused,) = batch.refused.shown
    assert "cat, dog, owl" in str(refused)
    table = pa.table({"id": ["a", "b", "c"], "label": pa.array(["dog", "wolf", "cat"])})
    arrow = decode_arrow_labels(
        table, model="m", task=Task.MULTICLASS, now_us=0, limits=IngestLimits(), classes=CLASSES
    )
    assert arrow.label.tolist() == [3.0, 2.0]


def test_numbers_that_only_look_like_classes_are_refused() -> None:
    batch = decode_json_labels(
        json.dumps({"labels": [{"id": "a", "label": 3}, {"id": "b", "label": 0}]}).encode(),
        model="m",
        task=Task.MULTICLASS,
        now_us=0,
        limits=IngestLimits(),
        classes=CLASSES,
    )
    assert batch.label.tolist() == [0.0]


def test_stored_numbers_are_read_as_right_or_wrong_with_the_class_beside() -> None:
    stored = Window(
        rows=5,
        label=np.array([*numbered(["owl", "dog", "cat"], CLASSES), 1.0, np.nan]),
        prediction=Categories(np.array([0, 1, 1, 0, 0], np.int32), ("owl", "dog")),
        numeric={"p_owl": np.full(5, 0.4)},
    )
    read = with_true_classes(stored, CLASSES)
    assert read.label is not None
    assert read.truth is not None
    assert read.label[:4].tolist() == [1.0, 1.0, 0.0, 1.0]
    assert np.isnan(read.label[4])
    assert read.truth.strings().tolist() == ["owl", "dog", "cat", None, None]
    assert with_true_classes(read, CLASSES) is read
    assert with_true_classes(stored, ()) is stored


def test_a_class_that_had_not_come_by_then_is_not_known_either() -> None:
    schema = Schema(Task.MULTICLASS, (), outputs=(Output("p_owl", Says.CLASS, "owl"),))
    rows = Window(
        rows=2,
        label=np.array([1.0, 0.0]),
        label_ts_us=np.array([10, 90]),
        truth=Categories(np.array([0, 1], np.int32), ("owl", "cat")),
        numeric={"p_owl": np.array([0.4, 0.4])},
    )
    ((_, _, early),) = head_rows(rows.known_by(50), schema)
    ((_, _, late),) = head_rows(rows.known_by(100), schema)
    assert early[0] == 1.0
    assert np.isnan(early[1])
    assert late.tolist() == [1.0, 0.0]
    ((_, _, told),) = head_rows(replace(rows, label=None), schema)
    assert told.tolist() == [1.0, 0.0]
