"""A reference by which other domains of a model may learn from one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lender:
    """A domain's own reference with times, by what finds its rows again."""

    key: int | str
    domain: str
    since_us: int
    until_us: int
