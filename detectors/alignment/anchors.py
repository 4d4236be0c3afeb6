"""Anchors: a fixed set of rows embedded again by every version of a model. What has changed?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.alignment.heads import FEWEST, FEWEST_OF_A_CLASS, Gap, head_gap, information_gap
from detectors.alignment.similarity import (
    NEIGHBOURS,
    linear_cka,
    neighbour_overlap,
    participation_ratio,
    procrustes_disparity,
)
from detectors.records import FloatArray, State

WARN_CKA, DRIFT_CKA = 0.9, 0.7
WARN_NEIGHBOURS = 0.6
MIXED_NEIGHBOURS = 0.55
"""Low CKA with neighbours kept: rows of two versions lie side by side."""

TURNED_COSINE = 0.9
COLLAPSE = 0.5
FEWEST_ANCHORS = 3 * NEIGHBOURS


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """One version's embedding (n, d) of the anchor rows; `label` and `score` (n,) where known."""

    version: str
    embedding: FloatArray
    label: FloatArray | None = None
    score: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class AnchorChange:
    """Two versions compared on the same anchors. NaN: could not be measured.

    `state` DRIFT says that heads pinned to the old version are broken; `words` says why, and what
    would tell more. `incompatible` says that a diagnosis should name it.
    """

    before: str
    now: str
    rows: int
    state: State
    words: str
    cka: float = float("nan")
    disparity: float = float("nan")
    neighbours: float = float("nan")
    cosine: float = float("nan")
    participation: tuple[float, float] = (float("nan"), float("nan"))
    information: Gap | None = None
    head: Gap | None = None

    @property
    def incompatible(self) -> bool:
        return self.state is State.DRIFT


def compare_anchors(before: Anchors, now: Anchors) -> AnchorChange:
    """What the new version changed, rows of both in one order.

    Where labels are known the information gap decides, then the head gap. Without them
    similarities warn, and say what heads pinned to the old coordinates have lost.
    """
    n = len(before.embedding)
    width, width_now = before.embedding.shape[1], now.embedding.shape[1]
    if len(now.embedding) != n or n < FEWEST_ANCHORS:
        words = f"{min(n, len(now.embedding))} common anchors; {FEWEST_ANCHORS} are needed"
        return AnchorChange(before.version, now.version, n, State.UNDETERMINED, words)
    cka = linear_cka(before.embedding, now.embedding)
    disparity = procrustes_disparity(before.embedding, now.embedding)
    neighbours = neighbour_overlap(before.embedding, now.embedding)
    cosine = _raw_cosine(before.embedding, now.embedding)
    spread = participation_ratio(before.embedding), participation_ratio(now.embedding)
    information, head = _gaps(before, now)
    state, words = _say(
        width, width_now, cka, neighbours, cosine, spread, information=information, head=head
    )
    return AnchorChange(
        before.version,
        now.version,
        n,
        state,
        words,
        cka,
        disparity,
        neighbours,
        cosine,
        spread,
        information,
        head,
    )


def _gaps(before: Anchors, now: Anchors) -> tuple[Gap | None, Gap | None]:
    label = now.label if now.label is not None else before.label
    if label is None:
        return None, None
    known = np.isfinite(label)
    y = label[known]
    rarer = min((y == 0).sum(), (y == 1).sum())
    if len(y) < FEWEST or rarer < FEWEST_OF_A_CLASS:
        return None, None
    lost = information_gap(before.embedding[known], now.embedding[known], y)
    if now.score is None or not np.isfinite(now.score[known]).all():
        return lost, None
    return lost, head_gap(now.score[known], now.embedding[known], y)


def _say(
    width: int,
    width_now: int,
    cka: float,
    neighbours: float,
    cosine: float,
    spread: tuple[float, float],
    *,
    information: Gap | None,
    head: Gap | None,
) -> tuple[State, str]:
    alike = f"CKA {cka:.2f}, {neighbours:.0%} of neighbours kept".replace("%", " %")
    if information is not None and information.matters:
        return State.DRIFT, (
            f"a head fitted anew loses {information.difference:.3g} more than on the old embedding "
            f"(of {information.against:.3g}): information is gone ({alike})"
        )
    if head is not None and head.matters:
        return State.DRIFT, (
            f"the head in service loses {head.difference:.3g} against one fitted anew (of "
            f"{head.against:.3g}): it no longer fits the embedding ({alike})"
        )
    if width != width_now:
        return State.DRIFT, (
            f"the embedding had {width} dimensions and has {width_now}: heads of the old version "
            f"cannot read it ({alike})"
        )
    if head is not None:
        return State.OK, f"the head in service fits as well as one fitted anew ({alike})"
    if cka < DRIFT_CKA and neighbours > MIXED_NEIGHBOURS:
        return State.DRIFT, f"rows of two versions lie side by side ({alike}): pin versions"
    if cka < DRIFT_CKA:
        return State.DRIFT, f"little is left of the old map ({alike})"
    if cosine < TURNED_COSINE:
        return State.DRIFT, (
            f"the map was turned: the same row lies elsewhere (cosine {cosine:.2f}) while "
            f"distances are kept ({alike}); heads pinned to the old coordinates are broken"
        )
    if spread[1] < COLLAPSE * spread[0]:
        return State.WATCH, (
            f"the embedding uses {spread[1]:.1f} directions where it used {spread[0]:.1f} ({alike})"
        )
    if cka < WARN_CKA or neighbours < WARN_NEIGHBOURS:
        return (
            State.WATCH,
            f"the map has changed ({alike}); labels of anchors would say if it hurts",
        )
    return State.OK, f"the map is as it was ({alike})"


def _raw_cosine(a: FloatArray, b: FloatArray) -> float:
    """Mean cosine of a row with itself, in the coordinates as they are; NaN if widths differ."""
    if a.shape[1] != b.shape[1]:
        return float("nan")
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    kept = size > 0
    return float(((a * b).sum(axis=1)[kept] / size[kept]).mean()) if kept.any() else float("nan")
