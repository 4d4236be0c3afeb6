"""`kedge db` from the command line."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.monitor.cli.test_mistakes import typed


def test_upgrade_back_up_restore_and_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "empty" in typed(["db", "status"], capsys, monkeypatch)[1]
    assert typed(["db", "upgrade"], capsys, monkeypatch)[1].startswith("at revision")
    assert typed(["db", "backup", "copy"], capsys, monkeypatch)[:2] == (0, "copied to copy\n")
    monkeypatch.setenv("KEDGE_SERVICE__DATABASE", "sqlite:///other.db")
    code, said, _ = typed(["db", "restore", "copy"], capsys, monkeypatch)
    assert (code, said.split(";")[0]) == (0, "restored from copy")
    assert "0 models, 0 deployments" in typed(["db", "status"], capsys, monkeypatch)[1]
    code, said, error = typed(["db", "restore", "none"], capsys, monkeypatch)
    assert (code, said, error) == (
        1,
        "",
        "kedge: none: no such file; give one that `kedge db backup` made\n",
    )


@pytest.mark.parametrize("command", [["run"], ["db", "upgrade"], ["db", "prune"]])
def test_a_database_of_a_newer_kedge_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("monitor.process.serve.configure_logging", lambda _: None)
    typed(["db", "upgrade"], capsys, monkeypatch)
    with sqlite3.connect(tmp_path / "kedge.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    code, said, error = typed(command, capsys, monkeypatch)
    assert (code, said) == (1, "")
    assert error.startswith("kedge: the database is at revision 9999, which a newer Kedge made")
    assert len(error.splitlines()) == 1
