"""Small wide-and-deep networks: pre-trained on the source, warm-started for each domain.

Beside each warm-started one stands one of the same shape from scratch on the domain's rows
alone. Wide: a weight for each hashed cross of two columns. Deep: embeddings of the categories
beside standardised numbers, two hidden layers. Both end in one logit (Cheng et al., 2016,
"Wide & Deep Learning for Recommender Systems").
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detectors.records import DAY_US, FloatArray, IntArray
from monitor.demo.flights import CATEGORICAL, NUMERIC, Flights

EMBEDDING_DIM = {"origin": 2, "dest": 6, "engine": 2}
CROSSES = (("origin", "dest"), ("origin", "hour"), ("dest", "hour"))
CROSS_BITS = 12
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Multiplicative hashing: 2^64 over the golden ratio, the high bits are the bucket."""

HIDDEN = (32, 16)
HOLD_OUT_EVERY = 5
WEIGHT_DECAY = 0.01
BATCH_ROWS = 256
MAX_EPOCHS = 30
PATIENCE_EPOCHS = 3
SEED = 2013


@dataclass(frozen=True, slots=True)
class Encoder:
    """What turns columns into tensors, fitted on the rows a network is trained on.

    `mean` and `sd` (7,) standardise NUMERIC; a missing number becomes the mean. A category
    that was not there in training has code 0.
    """

    mean: FloatArray
    sd: FloatArray
    vocabulary: Mapping[str, pa.Array]

    @classmethod
    def fit(cls, features: pa.Table) -> Encoder:
        numbers = _numbers(features)
        sd = np.nanstd(numbers, axis=0)
        return cls(
            mean=np.nanmean(numbers, axis=0),
            sd=np.where(sd > 0, sd, 1.0),
            vocabulary={
                name: pc.unique(features.column(name).cast(pa.string())).drop_null().sort()
                for name in CATEGORICAL
            },
        )

    def encode(self, features: pa.Table) -> Encoded:
        """Columns of FEATURES as tensors of n rows."""
        numbers = _numbers(features)
        codes = {name: self._codes(features, name) for name in CATEGORICAL}
        whole = {
            **codes,
            "hour": np.nan_to_num(numbers[:, NUMERIC.index("hour")]).astype(np.int64),
        }
        crosses = np.stack(
            [
                _bucket(place, whole[first], whole[second])
                for place, (first, second) in enumerate(CROSSES)
            ],
            axis=1,
        )
        scaled = np.nan_to_num((numbers - self.mean) / self.sd)
        return Encoded(
            numbers=torch.from_numpy(scaled.astype(np.float32)),
            codes=torch.from_numpy(np.stack([codes[name] for name in CATEGORICAL], axis=1)),
            crosses=torch.from_numpy(crosses),
        )

    def _codes(self, features: pa.Table, name: str) -> IntArray:
        places = pc.index_in(features.column(name).cast(pa.string()), self.vocabulary[name])
        codes: IntArray = places.fill_null(-1).to_numpy().astype(np.int64) + 1
        return codes


def _numbers(features: pa.Table) -> FloatArray:
    """(n, 7), null as NaN."""
    columns = [features.column(name).cast(pa.float64()).to_numpy() for name in NUMERIC]
    return np.stack(columns, axis=1)


def _bucket(place: int, first: IntArray, second: IntArray) -> IntArray:
    """Which of 2^CROSS_BITS weights a pair of codes has; pairs may share one."""
    mixed = (first * 1_000_003 + second * 8_191 + place * 131_071).astype(np.uint64)
    spread = (mixed * GOLDEN) >> np.uint64(64 - CROSS_BITS)
    bucket: IntArray = spread.astype(np.int64)
    return bucket


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """numbers (n, 7) float32, codes (n, 3) and crosses (n, 3) int64."""

    numbers: Tensor
    codes: Tensor
    crosses: Tensor

    def take(self, rows: Tensor) -> Encoded:
        return Encoded(self.numbers[rows], self.codes[rows], self.crosses[rows])


class WideDeep(nn.Module):
    """Late or not, as a logit."""

    def __init__(self, vocabulary_sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.wide = nn.EmbeddingBag(1 << CROSS_BITS, 1, mode="sum")
        self.embeddings = nn.ModuleList(
            nn.Embedding(vocabulary_sizes[name] + 1, EMBEDDING_DIM[name]) for name in CATEGORICAL
        )
        inputs = len(NUMERIC) + sum(EMBEDDING_DIM.values())
        self.lower = nn.Sequential(nn.Linear(inputs, HIDDEN[0]), nn.ReLU())
        self.upper = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(HIDDEN[0], HIDDEN[1]), nn.ReLU(), nn.Linear(HIDDEN[1], 1)
        )
        nn.init.zeros_(self.wide.weight)

    def forward(self, rows: Encoded) -> Tensor:
        embedded = [
            embedding(rows.codes[:, place]) for place, embedding in enumerate(self.embeddings)
        ]
        deep = self.upper(self.lower(torch.cat([rows.numbers, *embedded], dim=1)))
        logit: Tensor = (deep + self.wide(rows.crosses)).squeeze(1)
        return logit


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A trained network with the encoder it was trained behind."""

    encoder: Encoder
    module: WideDeep
    epochs: int

    def score(self, features: pa.Table) -> FloatArray:
        """(n,) probability of being late."""
        self.module.eval()
        with torch.no_grad():
            scores: NDArray[np.float32] = torch.sigmoid(
                self.module(self.encoder.encode(features))
            ).numpy()
        return scores.astype(float)


def train_from_scratch(flights: Flights, *, seed: int = SEED) -> Network:
    """A network from nothing on these flights: the source's, or a domain's baseline."""
    encoder = Encoder.fit(flights.features)
    sizes = {name: len(words) for name, words in encoder.vocabulary.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = WideDeep(sizes)
        epochs = _fit(module, encoder, flights, rate=4e-3)
    return Network(encoder, module, epochs)


def warm_start(source: Network, flights: Flights, *, seed: int = SEED) -> Network:
    """The source's network fine-tuned on a domain: lower layer and embeddings stay as they are."""
    module = copy.deepcopy(source.module)
    for part in (module.embeddings, module.lower):
        part.requires_grad_(False)  # torch's own signature
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        epochs = _fit(module, source.encoder, flights, rate=1e-3)
    return Network(source.encoder, module, epochs)


def _fit(module: WideDeep, encoder: Encoder, flights: Flights, *, rate: float) -> int:
    """Adam on log loss until the held-out days have not improved for three epochs.

    Whole days are held out, every fifth: flights of one day share its weather and its queues,
    so a random fifth of rows would praise a network that only remembers days. Leaves the best
    epoch's weights in `module` and returns how many epochs were run. The start counts as an
    epoch, so that fine-tuning never ends worse than it began.
    """
    rows = encoder.encode(flights.features)
    target = torch.from_numpy(flights.late().astype(np.float32))
    is_held_out = torch.from_numpy(flights.ts_us // DAY_US % HOLD_OUT_EVERY == 0)
    held_out, train = torch.nonzero(is_held_out)[:, 0], torch.nonzero(~is_held_out)[:, 0]
    free = [weight for weight in module.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(free, lr=rate, weight_decay=WEIGHT_DECAY)
    loss_of = nn.BCEWithLogitsLoss()

    def held_out_loss() -> float:
        module.eval()
        with torch.no_grad():
            return float(loss_of(module(rows.take(held_out)), target[held_out]))

    best, best_loss, since_best = copy.deepcopy(module.state_dict()), held_out_loss(), 0
    epochs = 0
    while epochs < MAX_EPOCHS and since_best < PATIENCE_EPOCHS:
        epochs += 1
        module.train()
        for batch in torch.split(train[torch.randperm(len(train))], BATCH_ROWS):
            optimiser.zero_grad()
            loss_of(module(rows.take(batch)), target[batch]).backward()
            optimiser.step()
        loss = held_out_loss()
        if loss < best_loss:
            best, best_loss, since_best = copy.deepcopy(module.state_dict()), loss, 0
        else:
            since_best += 1
    module.load_state_dict(best)
    return epochs
