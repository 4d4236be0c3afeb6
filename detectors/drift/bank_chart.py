"""One stream of a bank as a named detector: the same kernel, a memory of one row."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from detectors.drift.banks import LEARN, learning_bank
from detectors.drift.vector_state import VectorState
from detectors.records import BoolArray, FloatArray


class BankChart(ABC):
    """What CUSUM, EWMA and Page-Hinkley share; each names its width and its kernel."""

    __slots__ = ()

    @abstractmethod
    def width(self) -> int:
        """How many numbers a stream's memory takes."""

    @abstractmethod
    def bank(self, memory: FloatArray, values: FloatArray, limits: FloatArray) -> BoolArray:
        """Alarms (T, K) of many streams; changes `memory` (K, m), limits (K,)."""

    @abstractmethod
    def limit(self) -> float:
        """Where the kernel fires."""

    def started(self, reference: FloatArray) -> FloatArray:
        """A memory (1, m); a reference of LEARN ticks or more is the level 0 it stands for."""
        memory = learning_bank(1, self.width())
        seen = min(len(reference), LEARN)
        memory[0, 0] = seen
        memory[0, 1] = float(reference.mean()) if 0 < len(reference) < LEARN else 0.0
        return memory

    def start(self, reference: FloatArray) -> VectorState:
        return VectorState(tuple(self.started(reference)[0].tolist()))

    def step(self, state: VectorState, value: float) -> tuple[VectorState, bool]:
        memory = np.array(state.values or (0.0,) * self.width()).reshape(1, -1)
        fired = self.bank(memory, np.array([[value]]), np.array([self.limit()]))
        return VectorState(tuple(memory[0].tolist())), bool(fired[0, 0])

    def alarms(self, reference: FloatArray, path: FloatArray) -> int:
        """How often it fires on a path (T,), as stepping through it would."""
        memory = self.started(reference)
        fired = self.bank(memory, path.reshape(-1, 1), np.array([self.limit()]))
        return int(fired.sum())
