"""Why did the loss change: harder inputs, a different answer to the same inputs, or new inputs?

With g(x) = P(current | x) of a balanced classifier, weights g on the reference and 1 - g on the
current rows both describe the inputs that the two windows share. Walking from the reference
loss over the two shared losses to the current loss splits the change into three terms. After
Cai, Namkoong & Yadlowsky (2023), "Diagnosing model performance under distribution shift".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray

BOOTSTRAPS = 100


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Loss on: the reference, shared inputs then, shared inputs now, the current window.

    Standard errors of the three steps come from resampling rows with g held fixed.
    """

    reference: float
    shared_before: float
    shared_now: float
    current: float
    inputs_se: float
    concept_se: float
    unseen_se: float

    @property
    def inputs(self) -> float:
        """More weight on the harder inputs that both windows have."""
        return self.shared_before - self.reference

    @property
    def concept(self) -> float:
        """The same inputs, another loss: P(y | x) has changed."""
        return self.shared_now - self.shared_before

    @property
    def unseen(self) -> float:
        """Inputs that the reference hardly has."""
        return self.current - self.shared_now

    @property
    def concept_z(self) -> float:
        return self.concept / self.concept_se if self.concept_se > 0 else float("nan")


def decompose(
    loss_ref: FloatArray,
    g_ref: FloatArray,
    loss_cur: FloatArray,
    g_cur: FloatArray,
    *,
    seed: int,
    weight_ref: FloatArray | None = None,
    weight_cur: FloatArray | None = None,
    bootstraps: int = BOOTSTRAPS,
) -> Decomposition:
    """Split mean(loss_cur) - mean(loss_ref); losses and g are (n,) and (m,), weights count rows."""
    rng = np.random.default_rng(seed)
    before = _Side(loss_ref, g_ref, weight_ref)
    now = _Side(loss_cur, 1 - g_cur, weight_cur)
    start, shared_before = before.means()
    end, shared_now = now.means()
    starts, shared_befores = before.resampled(rng, bootstraps)
    ends, shared_nows = now.resampled(rng, bootstraps)
    return Decomposition(
        reference=start,
        shared_before=shared_before,
        shared_now=shared_now,
        current=end,
        inputs_se=float(np.std(shared_befores - starts)),
        concept_se=float(np.std(shared_nows - shared_befores)),
        unseen_se=float(np.std(ends - shared_nows)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    loss: FloatArray
    shared: FloatArray
    weight: FloatArray | None

    def means(self) -> tuple[float, float]:
        """Mean loss over the rows, and over the part that both windows share."""
        weight = np.ones(len(self.loss)) if self.weight is None else self.weight
        return (
            float(np.average(self.loss, weights=weight)),
            float(np.average(self.loss, weights=weight * self.shared)),
        )

    def resampled(self, rng: np.random.Generator, bootstraps: int) -> tuple[FloatArray, FloatArray]:
        """The same two means (bootstraps,) over rows drawn again with replacement."""
        weight = np.ones(len(self.loss)) if self.weight is None else self.weight
        drawn = rng.integers(0, len(self.loss), (bootstraps, len(self.loss)))
        w, ws = weight, weight * self.shared
        return (
            (w * self.loss)[drawn].sum(axis=1) / w[drawn].sum(axis=1),
            (ws * self.loss)[drawn].sum(axis=1) / ws[drawn].sum(axis=1),
        )
