"""Do the centres of classes or slices still point where the source's do?

The global source mean is taken off first, or else every cosine is near one; then what few rows
take from a cosine is given back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

ROWS_A_NOISE = 10.0
"""Rows needed for each unit of (total variance / squared length of the centre)."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """`cosine` -1 to 1, attenuation taken out; `enough` rows to be read."""

    cosine: float
    rows: int
    rows_needed: int

    @property
    def enough(self) -> bool:
        return self.rows >= self.rows_needed

    @property
    def words(self) -> str:
        if not self.enough:
            return f"{self.rows} rows; a centre as short as this needs {self.rows_needed:,}"
        advice = (
            ": it points the other way; better not fine-tune from it" if self.cosine < 0 else ""
        )
        return f"cosine {self.cosine:.2f} to the source's centre{advice}"


def centroid_cosine(current: FloatArray, source: FloatArray, source_mean: FloatArray) -> Alignment:
    """The cosine of the centre of current (n, d) and of source (m, d), after the source mean (d,).

    A centre of n rows is longer than the true one by tr(Sigma) / n: each side's cosine is divided
    by sqrt(|mu|^2 / (|mu|^2 + tr(Sigma) / n)) with |mu|^2 estimated without that excess.
    """
    centres, shares, needed = [], [], 1.0
    for rows in (current, source):
        centre = rows.mean(axis=0) - source_mean
        noise = float(rows.var(axis=0, ddof=1).sum())
        length2 = float(centre @ centre)
        true2 = max(length2 - noise / len(rows), 1e-12 * max(length2, 1e-300))
        shares.append(true2 / length2 if length2 > 0 else 0.0)
        centres.append(centre)
        if rows is current:
            needed = ROWS_A_NOISE * noise / true2
    a, b = centres
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    raw = float(a @ b) / size if size > 0 else 0.0
    attenuation = float(np.sqrt(shares[0] * shares[1]))
    cosine = float(np.clip(raw / attenuation, -1, 1)) if attenuation > 0 else 0.0
    return Alignment(cosine, len(current), int(min(np.ceil(needed), 10**9)))
