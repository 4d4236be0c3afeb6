"""CUSUM, EWMA and Page-Hinkley charts for many streams at once.

A bank is an array of memories (K, m), one row a stream, changed in place by a kernel that reads
ticks (T, K). NaN is a tick without data and changes nothing. Values are standardised by the
reference. After an alarm a chart starts again and learns the level it finds, so that one change
is one alarm: the mean of the next LEARN ticks, in which it cannot fire (as a self-starting chart
does, Hawkins 1987).
"""

from __future__ import annotations

import math

import numpy as np

from detectors.kernels import njit
from detectors.records import BoolArray, FloatArray

LEARN = 20
CUSUM_WIDTH = 4
EWMA_WIDTH = 3
PAGE_HINKLEY_WIDTH = 6


def start_bank(streams: int, width: int) -> FloatArray:
    """Memories (K, m) of charts that know their reference: level 0, nothing left to learn."""
    memory = np.zeros((streams, width))
    memory[:, 0] = LEARN
    return memory


def learning_bank(streams: int, width: int) -> FloatArray:
    """Memories (K, m) of charts that have no reference, as after an alarm."""
    return np.zeros((streams, width))


def step_cusum(
    memory: FloatArray, values: FloatArray, limits: FloatArray, *, allowance: float
) -> BoolArray:
    """Alarms (T, K) of two-sided CUSUM charts (Page 1954); limits (K,) in sd.

    A memory is (ticks learnt, level, upper sum, lower sum); a sum takes what exceeds the level by
    more than `allowance` sd and never falls below 0.
    """
    fired: BoolArray = _cusum(memory, np.ascontiguousarray(values), limits, allowance)
    return fired


def step_ewma(
    memory: FloatArray, values: FloatArray, limits: FloatArray, *, weight: float
) -> BoolArray:
    """Alarms (T, K) of EWMA charts (Roberts 1959); limits (K,) in sd of the settled average.

    A memory is (ticks learnt, level, average).
    """
    settled = math.sqrt(weight / (2.0 - weight))
    fired: BoolArray = _ewma(memory, np.ascontiguousarray(values), limits * settled, weight)
    return fired


def step_page_hinkley(
    memory: FloatArray, values: FloatArray, limits: FloatArray, *, delta: float
) -> BoolArray:
    """Alarms (T, K) of two-sided Page-Hinkley charts (Mouss et al. 2004); limits (K,) in sd.

    A memory is (ticks learnt, running mean, rising sum, its lowest, falling sum, its highest). The
    sums take each value less the running mean, less `delta` on the rising side and plus it on the
    falling one. A chart that knows its reference counts it as LEARN ticks of level 0.
    """
    fired: BoolArray = _page_hinkley(memory, np.ascontiguousarray(values), limits, delta)
    return fired


@njit(cache=True, nogil=True)
def _cusum(memory, values, limits, allowance):  # type: ignore[no-untyped-def]
    ticks, streams = values.shape
    fired = np.zeros((ticks, streams), np.bool_)
    for t in range(ticks):
        for k in range(streams):
            x = values[t, k]
            if not math.isfinite(x):
                continue
            m = memory[k]
            if m[0] < LEARN:
                m[0] += 1.0
                m[1] += (x - m[1]) / m[0]
                continue
            m[2] = max(0.0, m[2] + x - m[1] - allowance)
            m[3] = max(0.0, m[3] - x + m[1] - allowance)
            if m[2] > limits[k] or m[3] > limits[k]:
                fired[t, k] = True
                m[:] = 0.0
    return fired


@njit(cache=True, nogil=True)
def _ewma(memory, values, limits, weight):  # type: ignore[no-untyped-def]
    ticks, streams = values.shape
    fired = np.zeros((ticks, streams), np.bool_)
    for t in range(ticks):
        for k in range(streams):
            x = values[t, k]
            if not math.isfinite(x):
                continue
            m = memory[k]
            if m[0] < LEARN:
                m[0] += 1.0
                m[1] += (x - m[1]) / m[0]
                continue
            m[2] += weight * (x - m[1] - m[2])
            if abs(m[2]) > limits[k]:
                fired[t, k] = True
                m[:] = 0.0
    return fired


@njit(cache=True, nogil=True)
def _page_hinkley(memory, values, limits, delta):  # type: ignore[no-untyped-def]
    ticks, streams = values.shape
    fired = np.zeros((ticks, streams), np.bool_)
    for t in range(ticks):
        for k in range(streams):
            x = values[t, k]
            if not math.isfinite(x):
                continue
            m = memory[k]
            m[0] += 1.0
            m[1] += (x - m[1]) / m[0]
            if m[0] <= LEARN:
                continue
            m[2] += x - m[1] - delta
            m[3] = min(m[3], m[2])
            m[4] += x - m[1] + delta
            m[5] = max(m[5], m[4])
            if m[2] - m[3] > limits[k] or m[5] - m[4] > limits[k]:
                fired[t, k] = True
                m[:] = 0.0
    return fired
