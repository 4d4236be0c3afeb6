"""What the streams of older domains say about a new one, before it can speak for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from detectors.evidence.grids import PHI_GRID
from detectors.records import FloatArray

if TYPE_CHECKING:
    from detectors.evidence.bank import Bank

TRUST = 0.7
FEWEST_DOMAINS = 3


@dataclass(frozen=True, slots=True, eq=False)
class FleetPrior:
    """Memory weights (14,) over the φ grid, and mean and variance (p - 1,) of a season by stream.

    The level stays diffuse: a new domain has its own.
    """

    tick_us: int
    phi_weights: FloatArray
    season: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)


def fleet_prior(banks: Sequence[Bank]) -> FleetPrior | None:
    """Average the fitted streams of banks of one tick length; None where none is fitted.

    Weights are mixed .7 / .3 with flat ones, as a wrong fleet misleads. A season is lent where
    at least three domains have the stream. Raises ValueError for banks of different ticks.
    """
    fitted = [bank for bank in banks if bank.state is not None and len(bank.phi_weights)]
    if not fitted:
        return None
    lengths = {bank.tick_us for bank in fitted}
    if len(lengths) > 1:
        msg = f"a fleet needs one tick length; these banks have {sorted(lengths)} us"
        raise ValueError(msg)
    weights = np.concatenate([bank.phi_weights for bank in fitted]).astype(np.float64)
    mean = weights.mean(axis=0)
    flat = np.full(len(PHI_GRID), 1.0 / len(PHI_GRID))
    seasons: dict[str, list[FloatArray]] = {}
    for bank in fitted:
        assert bank.state is not None
        for spec, coefficients in zip(bank.specs, bank.state.mean[:, 2:], strict=True):
            seasons.setdefault(spec.stream.id, []).append(coefficients)
    return FleetPrior(
        tick_us=lengths.pop(),
        phi_weights=TRUST * mean / mean.sum() + (1.0 - TRUST) * flat,
        season={
            name: (np.mean(rows, axis=0), np.var(rows, axis=0, ddof=1))
            for name, rows in seasons.items()
            if len(rows) >= FEWEST_DOMAINS
        },
    )
