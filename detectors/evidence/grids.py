"""The grids that fits and bets range over. Plain numbers, so that reading them costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Bets:
    """Lasting shifts (J,) in innovation sd, and the share of the stake (J,) that is put on each.

    The gate is the shift that the null may have: `gate` · φ ** `gate_power`. What a fit gets wrong
    of a stream that remembers stays in its innovations for long, so the gate grows with φ.
    """

    shifts: FloatArray
    stakes: FloatArray
    gate: float
    gate_power: float

    def gates(self, phi: FloatArray) -> FloatArray:
        """The gate (K,) of streams of memory φ (K,)."""
        gates: FloatArray = self.gate * phi**self.gate_power
        return gates


def both_ways(sizes: Sequence[float], stakes: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Shifts up and down of these sizes, and their stakes, which add up to 1."""
    ways = np.array([*sizes, *(-size for size in sizes)])
    share = np.tile(np.asarray(stakes, np.float64), 2)
    return ways, share / share.sum()


# Chosen so that no step from .1 to 1 sd is found much later than by the chart tuned to it
# (benchmarks/detection/delay.py): a small step needs most of the stake. The stake on 8 sd makes
# one tick of a broken unit a ticket. The gate is what no change at φ ≥ .9 needs (no_change.py).
ALTERNATIVES, STAKES = both_ways(
    (0.1, 0.2, 0.4, 0.7, 1.1, 2.5, 8.0), (0.8, 1.2, 1.6, 1.2, 1.4, 0.6, 1.1)
)
LASTING = Bets(ALTERNATIVES, STAKES, gate=0.05, gate_power=6.0)

# Memory from tick to tick, and noise with memory over sampling noise.
PHI_GRID = np.array(
    [0.0, 0.2, 0.4, 0.55, 0.65, 0.75, 0.82, 0.88, 0.92, 0.945, 0.965, 0.98, 0.99, 0.997]
)
RATIO_GRID = np.array([0.0, 0.05, 0.15, 0.4, 1.0, 2.5, 6.0, 15.0, 40.0, 150.0, 1000.0])
