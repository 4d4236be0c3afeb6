"""The grids that fits and bets range over. Plain numbers, so that reading them costs nothing."""

from __future__ import annotations

import numpy as np

# Lasting shifts that are bet on, in innovation sd, each with the same prior weight.
_SIZES = (0.35, 0.6, 1.0, 1.7, 3.0, 5.0, 8.0)
ALTERNATIVES = np.array([*_SIZES, *(-size for size in _SIZES)])

# Memory from tick to tick, and noise with memory over sampling noise.
PHI_GRID = np.array(
    [0.0, 0.2, 0.4, 0.55, 0.65, 0.75, 0.82, 0.88, 0.92, 0.945, 0.965, 0.98, 0.99, 0.997]
)
RATIO_GRID = np.array([0.0, 0.05, 0.15, 0.4, 1.0, 2.5, 6.0, 15.0, 40.0, 150.0, 1000.0])
