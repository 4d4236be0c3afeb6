"""How soon a change is seen when every detector has the same run length without one.

    python -m benchmarks.detection.delay [--streams 80] [--family AR] [--only evidence,CUSUM]
        [--small]

Rows, not ticks: N(0,1), Bernoulli(.1) and an AR(1) of φ .5 and variance 1. The knob of every
detector is solved by bisection on null streams of its own until a false alarm comes every 10⁴ rows
on average (all rows watched over all alarms, streams cut at 22,000 rows). Then, on other streams,
the level moves at row 2,000. Streams that alarmed before do not count; a miss counts as 20,000.

Cells: mean delay ± standard error, median in brackets; % missed where any is. `ARL` is the run
length that was realised: the knob of some cannot reach 10⁴. ADWIN, HDDM_A, HDDM_W and DDM are
river's code; CUSUM and Page-Hinkley the banks of `detectors/drift/banks.py`; KSWIN the twin of
river's in `detectors/drift/named/kswin.py`. "evidence, known reference" is Kedge's bet without its
filter: t5 ratios, binomial ratios for Bernoulli rows. "engine, 5,000 rows" is the whole engine with
ticks of one row after a reference of 5,000: it whitens, and it goes on learning the level.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import lfilter

from detectors.drift.banks import (
    CUSUM_WIDTH,
    PAGE_HINKLEY_WIDTH,
    learning_bank,
    start_bank,
    step_cusum,
    step_page_hinkley,
)
from detectors.drift.named.kswin import ks_distance, sample
from detectors.evidence.budget import pace_of
from detectors.evidence.design import Design
from detectors.evidence.filter import follow, inject, student_t_evalue
from detectors.evidence.grids import ALTERNATIVES, LASTING, STAKES
from detectors.evidence.reference import learn_reference, ticks_from
from detectors.evidence.state import Betting
from detectors.kernels import njit
from detectors.records import FloatArray, IntArray

CHANGE_AT, CAP = 2_000, 20_000
REFERENCE_ROWS = 5_000
GATE = LASTING.gate * 0.0**LASTING.gate_power
"""The gate of rows without memory."""
RATE = 0.1
HALVINGS = 9
BINOMIAL_SHIFTS = np.array([0.2, 0.45, 0.9, 1.5, -0.2, -0.45, -0.9, -1.5])
First = Callable[[FloatArray, float], IntArray]
"""Paths (N, T) and a knob → the row of the first alarm of each (N,), T where there is none."""


@dataclass(frozen=True, slots=True)
class Family:
    """A null, and the sizes of change that are tried on it."""

    name: str
    sizes: tuple[float, ...]


FAMILIES = (
    Family("N(0,1)", (0.1, 0.3, 1.0)),
    Family("Bernoulli(.1)", (0.12, 0.15, 0.30)),
    Family("AR(.5)", (0.2, 0.5, 1.0)),
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A detector: its knob is solved between `quiet` and `loud`, on a log scale."""

    name: str
    first: First
    quiet: float
    loud: float
    families: tuple[str, ...] = ("N(0,1)", "Bernoulli(.1)", "AR(.5)")
    streams: float = 1.0


def noise(family: Family, rng: np.random.Generator, streams: int, rows: int) -> FloatArray:
    """Null paths (N, T); uniforms where the family is Bernoulli."""
    if family.name.startswith("Bern"):
        return rng.random((streams, rows))
    shocks = rng.normal(size=(streams, rows + 100))
    phi = 0.5 if family.name.startswith("AR") else 0.0
    return np.ascontiguousarray(
        lfilter([math.sqrt(1 - phi**2)], [1.0, -phi], shocks, axis=1)[:, 100:]
    )


def rows_of(family: Family, drawn: FloatArray, size: float | None, at: int) -> FloatArray:
    """Noise becomes rows, changed from `at` on by `size` (the new rate, or a step in sd)."""
    if family.name.startswith("Bern"):
        rate = np.full(drawn.shape[1], RATE)
        if size is not None:
            rate[at:] = size
        return (drawn < rate).astype(np.float64)
    moved = drawn.copy()
    if size is not None:
        moved[:, at:] += size
    return moved


@njit(cache=True, nogil=True)
def _evidence(z, threshold, gate, shifts, stakes):  # type: ignore[no-untyped-def]
    count = shifts.shape[0]
    wealth = np.zeros(count)
    for t in range(z.shape[0]):
        total = 0.0
        for j in range(count):
            evalue = student_t_evalue(z[t], shifts[j], gate)
            wealth[j] = inject(wealth[j], stakes[j], evalue)
            total += wealth[j]
        if total >= threshold:
            return t
    return z.shape[0]


@njit(cache=True, nogil=True)
def _binomial_evidence(x, threshold, rate, gate, shifts):  # type: ignore[no-untyped-def]
    count = shifts.shape[0]
    wealth = np.zeros(count)
    centre = math.log(rate / (1 - rate))
    one, zero = np.empty(count), np.empty(count)
    for j in range(count):
        null = centre + (gate if shifts[j] > 0 else -gate)
        other = centre + shifts[j]
        zero[j] = (1.0 + math.exp(null)) / (1.0 + math.exp(other))
        one[j] = zero[j] * math.exp(other - null)
    for t in range(x.shape[0]):
        total = 0.0
        for j in range(count):
            evalue = one[j] if x[t] > 0.5 else zero[j]
            wealth[j] = inject(wealth[j], 1.0 / count, evalue)
            total += wealth[j]
        if total >= threshold:
            return t
    return x.shape[0]


@njit(cache=True, nogil=True)
def _kswin(x, least, size, newest):  # type: ignore[no-untyped-def]
    for t in range(size - 1, x.shape[0]):
        window = x[t - size + 1 : t + 1]
        drawn = sample(0, t, size - newest, newest)
        if ks_distance(window[drawn], window[size - newest :]) >= least - 1e-9:
            return t
    return x.shape[0]


def evidence(paths: FloatArray, threshold: float) -> IntArray:
    if set(np.unique(paths[:1, :100])) <= {0.0, 1.0}:
        return np.array(
            [_binomial_evidence(p, threshold, RATE, GATE, BINOMIAL_SHIFTS) for p in paths]
        )
    return np.array([_evidence(p, threshold, GATE, ALTERNATIVES, STAKES) for p in paths])


def kswin(paths: FloatArray, least: float) -> IntArray:
    return np.array([_kswin(p, least, 100, 30) for p in paths])


def cusum(allowance_sd: float) -> First:
    def first(paths: FloatArray, limit: float) -> IntArray:
        streams = len(paths)
        memory, values = start_bank(streams, CUSUM_WIDTH), _standard(paths).T
        limits = np.full(streams, limit)
        return _first(step_cusum(memory, values, limits, allowance=allowance_sd))

    return first


def page_hinkley(paths: FloatArray, limit: float) -> IntArray:
    streams = len(paths)
    memory, limits = learning_bank(streams, PAGE_HINKLEY_WIDTH), np.full(streams, limit)
    return _first(step_page_hinkley(memory, _standard(paths).T, limits, delta=0.005))


def river(make: Callable[[float], Any]) -> First:
    """First alarms of a detector of river, fed one row at a time."""

    def first(paths: FloatArray, knob: float) -> IntArray:
        found = []
        for path in paths:
            chart, at = make(knob), len(path)
            update = chart.update
            for t, value in enumerate(path.tolist()):
                update(value)
                if chart.drift_detected:
                    at = t
                    break
            found.append(at)
        return np.array(found)

    return first


def contestants() -> tuple[Contestant, ...]:
    from river.drift import ADWIN
    from river.drift.binary import DDM, HDDMA, HDDMW

    bern = ("Bernoulli(.1)",)
    adwin: Callable[..., Any] = ADWIN
    hddm_a: Callable[..., Any] = HDDMA
    hddm_w: Callable[..., Any] = HDDMW
    return (
        Contestant("evidence, known reference", evidence, 1e9, 50.0),
        Contestant("CUSUM k = .1 sd", cusum(0.1), 300.0, 2.0),
        Contestant("CUSUM k = .25 sd", cusum(0.25), 300.0, 2.0),
        Contestant("Page-Hinkley δ = .005 sd", page_hinkley, 900.0, 8.0),
        Contestant("ADWIN, clock 1", river(lambda d: adwin(delta=d, clock=1)), 1e-9, 0.99),
        Contestant("ADWIN, clock 32", river(lambda d: adwin(delta=d, clock=32)), 1e-9, 0.99),
        Contestant("KSWIN 100/30", kswin, 1.0, 0.3, ("N(0,1)", "AR(.5)"), 0.4),
        Contestant("HDDM_A", river(lambda c: hddm_a(c, c)), 1e-9, 0.99, bern, 0.6),
        Contestant("HDDM_W", river(lambda c: hddm_w(c, c)), 1e-9, 0.99, bern, 0.6),
        Contestant("DDM", river(lambda k: DDM(30, k, k)), 12.0, 0.8, bern, 0.6),
    )


def run_length(first: IntArray, rows: int) -> float:
    """All rows watched over all alarms; infinite without one."""
    alarms = int((first < rows).sum())
    return float(np.minimum(first + 1, rows).sum()) / alarms if alarms else math.inf


def solve(one: Contestant, null: FloatArray, target: float) -> tuple[float, float]:
    """The knob whose run length is nearest above the target where one is; and that length."""
    quiet, loud = math.log(one.quiet), math.log(one.loud)
    best = (one.quiet, run_length(one.first(null, one.quiet), null.shape[1]))
    for _ in range(HALVINGS):
        middle = (quiet + loud) / 2
        length = run_length(one.first(null, math.exp(middle)), null.shape[1])
        if abs(math.log(length / target)) < abs(math.log(best[1] / target)):
            best = (math.exp(middle), length)
        if length >= target:
            quiet = middle
        else:
            loud = middle
    return best


def cell(first: IntArray) -> str:
    """Delay in words; first alarms (N,) on paths that changed at row 2,000."""
    late = first[first >= CHANGE_AT]
    if not len(late):
        return "all before"
    delay = np.minimum(late - CHANGE_AT + 1, CAP).astype(np.float64)
    error = delay.std(ddof=1) / math.sqrt(len(delay)) if len(delay) > 1 else math.nan
    missed = float((delay >= CAP).mean())
    lost = f" {missed:.0%} missed" if missed else ""
    return f"{delay.mean():.0f} ± {error:.0f} ({np.median(delay):.0f}){lost}"


def engine(family: Family, streams: int, target: float, seed: int) -> tuple[float, list[str]]:
    """The whole engine: fitted on 5,000 rows, then followed; threshold solved on other streams."""
    rows, design = CHANGE_AT + CAP, Design(0)
    pace = pace_of(design)

    def wealth_of(rng: np.random.Generator, sizes: tuple[float | None, ...]) -> list[FloatArray]:
        drawn = noise(family, rng, streams, REFERENCE_ROWS + rows).T
        cut, ones = REFERENCE_ROWS, np.ones((REFERENCE_ROWS, streams))
        hours = np.arange(len(drawn), dtype=np.int64) * 3_600_000_000
        learnt = learn_reference(
            design,
            ticks_from(design, hours[:cut], drawn[:cut], ones),
            pace=pace,
            delta_min=np.zeros(streams),
            scale_floor=0.3,
        )
        found = []
        for size in sizes:
            y = rows_of(family, drawn.T, size, cut + CHANGE_AT).T[cut:]
            ticks = ticks_from(design, hours[cut:], y, np.ones_like(y), count_before=cut)
            plan = Betting(
                weight=np.ones(streams),
                threshold=np.full(streams, 1e12),
                tier=np.zeros(streams, np.int64),
                share=np.ones((len(y), 2)),
            )
            wealth = np.zeros(y.shape)
            follow(learnt.state.copy(), ticks, plan, pace, wealth=wealth)
            found.append(wealth)
        return found

    (null,) = wealth_of(np.random.default_rng([seed, 31]), (None,))
    levels = np.exp(np.linspace(math.log(1e2), math.log(1e7), 200))
    lengths = [run_length(_first(null >= level), rows) for level in levels]
    place = int(np.argmin(np.abs(np.log(np.array(lengths) / target))))
    changed = wealth_of(np.random.default_rng([seed, 32]), family.sizes)
    return lengths[place], [cell(_first(wealth >= levels[place])) for wealth in changed]


def _standard(paths: FloatArray) -> FloatArray:
    """Rows in sd from the known level."""
    if set(np.unique(paths[:1, :100])) <= {0.0, 1.0}:
        return (paths - RATE) / math.sqrt(RATE * (1 - RATE))
    return paths


def _first(fired: np.ndarray[Any, Any]) -> IntArray:
    """First True (N,) down each column (T, N), T where there is none."""
    return np.where(fired.any(axis=0), fired.argmax(axis=0), len(fired))


def table(streams: int, target: float, seed: int, only: set[str], wanted: str = "") -> None:
    rows = CHANGE_AT + CAP
    for place, family in enumerate(FAMILIES):
        if not family.name.startswith(wanted):
            continue
        sizes = "".join(f"{size:>26g}" for size in family.sizes)
        sys.stdout.write(f"\n{family.name:28}{'ARL':>8}{sizes}\n")
        for one in contestants():
            if family.name not in one.families or (only and one.name not in only):
                continue
            count = max(10, round(streams * one.streams))
            rng = np.random.default_rng([seed, place, 1])
            null = rows_of(family, noise(family, rng, count, rows), None, rows)
            knob, length = solve(one, null, target)
            drawn = noise(family, np.random.default_rng([seed, place, 2]), count, rows)
            cells = [
                cell(one.first(rows_of(family, drawn, size, CHANGE_AT), knob))
                for size in family.sizes
            ]
            said = "".join(f"{text:>26}" for text in cells)
            sys.stdout.write(f"{one.name:28}{length:>8.0f}{said}   knob {knob:.3g}\n")
            sys.stdout.flush()
        if not family.name.startswith("Bern") and not only:
            length, cells = engine(family, max(10, streams // 2), target, seed)
            said = "".join(f"{text:>26}" for text in cells)
            sys.stdout.write(f"{'engine, 5,000 rows':28}{length:>8.0f}{said}\n")
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--run-length", type=float, default=10_000.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", default="", help="N, Bernoulli or AR")
    parser.add_argument("--only", default="", help="beginnings of contestants' names, by comma")
    parser.add_argument(
        "--small", action="store_true", help="20 streams, run length 5,000, two detectors"
    )
    given = parser.parse_args()
    only = {"evidence, known reference", "CUSUM k = .25 sd"} if given.small else set()
    if given.only:
        starts = tuple(given.only.split(","))
        only = {one.name for one in contestants() if one.name.startswith(starts)}
    if given.small:
        table(20, 5_000.0, given.seed, only)
    else:
        table(given.streams, given.run_length, given.seed, only, given.family)


if __name__ == "__main__":
    main()
