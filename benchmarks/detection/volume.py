"""How often is a change of volume told where there is none, and how soon where there is one?

    python -m benchmarks.detection.volume --runs 300

Days of rows as a feed sends them, 28 for the reference and 180 judged. The scatter of days is that
of a log-normal variable with memory from day to day, on top of chance; one feed has a tenth of its
rows at weekends, and two grow. Told are tickets as `rows.volume` files them, within a budget of one
in 30 days; of a change from the tenth day on, the share told within 14 days and the median delay.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from detectors.evidence.bank import advance_block
from detectors.records import DAY_US, FloatArray, Settings
from detectors.volume import Days, fit_volume_ruler, volume_statistics
from monitor.watching.volume_watch import primed_on_days

REFERENCE, LIVE = 28, 180
CHANGED_AT = 10
MONDAY_US = 20_003 * DAY_US


@dataclass(frozen=True)
class World:
    name: str
    rows: float = 400.0
    scatter: float = 0.0
    memory: float = 0.0
    weekend: float = 1.0
    growth_a_month: float = 0.0


WORLDS = (
    World("by chance alone"),
    World("20 rows a day", rows=20.0),
    World("scatter 20 %", scatter=0.2),
    World("scatter 40 %", scatter=0.4),
    World("scatter 40 %, memory .7", scatter=0.4, memory=0.7),
    World("scatter 60 %, memory .9", scatter=0.6, memory=0.9),
    World("a tenth at weekends", scatter=0.2, weekend=0.1),
    World("grows by 10 % a month", scatter=0.2, growth_a_month=0.1),
    World("grows by 30 % a month", scatter=0.2, growth_a_month=0.3),
)
CHANGES = (1 / 12, 1 / 6, 1 / 3, 0.45, 0.55, 1.8, 2.2, 3.0, 6.0)


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--runs", type=int, default=300)
    runs = ask.parse_args().runs
    print(f"| feed | tickets / 30 d | {' | '.join(f'× {c:.2g}' for c in CHANGES)} |")
    print(f"|---|---|{'---|' * len(CHANGES)}")
    for world in WORLDS:
        calm = sum(len(tickets(world, 1.0, seed)) for seed in range(runs))
        rate = 30.0 / (runs * LIVE)
        said = [f"{calm * rate:.3f} ± {np.sqrt(max(calm, 1)) * rate:.3f}"]
        for change in CHANGES:
            first = []
            for seed in range(runs // 3):
                late = [day for day in tickets(world, change, seed) if day >= CHANGED_AT]
                first.append(min(late, default=LIVE) - CHANGED_AT + 1)
            soon = float(np.mean(np.array(first) <= 14))
            said.append(f"{soon:.2f}, {np.median(first):.0f} d" if soon >= 0.5 else f"{soon:.2f}")
        print(f"| {world.name} | {' | '.join(said)} |", flush=True)


def tickets(world: World, change: float, seed: int) -> list[int]:
    """The judged days (0 is the first) that end with a ticket."""
    days = drawn(world, change, seed)
    before = slice(REFERENCE)
    reference = Days(days.starts_us[before], days.weight[before], days.weight2[before])
    ruler = fit_volume_ruler(reference)
    assert ruler is not None
    bank, _ = primed_on_days(reference, ruler, Settings())
    y, v = (part[REFERENCE:, None] for part in volume_statistics(days, ruler))
    return [tick for tick, _ in advance_block(bank, days.starts_us[REFERENCE:], y, v)[1]]


def drawn(world: World, change: float, seed: int) -> Days:
    """Rows of every day."""
    rng = np.random.default_rng([seed, int(1000 * change)])
    total = REFERENCE + LIVE
    noise = np.empty(total)
    noise[0] = rng.normal()
    for at in range(1, total):
        fresh = np.sqrt(1 - world.memory**2) * rng.normal()
        noise[at] = world.memory * noise[at - 1] + fresh
    day = np.arange(total, dtype=np.int64)
    usual: FloatArray = world.rows * np.exp(world.scatter * noise)
    usual *= np.where(day % 7 >= 5, world.weekend, 1.0)
    usual *= (1.0 + world.growth_a_month) ** (day / 30)
    usual[REFERENCE + CHANGED_AT :] *= change
    rows = rng.poisson(usual).astype(np.float64)
    return Days(MONDAY_US + day * DAY_US, rows, rows)


if __name__ == "__main__":
    main()
