"""How often is a transfer that is exactly at the margin said to hurt, at any look?

    python -m benchmarks.faults.false_hurts --histories 2000 --seed 2
    python -m benchmarks.faults.false_hurts --histories 500 --power

Rows carry the log losses of two noisy scores of one binary outcome, moved so that the mean
difference is exactly the margin: the hardest case that must not be called harm. Days are put
together in four ways: independent rows; rows in clusters with a design effect of 10; day levels
that follow an AR(1) path of .3, .5 or .8 and make up two thirds of a day's variance. 180 days are
read by the planned review at 26 looks and by the open-ended interval after every tick; a history
counts as false if any look says hurts. With `--power` the same histories are moved beyond the
margin, and the day on which the open-ended interval says so is set beside that of the interval
which takes days as independent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from detectors.records import DAY_US, BoolArray, FloatArray, Task, TransferState
from detectors.transfer.interval import tick_t_path
from detectors.transfer.loss import loss_of
from detectors.transfer.review import planned_review
from detectors.transfer.sums import TransferSums
from detectors.transfer.verdict import trajectory

DAYS, LOOKS, MARGIN, ALPHA = 180, 26, 0.01, 0.04
POOL = 400_000
CLUSTER = 20
Rows = tuple[FloatArray, FloatArray, FloatArray]


def pool(rate: float, rng: np.random.Generator) -> Rows:
    """Difference, baseline loss and label of many rows, the mean difference at the margin."""
    logit = rng.normal(np.log(rate / (1 - rate)) * 1.3, 1.3, POOL)
    label = (rng.random(POOL) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    served, scratch = (1 / (1 + np.exp(-(logit + rng.normal(0, 0.6, POOL)))) for _ in range(2))
    baseline = loss_of(Task.BINARY, scratch, label)
    difference = loss_of(Task.BINARY, served, label) - baseline
    return difference - difference.mean() + MARGIN * baseline.mean(), baseline, label


def cells() -> dict[str, Callable[[FloatArray, np.random.Generator, int], FloatArray]]:
    """What is added to the rows' differences (days, rows), by the sd of a row."""

    def nothing(d: FloatArray, rng: np.random.Generator, a_day: int) -> FloatArray:
        return np.zeros_like(d)

    def clustered(d: FloatArray, rng: np.random.Generator, a_day: int) -> FloatArray:
        # deff = 1 + (m - 1) rho, rho = s² / (s² + 1) with s the cluster's sd in row sd
        rho = 9.0 / (CLUSTER - 1)
        level = np.sqrt(rho / (1 - rho)) * d.std()
        shared = rng.normal(0, level, (d.shape[0], -(-a_day // CLUSTER)))
        return np.repeat(shared, CLUSTER, axis=1)[:, :a_day]

    def autoregressive(phi: float) -> Callable[..., FloatArray]:
        def add(d: FloatArray, rng: np.random.Generator, a_day: int) -> FloatArray:
            level = np.sqrt(2.0 / a_day) * d.std()  # twice what a day's rows scatter: deff 3
            path = np.empty(d.shape[0])
            path[0] = rng.normal()
            for day in range(1, len(path)):
                path[day] = phi * path[day - 1] + np.sqrt(1 - phi**2) * rng.normal()
            return np.broadcast_to(level * path[:, None], d.shape)

        return add

    return {
        "iid": nothing,
        "deff 10": clustered,
        "AR .3": autoregressive(0.3),
        "AR .5": autoregressive(0.5),
        "AR .8": autoregressive(0.8),
    }


def false_hurts(sums: TransferSums) -> tuple[bool, bool]:
    """Whether the planned review and the open-ended interval say hurts at any look."""
    ends = np.linspace(DAYS / LOOKS, DAYS, LOOKS)
    looks = np.floor(ends + 1e-9).astype(np.int64)
    seen = looks - 1
    margins = MARGIN * np.cumsum(sums.baseline_loss)[seen] / np.cumsum(sums.rows)[seen]
    review = planned_review(
        sums.difference,
        sums.rows,
        looks,
        ends / DAYS,
        margin=margins,
        alpha=ALPHA,
        minority=sums.minority,
    )
    planned = any(
        (look.crossed if look.elapsed >= 1.0 else look.early) is TransferState.HURTS
        for look in review.looks
    )
    path = trajectory(sums, task=Task.BINARY, alpha=ALPHA, ended=True)
    return planned, bool(np.any(path.lower > MARGIN * path.baseline_loss))


def history(
    rows: Rows, a_day: int, add: Callable[..., FloatArray], rng: np.random.Generator
) -> TransferSums:
    """Sums of 180 days of rows drawn from the pool."""
    chosen = rng.integers(0, POOL, (DAYS, a_day))
    d, baseline, label = (column[chosen] for column in rows)
    d = d + add(d, rng, a_day)
    return TransferSums(
        np.arange(DAYS, dtype=np.int64) * DAY_US,
        np.full(DAYS, float(a_day)),
        d.sum(axis=1),
        (d * d).sum(axis=1),
        baseline.sum(axis=1),
        label.sum(axis=1),
    )


def days_to_hurts(sums: TransferSums, beyond: float) -> tuple[float, float]:
    """The first day that says hurts of a difference `beyond` the margin; infinite for none.

    Of the open-ended interval, and of one that takes days as independent.
    """
    moved = replace(sums, difference=sums.difference + beyond * sums.rows)
    path = trajectory(moved, task=Task.BINARY, alpha=ALPHA, ended=True)
    plain = tick_t_path(moved.difference / moved.rows, moved.rows, alpha=ALPHA)
    margin = MARGIN * path.baseline_loss
    return _first(path.lower > margin), _first(plain.lower > margin)


def _first(said: BoolArray) -> float:
    return float(said.argmax() + 1) if said.any() else np.inf


def power(histories: int, seed: int) -> None:
    """Share found in 180 days and median day, at three effects in row sd."""
    a_day, rate = 60, 0.3
    print("| days are | beyond the margin | found, median day | days taken as independent |")
    print("|---|---|---|---|")
    for name, add in cells().items():
        for size in (0.05, 0.08, 0.15):
            rng = np.random.default_rng([seed, a_day])
            rows = pool(rate, rng)
            beyond = size * float(rows[0].std())
            found = np.array(
                [days_to_hurts(history(rows, a_day, add, rng), beyond) for _ in range(histories)]
            )
            said = " | ".join(
                f"{np.isfinite(days).mean():.2f}, {np.median(days):.0f}" for days in found.T
            )
            print(f"| {name} | {size} | {said} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(cells()), help="one kind of days")
    parser.add_argument("--power", action="store_true")
    given = parser.parse_args()
    if given.power:
        power(given.histories, given.seed)
        return
    print("| days are | rows a day, rate | planned review | open-ended interval |")
    print("|---|---|---|---|")
    for name, add in cells().items():
        if given.only not in (None, name):
            continue
        for a_day, rate in ((60, 0.3), (200, 0.1)):
            rng = np.random.default_rng([given.seed, a_day])
            rows = pool(rate, rng)
            found = np.array(
                [false_hurts(history(rows, a_day, add, rng)) for _ in range(given.histories)]
            )
            share = found.mean(axis=0)
            error = np.sqrt(share * (1 - share) / given.histories)
            said = " | ".join(
                f"{p:.3f} ± {e:.3f}" for p, e in zip(share.tolist(), error.tolist(), strict=True)
            )
            print(f"| {name} | {a_day}, {rate} | {said} |", flush=True)


if __name__ == "__main__":
    main()
