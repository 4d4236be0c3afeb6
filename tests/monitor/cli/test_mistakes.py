"""What a person sees who mistypes a command, a setting or an address: one line, never more."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from monitor.cli import main
from monitor.config import parse_config
from monitor.errors import InputError


def typed(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr(sys, "argv", ["kedge", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


USAGE = [
    (["chek"], "no command 'chek'. Did you mean 'check'?"),
    (["check"], "Missing option '--reference'; see `kedge check --help`"),
    (["reference", "add", "a.csv"], "Missing option '--model'; see `kedge reference add --help`"),
    (["get", "incidnts"], "'incidnts' is not one of"),
    (["retrain", "lst"], "Did you mean 'list'?"),
    (["report", "m", "--days", "x"], "see `kedge report --help`"),
    (["ack", "inc_1", "-o", "json"], "No such option '-o'"),
]


@pytest.mark.parametrize(("words", "told"), USAGE, ids=[" ".join(words) for words, _ in USAGE])
def test_a_call_that_cannot_work_is_one_line_and_exit_2(
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = typed(words, capsys, monkeypatch)

    assert (code, out) == (2, "")
    assert err.startswith("kedge: ")
    assert err.count("\n") == 1
    assert told in err


@pytest.mark.parametrize(
    "words",
    [["run"], ["reference", "list"], ["db", "upgrade"], ["db", "prune"]],
    ids=lambda words: " ".join(words),
)
@pytest.mark.parametrize(
    ("database", "told"),
    [
        ("sqlite:///{folder}/none/kedge.db", "unable to open database file"),
        ("sqlite:///{folder}/junk.db", "file is not a database"),
        ("oracle://here/kedge", "no support for 'oracle'"),
        ("kedge.db", "not a database URL"),
    ],
    ids=["no folder", "no database", "unknown kind", "no URL"],
)
def test_a_database_that_cannot_be_used_is_one_line(
    words: list[str],
    database: str,
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "junk.db").write_text("this is no database, however long one reads in it" * 99)
    config = tmp_path / "kedge.toml"
    config.write_text(f"[service]\ndatabase = {json.dumps(database.format(folder=tmp_path))}\n")
    code, out, err = typed([*words, "--config", str(config)], capsys, monkeypatch)

    assert (code, out) == (1, "")
    assert err.startswith("kedge: ")
    assert err.count("\n") == 1
    assert told in err


def test_check_config_refuses_a_database_url_that_the_daemon_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "kedge.toml"
    config.write_text('[service]\ndatabase = "mysql://here/kedge"\n')
    code, _, err = typed(["check-config", "--config", str(config)], capsys, monkeypatch)

    assert code == 1
    assert "service.database: no support for 'mysql'; use sqlite:///kedge.db" in err


@pytest.mark.parametrize("value", [90, 0.5, True])
def test_a_duration_without_a_unit_is_refused(value: object) -> None:
    """90 would be read as microseconds, and retention would delete every row."""
    with pytest.raises(InputError, match=r"retention: .* has no unit; write it as in"):
        parse_config({"service": {"retention": value}}, source="kedge.toml")


def test_listing_references_that_are_not_there_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "kedge.toml"
    config.write_text(f'[service]\ndatabase = "sqlite:///{tmp_path}/kedge.db"\n')
    words = ["reference", "list", "--config", str(config), "--model", "m"]
    code, out, err = typed(words, capsys, monkeypatch)

    assert (code, out) == (0, "")
    assert err == "no references for model 'm'; add one with `kedge reference add`\n"


def test_a_word_that_is_no_choice_is_named_with_the_nearest_one() -> None:
    told = r"kedge.toml: models.m.task: 'binry' is not 'binary', .* Did you mean 'binary'\?"
    with pytest.raises(InputError, match=told):
        parse_config({"models": {"m": {"task": "binry"}}}, source="kedge.toml")
