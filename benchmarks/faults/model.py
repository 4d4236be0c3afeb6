"""A small network, pre-trained on the source and fine-tuned on the domain, that gives logits."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.faults.tables import Rows, Split
from detectors.records import FloatArray

TOP_CATEGORIES = 40


@dataclass
class Encoder:
    """Standardised numbers, null flags and one-hot categories, frozen on the source rows."""

    mean: dict[str, float]
    sd: dict[str, float]
    values: dict[str, list[str]]

    @classmethod
    def fit(cls, rows: Rows) -> Encoder:
        values = {}
        for name, column in rows.categorical.items():
            seen, counts = np.unique(column, return_counts=True)
            values[name] = [str(v) for v in seen[np.argsort(-counts)][:TOP_CATEGORIES]]
        return cls(
            {name: float(np.nanmean(column)) for name, column in rows.numeric.items()},
            {name: float(np.nanstd(column)) or 1.0 for name, column in rows.numeric.items()},
            values,
        )

    def __call__(self, rows: Rows) -> torch.Tensor:
        parts: list[NDArray[np.float64]] = []
        for name, numbers in rows.numeric.items():
            z = np.clip((numbers - self.mean[name]) / self.sd[name], -8, 8)
            parts += [np.nan_to_num(z)[:, None], np.isnan(numbers).astype(np.float64)[:, None]]
        for name, column in rows.categorical.items():
            parts.append(np.equal.outer(column, self.values[name]).astype(np.float64))
        return torch.as_tensor(np.hstack(parts), dtype=torch.float32)


@dataclass
class Model:
    encoder: Encoder
    network: nn.Module

    @classmethod
    def transferred(cls, split: Split, seed: int) -> Model:
        """Pre-train on the source rows, then fine-tune on the tuning rows."""
        torch.manual_seed(seed)
        encoder = Encoder.fit(split.source)
        width = encoder(split.source.take(slice(0, 1))).shape[1]
        network: nn.Module = nn.Sequential(
            nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1)
        )
        network = _train(network, encoder, split.source, seed, 15, 256, 2e-3, 3)
        network = _train(network, encoder, split.tuning, seed, 60, 64, 1e-3, 8)
        return cls(encoder, network)

    def logit(self, rows: Rows) -> FloatArray:
        with torch.no_grad():
            found: FloatArray = self.network(self.encoder(rows))[:, 0].numpy().astype(np.float64)
        return found


def importance(model: Model, rows: Rows, rng: np.random.Generator) -> dict[str, float]:
    """Rise of the log loss when a column is shuffled."""

    def loss(of: Rows) -> float:
        p = np.clip(1 / (1 + np.exp(-model.logit(of))), 1e-4, 1 - 1e-4)
        return float(-np.where(of.label == 1, np.log(p), np.log1p(-p)).mean())

    base = loss(rows)
    order = rng.permutation(len(rows))
    shuffled = {n: loss(rows.with_numeric(n, c[order])) for n, c in rows.numeric.items()}
    shuffled |= {n: loss(rows.with_category(n, c[order])) for n, c in rows.categorical.items()}
    return {name: found - base for name, found in shuffled.items()}


def _train(
    network: nn.Module,
    encoder: Encoder,
    rows: Rows,
    seed: int,
    epochs: int,
    batch: int,
    rate: float,
    patience: int,
) -> nn.Module:
    """Adam; keeps the epoch with the best loss on a fifth of the rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    held, train = order[: len(rows) // 5], order[len(rows) // 5 :]
    X, y = encoder(rows), torch.as_tensor(rows.label, dtype=torch.float32)[:, None]
    judge = nn.functional.binary_cross_entropy_with_logits
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=1e-4)
    best, kept, waited = float("inf"), copy.deepcopy(network.state_dict()), 0
    for _ in range(epochs):
        for rows_of in np.array_split(rng.permutation(train), max(1, len(train) // batch)):
            optimiser.zero_grad()
            judge(network(X[rows_of]), y[rows_of]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            found = judge(network(X[held]), y[held]).item()
        waited += 1
        if found < best - 1e-5:
            best, kept, waited = found, copy.deepcopy(network.state_dict()), 0
        if waited >= patience:
            break
    network.load_state_dict(kept)
    return network
