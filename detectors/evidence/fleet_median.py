"""What moves every domain of a model at once: the median over domains, stream by stream.

A fault at the source that all domains share is in no difference from peers. The median of the
domains' days, each in sd from its mean in its reference, shows it: noise of single domains
averages out, and one ill domain of three or more does not move it far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.evidence.peers import (
    FEWEST_DOMAINS,
    FEWEST_TICKS,
    SMALLEST_SD,
    Series,
    median_of,
)
from detectors.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Median:
    """How the median of one stream is read. `centre` and `spread` are one a domain.

    `unit` turns it back into units of the stream: the middle one of the spreads.
    """

    domains: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    unit: float

    def of(self, y: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The median's y and v (T,) from those of the domains (T, D).

        Empty where fewer than three, or fewer than half of them, have data.
        """
        seen = np.isfinite(y) & np.isfinite(v)
        middle, variance = median_of(y, v, self.centre, self.spread)
        least = max(FEWEST_DOMAINS, -(-len(self.domains) // 2))
        enough = (seen.sum(axis=1) >= least) & np.isfinite(middle)
        return (
            np.where(enough, self.unit * np.where(enough, middle, 0.0), 0.0),
            np.where(enough, self.unit**2 * variance, np.inf),
        )


def fit_medians(references: Mapping[str, Series], streams: Sequence[str]) -> dict[str, Median]:
    """The streams that three or more domains have for twenty days of their references.

    Columns (K,) of the series follow `streams`. A stream that does not vary in a domain is not
    counted there.
    """
    found = {}
    for k, stream in enumerate(streams):
        named = {}
        for domain in sorted(references):
            series = references[domain]
            values = series.y[np.isfinite(series.v[:, k]), k]
            if len(values) >= FEWEST_TICKS and values.std() > SMALLEST_SD:
                named[domain] = (float(values.mean()), float(values.std()))
        if len(named) >= FEWEST_DOMAINS:
            centre, spread = zip(*named.values(), strict=True)
            found[stream] = Median(tuple(named), centre, spread, float(np.median(spread)))
    return found


def median_days(
    medians: Mapping[str, Median], references: Mapping[str, Series], streams: Sequence[str]
) -> Series:
    """The medians' own reference: every day that enough references have, columns as `medians`."""
    days: IntArray = np.unique(np.concatenate([one.starts_us for one in references.values()]))
    at = {domain: one.on(days) for domain, one in references.items()}
    y, v = np.zeros((len(days), len(medians))), np.full((len(days), len(medians)), np.inf)
    for column, (stream, median) in enumerate(medians.items()):
        k = list(streams).index(stream)
        y[:, column], v[:, column] = median.of(
            np.stack([at[domain][0][:, k] for domain in median.domains], axis=1),
            np.stack([at[domain][1][:, k] for domain in median.domains], axis=1),
        )
    return Series(days, y, v)
