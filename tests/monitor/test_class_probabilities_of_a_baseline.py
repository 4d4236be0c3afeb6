"""A baseline's class probabilities: from files, configuration and events to the verdict's word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from detectors.records import DAY_US, Deployment, Output, Says, Task, to_us
from monitor.api.decode_json import decode_json_events, decode_json_labels
from monitor.api.limits import IngestLimits
from monitor.cli import cli
from monitor.cli.wire import events_of
from monitor.config import parse_config
from monitor.errors import InputError, UsageError
from monitor.files.references import add_reference_table
from monitor.files.roles import Roles, parse_outputs
from monitor.files.tables import read_table
from monitor.process.daemon import Service
from monitor.reports.live import live_report
from storage.deployments import get_deployment
from storage.references import Role
from tests.end_to_end.test_daemon_is_replay import FixedClock
from tests.monitor.two_files import check, pair, report_of, save

CLASSES = ("cat", "dog", "owl")
START_US = 1_750_000_000_000_000 // DAY_US * DAY_US
OURS = [f"--probability={name}=p_{name}" for name in CLASSES]
THEIRS = [f"--baseline-probability={name}=b_{name}" for name in CLASSES]


def softmax(logits: Any) -> Any:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def pictures(
    seed: int, *, served: float = 0.4, scratch: float = 1.0, days: int = 0, rows: int = 3_000
) -> dict[str, Any]:
    """What two models say of pictures; the noise of each in log odds. `days`: with times."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.2, (rows, 3))
    true = (softmax(logits).cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    ours, theirs = (softmax(logits + rng.normal(0.0, sd, (rows, 3))) for sd in (served, scratch))
    found: dict[str, Any] = {"size": rng.normal(size=rows)}
    for at, name in enumerate(CLASSES):
        found |= {f"p_{name}": ours[:, at], f"b_{name}": theirs[:, at]}
    found["label"] = np.array(CLASSES)[np.minimum(true, 2)]
    if days:
        ts_us = START_US + np.sort(rng.integers(0, days * DAY_US, rows))
        found["ts"] = pa.array(ts_us, pa.timestamp("us", tz="UTC"))
    return found


def later(columns: Mapping[str, Any], days: int) -> dict[str, Any]:
    ts_us = columns["ts"].cast(pa.int64()).to_numpy() + days * DAY_US
    return {**columns, "ts": pa.array(ts_us, pa.timestamp("us", tz="UTC"))}


def without(columns: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("served", "scratch", "loss", "word"),
    [(0.3, 1.2, "multiclass_log", "helps"), (1.2, 0.3, "multiclass_brier", "hurts")],
)
def test_a_replay_says_whether_the_baselines_probabilities_are_better(
    tmp_path: Path, served: float, scratch: float, loss: str, word: str
) -> None:
    """The reference knows nothing of the baseline: the log has it."""
    before = without(pictures(1, days=30, served=served), "b_")
    log = later(pictures(2, days=30, served=served, scratch=scratch), 30)
    named = [*OURS, *THEIRS, f"--loss={loss}", "--tick=1d", "-o", "json"]
    files = [save(tmp_path / f"{n}.parquet", t) for n, t in (("before", before), ("log", log))]
    asked = ["replay", "--reference", files[0], "--log", files[1], *named]
    result = CliRunner().invoke(cli, asked, standalone_mode=False)
    assert result.exception is None, result.exception
    (transfer,) = json.loads(result.stdout)["transfer"].values()
    assert transfer["state"] == word
    assert transfer["rows"] == 3_000
    assert transfer["loss"] == {"multiclass_log": "multiclass log loss"}.get(
        loss, "multiclass Brier score"
    )
    lines = {line["loss"]: line for line in transfer["losses"]}
    assert lines[transfer["loss"]]["difference"] == pytest.approx(transfer["difference"], abs=0.02)


def test_a_check_compares_all_classes_without_being_asked_and_shows_both_losses(
    tmp_path: Path,
) -> None:
    report = report_of(*pair(tmp_path, pictures(3), pictures(4)), *OURS, *THEIRS)
    assert report["transfer"]["state"] == "helps"
    assert report["transfer"]["loss"] == "multiclass log loss"
    assert report["transfer"]["warnings"] == []
    assert [column["name"] for column in report["columns"]] == ["size"]
    assert {head["name"] for head in report["calibration"]["heads"]} == {
        f"class {name}" for name in CLASSES
    }
    shown = [line["loss"] for line in report["transfer"]["losses"]]
    assert shown == ["multiclass log loss", "multiclass Brier score"]


def test_what_cannot_be_compared_is_a_state_in_words(tmp_path: Path) -> None:
    """Percentages, a class nobody named, and a baseline that is missing on half of the rows."""
    before, after = pictures(5), pictures(6)
    for name in CLASSES:
        after[f"b_{name}"] = np.where(np.arange(3_000) % 2, after[f"b_{name}"], np.nan)
    after["label"] = np.where(np.arange(3_000) < 90, "wolf", after["label"])
    told = report_of(*pair(tmp_path, before, after), *OURS, *THEIRS)["transfer"]
    assert told["rows"] == 1_500 - 45
    words = " ".join(told["warnings"])
    assert "missing in 1,500 of 3,000 rows" in words
    assert "90 labels name a class of which no probability is known (wolf)" in words
    for name in CLASSES:
        after[f"b_{name}"] = 100.0 * pictures(6)[f"b_{name}"]
    told = report_of(*pair(tmp_path, before, after), *OURS, *THEIRS)["transfer"]
    assert told["state"] == "undetermined"
    assert "the baseline's class probabilities are none in 3,000 of 3,000" in " ".join(
        told["warnings"]
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([*OURS, *THEIRS[:2]], "the baseline's class probabilities lack owl"),
        ([*OURS[:2], *THEIRS], "name owl, which the model's do not"),
        ([*OURS, *THEIRS[:2], "--baseline-probability=owl=b_ow"], "no such column"),
        ([*OURS, *THEIRS[:2], "--baseline-probability=owl=p_owl"], "named as two outputs"),
        ([*OURS, *THEIRS, "--baseline-probability=owl=size"], "two columns are named for it"),
        ([*OURS, "--loss=multiclass_log"], "the baseline's probability of each class as well"),
    ],
)
def test_probabilities_of_other_classes_are_refused(
    tmp_path: Path, options: list[str], words: str
) -> None:
    result = check(*pair(tmp_path, pictures(7), pictures(8)), *options)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)


def test_columns_that_neither_file_has_are_refused(tmp_path: Path) -> None:
    bare = [without(pictures(seed), "b_") for seed in (9, 10)]
    result = check(*pair(tmp_path, *bare), *OURS, *THEIRS)
    assert isinstance(result.exception, UsageError)
    assert "--baseline-probability cat=b_cat: no such column in" in str(result.exception)


def model(**more: Any) -> dict[str, Any]:
    return {
        "task": "multiclass",
        "probabilities": {name: f"p_{name}" for name in CLASSES},
        **more,
    }


def test_the_configuration_names_them_and_they_are_of_the_models_classes() -> None:
    theirs = {name: f"b_{name}" for name in CLASSES}
    section = model(baseline={"probabilities": theirs}, loss="multiclass_brier")
    told = parse_config({"models": {"m": section}}, source="kedge.toml").models["m"]
    assert told.outputs()[3:] == tuple(
        Output(f"b_{name}", Says.BASELINE_CLASS, name) for name in CLASSES
    )
    assert told.settings().loss == "multiclass_brier"
    for wrong, words in (
        (model(baseline={"probabilities": {"cat": "b_cat"}}), "lack dog, owl"),
        ({"task": "multiclass", "baseline": {"probabilities": theirs}}, "the model has none"),
        (model(baseline={"probabilities": theirs, "kind": "trained"}), "not 'trained'"),
        (model(loss="multiclass_log"), "the baseline's probability of each class as well"),
        (
            model(loss="multiclass_log", baseline={"kind": "trained"}),
            "says how likely the predicted class is right",
        ),
    ):
        with pytest.raises(InputError, match=words):
            parse_config({"models": {"m": wrong}}, source="kedge.toml")


def test_a_push_sends_them_under_their_own_names() -> None:
    columns = {name: np.full(2, 0.5) for name in ("p_cat", "p_dog", "b_cat", "b_dog")}
    table = pa.table({"id": ["a", "b"], "ts": ["2026-01-01T00:00:00Z"] * 2, **columns})
    two = [f"{name}=p_{name}" for name in ("cat", "dog")]
    outputs = parse_outputs(tuple(two), (), None, ("cat=b_cat", "dog=b_dog"))
    roles = Roles(id="id", timestamp="ts", outputs=outputs)
    sent = events_of(table, roles, domain=None, source="t")
    assert set(sent.column_names) == {"id", "ts", *columns}


def configuration(url: str) -> Any:
    return parse_config(
        {
            "service": {"database": url},
            "models": {
                "m": model(
                    baseline={"probabilities": {name: f"b_{name}" for name in CLASSES}},
                    tick="1d",
                    label_delay="1d",
                    lateness="0s",
                )
            },
        },
        source="test",
    )


def test_a_daemon_takes_them_with_events_and_gives_the_verdict_of_a_replay(tmp_path: Path) -> None:
    served, scratch = 1.4, 0.3
    before = {**pictures(11, days=30, served=served, scratch=scratch), "domain": ["zoo"] * 3_000}
    after = {
        **later(pictures(12, days=30, served=served, scratch=scratch), 30),
        "domain": ["zoo"] * 3_000,
    }
    # one row in ten is without the baseline's probabilities, and is left out in words
    for name in CLASSES:
        after[f"b_{name}"] = np.where(np.arange(3_000) % 10, after[f"b_{name}"], np.nan)
    named = [*OURS, *THEIRS, "--tick=1d", "--label-delay=1d", "-o", "json"]
    files = [save(tmp_path / f"{n}.parquet", t) for n, t in (("before", before), ("log", after))]
    asked = ["replay", "--reference", files[0], "--log", files[1], *named]
    replayed = json.loads(CliRunner().invoke(cli, asked).stdout)["transfer"]["zoo"]

    running = Service(configuration(f"sqlite:///{tmp_path / 'kedge.db'}"), FixedClock())
    outputs = running.config.models["m"].outputs()
    reference = read_table(files[0], Roles(domain="domain", timestamp="ts", outputs=outputs))
    now = FixedClock().now()
    add_reference_table(
        running.database, reference, model="m", role=Role.ONBOARDING, domain=None, now=now
    )
    try:
        running.ingest.start()
        events, labels = payloads(after)
        schema = running.schemas.schema_of("m")
        assert schema is not None
        assert schema.has_baseline
        batch = decode_json_events(
            events, model="m", schema=schema, now_us=to_us(now), limits=IngestLimits()
        )
        assert running.ingest.submit_events(batch).result().rejected == 0
        sent = decode_json_labels(
            labels,
            model="m",
            task=Task.MULTICLASS,
            now_us=to_us(now),
            limits=IngestLimits(),
            classes=schema.classes,
        )
        running.ingest.submit_labels(sent).result()
        running.check("m")
        running.flush("m")
        deployment = Deployment("m", "zoo")
        with running.database.read() as session:
            state = get_deployment(session, deployment)
        report = live_report(running.runner, deployment, days=30, now=now)
    finally:
        running.ingest.stop()
        running.database.close()
    assert state is not None
    live = (state.status or {})["transfer"]
    assert live["state"] == replayed["state"] == "hurts"
    assert live["loss"] == "multiclass log loss"
    assert live["rows"] == replayed["rows"] == 2_700
    assert live["difference"] == pytest.approx(replayed["difference"])
    assert "2,700 of 3,000 labelled rows are compared" in live["words"]
    assert "missing in 300 of 3,000 rows" in " ".join(report["transfer"]["warnings"])


def payloads(columns: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The same rows as bodies of `POST /v1/events` and `POST /v1/labels`."""
    rows = pa.table(dict(columns)).to_pylist()
    events, labels = [], []
    for number, row in enumerate(rows):
        ours = {name: row[f"p_{name}"] for name in CLASSES}
        said = max(ours, key=lambda name: ours[name])
        features = {
            name: None if row[name] != row[name] else row[name]
            for name in ("size", *(f"{p}_{c}" for p in "pb" for c in CLASSES))
        }
        ts = row["ts"].isoformat()
        events.append(
            {
                "id": f"e{number}",
                "ts": ts,
                "domain": "zoo",
                "score": ours[said],
                "prediction": said,
                "features": features,
            }
        )
        labels.append({"id": f"e{number}", "label": row["label"], "ts": ts})
    return (
        json.dumps({"model": "m", "events": events}).encode(),
        json.dumps({"model": "m", "labels": labels}).encode(),
    )
