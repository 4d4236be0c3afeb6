"""What a wheel carries besides code."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.sources import ROOT


def contents(folder: Path, out: Path) -> set[str]:
    """The names in the wheel that a source folder makes."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=True,
    )
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_daemons_wheel_carries_its_runbooks_and_templates(tmp_path: Path) -> None:
    names = contents(ROOT, tmp_path)
    pages = {file.name for file in (ROOT / "docs/runbooks").glob("*.md")}
    carried = {Path(name).name for name in names if name.startswith("monitor/web/runbooks/")}
    assert carried == pages
    assert "monitor/web/templates/runbook.html" in names
    assert not [name for name in names if name.startswith(("client/", "kedge_client/", "tests/"))]


def test_the_clients_wheel_is_the_client_alone(tmp_path: Path) -> None:
    names = contents(ROOT / "client", tmp_path)
    assert {name.split("/")[0] for name in names} == {
        "kedge_client",
        "kedge_client-0.1.0.dist-info",
    }
    assert "kedge_client/py.typed" in names
