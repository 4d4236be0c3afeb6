"""Missing numbers written as 0 (or -1, 999…): one value gains rows, the rest stay as they were."""

from __future__ import annotations

import math

import numpy as np

from detectors.records import FloatArray, MappingEntry, State
from detectors.schema.check import ZERO_FILL, SchemaCheck
from detectors.schema.pairs import Pair

FILLS = (0.0, -1.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0)
RISE = 0.05
REST_TV = 0.06
UNKNOWN_BEFORE = 0.001
"""A fill value other than zero must be new: 99 may be an honest age."""

HONEST = 0.05
TURNED = 0.25
"""Where zero was common before, a quarter of the other values must have turned into it: counts
have more zeros on some days, and what is not zero looks the same."""

NOISE_ALLOWED = 1.6
"""Times what unchanged rows differ by on average: about two standard deviations more."""

MIN_REST = 30
MIN_Z = 4.0


def check_zero_fill(pair: Pair) -> SchemaCheck | None:
    """A rise of five points whose remainder moved by less than six rows in a hundred.

    Small windows are allowed what ten cells of unchanged rows differ by.
    """
    before, now = pair.numbers
    if len(before) < MIN_REST or len(now) < MIN_REST:
        return None
    found = [
        check for fill in FILLS if (check := _filled_with(pair, before, now, fill)) is not None
    ]
    return max(found, key=lambda check: check.strength, default=None)


def _filled_with(
    pair: Pair, before: FloatArray, now: FloatArray, fill: float
) -> SchemaCheck | None:
    was, is_now = float(np.mean(before == fill)), float(np.mean(now == fill))
    rise = is_now - was
    if rise < RISE or (fill != 0.0 and was > UNKNOWN_BEFORE):
        return None
    if was >= HONEST and rise < TURNED * (1 - was):
        return None
    pooled = (was * len(before) + is_now * len(now)) / (len(before) + len(now))
    if rise < MIN_Z * math.sqrt(pooled * (1 - pooled) * (1 / len(before) + 1 / len(now))):
        return None
    rest_before, rest_now = before[before != fill], now[now != fill]
    if len(rest_before) < MIN_REST or len(rest_now) < MIN_REST:
        return None
    edges = np.unique(np.quantile(rest_before, np.arange(0.1, 0.95, 0.1)))
    p = _shares(rest_before, edges)
    q = _shares(rest_now, edges)
    spread = 1 / len(rest_before) + 1 / len(rest_now)
    noise = float(np.sum(np.sqrt(p * (1 - p) * spread * 2 / math.pi)) / 2)
    if float(np.abs(q - p).sum() / 2) >= max(REST_TV, NOISE_ALLOWED * noise):
        return None
    nulls = pair.current.null_share - pair.reference.null_share
    fewer = f"; nulls fell by {-100 * nulls:.3g} points" if nulls < -RISE / 2 else ""
    return SchemaCheck(
        column=pair.name,
        check=ZERO_FILL,
        state=State.DRIFT,
        detail=(
            f"{fill:g} in {100 * is_now:.3g} % of the values of `{pair.name}`, "
            f"{100 * was:.3g} % in the reference; the other values did not change{fewer}"
        ),
        proposal=f"missing values are probably written as {fill:g}",
        strength=rise,
        mapping=(MappingEntry(pair.name, missing=f"{fill:g}"),),
    )


def _shares(values: FloatArray, edges: FloatArray) -> FloatArray:
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    shares: FloatArray = counts / len(values)
    return shares
