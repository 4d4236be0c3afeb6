"""What older domains lend a new one before it can speak for itself, the same live and in replay.

A domain lends where its own reference has times, spans 14 days and ended before the new domain's
first live row: event time alone decides, so whoever looks, and whenever, lends the same. Fewer
than three lend nothing, as one of them may be odd. Only references are read, at the tick of the
new domain; what is lent is fixed when the domain opens and kept in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from detectors.evidence.bank import Bank
from detectors.evidence.fleet import FEWEST_DOMAINS, FleetPrior, fleet_prior
from detectors.evidence.young import PROMISED_US
from detectors.records import Deployment, Schema, Settings, Window
from monitor.watching.lender import Lender
from monitor.watching.pipeline import Lend, primed_on
from monitor.watching.reference_ticks import ClockName
from monitor.watching.watch import open_watch

# A dozen domains know what a hundred know of memory, and each costs a fit.
MOST_LENDERS = 12


def lenders_for(domain: str, before_us: int, known: Iterable[Lender]) -> tuple[Lender, ...]:
    """The references that count for a domain whose first live row is at `before_us`.

    Of each other domain the last one of `known`; of many those that ended last, by name where
    they ended together. None where fewer than three count.
    """
    fitting = {
        one.domain: one
        for one in known
        if one.domain != domain
        and one.until_us < before_us
        and one.until_us - one.since_us >= PROMISED_US
    }
    if len(fitting) < FEWEST_DOMAINS:
        return ()
    ranked = sorted(fitting.values(), key=lambda one: (-one.until_us, one.domain))
    return tuple(ranked[:MOST_LENDERS])


@dataclass(slots=True, eq=False)
class Lending:
    """What the references of one model say, fitted when first asked for and kept."""

    model: str
    schema: Schema
    settings: Settings
    load: Callable[[int | str], Window]
    _banks: dict[tuple[int | str, ClockName, int], Bank] = field(default_factory=dict)

    def to(self, domain: str, before_us: int, known: Iterable[Lender]) -> Lend | None:
        """What lends to a domain, None where nothing may: also where ticks are row counts."""
        chosen = lenders_for(domain, before_us, known)
        if not chosen or self.settings.tick_rows is not None:
            return None
        return lambda name, tick_us: self._prior(chosen, name, tick_us)

    def _prior(
        self, chosen: tuple[Lender, ...], name: ClockName, tick_us: int
    ) -> FleetPrior | None:
        banks = [self._bank(one, name, tick_us) for one in chosen]
        fitted = [bank for bank in banks if bank.state is not None and len(bank.phi_weights)]
        return fleet_prior(fitted) if len(fitted) >= FEWEST_DOMAINS else None

    def _bank(self, lender: Lender, name: ClockName, tick_us: int) -> Bank:
        key = (lender.key, name, tick_us)
        if key not in self._banks:
            rows = self.load(lender.key)
            watch = open_watch(
                Deployment(self.model, lender.domain),
                self.schema,
                self.settings,
                reference=rows,
                own_reference=True,
            )
            self._banks[key] = primed_on(watch, name, rows, tick_us)
        return self._banks[key]
