"""Numbers and text for people: short, in words they read aloud, and safe to show.

Text from data (column names, categories) is written by strangers. `clean` makes what a terminal
or an eye would obey, such as escape sequences and marks that turn text around, visible instead.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

NONE = "–"
LONGEST_NAME = 60
LONGEST_TEXT = 600


def number(value: float | None, *, sign: bool = False) -> str:
    """Three significant digits without exponents between 0.0001 and a billion."""
    if value is None:
        return NONE
    plus = "+" if sign else ""
    size = abs(value)
    if size == 0.0:
        return "0"
    if size >= 1e9 or size < 1e-4:
        return f"{value:{plus}.1e}"
    if size >= 100.0:
        return f"{value:{plus},.0f}"
    decimals = 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.01 else 5
    return f"{value:{plus}.{decimals}f}"


def share(value: float | None) -> str:
    """A share of rows as a percentage: 0 %, 0.3 %, 12 %, 100 %."""
    if value is None:
        return NONE
    percent = 100.0 * value
    if percent == 0.0:
        return "0 %"
    if abs(percent) < 0.1:
        return "< 0.1 %" if percent > 0 else f"{percent:.1g} %"
    if percent >= 99.95 and value < 1.0:
        return "> 99.9 %"
    digits = 1 if abs(percent) < 10 or 99.0 < percent < 100.0 else 0
    return f"{percent:.{digits}f} %"


def interval(bounds: Sequence[float | None] | None, *, sign: bool = False) -> str:
    """[0.12, 0.34]; an open end is written ∞; empty where there is no interval."""
    if bounds is None or all(bound is None for bound in bounds):
        return ""
    low, high = bounds
    left = "−∞" if low is None else number(low, sign=sign)
    right = "∞" if high is None else number(high, sign=sign)
    return f"[{left}, {right}]"


def estimate(
    value: float | None,
    bounds: Sequence[float | None] | None,
    *,
    sign: bool = False,
    as_share: bool = False,
) -> str:
    """An estimate and its interval, both to two digits of the interval's width.

    -0.010 [-0.061, +0.042], or as a share of rows 3.8 % [3.4, 4.3].
    """
    if value is None:
        return NONE
    times, unit = (100.0, " %") if as_share else (1.0, "")
    if bounds is None or any(bound is None for bound in bounds):
        between = interval(bounds, sign=sign) if not as_share else ""
        return f"{share(value) if as_share else number(value, sign=sign)} {between}".rstrip()
    low, high = (times * bound for bound in bounds if bound is not None)
    width = high - low
    decimals = (
        1 if width <= 0 else min(max(1 - math.floor(math.log10(width)), 0), 1 if as_share else 6)
    )
    plus = "+" if sign else ""
    shown = [f"{part:{plus}z,.{decimals}f}" for part in (times * value, low, high)]
    return f"{shown[0]}{unit} [{shown[1]}, {shown[2]}]"


def p_value(value: float | None) -> str:
    """< 0.0001, 0.0032, 0.47."""
    if value is None:
        return NONE
    if value < 1e-4:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def count(value: int | None, noun: str = "") -> str:
    """1,234 rows; 1 row."""
    if value is None:
        return NONE
    plural = "" if value == 1 or not noun else "s"
    return f"{value:,}" + (f" {noun}{plural}" if noun else "")


def instant(text: str | None) -> str:
    """An RFC 3339 instant as 2026-01-31 14:05 UTC."""
    return NONE if not text else f"{text[:10]} {text[11:16]} UTC"


def clean(text: object, limit: int = LONGEST_TEXT) -> str:
    r"""Text safe to show: control and format characters as `\x1b`, at most `limit` characters."""
    given = str(text)
    cut = given[:limit]
    if not cut.isprintable():
        cut = "".join(character if _shows(character) else _code(character) for character in cut)
    return cut if len(given) <= limit else f"{cut}… ({len(given):,} characters)"


def name_of(text: object) -> str:
    """A column, category or domain name; an empty one is written (empty)."""
    return clean(text, LONGEST_NAME) if str(text) else "(empty)"


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _code(character: str) -> str:
    point = ord(character)
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"
