"""Why did the loss change: harder inputs, a different answer to the same inputs, or new inputs?

With g(x) = P(current | x) of a balanced classifier, weights g on the reference and 1 - g on the
current rows both describe the inputs that the two windows share. Walking from the reference
loss over the two shared losses to the current loss splits the change into three terms. After
Cai, Namkoong & Yadlowsky (2023), "Diagnosing model performance under distribution shift".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.records import FloatArray, IntArray

BOOTSTRAPS = 100
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Loss on: the reference, shared inputs then, shared inputs now, the current window.

    Standard errors and .95 intervals of the three steps come from resampling rows, or whole
    days, with g held fixed.
    """

    reference: float
    shared_before: float
    shared_now: float
    current: float
    inputs_se: float
    concept_se: float
    unseen_se: float
    inputs_ci: Interval = (float("nan"), float("nan"))
    concept_ci: Interval = (float("nan"), float("nan"))
    unseen_ci: Interval = (float("nan"), float("nan"))

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
    blocks: tuple[IntArray, IntArray] | None = None,
) -> Decomposition:
    """Split mean(loss_cur) - mean(loss_ref); losses and g are (n,) and (m,), weights count rows.

    `blocks` (n,), (m,) number the days of rows: days are then drawn again, not rows.
    """
    rng = np.random.default_rng(seed)
    before = _Side(loss_ref, g_ref, weight_ref, None if blocks is None else blocks[0])
    now = _Side(loss_cur, 1 - g_cur, weight_cur, None if blocks is None else blocks[1])
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
        inputs_ci=_middle(shared_befores - starts),
        concept_ci=_middle(shared_nows - shared_befores),
        unseen_ci=_middle(ends - shared_nows),
    )


def _middle(draws: FloatArray) -> Interval:
    """The middle .95 of draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    loss: FloatArray
    shared: FloatArray
    weight: FloatArray | None
    block: IntArray | None = None

    def means(self) -> tuple[float, float]:
        """Mean loss over the rows, and over the part that both windows share."""
        weight = np.ones(len(self.loss)) if self.weight is None else self.weight
        return (
            float(np.average(self.loss, weights=weight)),
            float(np.average(self.loss, weights=weight * self.shared)),
        )

    def resampled(self, rng: np.random.Generator, bootstraps: int) -> tuple[FloatArray, FloatArray]:
        """The same two means (bootstraps,) over rows or days drawn again with replacement."""
        weight = np.ones(len(self.loss)) if self.weight is None else self.weight
        shared = weight * self.shared
        sums = np.stack([weight * self.loss, weight, shared * self.loss, shared])
        if self.block is not None:
            _, place = np.unique(self.block, return_inverse=True)
            sums = np.stack([np.bincount(place, weights=row) for row in sums])
        all_loss, rows, shared_loss, shared_rows = sums @ _times_drawn(
            rng, sums.shape[1], bootstraps
        )
        return all_loss / rows, shared_loss / shared_rows


def _times_drawn(rng: np.random.Generator, n: int, bootstraps: int) -> FloatArray:
    """How often each of n units comes in each of so many draws with replacement (n, bootstraps)."""
    drawn = rng.integers(0, n, (bootstraps, n)) + n * np.arange(bootstraps)[:, None]
    times = np.bincount(drawn.ravel(), minlength=n * bootstraps).astype(np.float64)
    return times.reshape(bootstraps, n).T
