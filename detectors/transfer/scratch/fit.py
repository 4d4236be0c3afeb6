"""Training the baseline: both arms, early stopped on the latest tenth, the better one kept.

Seeded and on one thread, so that the same rows give the same weights; a GPU is used where there
is one, with weights of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.records import FloatArray, Task
from detectors.transfer.scratch.features import BUCKETS, LabelledRows
from detectors.transfer.scratch.network import Arm, Network, offsets, standardised

EMBEDDING = 4
HIDDEN = (32, 16)
EPOCHS, PATIENCE = 40, 4
HELD_SHARE, FEWEST_HELD = 0.1, 20
SMALL = 3_000
"""Below this many rows three networks are averaged and held rows are learnt from in the end."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A network and its mean losses on the rows learnt from and on the latest tenth."""

    network: Network
    train: float
    validation: float


def fit_network(rows: LabelledRows, *, task: Task, seed: int) -> Fit:
    """Train both arms on rows in order of time; the latest tenth decides between them.

    ValueError with fewer than 40 rows, or labels that are all the same.
    """
    import torch

    if len(rows) < 2 * FEWEST_HELD or np.ptp(rows.target) == 0.0:
        msg = f"{len(rows)} rows with {len(np.unique(rows.target))} label values cannot be learnt"
        raise ValueError(msg)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    held = max(FEWEST_HELD, round(HELD_SHARE * len(rows)))
    order = np.argsort(rows.ts_us, kind="stable")
    rows = rows.take(order)
    centre, scale = _scale(rows.numeric[:-held])
    mean, sd = (
        (float(rows.target.mean()), float(rows.target.std()) or 1.0)
        if task is Task.REGRESSION
        else (0.0, 1.0)
    )
    table = _Table.of(rows, centre, scale, (rows.target - mean) / sd, device)
    best: Fit | None = None
    for arm in Arm:
        # the logistic loss has one minimum: other seeds would only find it again
        seeds = range(3) if len(rows) < SMALL and arm is Arm.DEEP else range(1)
        members, trained, judged = [], [], []
        for number in seeds:
            member, epochs, losses = _train(table, held, arm, task, seed + number, EPOCHS)
            if len(rows) < SMALL and epochs:
                member, _, _ = _train(table, 0, arm, task, seed + number, epochs)
            members.append(member)
            trained.append(losses[0])
            judged.append(losses[1])
        network = Network(task, arm, centre, scale, mean, sd, tuple(members))
        fit = Fit(network, float(np.mean(trained)), float(np.mean(judged)))
        if best is None or fit.validation < best.validation:
            best = fit
    assert best is not None
    return best


def _scale(numeric: Any) -> tuple[FloatArray, FloatArray]:
    """Median and a robust sd of each column, so that one broken row cannot flatten it."""
    if not numeric.shape[1]:
        return np.empty(0), np.empty(0)
    filled = np.where(np.isnan(numeric).all(axis=0), 0.0, numeric).astype(np.float64)
    low, centre, high = np.nanquantile(filled, [0.16, 0.5, 0.84], axis=0)
    spread = np.nanstd(filled, axis=0)
    scale = np.where(high > low, 0.5 * (high - low), np.where(spread > 0.0, spread, 1.0))
    return centre, scale


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Everything a fit reads, as tensors on its device."""

    inputs: Any
    places: Any
    target: Any
    weight: Any
    rate: float

    @classmethod
    def of(
        cls,
        rows: LabelledRows,
        centre: FloatArray,
        scale: FloatArray,
        target: FloatArray,
        device: str,
    ) -> _Table:
        import torch

        places = (rows.bucket + offsets(rows.bucket.shape[1])).astype(np.int64)
        weight = rows.weight / rows.weight.mean()
        return cls(
            torch.as_tensor(standardised(rows.numeric, centre, scale), dtype=torch.float32).to(
                device
            ),
            torch.as_tensor(places).to(device),
            torch.as_tensor(target, dtype=torch.float32).to(device),
            torch.as_tensor(weight, dtype=torch.float32).to(device),
            float(np.average(target, weights=rows.weight)),
        )


def _train(
    table: _Table, held: int, arm: Arm, task: Task, seed: int, epochs: int
) -> tuple[Mapping[str, Any], int, tuple[float, float]]:
    """Weights of the best epoch, which it was, and its losses; without held rows the last."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    weights = _fresh(table, arm, task, generator)
    wide = {"table", "wide"}
    groups: list[dict[str, Any]] = [
        {"params": [weights[name] for name in sorted(wide)], "weight_decay": 1e-3},
        {"params": [weight for name, weight in weights.items() if name not in wide]},
    ]
    optimiser = torch.optim.Adam(
        groups,
        lr=1e-2 if arm is Arm.LOGISTIC else 3e-3,
        weight_decay=1e-4,
        fused=True,
    )
    train = len(table.target) - held
    batch = 64 if train < SMALL else 256

    def loss(rows: Any) -> Any:
        raw = _forward(weights, table.inputs[rows], table.places[rows])
        target, weight = table.target[rows], table.weight[rows]
        if task is Task.REGRESSION:
            return (weight * (raw - target) ** 2).sum() / weight.sum()
        each = functional.binary_cross_entropy_with_logits(raw, target, reduction="none")
        return (weight * each).sum() / weight.sum()

    best, kept, when, waited = float("inf"), _copy(weights), 0, 0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(train, generator=generator)
        for rows in torch.split(order, batch):
            optimiser.zero_grad()
            loss(rows).backward()
            optimiser.step()
        if not held:
            continue
        with torch.no_grad():
            found = float(loss(slice(train, None)))
        waited += 1
        if found < best - 1e-5:
            best, kept, when, waited = found, _copy(weights), epoch, 0
        if waited >= PATIENCE:
            break
    if not held:
        kept, when = _copy(weights), epochs
    for name, value in kept.items():
        weights[name].data.copy_(value)
    with torch.no_grad():
        losses = float(loss(slice(0, train))), best
    return {k: v.detach().cpu().numpy() for k, v in kept.items()}, when, losses


def _copy(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {name: copy.deepcopy(value.detach()) for name, value in weights.items()}


def _fresh(table: _Table, arm: Arm, task: Task, generator: Any) -> dict[str, Any]:
    """Weights before training: the wide part at the base rate, the deep part drawn."""
    import torch

    device = table.inputs.device
    width, columns = table.inputs.shape[1], table.places.shape[1]
    rate = min(max(table.rate, 1e-3), 1.0 - 1e-3)
    bias = float(np.log(rate / (1.0 - rate))) if task is Task.BINARY else table.rate
    shapes: dict[str, tuple[int, ...]] = {
        "table": (columns * (BUCKETS + 1),),
        "wide": (width,),
    }
    drawn: dict[str, tuple[tuple[int, ...], float]] = {}
    if arm is Arm.DEEP:
        deep = width + columns * EMBEDDING
        drawn = {
            "embedding": ((columns * (BUCKETS + 1), EMBEDDING), 0.1),
            "weight1": ((HIDDEN[0], deep), float(np.sqrt(2.0 / max(deep, 1)))),
            "weight2": ((HIDDEN[1], HIDDEN[0]), float(np.sqrt(2.0 / HIDDEN[0]))),
            "weight3": ((1, HIDDEN[1]), float(np.sqrt(0.1 / HIDDEN[1]))),
        }
        shapes |= {"bias1": (HIDDEN[0],), "bias2": (HIDDEN[1],)}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    weights["bias"] = torch.tensor([bias])
    for name, (shape, sd) in drawn.items():
        weights[name] = sd * torch.randn(shape, generator=generator)
    return {name: value.to(device).requires_grad_() for name, value in weights.items()}


def _forward(weights: Mapping[str, Any], inputs: Any, places: Any) -> Any:
    import torch

    said = inputs @ weights["wide"] + weights["bias"][0] + weights["table"][places].sum(dim=1)
    if "embedding" not in weights:
        return said
    embedded = weights["embedding"][places].reshape(len(inputs), -1)
    hidden = torch.cat([inputs, embedded], dim=1)
    hidden = torch.relu(hidden @ weights["weight1"].T + weights["bias1"])
    hidden = torch.relu(hidden @ weights["weight2"].T + weights["bias2"])
    return said + hidden @ weights["weight3"][0]
