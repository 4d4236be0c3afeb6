"""Lists for terminals. Names come from outside: made plain, and never read as markup."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from alerts.plain import plain

_FILE_WIDTH = 240
"""Columns where no terminal says how wide it is: a row stays a line, for grep."""


def print_json(value: Any) -> None:
    """JSON and nothing else on standard output."""
    json.dump(value, sys.stdout, allow_nan=False, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Rows under their heads, or one line where there are none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    listed = [[Text(plain(shown(value))) for value in row] for row in rows]
    console = Console(width=None if _width_is_known() else _FILE_WIDTH)
    if not listed:
        console.print(empty, style="dim", highlight=False, markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, head in enumerate(heads):
        last = number == len(heads) - 1
        table.add_column(head, overflow="fold", no_wrap=not last and len(heads) < 6)
    for cells in listed:
        table.add_row(*cells)
    console.print(table)


def _width_is_known() -> bool:
    return sys.stdout.isatty() or "COLUMNS" in os.environ


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """One fact a line: its name, then what it is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, Text(plain(shown(value), 1_000)))
    Console().print(grid)


def shown(value: object) -> str:
    """A value as people read it; nothing is a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def moment(instant: str | None) -> str:
    """RFC 3339 as "2026-01-09 22:00"."""
    return "–" if instant is None else f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M}"
