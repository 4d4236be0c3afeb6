"""Real forecasts whose calibration is known: four leagues of games, and two image networks.

    python -m benchmarks.detection.calibration --data DIR [--small]

**Leagues** (fte_game_forecasts). Every forecast is bet against with log odds moved by ± .2 and
± .4; e-values are averaged inside a cluster and multiplied over clusters. The first table says at
which game the evidence against "calibrated" first reached 20 (α = .05), over four shifts of equal
stake, with each game its own cluster and with the games of a day as one; and the mean surplus of
wins. The control gives every game an outcome drawn from its own forecast. The second control
repeats the first 400 games of the control 30 times: forecasts that share an outcome. Row by row
they convict, cluster by cluster they must not.

The last two columns are what is followed live, from the first game on: the day on whose evening the
once-only question is answered, and the pages of the budgeted evidence with a ninth of the budget.

**Row by row**: forecasts without clusters, whose days share a noise of log odds (AR(1), φ = .8).
The discount is what 35 reference days say of it. Pages in 60 days without a change, at a ninth of a
page in 30 days, and the median delay of a shift; nothing is followed so at a discount above four.

**Classes** (cifar10_net_outputs). Class by class, is the mean probability the share of labels?
Biased is a class whose z over all 10,000 images passes Bonferroni at .05. Found: by
Benjamini-Hochberg at .05 on one look, and by e-BH on e-values that may be peeked at, over 20 random
halves of the images. The control draws labels from the probabilities.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.special import logsumexp
from scipy.stats import norm

from detectors.calibration.cluster import cluster_log_e, row_e_values
from detectors.calibration.dispersion import day_dispersion
from detectors.calibration.over_time import Null, follow, null_of, read_tick, start_forecasts
from detectors.calibration.recalibration import fit_recalibration
from detectors.multiple import benjamini_hochberg, e_benjamini_hochberg
from detectors.records import DAY_US, BoolArray, FloatArray, IntArray
from detectors.streams import MOST_SCATTER

SHIFTS = (0.2, 0.4, -0.2, -0.4)
RATE = 0.05
COPIES = 30
SHARE = 1.0 / 9.0
"""Of the page budget, what all rows have by cluster where there is a baseline and no slice."""


def first_game(p: FloatArray, y: FloatArray, cluster: IntArray, limit: float) -> int | None:
    """Games seen when the mixture over `SHIFTS` first reached `limit`, at the end of a cluster."""
    paths = np.stack([np.cumsum(cluster_log_e(p, y, cluster, shift=s)[0]) for s in SHIFTS])
    total = logsumexp(paths, axis=0) - np.log(len(SHIFTS))
    over = np.flatnonzero(total >= np.log(limit))
    return int(np.bincount(cluster).cumsum()[over[0]]) if over.size else None


def most_row_by_row(p: FloatArray, y: FloatArray) -> float:
    """The largest e-value when rows are multiplied as if independent."""
    paths = np.stack([np.cumsum(np.log(row_e_values(p, y, shift=s))) for s in SHIFTS])
    return float(np.exp(np.minimum((logsumexp(paths, axis=0) - np.log(len(SHIFTS))).max(), 700)))


def leagues(folder: Path, controls: int, seed: int) -> None:
    table = pq.read_table(folder / "data.parquet").to_pandas()
    sys.stdout.write(
        f"{'league':8}{'games':>8}{'surplus, points':>18}{'by game':>14}{'by day':>8}"
        f"{'null found':>14}{'dependent, rows':>18}{'clusters':>12}{'live, once':>12}"
        f"{'budgeted':>24}\n"
    )
    for league, games in table.groupby("league"):
        games = games.sort_values("date", kind="stable")
        p = np.clip(games["prob"].to_numpy(np.float64), 1e-4, 1 - 1e-4)
        y = games["outcome"].to_numpy(np.float64)
        cluster = np.unique(games["date"].to_numpy(), return_inverse=True)[1].astype(np.int64)
        null = rows = clusters = 0
        for number in range(controls):
            rng = np.random.default_rng([seed, number])
            drawn = (rng.random(len(p)) < p).astype(np.float64)
            null += first_game(p, drawn, cluster, 1 / RATE) is not None
            some = slice(0, 400)
            many_p, many_y = np.repeat(p[some], COPIES), np.repeat(drawn[some], COPIES)
            which = np.repeat(np.arange(400), COPIES)
            rows += most_row_by_row(many_p, many_y) >= 1 / RATE
            clusters += first_game(many_p, many_y, which, 1 / RATE) is not None
        surplus = 100 * (y - p).mean()
        error = 100 * np.sqrt((p * (1 - p)).sum()) / len(p)
        alone = np.arange(len(p))
        found = [str(first_game(p, y, c, 1 / RATE) or "never") for c in (alone, cluster)]
        sys.stdout.write(
            f"{league:8}{len(p):>8,}{f'{surplus:+.1f} ± {error:.1f}':>18}{found[0]:>14}"
            f"{found[1]:>8}{f'{null} of {controls}':>14}{f'{rows} of {controls}':>18}"
            f"{f'{clusters} of {controls}':>12}{live(p, y, games['date'].to_numpy()):>36}\n"
        )


def live(p: FloatArray, y: FloatArray, date: np.ndarray) -> str:
    """Games seen when the daemon's daily look would have told: once, and within the budget."""
    day = date.astype("datetime64[D]").astype(np.int64)
    state, once, pages = start_forecasts(0), "never", []
    centre = float(np.log(y.mean() / (1 - y.mean())))
    last = day[0]
    for now in np.unique(day):
        inside = day == now
        tick = read_tick(
            p[inside], y[inside], np.arange(int(inside.sum())), [], places=0, centre=centre
        )
        hours = min((now - last) * 24.0, 24.0) * min((now - day[0]) / 14.0, 1.0)
        state, found = follow(
            state,
            tick,
            start_us=int(now) * DAY_US,
            stake=np.array([SHARE * hours * (now - day[0] >= 14)]),
            threshold=720.0,
            mute_us=7 * DAY_US,
        )
        last, seen = now, int((day <= now).sum())
        once = f"{seen:,}" if state.never_right and once == "never" else once
        pages += [f"{seen:,}"] * len(found)
    more = f" and {len(pages) - 2} more" if len(pages) > 2 else ""
    return f"{once:>8}  {', '.join(pages[:2]) or 'never'}{more}"


def days_of(
    rng: np.random.Generator, days: int, rows: int, noise: float, shift: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Probabilities and labels (days, rows); a day's log odds are off by an AR(1) of sd `noise`."""
    z = rng.normal(-0.5, 1.0, (days, rows))
    off = np.zeros(days)
    for t in range(1, days):
        off[t] = 0.8 * off[t - 1] + noise * 0.6 * rng.normal()
    chance = 1 / (1 + np.exp(-(z + off[:, None] + shift)))
    return 1 / (1 + np.exp(-z)), (rng.random((days, rows)) < chance).astype(np.float64)


def row_by_row(worlds: int, seed: int) -> None:
    sys.stdout.write(
        f"\n{'rows a day':>10}{'noise':>8}{'discount':>10}{'followed':>10}{'pages / 30 d':>16}"
        f"{'shift .3: days':>16}{'missed':>8}{'shift .6: days':>16}{'missed':>8}\n"
    )
    for rows in (50, 500):
        for noise in (0.0, 0.1, 0.3):
            discounts, pages, kept = [], 0, 0
            delays: dict[float, list[float]] = {0.3: [], 0.6: []}
            for world in range(worlds):
                rng = np.random.default_rng([seed, rows, round(100 * noise), world])
                p, y = days_of(rng, 35, rows, noise)
                curve = fit_recalibration(p.ravel(), y.ravel())
                r = curve.apply(p.ravel())
                ts = np.repeat(np.arange(35) * DAY_US, rows)
                scatter = day_dispersion(ts, y.ravel() - r, r * (1 - r))
                assert scatter is not None
                discounts.append(scatter)
                if scatter > MOST_SCATTER:
                    continue
                kept += 1
                null = null_of(p.ravel(), curve, p.size / scatter, scatter)
                pages += len(alarms_of(null, *days_of(rng, 60, rows, noise)))
                for shift, found in delays.items():
                    days = alarms_of(null, *days_of(rng, 60, rows, noise, shift))
                    found.append(days[0] + 1.0 if days else np.inf)
            rate = pages / max(2 * kept, 1)
            error = np.sqrt(max(pages, 1)) / max(2 * kept, 1)
            told = "".join(
                f"{np.median(found):>16.0f}{np.mean(np.isinf(found)):>8.0%}"
                if found
                else f"{'–':>16}{'–':>8}"
                for found in delays.values()
            )
            sys.stdout.write(
                f"{rows:>10}{noise:>8.1f}{np.mean(discounts):>10.2f}{kept / worlds:>10.0%}"
                f"{f'{rate:.3f} ± {error:.3f}':>16}{told}\n"
            )


def alarms_of(null: Null, p: FloatArray, y: FloatArray) -> list[int]:
    """Days of alarms on live days (days, rows), a ninth of the budget staked."""
    state, alarms = start_forecasts(0), []
    for day in range(len(p)):
        tick = read_tick(
            null.probability(p[day]),
            y[day],
            np.arange(p.shape[1]),
            [],
            places=0,
            centre=null.centre,
            cost=null.cost,
            discount=null.discount,
        )
        state, found = follow(
            state,
            tick,
            start_us=day * DAY_US,
            stake=np.array([SHARE * 24.0]),
            threshold=720.0,
            mute_us=7 * DAY_US,
        )
        alarms += [day] * len(found)
    return alarms


def surplus_z(p: FloatArray, y: FloatArray) -> FloatArray:
    """z (C,) of Σ(y - p) for probabilities and one-hot labels (n, C)."""
    return np.asarray((y - p).sum(axis=0) / np.sqrt((p * (1 - p)).sum(axis=0)))


def class_log_e(p: FloatArray, y: FloatArray) -> FloatArray:
    """Log e-value (C,) against a calibrated class, a mixture over shifts."""
    columns = []
    for k in range(p.shape[1]):
        sums = [np.log(row_e_values(p[:, k], y[:, k], shift=s)).sum() for s in SHIFTS]
        columns.append(logsumexp(sums) - np.log(len(SHIFTS)))
    return np.array(columns)


def found_by(p: FloatArray, y: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Classes (C,) found by Benjamini-Hochberg, and by e-BH."""
    one_look = benjamini_hochberg(2 * norm.sf(np.abs(surplus_z(p, y))), RATE)
    return one_look, e_benjamini_hochberg(class_log_e(p, y), RATE)


def classes(folder: Path, halves: int, seed: int) -> None:
    table = pq.read_table(folder / "data.parquet").to_pandas()
    sys.stdout.write(
        f"\n{'network':16}{'biased':>8}{'all images: BH':>18}{'e-BH':>7}"
        f"{'half: BH':>14}{'e-BH':>14}{'null BH':>10}{'e-BH':>7}\n"
    )
    for network, rows in table.groupby("model"):
        raw = rows[[f"p{k}" for k in range(10)]].to_numpy(np.float64)
        p = np.clip(raw, 1e-5, 1 - 1e-5)
        label = rows["label"].to_numpy()
        y = (label[:, None] == np.arange(10)).astype(np.float64)
        biased = np.abs(surplus_z(p, y)) > norm.isf(RATE / 2 / 10)
        whole = [int((f & biased).sum()) for f in found_by(p, y)]
        shares = np.zeros((halves, 2))
        false = np.zeros((halves, 2))
        for number in range(halves):
            rng = np.random.default_rng([seed, number])
            half = rng.permutation(len(p))[: len(p) // 2]
            shares[number] = [(f & biased).sum() for f in found_by(p[half], y[half])]
            pick = (raw / raw.sum(axis=1, keepdims=True)).cumsum(axis=1)
            drawn = (pick > rng.random((len(p), 1))).argmax(axis=1)
            fake = (drawn[:, None] == np.arange(10)).astype(np.float64)
            false[number] = [f.any() for f in found_by(p, fake)]
        error = shares.std(axis=0, ddof=1) / np.sqrt(halves)
        mean = shares.mean(axis=0)
        sys.stdout.write(
            f"{network:16}{biased.sum():>8}{whole[0]:>18}{whole[1]:>7}"
            f"{f'{mean[0]:.1f} ± {error[0]:.1f}':>14}{f'{mean[1]:.1f} ± {error[1]:.1f}':>14}"
            f"{f'{int(false[:, 0].sum())}/{halves}':>10}{f'{int(false[:, 1].sum())}/{halves}':>7}\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worlds", type=int, default=40, help="worlds of a row-by-row line")
    parser.add_argument("--rows-only", action="store_true", help="only the row-by-row table")
    parser.add_argument("--small", action="store_true", help="5 controls")
    given = parser.parse_args()
    row_by_row(4 if given.small else given.worlds, given.seed)
    if given.rows_only:
        return
    for name, show, many in (
        ("fte_game_forecasts", leagues, 100),
        ("cifar10_net_outputs", classes, 20),
    ):
        folder = given.data / name
        if not folder.exists():
            sys.stdout.write(f"{name}: not in {given.data}\n")
            continue
        show(folder, 5 if given.small else many, given.seed)


if __name__ == "__main__":
    main()
