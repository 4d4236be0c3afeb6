"""FriedmanDrift: drift of a regression's errors, on the published set-up.

    python -m benchmarks.detection.friedman [--trials 20] [--small]

river's synthetic generator, three kinds of drift: global recurring abrupt (GRA), global and slow
gradual (GSG), local expanding abrupt (LEA). A model (gradient-boosted trees) learns 10,000 rows;
10,000 fresh ones give the errors of the reference; then 2,500 stable rows and 2,500 after the
change are followed. What is watched is the squared error (clipped at the reference's 99.9th
percentile, for ADWIN) of each row; for Kedge's evidence, the normal score of its rank in the
reference. Published tables use 10,000 trials and another model: compare within this table only.

Columns: share of trials with an alarm after the change and none before , share with one
before, mean delay in rows ± standard error over the trials that were found. "evidence" is the
bet of the engine without its filter at A = 50,000 and 250,000 rows, one row a tick. "row mode" is
the same with the bets on cells that loss streams have where an audit allows it, tails among them.
"engine" is all of it on ticks of 50 rows at A = 1,000 ticks, its delay in rows: means of the ranks'
normal scores, and means of the clipped losses that ADWIN is given.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from benchmarks.detection.delay import GATE, _evidence
from benchmarks.detection.simulator import mean_error
from detectors.cells import fit_numeric
from detectors.evidence.bets import ordered_bets
from detectors.evidence.budget import pace_of
from detectors.evidence.design import Design
from detectors.evidence.filter import follow
from detectors.evidence.grids import ALTERNATIVES, STAKES
from detectors.evidence.reference import learn_reference, ticks_from
from detectors.evidence.state import Betting
from detectors.records import FloatArray

TRAIN, REFERENCE, STABLE, AFTER = 10_000, 10_000, 2_500, 2_500
KINDS = {"GRA": "gra", "GSG": "gsg", "LEA": "lea"}
TICK_ROWS, TICK_A = 50, 1_000.0
Score = Callable[[FloatArray, FloatArray], FloatArray]


def errors_of(kind: str, seed: int) -> tuple[FloatArray, FloatArray]:
    """Squared errors of the reference rows, and of the stable rows and those after."""
    from river.datasets.synth import FriedmanDrift
    from sklearn.ensemble import HistGradientBoostingRegressor

    at = TRAIN + REFERENCE + STABLE
    later = at + 10 * AFTER
    position = (at, later) if kind != "lea" else (at, later, later + AFTER)
    stream = FriedmanDrift(drift_type=kind, position=position, seed=seed)
    total = at + AFTER
    x, y = np.empty((total, 10)), np.empty(total)
    for row, (features, target) in enumerate(stream.take(total)):
        x[row], y[row] = list(features.values()), target
    model = HistGradientBoostingRegressor(max_iter=100, random_state=seed).fit(x[:TRAIN], y[:TRAIN])
    squared = (y[TRAIN:] - model.predict(x[TRAIN:])) ** 2
    return squared[:REFERENCE], squared[REFERENCE:]


def normal_scores(reference: FloatArray, rows: FloatArray) -> FloatArray:
    """Standard normal quantile of each row's place in the reference."""
    place = np.searchsorted(np.sort(reference), rows, side="right")
    return np.asarray(norm.ppf((place + 0.5) / (len(reference) + 1)), np.float64)


def adwin(reference: FloatArray, rows: FloatArray) -> int:
    """River's default, given the reference first."""
    from river.drift import ADWIN

    chart = ADWIN()  # type: ignore[no-untyped-call]
    most = float(np.quantile(reference, 0.999))
    for value in np.minimum(reference, most).tolist():
        chart.update(value)  # type: ignore[no-untyped-call]
    for at, value in enumerate(np.minimum(rows, most).tolist()):
        chart.update(value)  # type: ignore[no-untyped-call]
        if chart.drift_detected:
            return at
    return len(rows)


def evidence(limit: float, reference: FloatArray, rows: FloatArray) -> int:
    scores = normal_scores(reference, rows)
    return int(_evidence(scores, limit, GATE, ALTERNATIVES, STAKES))


def row_mode(limit: float, reference: FloatArray, rows: FloatArray) -> int:
    """Bets on the cells of single losses, with the reference's error taken off."""
    cells = fit_numeric(reference, None)
    bets = ordered_bets(cells.count(reference, None)[0][cells.order])
    assert bets is not None
    place = np.empty(cells.size, np.int64)
    place[cells.order] = np.arange(len(cells.order))
    bins = 1 + len(cells.spikes) + np.searchsorted(cells.edges, rows, side="left")
    factor = np.exp(bets.log_ratio)[:, place[bins]]
    wealth = np.zeros(bets.count)
    for at in range(len(rows)):
        wealth = (wealth + bets.prior) * factor[:, at]
        if wealth.sum() >= limit:
            return at
    return len(rows)


def clipped_loss(reference: FloatArray, rows: FloatArray) -> FloatArray:
    """What ADWIN gets, in sd of the reference."""
    most = float(np.quantile(reference, 0.999))
    base = np.minimum(reference, most)
    return np.asarray((np.minimum(rows, most) - base.mean()) / base.std())


def engine(score: Score, reference: FloatArray, rows: FloatArray) -> int:
    """The whole engine on means of 50 rows; the last row of the alarming tick."""

    def means(part: FloatArray) -> FloatArray:
        values = score(reference, part)
        whole = len(values) // TICK_ROWS * TICK_ROWS
        return np.asarray(values[:whole].reshape(-1, TICK_ROWS).mean(axis=1)[:, None])

    past, live = means(reference), means(rows)
    design = Design(0)
    hours = np.arange(len(past) + len(live), dtype=np.int64) * 3_600_000_000
    cut, v = len(past), 1.0 / TICK_ROWS
    learnt = learn_reference(
        design,
        ticks_from(design, hours[:cut], past, np.full(past.shape, v)),
        pace=pace_of(design),
        delta_min=np.zeros(1),
    )
    plan = Betting(np.ones(1), np.full(1, TICK_A), np.zeros(1, np.int64), np.ones((len(live), 2)))
    ticks = ticks_from(design, hours[cut:], live, np.full(live.shape, v), count_before=cut)
    found = follow(learnt.state, ticks, plan, pace_of(design))
    return (found[0][0] + 1) * TICK_ROWS - 1 if found else len(rows)


def table(trials: int, seed: int) -> None:
    rules: dict[str, Callable[[FloatArray, FloatArray], int]] = {
        "ADWIN, default": adwin,
        "evidence, A = 50,000": lambda r, x: evidence(5e4, r, x),
        "evidence, A = 250,000": lambda r, x: evidence(2.5e5, r, x),
        "row mode, A = 50,000": lambda r, x: row_mode(5e4, r, x),
        "row mode, A = 250,000": lambda r, x: row_mode(2.5e5, r, x),
        "engine, ticks of 50 ranks": lambda r, x: engine(normal_scores, r, x),
        "engine, ticks of 50 losses": lambda r, x: engine(clipped_loss, r, x),
    }
    sys.stdout.write(
        f"{'':6}{'':28}{'found':>7}{'early':>7}{'delay, rows':>20}   ({trials} trials)\n"
    )
    for name, kind in KINDS.items():
        first: dict[str, list[int]] = {rule: [] for rule in rules}
        for trial in range(trials):
            reference, rows = errors_of(kind, seed + trial)
            for rule, run in rules.items():
                first[rule].append(run(reference, rows))
        for rule, found in first.items():
            at = np.array(found)
            hit = (at >= STABLE) & (at < STABLE + AFTER)
            mean, error = mean_error(np.where(hit, at - STABLE + 1.0, math.nan))
            early = float((at < STABLE).mean())
            sys.stdout.write(
                f"{name:6}{rule:28}{hit.mean():>7.0%}{early:>7.0%}"
                f"{f'{mean:.0f} ± {error:.0f}':>20}\n"
            )
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="one trial")
    given = parser.parse_args()
    table(1 if given.small else given.trials, given.seed)


if __name__ == "__main__":
    main()
