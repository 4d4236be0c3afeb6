"""A replay that is told of versions by files says what the daemon says of what it has stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from detectors.records import DAY_US, Task
from monitor.cli import cli
from monitor.cli.replay import replay as replay_command
from monitor.errors import InputError, UsageError
from monitor.files.roles import Roles
from monitor.replaying.version_files import parse_version_files, read_version_files
from monitor.watching.alignment import facts_json
from tests.simulate import START_US, Stream, history

SHOP = Stream(rows_a_day=150)
NEW_FROM_US = START_US + 35 * DAY_US
TURN, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(4, 4)))


def lying_on(count: int, seed: int) -> NDArray[np.float64]:
    """Embeddings (count, 4) in six clumps, as items have."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(3).normal(0, 3, (6, 4))
    return centres[rng.integers(0, 6, count)] + 0.2 * rng.normal(size=(count, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty days of version 1, then twelve of which the last seven name version 2."""
    folder = tmp_path_factory.mktemp("versions")
    reference = history(SHOP, days=30, seed=1)
    log = history(SHOP, days=12, seed=1, first_day=30)
    new = pc.greater_equal(log["ts"].cast(pa.int64()), NEW_FROM_US)
    version = pc.if_else(new, "2", "1")
    write(folder / "reference.parquet", reference, version="1")
    write(folder / "log.parquet", log, version=version)
    write(folder / "nameless.parquet", log)
    before = lying_on(reference.num_rows, 1)
    rows = lying_on(log.num_rows, 2)
    turned = np.where(new.to_numpy(zero_copy_only=False)[:, None], rows @ TURN, rows)
    write(folder / "embedded.parquet", reference, version="1", embedding=before)
    write(folder / "turned.parquet", log, version=version, embedding=turned)
    write(folder / "cached.parquet", log, version="2", embedding=rows)
    anchors = lying_on(400, 4)
    ids = [f"a{i}" for i in range(400)]
    pq.write_table(pa.table({"id": ids, "embedding": anchors.tolist()}), folder / "a1.parquet")
    # In another order: rows meet by their ids.
    turned_anchors = pa.table({"id": ids[::-1], "embedding": (anchors @ TURN)[::-1].tolist()})
    pq.write_table(turned_anchors, folder / "a2.parquet")
    rng = np.random.default_rng(5)
    logit = rng.normal(0, 2, 2_500)
    label = (rng.random(2_500) < 1 / (1 + np.exp(-logit))).astype(float)
    ids = [f"p{i}" for i in range(2_500)]
    pq.write_table(pa.table({"id": ids, "label": label}), folder / "probe.parquet")
    for name, kept in (("s1", 1.0), ("s2", 0.2)):
        score = 1 / (1 + np.exp(-logit * kept))
        pq.write_table(pa.table({"id": ids, "score": score}), folder / f"{name}.parquet")
    return folder


def write(
    path: Path,
    rows: pa.Table,
    *,
    version: str | pa.ChunkedArray | None = None,
    embedding: NDArray[np.float64] | None = None,
) -> None:
    if version is not None:
        named = [version] * rows.num_rows if isinstance(version, str) else version
        rows = rows.append_column("version", named if not isinstance(named, list) else [named])
    if embedding is not None:
        rows = rows.append_column("embedding", [embedding.tolist()])
    pq.write_table(rows, path)


def told(folder: Path, reference: str, log: str, *more: str) -> tuple[dict[str, Any], str]:
    """The JSON of a replay in ticks of a day, and its notes."""
    words = ["--reference", str(folder / reference), "--log", str(folder / log), "--tick", "1d"]
    found = CliRunner().invoke(
        replay_command, [*words, *more, "-o", "json"], catch_exceptions=False
    )
    assert found.exit_code == 0
    return json.loads(found.stdout), found.stderr


def modes(result: dict[str, Any]) -> set[str]:
    return {incident["mode"] for incident in result["incidents"]}


def with_probe(folder: Path) -> list[str]:
    return [
        *("--probe", str(folder / "probe.parquet")),
        *("--probe-scores", f"1={folder / 's1.parquet'}"),
        *("--probe-scores", f"2={folder / 's2.parquet'}"),
    ]


def with_anchors(folder: Path) -> list[str]:
    return [
        *("--anchors", f"1={folder / 'a1.parquet'}"),
        *("--anchors", f"2={folder / 'a2.parquet'}"),
    ]


def test_a_version_that_forgot_is_named_from_the_day_on_that_rows_name_it(folder: Path) -> None:
    result, _ = told(folder, "reference.parquet", "log.parquet", *with_probe(folder))
    (alarm,) = [one for one in result["alarms"] if one["stream"] == "probe.loss"]
    began = np.datetime64(NEW_FROM_US, "us")
    late = np.datetime64(alarm["ts"].removesuffix("Z").split("+")[0]) - began
    assert np.timedelta64(0, "D") < late <= np.timedelta64(1, "D")
    assert "catastrophic forgetting" in modes(result)
    (change,) = result["versions"]["probe"]
    assert (change["before"], change["version"], change["state"]) == ("1", "2", "drift")

    bare, _ = told(folder, "reference.parquet", "log.parquet")
    assert "catastrophic forgetting" not in modes(bare)
    assert bare["versions"] is None


def test_heads_that_no_longer_fit_are_named_where_anchors_of_both_versions_are_given(
    folder: Path,
) -> None:
    files = ("embedded.parquet", "turned.parquet")
    result, _ = told(folder, *files, *with_anchors(folder))
    assert "embedding incompatibility" in modes(result)
    bare, _ = told(folder, *files)
    assert bare["incidents"]
    assert "embedding incompatibility" not in modes(bare)


def test_rows_of_the_version_before_under_a_new_name_are_stale(folder: Path) -> None:
    """Nothing moves but the name, so a fault of another kind must bring somebody to look."""
    put_in = ("--inject", "age:shift:2@+4d")
    files = ("embedded.parquet", "cached.parquet")
    result, _ = told(folder, *files, *with_anchors(folder), *put_in)
    assert "stale shared embeddings" in modes(result)
    bare, _ = told(folder, *files, *put_in)
    assert "stale shared embeddings" not in modes(bare)


def test_notes_say_which_rows_are_taken_for_which_version(folder: Path) -> None:
    scores = with_probe(folder)
    _, notes = told(folder, "reference.parquet", "nameless.parquet", *scores)
    assert "no row names version 2, which was compared; rows have 1." in notes
    _, notes = told(folder, "nameless.parquet", "nameless.parquet", *scores)
    assert "all are taken for the newest's, 2" in notes
    _, notes = told(folder, "reference.parquet", "log.parquet", *scores)
    assert "version 2" not in notes


def test_the_change_of_the_loss_is_that_of_the_files(folder: Path) -> None:
    files = parse_version_files((), with_probe(folder)[1], tuple(with_probe(folder)[3::2]))
    (change,) = read_version_files(files, Roles(), model="m", task=Task.BINARY).probe
    label = pq.read_table(folder / "probe.parquet")["label"].to_numpy()
    loss = []
    for name in ("s1", "s2"):
        score = pq.read_table(folder / f"{name}.parquet")["score"].to_numpy()
        loss.append(-np.log(np.where(label == 1, score, 1 - score)).mean())
    assert change.loss_before == pytest.approx(loss[0], rel=1e-3)
    assert change.change == pytest.approx(loss[1] - loss[0], rel=1e-3)


def test_files_say_what_the_database_of_a_daemon_says(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "kedge.toml"
    config.write_text(f'[service]\ndatabase = "sqlite:///{tmp_path}/kedge.db"\n')
    for words in (
        f"anchors add {folder}/a1.parquet --version 1",
        f"anchors add {folder}/a2.parquet --version 2",
        f"probe add {folder}/probe.parquet",
        f"probe score {folder}/s1.parquet --version 1",
        f"probe score {folder}/s2.parquet --version 2",
    ):
        line = [*words.split(), "--model", "m", "--config", str(config)]
        assert CliRunner().invoke(cli, line).exit_code == 0
    show = ["alignment", "show", "--model", "m", "-o", "json", "--config", str(config)]
    stored = json.loads(CliRunner().invoke(cli, show).stdout)
    scores = tuple(with_probe(folder)[3::2])
    files = parse_version_files(with_anchors(folder)[1::2], with_probe(folder)[1], scores)
    told = facts_json(read_version_files(files, Roles(), model="m", task=Task.BINARY))
    assert told == stored
    assert len(told["anchors"]) == len(told["probe"]) == 1


def test_columns_may_be_named_as_those_of_the_log_are(folder: Path, tmp_path: Path) -> None:
    probe = pq.read_table(folder / "probe.parquet").rename_columns(["row", "paid"])
    pq.write_table(probe, tmp_path / "probe.parquet")
    scores = tuple(with_probe(folder)[3::2])
    files = parse_version_files((), str(tmp_path / "probe.parquet"), scores)
    named = Roles(id="row", label="paid", score="p")
    (change,) = read_version_files(files, named, model="m", task=Task.BINARY).probe
    assert change.rows == 2_500


@pytest.mark.parametrize(
    ("anchors", "probe", "scores", "words"),
    [
        (("a.parquet",), None, (), "--anchors a.parquet: write VERSION=FILE"),
        (("1=a", "1=b"), None, (), "version 1 was given before, as a"),
        ((), None, ("1=s",), "give those by --probe FILE"),
    ],
)
def test_what_is_no_version_and_file_is_refused(
    anchors: tuple[str, ...], probe: str | None, scores: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        parse_version_files(anchors, probe, scores)


def test_files_are_held_to_what_is_held_of_stored_rows(folder: Path, tmp_path: Path) -> None:
    """The same refusals as of `kedge anchors add`, `probe add` and `probe score`."""
    ids, label = [f"p{i}" for i in range(3)], [0.0, 1.0, 1.0]
    pq.write_table(pa.table({"id": ids, "label": label}), tmp_path / "probe.parquet")
    pq.write_table(pa.table({"id": ["p0", "p0"], "label": [0.0, 1.0]}), tmp_path / "twice.parquet")
    pq.write_table(pa.table({"id": ["x"], "score": [0.5]}), tmp_path / "strange.parquet")
    pq.write_table(pa.table({"id": ["p0"], "score": [1.5]}), tmp_path / "odds.parquet")
    for probe, scores, words in (
        ("twice", None, "twice.parquet: 1 ids come twice"),
        ("probe", "strange", "strange.parquet: 1 of 1 ids are not in the probe set"),
        ("probe", "odds", "odds.parquet: score is 1.5"),
        ("probe", "probe", "no column 'score'"),
    ):
        given = () if scores is None else (f"1={tmp_path / scores}.parquet",)
        files = parse_version_files((), str(tmp_path / f"{probe}.parquet"), given)
        with pytest.raises(InputError, match=words):
            read_version_files(files, Roles(), model="m", task=Task.BINARY)
