"""A small network, pre-trained on the source and fine-tuned on the domain, that gives logits."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.faults.tables import Rows, Split
from detectors.records import FloatArray, Task
from detectors.transfer.loss import loss_of

TOP_CATEGORIES = 40


@dataclass
class Encoder:
    """Standardised numbers, null flags, one-hot categories and embeddings, frozen on the source."""

    mean: dict[str, float]
    sd: dict[str, float]
    values: dict[str, list[str]]
    embedded: int = 0

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
            0 if rows.embedding is None else rows.embedding.shape[1],
        )

    @property
    def width(self) -> int:
        return 2 * len(self.mean) + sum(map(len, self.values.values())) + self.embedded

    def starts(self) -> dict[str, slice]:
        """Where the one-hot columns of each category lie."""
        ends = np.cumsum([2 * len(self.mean), *map(len, self.values.values())]).tolist()
        return {name: slice(ends[at], ends[at + 1]) for at, name in enumerate(self.values)}

    def __call__(self, rows: Rows) -> torch.Tensor:
        parts: list[NDArray[np.float64]] = []
        for name, numbers in rows.numeric.items():
            z = np.clip((numbers - self.mean[name]) / self.sd[name], -8, 8)
            parts += [np.nan_to_num(z)[:, None], np.isnan(numbers).astype(np.float64)[:, None]]
        for name, column in rows.categorical.items():
            parts.append(np.equal.outer(column, self.values[name]).astype(np.float64))
        if rows.embedding is not None:
            parts.append(rows.embedding.astype(np.float64))
        return torch.as_tensor(np.hstack(parts), dtype=torch.float32)


@dataclass
class Model:
    """A network over encoded rows: log odds, or for a regression `level` + `scale` × its output."""

    encoder: Encoder
    network: nn.Module
    task: Task = Task.BINARY
    level: float = 0.0
    scale: float = 1.0

    @classmethod
    def transferred(cls, split: Split, seed: int) -> Model:
        """Pre-train on the source rows, then fine-tune on the tuning rows."""
        model = cls.fresh(split.source, seed, split.task)
        return model.tuned(split.source, seed, 15, 256, 2e-3, 3).tuned(
            split.tuning, seed, 60, 64, 1e-3, 8
        )

    @classmethod
    def scratch(cls, split: Split, seed: int) -> Model:
        """The same network trained on the tuning rows alone."""
        return cls.fresh(split.source, seed, split.task).tuned(split.tuning, seed, 60, 64, 1e-3, 8)

    @classmethod
    def fresh(cls, source: Rows, seed: int, task: Task = Task.BINARY) -> Model:
        """Untrained; encodes as the source asks for."""
        torch.manual_seed(seed)
        encoder = Encoder.fit(source)
        network = nn.Sequential(
            nn.Linear(encoder.width, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1)
        )
        if task is not Task.REGRESSION:
            return cls(encoder, network, task)
        return cls(encoder, network, task, float(source.label.mean()), float(source.label.std()))

    def tuned(
        self, rows: Rows, seed: int, epochs: int, batch: int, rate: float, patience: int
    ) -> Model:
        """A copy trained on; this one stays as it is."""
        rows = replace(rows, label=(rows.label - self.level) / self.scale)
        network = _train(
            copy.deepcopy(self.network),
            self.encoder,
            rows,
            seed,
            epochs,
            batch,
            rate,
            patience,
            task=self.task,
        )
        return replace(self, network=network)

    def logit(self, rows: Rows) -> FloatArray:
        """Log odds (n,), or predicted values."""
        with torch.no_grad():
            found: FloatArray = self.network(self.encoder(rows))[:, 0].numpy().astype(np.float64)
        return self.level + self.scale * found

    def logit_of(self, embedding: FloatArray, rows: Rows) -> FloatArray:
        """Log odds (n,) where the last layer reads other vectors (n, d) than those of the rows."""
        with torch.no_grad():
            vectors = torch.as_tensor(embedding, dtype=torch.float32)
            network: Any = self.network
            if isinstance(network, nn.Sequential):
                found = network[-1](vectors)
            else:
                found = network.memory(self.encoder(rows)) + network.head(vectors)
        said: FloatArray = found[:, 0].numpy().astype(np.float64)
        return self.level + self.scale * said

    def score(self, rows: Rows) -> FloatArray:
        return score_of(self.logit(rows), self.task)

    @property
    def body(self) -> nn.Module:
        """All but the last layer."""
        named = getattr(self.network, "body", None)
        if isinstance(named, nn.Module):
            return named
        assert isinstance(self.network, nn.Sequential)
        return self.network[:-1]

    def embedding(self, rows: Rows) -> FloatArray:
        """What the last layer reads (n, d)."""
        with torch.no_grad():
            found: FloatArray = self.body(self.encoder(rows)).numpy().astype(np.float64)
        return found

    def with_body_of(self, other: Model) -> Model:
        """Another version's embedding under this one's last layer: versions were not pinned."""
        mixed = replace(self, network=copy.deepcopy(self.network))
        mixed.body.load_state_dict(other.body.state_dict())
        return mixed

    def loss(self, rows: Rows) -> FloatArray:
        return loss_of(self.task, self.score(rows), rows.label)


def score_of(logit: FloatArray, task: Task) -> FloatArray:
    """What a window records: a probability, or a regression's value."""
    return logit if task is Task.REGRESSION else 1 / (1 + np.exp(-logit))


def importance(model: Model, rows: Rows, rng: np.random.Generator) -> dict[str, float]:
    """Rise of the loss when a column is shuffled."""

    def loss(of: Rows) -> float:
        return float(model.loss(of).mean())

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
    *,
    task: Task = Task.BINARY,
) -> nn.Module:
    """Adam; keeps the epoch with the best loss on a fifth of the rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    held, train = order[: len(rows) // 5], order[len(rows) // 5 :]
    X, y = encoder(rows), torch.as_tensor(rows.label, dtype=torch.float32)[:, None]
    judge = (
        nn.functional.mse_loss
        if task is Task.REGRESSION
        else nn.functional.binary_cross_entropy_with_logits
    )
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
