"""Cells of a numeric column: equal shares of the reference to test with, even widths to look at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from detectors.records import FloatArray

TEST_CELLS = 20
BARS = 20


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of rows (bars,) that are not null, to be drawn; at most 20.

    `edges` has one more entry than there are bars and is empty for categories. The first and last
    bar hold everything beyond them too.
    """

    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    current: tuple[float, ...] = ()


def equal_mass_edges(ordered: FloatArray, cells: int = TEST_CELLS) -> FloatArray:
    """Inner edges (at most cells - 1, more with spikes) at quantiles of a sorted sample.

    Cells are closed on the right. A value that is several quantiles at once is a spike and gets an
    edge just below it as well, hence a cell of its own.
    """
    at = ordered[(np.arange(1, cells) * len(ordered)) // cells]
    edges, times = np.unique(at, return_counts=True)
    below = np.nextafter(edges[times > 1], -np.inf)
    if len(edges) == 1:
        below = np.nextafter(edges, -np.inf)
    return np.unique(np.concatenate([edges, below]))


def counts_between(
    ordered: FloatArray, edges: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Rows (edges + 1,) of a sorted sample in the right-closed cells around inner `edges`."""
    at = np.searchsorted(ordered, edges, side="right")
    cumulative = at.astype(float)
    total = float(len(ordered))
    if weight is not None:
        running = np.concatenate([[0.0], np.cumsum(weight)])
        cumulative, total = running[at], float(running[-1])
    counts: FloatArray = np.diff(np.concatenate([[0.0], cumulative, [total]]))
    return counts


def bars_of(
    reference: FloatArray,
    current: FloatArray,
    *,
    weight_reference: FloatArray | None = None,
    weight_current: FloatArray | None = None,
) -> Bars:
    """Bars of even width over the middle 99 % of both sorted samples; one a number if few."""
    both = [ordered for ordered in (reference, current) if len(ordered)]
    if not both:
        return Bars()
    low = min(float(ordered[int(0.005 * (len(ordered) - 1))]) for ordered in both)
    high = max(float(ordered[round(0.995 * (len(ordered) - 1))]) for ordered in both)
    whole = all(_looks_whole(ordered) for ordered in both)
    if whole and high - low < BARS and abs(low) < 2**52:
        edges = np.arange(low - 0.5, high + 1.0)
        labels = tuple(f"{number:.0f}" for number in np.arange(low, high + 0.5))
    else:
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            pad = max(abs(low), 1.0) * 1e-6
            low, high = low - pad, high + pad
        share = np.linspace(0.0, 1.0, BARS + 1)
        edges = low * (1 - share) + high * share
        labels = tuple(f"{left:.4g} to {right:.4g}" for left, right in pairwise(edges))
    return Bars(
        labels=labels,
        edges=tuple(float(edge) for edge in edges),
        reference=_shares(counts_between(reference, edges[1:-1], weight_reference)),
        current=_shares(counts_between(current, edges[1:-1], weight_current)),
    )


def _looks_whole(ordered: FloatArray) -> bool:
    sampled = ordered[:: max(1, len(ordered) // 1000)]
    return bool(np.all(sampled == np.rint(sampled)))


def _shares(counts: FloatArray) -> tuple[float, ...]:
    total = counts.sum()
    return tuple(float(count) for count in (counts / total if total > 0 else counts))
