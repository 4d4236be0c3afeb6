"""Which months train the networks, which are the reference, and which are streamed.

Nothing a reference row is scored by has seen that row or its day: the source's network is
trained on January to May, a domain's two networks on its April and May, the references are June
to August, and what is streamed is September to December. So the reference's loss is that of
unseen rows, as it is in production. On a few days people answer what Kedge has asked by then.

The last day of the year is left out: its weather is missing from the data, in every domain, which
Kedge says, and which is no fault of the demo.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from monitor.demo.flights import DOMAINS, instant

PEOPLE = (instant(11), instant(12))


@dataclass(frozen=True, slots=True)
class Plan:
    """Half-open spans of event time, and the domains that take part."""

    source_training: tuple[datetime, datetime] = (instant(1), instant(6))
    domain_training: tuple[datetime, datetime] = (instant(4), instant(6))
    reference: tuple[datetime, datetime] = (instant(6), instant(9))
    live: tuple[datetime, datetime] = (instant(9), instant(12, 31))
    people: tuple[datetime, ...] = PEOPLE
    domains: tuple[str, ...] = DOMAINS


FULL = Plan()
QUICK = Plan(live=(instant(10), instant(11)), people=(instant(10, 26),), domains=("US", "WN"))
