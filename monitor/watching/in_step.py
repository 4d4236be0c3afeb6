"""Domains of one model that move on together: at every instant all, in order of name.

Where domains are held against each other, what one shows at an instant may bear on the others from
the next on. So none may run ahead. Within an instant the order says nothing, as only what was known
before it counts; it is fixed so that a log of two runs can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from monitor.rows.base import RowSource
from monitor.watching.fleet import Fleet
from monitor.watching.pipeline import Evaluation, close_next, close_partials, next_instant
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch


class Party(Protocol):
    """One domain on its way. `watch` and `progress` may be replaced between two instants."""

    @property
    def domain(self) -> str: ...

    @property
    def watch(self) -> Watch: ...

    @property
    def progress(self) -> Progress: ...

    @property
    def rows(self) -> RowSource: ...

    @property
    def until_us(self) -> int:
        """The watermark of this domain."""
        ...


P = TypeVar("P", bound=Party)


def in_step(
    parties: Sequence[P], *, flush: bool, fleet: Fleet | None
) -> Iterator[tuple[P, Evaluation]]:
    """Judge what the watermarks have passed, instant after instant over all domains.

    After a flush each closes what has begun, one domain after another. Between two steps the caller
    may stop, or open a domain's watch anew.
    """
    ordered = sorted(parties, key=lambda party: party.domain)
    while True:
        due = [
            (instant_us, party)
            for party in ordered
            if (instant_us := _next(party, flush=flush)) is not None
        ]
        if not due:
            break
        earliest_us = min(instant_us for instant_us, _ in due)
        for instant_us, party in due:
            if instant_us == earliest_us:
                yield (
                    party,
                    close_next(
                        party.watch,
                        party.progress,
                        party.rows,
                        watermark_us=party.until_us,
                        flush=flush,
                        fleet=fleet,
                    ),
                )
    if not flush:
        return
    for party in ordered:
        closing = close_partials(
            party.watch, party.progress, watermark_us=party.until_us, fleet=fleet
        )
        for evaluation in closing:
            yield party, evaluation


def _next(party: Party, *, flush: bool) -> int | None:
    return next_instant(
        party.watch, party.progress, party.rows, watermark_us=party.until_us, flush=flush
    )
