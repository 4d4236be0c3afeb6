"""A row as one line of JSON, whatever the caller's numbers are made of.

Rows are written down when they are logged, so a caller may change its dict afterwards, and the
queue can be bounded in bytes. NaN and infinity become null, NumPy scalars and arrays plain
numbers, times RFC 3339 in UTC.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LONGEST_LINE = 256 * 1024


def to_line(row: Mapping[str, Any]) -> bytes:
    """The row in UTF-8 with its line end. ValueError where it is too long or cannot be written."""
    try:
        text = _dumps(row)
    except ValueError:
        text = _dumps(_finite(row))
    line = text.encode(errors="replace") + b"\n"
    if len(line) > LONGEST_LINE:
        msg = f"a row of {len(line):,} bytes; at most {LONGEST_LINE:,}"
        raise ValueError(msg)
    return line


def instant(when: datetime | float | str | None, now_s: float) -> str:
    """RFC 3339 in UTC. A number is seconds since 1970; a time without a zone is local."""
    if isinstance(when, str):
        return when
    if when is None:
        when = now_s
    if not isinstance(when, datetime):
        when = datetime.fromtimestamp(float(when), UTC)
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _dumps(row: object) -> str:
    return json.dumps(
        row, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    )


def _plain(value: Any) -> Any:
    """What json does not know: times, NumPy, sets, enums, anything else as its text."""
    if isinstance(value, datetime):
        return instant(value, 0.0)
    for method in ("item", "tolist"):
        if hasattr(value, method):
            try:
                return getattr(value, method)()
            except (TypeError, ValueError):
                continue
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if hasattr(value, "__float__"):
        return float(value)
    return str(value)


def _finite(value: Any) -> Any:
    """The same with null in place of NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if value is None or isinstance(value, str | int):
        return value
    return _finite(_plain(value))
