"""What evidence costs: a tick of many streams, the memory of a stream, the fit of a reference.

    python benchmarks/detection/cost.py --streams 10000

CPU time of one process on one core. A tick is `advance` as the daemon calls it, with the copy that
leaves the old bank valid, past the last scheduled fit; the median of `--repeats` calls. Memory is
what a stream's filter holds between ticks (`FilterState.bytes_per_stream`). A fit is `prime` on 28
days, per stream, learning memory, season and scale.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np

from detectors.evidence.bank import Bank, advance, prime, start_bank
from detectors.evidence.state import FilterState
from detectors.records import DAY_US, HOUR_US, Budget, Stream, StreamSpec, Tier

FITTED = 20
REFERENCE_DAYS = 28
SETTLED_US = 60 * DAY_US
NAMES = {HOUR_US: "1 h", 6 * HOUR_US: "6 h", DAY_US: "1 d"}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one tick length: ms a tick of all streams, bytes of a stream, ms of a stream's fit."""

    tick_ms: float
    stream_bytes: float
    fit_ms: float


def specs(count: int) -> tuple[StreamSpec, ...]:
    names = (Stream("column", "location", Tier.TICKET, f"c{k}") for k in range(count))
    return tuple(StreamSpec(name, 1.0 / count, 0.1) for name in names)


def fitted(tick_us: int, rng: np.random.Generator) -> tuple[Bank, float]:
    """A primed bank of a few streams, and the milliseconds of the fit of one."""
    ticks = REFERENCE_DAYS * DAY_US // tick_us
    starts = np.arange(ticks, dtype=np.int64) * tick_us
    y = rng.normal(0.0, 0.1, (ticks, FITTED))
    v = np.full((ticks, FITTED), 0.01)
    bank = start_bank(specs(FITTED), tick_us=tick_us, budget=Budget())
    prime(bank, starts[: len(starts) // 2], y[: len(y) // 2], v[: len(v) // 2])  # compiles
    began = time.process_time()
    bank = prime(bank, starts, y, v)
    return bank, 1000 * (time.process_time() - began) / FITTED


def widened(bank: Bank, streams: int) -> Bank:
    """The fitted streams repeated until there are `streams`, past the last scheduled fit."""
    assert bank.state is not None
    times = -(-streams // FITTED)
    arrays = {
        name: np.concatenate([array] * times)[:streams]
        for name, array in bank.state.arrays().items()
    }
    empty = start_bank(specs(streams), tick_us=bank.tick_us, budget=bank.budget)
    return replace(
        empty,
        ticks=bank.ticks,
        live=True,
        first_us=0,
        until_us=SETTLED_US,
        last_start_us=SETTLED_US - bank.tick_us,
        state=FilterState(**arrays),
        phi_weights=np.concatenate([bank.phi_weights] * times)[:streams],
    )


def cost_of(tick_us: int, *, streams: int, repeats: int, seed: int) -> Cost:
    rng = np.random.default_rng(seed)
    small, fit_ms = fitted(tick_us, rng)
    bank = widened(small, streams)
    v = np.full(streams, 0.01)
    took = []
    for tick in range(repeats + 2):
        y = rng.normal(0.0, 0.1, streams)
        began = time.process_time()
        bank, _ = advance(bank, SETTLED_US + tick * tick_us, y, v)
        took.append(1000 * (time.process_time() - began))
    assert bank.state is not None
    return Cost(float(np.median(took[2:])), bank.state.bytes_per_stream, fit_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("tick   ms / tick   bytes / stream   ms / stream fitted")
    for tick_us, name in NAMES.items():
        cost = cost_of(tick_us, streams=asked.streams, repeats=asked.repeats, seed=asked.seed)
        print(f"{name}  {cost.tick_ms:10.1f}  {cost.stream_bytes:15,.0f}  {cost.fit_ms:19.1f}")


if __name__ == "__main__":
    main()
