"""What a trained baseline says of rows: plain NumPy, so that a daemon scores without torch.

Wide: a weight for each bucket and each standardised number. Deep: embeddings of the buckets and
the numbers through two hidden layers. The logistic arm has the wide part only. After Cheng and
others (2016), *Wide & deep learning for recommender systems*, with hashed columns after
Weinberger and others (2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from detectors.records import FloatArray, Task
from detectors.transfer.scratch.features import BUCKETS, Buckets, Numbers

Z_LIMIT = 8.0


class Arm(StrEnum):
    """Which of the two models was better on the latest tenth of the rows."""

    LOGISTIC = "logistic"
    DEEP = "wide and deep"


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Weights of one arm. `members` are averaged, each a mapping of arrays by name."""

    task: Task
    arm: Arm
    centre: FloatArray
    scale: FloatArray
    target_mean: float
    target_sd: float
    members: tuple[Mapping[str, Any], ...]

    def predict(self, numeric: Numbers, bucket: Buckets) -> FloatArray:
        """Probabilities (n,) of label 1, or values (n,) for regression."""
        inputs = standardised(numeric, self.centre, self.scale)
        raw = np.mean([_forward(m, inputs, bucket) for m in self.members], axis=0)
        if self.task is Task.REGRESSION:
            return np.asarray(self.target_mean + self.target_sd * raw)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(raw, -30.0, 30.0))))


def standardised(numeric: Numbers, centre: FloatArray, scale: FloatArray) -> FloatArray:
    """Inputs (n, 2p): standardised numbers, 0 where null, and a flag for null."""
    z = np.clip((numeric.astype(np.float64) - centre) / scale, -Z_LIMIT, Z_LIMIT)
    null = np.isnan(z)
    return np.hstack([np.where(null, 0.0, z), null.astype(np.float64)])


def offsets(columns: int) -> Buckets:
    """Where each column's buckets begin in one table of all columns."""
    return np.arange(columns, dtype=np.int32) * np.int32(BUCKETS + 1)


def _forward(member: Mapping[str, Any], inputs: FloatArray, bucket: Buckets) -> FloatArray:
    places = bucket + offsets(bucket.shape[1])
    said = inputs @ member["wide"].astype(np.float64) + float(member["bias"][0])
    said = said + member["table"].astype(np.float64)[places].sum(axis=1)
    if "embedding" not in member:
        return np.asarray(said)
    embedded = member["embedding"].astype(np.float64)[places].reshape(len(bucket), -1)
    hidden = np.hstack([inputs, embedded])
    for layer in ("1", "2"):
        hidden = hidden @ member[f"weight{layer}"].astype(np.float64).T + member[f"bias{layer}"]
        hidden = np.maximum(hidden, 0.0)
    return np.asarray(said + hidden @ member["weight3"][0].astype(np.float64))
