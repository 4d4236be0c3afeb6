"""The production simulator under Kedge and under the daily rules that its peers ship.

    python -m benchmarks.detection.production [--runs 12] [--phi .6 .9] [--small]
        [--peers DIR] [--histories 1]

The same histories (`simulator.py`: 50 rate streams, 28-day reference, 17 days followed) under
Kedge's budget of 1 page / 30 d and under rules that compare each day with the reference, column by
column: a χ² test at .05, the same with Bonferroni over the columns, PSI over .1 and .2,
Jensen-Shannon distance over .1, and the daily mean outside mean ± 3 sd of the reference days.

Columns: false alarms per 30 days ± standard error (a column-day of a peer, a page of Kedge); days
of 30 with any; for each odds ratio the mean hours until the first alarm of a changed stream, a
miss counted as what was left of the 17 days, and the share missed. A daily rule speaks at midnight.

With --peers DIR the days of --histories of 10 columns (φ = .6) are also given to Evidently's and
NannyML's own code, which runs in `DIR/evidently/bin/python` and `DIR/nannyml/bin/python` where
those exist, beside Kedge and the rules above on the same histories; --runs 0 for this alone. Where
the odds change, they get the columns that change: they judge column by column. The last figure
is seconds of processor for one column-day of a peer, its imports left out. The table is printed
anew after each history:

    python -m venv DIR/evidently && DIR/evidently/bin/pip install evidently 'pandas<3' pyarrow
    python -m venv DIR/nannyml
    DIR/nannyml/bin/pip install nannyml statsmodels 'pandas<3' 's3fs>=2025' 'gcsfs>=2025'

Evidently 0.7.23 does not start with pandas 3; NannyML 0.13.1 needs statsmodels and does not say so.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import rel_entr
from scipy.stats import chi2

from benchmarks.detection.no_change import LEFT_HOURS, PERIOD_HOURS, delays, follow
from benchmarks.detection.simulator import (
    CHANGE_AT,
    CHANGED,
    FOLLOWED_HOURS,
    Counts,
    Run,
    World,
    draw,
    mean_error,
    primed,
    rate_of,
)
from detectors.records import BoolArray, FloatArray

ODDS = (1.11, 1.22, 1.65)
CHANGED_DAY = CHANGE_AT // 24
DAY_ROWS = 24_000
PEERS = ("evidently", "nannyml")
Rule = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], BoolArray]


def by_day(counts: Counts) -> tuple[FloatArray, FloatArray]:
    """Successes (D, K) and rows (D, 1) of whole days."""
    days = len(counts.rows) // 24
    hits = counts.successes.reshape(days, 24, -1).sum(axis=1).astype(np.float64)
    return hits, counts.rows.reshape(days, 24).sum(axis=1)[:, None].astype(np.float64)


def chi_square(x: FloatArray, n: FloatArray, day_x: FloatArray, day_n: FloatArray) -> FloatArray:
    """p-value (D, K) of the 2 × 2 table of each day against the pooled reference."""
    a, b = x.sum(axis=0), n.sum()
    pooled = (a + day_x) / (b + day_n)
    variance = pooled * (1 - pooled) * (1 / b + 1 / day_n)
    z2 = (day_x / day_n - a / b) ** 2 / np.maximum(variance, 1e-15)
    return np.asarray(chi2.sf(z2, 1), np.float64)


def psi(x: FloatArray, n: FloatArray, day_x: FloatArray, day_n: FloatArray) -> FloatArray:
    p, q = _shares(x, n, day_x, day_n)
    return np.asarray((q - p) * np.log(q / p) + (p - q) * np.log((1 - q) / (1 - p)))


def jensen_shannon(x: FloatArray, n: FloatArray, dx: FloatArray, dn: FloatArray) -> FloatArray:
    p, q = _shares(x, n, dx, dn)
    total = np.zeros_like(q)
    for one, two in ((p, q), (1 - p, 1 - q)):
        middle = (one + two) / 2
        total += (rel_entr(one, middle) + rel_entr(two, middle)) / 2
    return np.sqrt(np.maximum(total, 0.0) / math.log(2))


def three_sd(x: FloatArray, n: FloatArray, day_x: FloatArray, day_n: FloatArray) -> BoolArray:
    rates = x / n
    centre, spread = rates.mean(axis=0), rates.std(axis=0, ddof=1)
    return np.asarray(np.abs(day_x / day_n - centre) > 3 * spread)


def _shares(
    x: FloatArray, n: FloatArray, dx: FloatArray, dn: FloatArray
) -> tuple[FloatArray, FloatArray]:
    return (x.sum(axis=0) + 0.5) / (n.sum() + 1.0), (dx + 0.5) / (dn + 1.0)


RULES: dict[str, Rule] = {
    "χ², p < .05": lambda *a: chi_square(*a) < 0.05,
    "χ², Bonferroni over columns": lambda *a: chi_square(*a) < 0.05 / a[0].shape[1],
    "PSI > .1": lambda *a: psi(*a) > 0.1,
    "PSI > .2": lambda *a: psi(*a) > 0.2,
    "Jensen-Shannon > .1": lambda *a: jensen_shannon(*a) > 0.1,
    "daily mean ± 3 sd": three_sd,
}


def daily_delays(alarms: BoolArray) -> list[float]:
    """Hours (changed,) to the end of the first alarming day; NaN if it alarmed before."""
    result = []
    for stream in range(CHANGED):
        days = np.flatnonzero(alarms[:, stream])
        if days.size and days[0] < CHANGED_DAY:
            result.append(math.nan)
        else:
            result.append(24.0 * (days[0] - CHANGED_DAY + 1) if days.size else LEFT_HOURS)
    return result


def table(world: World, runs: int, seed: int) -> None:
    periods = FOLLOWED_HOURS / PERIOD_HOURS
    names = ["Kedge, 1 page / 30 d", *RULES]
    false: dict[str, list[float]] = {name: [] for name in names}
    noisy: dict[str, list[float]] = {name: [] for name in names}
    waited: dict[str, dict[float, list[FloatArray]]] = {
        name: {ratio: [] for ratio in ODDS} for name in names
    }
    for number in range(runs):
        run = draw(world, (seed, 500, int(world.phi * 1000), number))
        bank = primed(run)
        days = world.reference_days
        for ratio in (1.0, *ODDS):
            hits, rows = by_day(run.counts(ratio))
            parts = hits[:days], rows[:days], hits[days:], rows[days:]
            spoken = {name: rule(*parts) for name, rule in RULES.items()}
            pages = follow(bank, run, ratio)
            if ratio == 1.0:
                false[names[0]].append(len(pages))
                noisy[names[0]].append(len({tick // 24 for tick, _ in pages}))
                for name, alarms in spoken.items():
                    false[name].append(float(alarms.sum()))
                    noisy[name].append(float(alarms.any(axis=1).sum()))
                continue
            waited[names[0]][ratio].append(np.array(delays(pages, CHANGED)))
            for name, alarms in spoken.items():
                waited[name][ratio].append(np.array(daily_delays(alarms)))
    sys.stdout.write(f"\nφ = {world.phi:g}, {runs} runs\n")
    for name in names:
        rate = rate_of(np.array(false[name]), periods)
        text = f"{name:30}{rate.mean:>9.2f} ± {rate.error:<6.2f}"
        text += f"{np.mean(noisy[name]) / periods:>6.1f} days"
        for ratio, seen in waited[name].items():
            together = np.concatenate(seen)
            together = together[np.isfinite(together)]
            if not len(together):
                text += f"  ×{ratio:g}: alarmed before"
                continue
            mean, error = mean_error(
                np.array([np.nanmean(w) for w in seen if np.isfinite(w).any()])
            )
            missed = float((together >= LEFT_HOURS).mean())
            text += f"  ×{ratio:g}: {mean:.0f} ± {error:.0f} h, {missed:.0%}"
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def own_code(peers: Path, world: World, seed: int, histories: int) -> None:
    """Evidently and NannyML on rows drawn from the daily rates of each history, beside Kedge."""
    ratios = (1.0, *ODDS)
    seen: dict[str, dict[float, list[BoolArray]]] = {}
    seconds: dict[str, float] = {}
    pages: dict[float, list[list[tuple[int, int]]]] = {ratio: [] for ratio in ratios}
    for number in range(histories):
        run = draw(world, (seed, 501, number))
        bank = primed(run)
        for ratio in ratios:
            pages[ratio].append(follow(bank, run, ratio))
            hits, rows = by_day(run.counts(ratio))
            cut = world.reference_days
            parts = hits[:cut], rows[:cut], hits[cut:], rows[cut:]
            for name, rule in RULES.items():
                _kept(seen, f"rule: {name}", ratio).append(rule(*parts))
        with tempfile.TemporaryDirectory() as folder:
            parted = [Path(folder) / f"{ratio:g}" for ratio in ratios]
            for ratio, part in zip(ratios, parted, strict=True):
                part.mkdir()
                _write_rows(part, run, ratio, (seed, 502, number))
            with ThreadPoolExecutor() as pool:
                answers = list(pool.map(partial(_asked, peers, folders=parted), PEERS))
            for name, answer in zip(PEERS, answers, strict=True):
                for ratio, found in zip(ratios, answer, strict=False):
                    for title, alarms in found["alarms"].items():
                        _kept(seen, f"{name}, {title}", ratio).append(np.array(alarms, np.bool_))
                        took = found["seconds"][title] / np.size(alarms)
                        seconds[f"{name}, {title}"] = took
        sys.stdout.write(f"after {number + 1} of them:\n")
        quiet = [[float(len(one))] for one in pages[1.0]]
        waited = {r: [delays(one, CHANGED) for one in pages[r]] for r in ODDS}
        _say("Kedge, 1 page / 30 d", quiet, waited, "")
        for name, by_ratio in seen.items():
            false = [[float(alarms.sum())] for alarms in by_ratio[1.0]]
            later = {r: [daily_delays(alarms) for alarms in by_ratio[r]] for r in ODDS}
            _say(name, false, later, f"  {seconds[name]:.3f} s" if name in seconds else "")


def _kept(
    seen: dict[str, dict[float, list[BoolArray]]], name: str, ratio: float
) -> list[BoolArray]:
    return seen.setdefault(name, {}).setdefault(ratio, [])


def _asked(peers: Path, name: str, folders: list[Path]) -> list[dict[str, dict[str, Any]]]:
    """What a peer's own code says of each folder of rows; empty where it cannot be asked."""
    python = peers / name / "bin" / "python"
    if not python.exists():
        sys.stdout.write(f"{name}: left out, there is no {python}\n")
        return []
    done = subprocess.run(
        [str(python), str(Path(__file__).parent / f"peer_{name}.py"), *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        sys.stdout.write(f"{name}: left out, it ended with: {last}\n")
        return []
    return [json.loads(line) for line in done.stdout.splitlines()[-len(folders) :]]


def _say(
    name: str, false: list[list[float]], waited: dict[float, list[list[float]]], end: str
) -> None:
    """One row: false alarms / 30 d over histories; delay and share missed for each odds ratio."""
    rate = rate_of(np.array(false)[:, 0], FOLLOWED_HOURS / PERIOD_HOURS)
    text = f"{name:44}{rate.mean:>8.1f} ± {rate.error:<6.1f}"
    for ratio, histories in waited.items():
        together = np.concatenate([np.array(one) for one in histories])
        together = together[np.isfinite(together)]
        if not len(together):
            text += f"  ×{ratio:g}: alarmed before"
            continue
        means = [np.nanmean(one) for one in histories if np.isfinite(one).any()]
        mean, error = mean_error(np.array(means))
        missed = float((together >= LEFT_HOURS).mean())
        text += f"  ×{ratio:g}: {mean:.0f} ± {error:.0f} h, {missed:.0%} of {len(together)}"
    sys.stdout.write(text + end + "\n")
    sys.stdout.flush()


def _write_rows(folder: Path, run: Run, ratio: float, seed: tuple[int, ...]) -> None:
    """reference.parquet and current.parquet: a column of 0 and 1 a stream, and the day."""
    hits, rows = by_day(run.counts(ratio))
    columns_n = run.world.streams if ratio == 1.0 else CHANGED
    rates = (hits / rows)[:, :columns_n]
    rng = np.random.default_rng(seed)
    days = run.world.reference_days
    for name, part in (("reference", rates[:days]), ("current", rates[days:])):
        day = np.repeat(np.arange(len(part)), DAY_ROWS)
        values = (rng.random((len(day), columns_n)) < part[day]).astype(np.int8)
        columns = {f"c{k:02}": values[:, k] for k in range(columns_n)}
        pq.write_table(pa.table({"day": day, **columns}), folder / f"{name}.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phi", type=float, nargs="+", default=[0.6, 0.9])
    parser.add_argument("--peers", type=Path, help="folder of the environments of the peers")
    parser.add_argument("--histories", type=int, default=1, help="that the peers are given")
    parser.add_argument("--small", action="store_true", help="2 runs of 10 streams")
    given = parser.parse_args()
    for phi in given.phi[: 1 if given.small else None]:
        world = World(phi=phi, streams=10 if given.small else 50)
        if given.runs:
            table(world, 2 if given.small else given.runs, given.seed)
    if given.peers is not None:
        sys.stdout.write(f"\ntheir own code, {given.histories} histories of 10 columns, φ = .6\n")
        own_code(given.peers, World(phi=0.6, streams=10), given.seed, given.histories)


if __name__ == "__main__":
    main()
