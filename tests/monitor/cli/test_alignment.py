"""Anchors and probe from files to a state in words, and from there into a diagnosis."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from detectors.diagnosis import DiagnosisContext, diagnose
from detectors.records import Categories, Mode, Task, Window
from monitor.cli import cli
from monitor.watching.alignment import VersionFacts, version_facts
from storage.engine import open_database
from tests.detectors.findings.synthetic import BINARY, world

RNG = np.random.default_rng(0)
MAP = RNG.normal(size=(300, 4))
BETA = np.array([2.0, -1.0, 0, 0])
LABEL = (RNG.random(300) < 1 / (1 + np.exp(-MAP @ BETA))).astype(float)
TURN, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(4, 4)))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "kedge.toml"
    path.write_text(f'[service]\ndatabase = "sqlite:///{tmp_path}/kedge.db"\n')
    return path


def run(config: Path, *words: str, code: int = 0) -> str:
    found = CliRunner().invoke(cli, [*words, "--config", str(config)])
    assert (found.exit_code == 0) == (code == 0), found.output
    return found.output if code == 0 else str(found.exception)


def anchors(folder: Path, name: str, embedding: NDArray[np.float64]) -> str:
    table = pa.table(
        {
            "id": [f"a{i}" for i in range(len(embedding))],
            "embedding": embedding.tolist(),
            "label": LABEL[: len(embedding)],
            "score": 1 / (1 + np.exp(-embedding[:, :4] @ BETA)),
        }
    )
    pq.write_table(table, folder / name)
    return str(folder / name)


def test_a_turned_version_is_named_and_reaches_the_diagnosis(tmp_path: Path, config: Path) -> None:
    for version, embedding in (("1", MAP), ("2", MAP @ TURN)):
        file = anchors(tmp_path, f"{version}.parquet", embedding)
        said = run(config, "anchors", "add", file, "--model", "m", "--version", version)
        assert said.startswith("300 rows of anchors")

    shown = json.loads(run(config, "anchors", "show", "--model", "m", "-o", "json"))

    (change,) = shown["anchors"]
    assert (change["before"], change["version"], change["state"]) == ("1", "2", "drift")
    assert change["cka"] == pytest.approx(1)
    assert change["head_gap"]["ci"][0] > 0
    facts = facts_of(tmp_path)
    assert facts.broken_by(frozenset({"1"})) == ""
    told = facts.broken_by(frozenset({"2"}))
    window = world(1500, 2)
    named = diagnose(world(3000, 1), window, BINARY, DiagnosisContext(incompatible=told))
    assert named.mode is Mode.EMBEDDING
    assert "no longer fits" in " ".join(named.evidence)


def test_rows_that_lie_on_the_map_of_the_version_before_are_stale(
    tmp_path: Path, config: Path
) -> None:
    centres = np.random.default_rng(3).normal(0, 3, (6, 4))
    items = centres[np.arange(300) % 6] + 0.2 * MAP
    for version, embedding in (("1", items), ("2", items @ TURN)):
        file = anchors(tmp_path, f"{version}.parquet", embedding)
        run(config, "anchors", "add", file, "--model", "m", "--version", version)
    names = Categories(np.zeros(300, np.int32), ("2",))
    rows = items + 0.02 * np.random.default_rng(4).normal(size=items.shape)

    old = Window(rows=300, embedding=rows.astype(np.float32), version=names)
    new = replace(old, embedding=(rows @ TURN).astype(np.float32))

    facts = facts_of(tmp_path)
    assert "name version 2 carry embeddings of version 1" in facts.stale_in(old)
    assert facts.stale_in(new) == ""
    assert facts.stale_in(replace(old, version=None)) == ""


def facts_of(folder: Path) -> VersionFacts:
    database = open_database(f"sqlite:///{folder}/kedge.db")
    with database.read() as session:
        facts = version_facts(session, "m", Task.BINARY)
    database.close()
    return facts


def test_missing_anchors_and_another_width_are_said_in_words(tmp_path: Path, config: Path) -> None:
    wide = np.hstack([MAP, MAP])[:280]
    for version, embedding in (("1", MAP), ("2", wide)):
        file = anchors(tmp_path, f"{version}.parquet", embedding)
        run(config, "anchors", "add", file, "--model", "m", "--version", version)

    said = run(config, "anchors", "show", "--model", "m")

    assert "20 anchors of version 1 are missing" in said


def test_a_probe_that_a_version_forgot_is_named(tmp_path: Path, config: Path) -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, 2500)
    ids = [f"p{i}" for i in range(len(z))]
    label = (rng.random(len(z)) < 1 / (1 + np.exp(-z))).astype(int)
    pq.write_table(pa.table({"id": ids, "label": label}), tmp_path / "probe.parquet")
    run(config, "probe", "add", str(tmp_path / "probe.parquet"), "--model", "m")
    for version, kept in (("1", 1.0), ("2", 1.0), ("3", 0.2)):
        scores = pa.table({"id": ids[::-1], "score": 1 / (1 + np.exp(-z * kept))[::-1]})
        pq.write_table(scores, tmp_path / "scores.parquet")
        file = str(tmp_path / "scores.parquet")
        run(config, "probe", "score", file, "--model", "m", "--version", version)

    shown = json.loads(run(config, "alignment", "show", "--model", "m", "-o", "json"))
    assert shown["anchors"] == []
    for one in shown["probe"]:
        assert one["upper"] - one["change"] == pytest.approx(one["change"] - one["lower"])

    assert [one["state"] for one in shown["probe"]] == ["ok", "drift"]
    facts = facts_of(tmp_path)
    assert facts.forgotten_by(frozenset({"2"})) == ""
    told = facts.forgotten_by(None)
    assert "version 3 has forgotten" in told
    named = diagnose(world(3000, 1), world(1500, 2), BINARY, DiagnosisContext(forgotten=told))
    assert named.mode is Mode.FORGETTING


def test_mistakes_are_one_line(tmp_path: Path, config: Path) -> None:
    file = anchors(tmp_path, "1.parquet", MAP)

    wrong = ("anchors", "add", file, "--model", "m", "--version", "1", "--embedding", "embeding")
    assert "Did you mean 'embedding'" in run(config, *wrong, code=1)
    scores = ("probe", "score", file, "--model", "m", "--version", "1")
    assert "no probe set" in run(config, *scores, code=1)
    assert "no anchors" in facts_of(tmp_path).words
