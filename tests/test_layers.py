"""What import-linter cannot see: who reads the clock, and what the distribution declares."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest

from tests.sources import PACKAGES, ROOT, imported, modules

CLOCKS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}


def clock_readings(tree: ast.Module) -> Iterator[int]:
    """Lines that take the time from the machine: `time.monotonic`, `datetime.now`, …."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            if CLOCKS["time"] & {alias.name for alias in node.names}:
                yield node.lineno
        elif isinstance(node, ast.Attribute):
            owner = node.value
            of = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if node.attr in CLOCKS.get(of, set()):
                yield node.lineno


def test_only_the_clock_reads_the_time() -> None:
    """Everything else is told `now`, so that a replay and the daemon cannot differ."""
    reading = {
        f"{file}:{line}" for file, tree in modules(*PACKAGES) for line in clock_readings(tree)
    }
    assert {place.partition(":")[0] for place in reading} == {"monitor/clock.py"}, reading


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "from time import monotonic",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
    ],
)
def test_every_way_of_reading_the_time_is_seen(code: str) -> None:
    assert list(clock_readings(ast.parse(code)))


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    """What only comes along with something else may stop coming along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [project["project"]["dependencies"]]
    named += project["project"]["optional-dependencies"].values()
    declared, *extras = (
        {re.split(r"[^A-Za-z0-9_-]", text)[0].lower().replace("_", "-") for text in requirements}
        for requirements in named
    )
    distributions = packages_distributions()
    used = {
        name.partition(".")[0]
        for _, tree in modules(*PACKAGES)
        for name in imported(tree)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, *PACKAGES}
    }
    missing = {
        name
        for name in used
        if not declared.union(*extras)
        & {d.lower().replace("_", "-") for d in distributions.get(name, [name])}
    }
    assert missing == set()
    needed = {d.lower().replace("_", "-") for name in used for d in distributions[name]}
    assert declared - needed == set(), "declared but never imported"
