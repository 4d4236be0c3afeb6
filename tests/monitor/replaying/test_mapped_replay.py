"""A replay that is told how a domain writes its features sees what the source would have seen."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from detectors.records import DAY_US, AppliedMapping, MappingEntry, Settings, to_datetime
from monitor.errors import InputError
from monitor.files.tables import Table
from monitor.mapping.files import read_mappings
from monitor.replaying.replay import Replay, replay
from tests.simulate import START_US, Stream, history, table

SHOP = Stream(rows_a_day=80)
SINCE_US = START_US + 23 * DAY_US
FILE = f"""
model: loans
mappings:
  - {{domain: shop, column: spend, scale: 1000, since: {to_datetime(SINCE_US):%Y-%m-%dT%H:%M:%SZ}}}
"""


def tables(fault: str) -> tuple[Table, Table]:
    """A reference of 20 days and six days after it; `spend` times 1,000 from the fourth on."""
    reference = table(history(SHOP, days=20, seed=1))
    fault_day = None if fault == "none" else 23
    log = history(SHOP, days=6, seed=1, first_day=20, fault=fault, fault_day=fault_day)
    return reference, table(log, like=reference)


@cache
def told(fault: str, mappings: tuple[AppliedMapping, ...] = ()) -> Replay:
    reference, log = tables(fault)
    given = {"shop": mappings} if mappings else {}
    return replay(reference, log, Settings(tick_us=DAY_US), mappings=given)


def test_what_is_said_of_mapped_rows_is_what_is_said_of_the_source_s(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(FILE)
    mapped = told("unit", read_mappings(str(tmp_path / "m.yaml"))["shop"])
    clean = told("none")
    assert [f.stream for f in mapped.domains[0].findings if f.column == "spend"] == [
        f.stream for f in clean.domains[0].findings if f.column == "spend"
    ]
    assert any(f.column == "spend" for f in told("unit").domains[0].findings)


def test_a_mapping_that_the_rows_do_not_keep_to_is_a_ticket_in_a_replay_too() -> None:
    entry = AppliedMapping("entry 1", MappingEntry("spend", scale=1000.0))
    found = [f for f in told("none", (entry,)).domains[0].findings if f.kind == "mapping"]
    assert [f.stream for f in found] == ["mapping.kept:entry 1"]


@pytest.mark.parametrize(
    ("domain", "entry", "words"),
    [
        ("shpo", MappingEntry("spend", scale=10.0), "Did you mean 'shop'"),
        ("shop", MappingEntry("spned", scale=10.0), "Did you mean 'spend'"),
        ("shop", MappingEntry("plan", category="free", domain_category="fre"), "'fre'"),
        ("shop", MappingEntry("spend", domain_column="dpend"), "the domain has no column"),
    ],
)
def test_a_mapping_that_names_what_is_not_there_is_refused_before_anything_runs(
    domain: str, entry: MappingEntry, words: str
) -> None:
    reference, log = tables("none")
    with pytest.raises(InputError, match=words):
        replay(reference, log, Settings(), mappings={domain: [AppliedMapping("entry 1", entry)]})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{domain: shop, colunm: spend}", "Did you mean 'column'"),
        ("{column: spend, scale: 3}", "needs a domain and a column"),
        ("{domain: shop, column: spend, scale: many}", "entry 1: could not convert"),
        ("spend", "entry 1 is not an object"),
    ],
)
def test_a_line_that_says_nothing_is_refused_with_its_number(
    tmp_path: Path, line: str, words: str
) -> None:
    (tmp_path / "m.yaml").write_text(f"model: loans\nmappings:\n  - {line}\n")
    with pytest.raises(InputError, match=words):
        read_mappings(str(tmp_path / "m.yaml"))
