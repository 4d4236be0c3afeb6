"""The filter that keeps learning, and the evidence it produces, stream by stream.

State per stream is [u, b]: autoregressive noise and season coefficients, the level among them a
slow random walk. One compiled step serves a whole history and a single tick alike, so both give
the same bits. After the reference the filter goes on learning b from innovations clipped at 3
sd, and two trackers widen z when its scale or its autocorrelation grows past the reference's:
f² for scale, λ for autocorrelation (long-run over short-run variance, after Newey and West,
1987, with an exponential window).

Evidence is Shiryaev–Roberts wealth with budget injection (see `budget.py`), one account for each
alternative shift. What a muted or silent stream would inject, the others of its tier inject: who
is silent is known before the tick, so the sum stays within the budget. Everything compiled lives
in this file, because a compiled cache notices only changes of the file it belongs to.

An account over its threshold waits while the change is smaller than the practical effect: waiting
can only lower the number of alarms, so the budget still holds. What counts is the step estimated
since the onset, or what the last ticks show by themselves beyond doubt: a small step would hide a
large one that follows it, if all that came since the small one were averaged.

While a stream is muted after an alarm its evidence stands still and the clip is 6 sd, so that it
settles on the new level. An empty tick only predicts.
"""

from __future__ import annotations

import math

import numpy as np

from detectors.evidence.grids import LASTING, Bets
from detectors.evidence.state import (
    ACTIVE,
    C_REF,
    DECAYED,
    DELTA_MIN,
    GATE,
    LATELY,
    LONG,
    MOVED,
    NOISE,
    PHI,
    RESET,
    RESPONSE,
    RUN,
    SAMPLING,
    SCALE2,
    SHORT,
    WALK,
    WEIGHED,
    Betting,
    C,
    FilterState,
    Pace,
    Ticks,
)
from detectors.kernels import njit
from detectors.records import HOUR_US, FloatArray

# Degrees of freedom of innovations; the cube in `student_t_evalue` is (NU + 1) / 2.
NU = 5.0
CLIP_SD = 3.0
MUTED_CLIP_SD = 6.0
SPIKE2 = 9.0
SMALLEST_C = 0.3
SMALLEST_SHORT = 0.2
FARTHEST_SD = 1e6
# What the last ticks show counts when it exceeds the practical effect by so many of its errors.
SURE_ERRORS = 4.0
# While evidence waits, one tick adds no more than this to an estimate: one wild tick is no step.
FARTHEST_EFFECTS = 3.0
FARTHEST_WAITING_SD = 6.0
RICHEST = 1e9
LONGEST_RUN = 1e30


def learn(state: FilterState, ticks: Ticks, pace: Pace) -> FloatArray:
    """Run the reference through `state` in place; returns z (T, K), NaN where there was no data.

    Trackers start from the last three quarters of the ticks. Nothing is bet.
    """
    z = np.full(ticks.y.shape, np.nan)
    if ticks.y.size:
        _learn(
            ticks.clock_us,
            ticks.skipped,
            ticks.columns,
            ticks.y,
            ticks.v,
            pace.sum_decay,
            state.mean,
            state.cov,
            state.model,
            state.track,
            state.seen_until,
            z,
        )
    return z


def follow(
    state: FilterState,
    ticks: Ticks,
    betting: Betting,
    pace: Pace,
    *,
    bets: Bets = LASTING,
    z: FloatArray | None = None,
    widening: FloatArray | None = None,
    wealth: FloatArray | None = None,
) -> list[tuple[int, int, float, int, float]]:
    """Run live ticks through `state` in place; returns (tick, stream, M/A, onset us, effect).

    Sorted by tick, then stream. z, widening and wealth (T, K), where given, receive the raw
    standardised innovation, f√λ and the stream's evidence before any reset.
    """
    if not ticks.y.size:
        return []
    none = np.empty((0, 0))
    alarms = _follow(
        ticks.start_us,
        ticks.clock_us,
        ticks.skipped,
        ticks.columns,
        ticks.y,
        ticks.v,
        betting.weight,
        betting.threshold,
        betting.tier,
        betting.share,
        pace.scale_rate,
        pace.correlation_rate,
        pace.sum_decay,
        pace.correlation_slack,
        pace.tick_hours,
        pace.longest_hours,
        pace.mute_us,
        state.mean,
        state.cov,
        state.model,
        state.track,
        state.wealth,
        state.onset,
        state.runs,
        state.muted_until,
        state.seen_until,
        bets.shifts,
        bets.stakes,
        bets.gates(state.model[:, PHI]),
        none if z is None else z,
        none if widening is None else widening,
        none if wealth is None else wealth,
    )
    return sorted(alarms)


@njit(cache=True, nogil=True, inline="always")
def inject(wealth: float, injection: float, evalue: float) -> float:
    """One Shiryaev–Roberts step: what was there and what is put in, times the bet's return."""
    return (wealth + injection) * evalue


@njit(cache=True, nogil=True, inline="always")
def restart(run: float, evalue: float) -> float:
    """One CUSUM step in product form: a run that has lost everything starts again at 1."""
    return max(run, 1.0) * evalue


@njit(cache=True, nogil=True, inline="always")
def student_t_evalue(z: float, shift: float, gate: float) -> float:
    """Likelihood ratio of a t5 moved by `shift` against one moved by `gate` to the same side.

    Over all t5 nulls with |location| ≤ gate its expectation is at most 1. It redescends: one
    wild tick is worth no more than the largest alternative expects.
    """
    edge = z - gate if shift > 0.0 else z + gate
    away = z - shift
    ratio = (NU + edge * edge) / (NU + away * away)
    return ratio * ratio * ratio


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _project(cov, h, out):  # type: ignore[no-untyped-def]
    """P·h for a packed lower triangle into out; returns h'P·h."""
    n = h.shape[0]
    out[:] = 0.0
    at = 0
    for i in range(n):
        hi = h[i]
        total = cov[at + i] * hi
        for j in range(i):
            p = cov[at + j]
            total += p * h[j]
            out[j] += p * hi
        out[i] += total
        at += i + 1
    spread = 0.0
    for i in range(n):
        spread += h[i] * out[i]
    return spread


@njit(cache=True, nogil=True)
def _correct(mean, cov, ph, s, e, clipped):  # type: ignore[no-untyped-def]
    """Kalman update: u moves by the innovation, the season by its clipped value."""
    n = mean.shape[0]
    mean[0] += ph[0] / s * e
    for i in range(1, n):
        mean[i] += ph[i] / s * clipped
    at = 0
    for i in range(n):
        gain = ph[i] / s
        for j in range(i + 1):
            cov[at + j] -= gain * ph[j]
        at += i + 1


@njit(cache=True, nogil=True)
def _predict(mean, cov, model, walk):  # type: ignore[no-untyped-def]
    """One tick ahead: u decays by φ, the level's variance grows by `walk`."""
    phi = model[PHI]
    mean[0] *= phi
    cov[0] = phi * phi * cov[0] + model[NOISE]
    at = 1
    for i in range(1, mean.shape[0]):
        cov[at] *= phi
        at += i + 1
    cov[2] += walk


@njit(cache=True, nogil=True)
def _seen(y, v):  # type: ignore[no-untyped-def]
    return math.isfinite(y) and math.isfinite(v)


@njit(cache=True, nogil=True)
def _clip(x, limit):  # type: ignore[no-untyped-def]
    return min(max(x, -limit), limit)


@njit(cache=True, nogil=True)
def _learn(clock, skipped, columns, y, v, rho, mean, cov, model, track, seen_until, z_out):  # type: ignore[no-untyped-def]
    ticks, streams = y.shape
    n = mean.shape[1]
    h = np.ones(n)
    ph = np.empty(n)
    widest = 1.0 / (1.0 - rho * rho)
    for k in range(streams):
        squares = 0.0
        long_run = 0.0
        short_run = 0.0
        counted = 0
        decayed = 0.0
        for t in range(ticks):
            for _ in range(skipped[t]):
                _predict(mean[k], cov[k], model[k], 0.0)
            if _seen(y[t, k], v[t, k]):
                seen_until[k] = clock[t]
                h[1:] = columns[t]
                known = v[t, k] * model[k, SCALE2]
                s = max(_project(cov[k], h, ph), 0.0) + known
                e = y[t, k]
                for i in range(n):
                    e -= h[i] * mean[k, i]
                sd = math.sqrt(s)
                e = _clip(e, FARTHEST_SD * sd)
                z = e / sd
                z_out[t, k] = z
                clipped = _clip(z, CLIP_SD)
                decayed = rho * decayed + clipped
                _remember(track[k], model[k], e + mean[k, 0], known, rho)
                if t >= ticks // 4:
                    squares += min(z * z, SPIKE2)
                    long_run += min(decayed * decayed, SPIKE2 * widest)
                    short_run += clipped * clipped
                    counted += 1
                _correct(mean[k], cov[k], ph, s, e, _clip(e, CLIP_SD * sd))
            _predict(mean[k], cov[k], model[k], 0.0)
        if counted > 0:
            track[k, C_REF] = max(squares / counted, SMALLEST_C)
            track[k, LONG] = long_run / counted
            track[k, SHORT] = max(short_run / counted, SMALLEST_SHORT)
        else:
            track[k, C_REF] = 1.0
            track[k, LONG] = widest
            track[k, SHORT] = 1.0
        track[k, C] = track[k, C_REF]
        track[k, DECAYED] = decayed


@njit(cache=True, nogil=True)
def _widen(track, z, scale_rate, correlation_rate, rho, slack):  # type: ignore[no-untyped-def]
    """f√λ from what was known before this tick; then learn from z."""
    f2 = max(1.0, track[C] / track[C_REF])
    track[C] += scale_rate * (min(z * z, SPIKE2 * f2) - track[C])
    f = math.sqrt(f2)
    clipped = _clip(z / f, CLIP_SD)
    narrow = 1.0 - rho * rho
    lam = max(1.0, track[LONG] * narrow / track[SHORT] / slack)
    track[DECAYED] = rho * track[DECAYED] + clipped
    squared = min(track[DECAYED] * track[DECAYED], SPIKE2 * lam / narrow)
    track[LONG] += correlation_rate * (squared - track[LONG])
    track[SHORT] += correlation_rate * (clipped * clipped - track[SHORT])
    return f * math.sqrt(lam)


@njit(cache=True, nogil=True)
def _farthest(model, sd):  # type: ignore[no-untyped-def]
    return FARTHEST_EFFECTS * model[DELTA_MIN] + FARTHEST_WAITING_SD * sd


@njit(cache=True, nogil=True)
def _remember(track, model, away, known, rho):  # type: ignore[no-untyped-def]
    """Take a tick that lay `away` from level and season, whose sampling variance is `known`."""
    noise = model[NOISE] / (1.0 - model[PHI] * model[PHI])
    farthest = _farthest(model, math.sqrt(noise + known))
    track[LATELY] = rho * track[LATELY] + (1.0 - rho) * _clip(away, farthest)
    track[SAMPLING] = rho * track[SAMPLING] + (1.0 - rho) * known


@njit(cache=True, nogil=True)
def _lately(track, model, rho):  # type: ignore[no-untyped-def]
    """How far y lies from level and season of late, and the standard error of that.

    The error of an exponentially weighted mean of sampling noise and of an AR(1) of the
    reference's scale: wealth has paid already for a scale that has grown since.
    """
    phi = model[PHI]
    noise = model[NOISE] / (1.0 - phi * phi)
    variance = track[SAMPLING] + noise * (1.0 + rho * phi) / (1.0 - rho * phi)
    return track[LATELY], math.sqrt(variance * (1.0 - rho) / (1.0 + rho))


@njit(cache=True, nogil=True)
def _estimate(run):  # type: ignore[no-untyped-def]
    return run[MOVED] / max(run[WEIGHED], 1e-30)


@njit(cache=True, nogil=True)
def _matters(track, model, wealth, runs, alternatives, best, rho):  # type: ignore[no-untyped-def]
    """Whether the change is large enough to tell: (yes, alternative whose onset it has, effect).

    A change that only the last ticks show has its onset and effect from the richest alternative
    that sees as much since its own onset; if none does, from the last ticks themselves.
    """
    least = model[DELTA_MIN]
    effect = _estimate(runs[best])
    if abs(effect) >= least:
        return True, best, effect
    away, error = _lately(track, model, rho)
    if abs(away) - SURE_ERRORS * error < least:
        return False, best, effect
    found = -1
    for j in range(alternatives.shape[0]):
        seen = _estimate(runs[j]) if alternatives[j] * away > 0.0 else 0.0
        if seen * away > 0.0 and abs(seen) >= least and (found < 0 or wealth[j] > wealth[found]):
            found = j
    if found < 0:
        return True, best, away
    return True, found, _estimate(runs[found])


@njit(cache=True, nogil=True)
def _spread(now, weight, tier, model, seen_until, muted_until, longest_us, boost):  # type: ignore[no-untyped-def]
    """By how much each tier's awake streams may bet more, as the others do not bet."""
    boost[:] = 1.0
    for row in range(boost.shape[0]):
        total = 0.0
        awake = 0.0
        for k in range(weight.shape[0]):
            if tier[k] == row:
                total += weight[k]
                silent = seen_until[k] < 0 or now - seen_until[k] > longest_us
                if model[k, ACTIVE] > 0.0 and now >= muted_until[k] and not silent:
                    awake += weight[k]
        if awake > 0.0:
            boost[row] = total / awake


@njit(cache=True, nogil=True)
def _credit(now, seen_until, muted_until, tick_hours, longest_hours, boost):  # type: ignore[no-untyped-def]
    """Hours that a stream may inject for: none in which its weight was others' to bet.

    Those since its last data or the end of its muting are its own, up to `longest_hours`: until
    then its weight was kept for it. After that it was asleep, and only what was kept is left.
    """
    if seen_until < 0:
        return tick_hours
    hours = (now - seen_until) / HOUR_US
    if hours > longest_hours:
        since = (now - muted_until) / HOUR_US + tick_hours
        asleep = (muted_until - seen_until) / HOUR_US
        return max(0.0, min(longest_hours - max(asleep, 0.0), since))
    hours = min(hours, (now - muted_until) / HOUR_US + tick_hours)
    newest = min(hours, tick_hours)
    return (hours - newest) + newest * boost


@njit(cache=True, nogil=True)
def _follow(  # type: ignore[no-untyped-def]
    start,
    clock,
    skipped,
    columns,
    y,
    v,
    weight,
    threshold,
    tier,
    share,
    scale_rate,
    correlation_rate,
    rho,
    slack,
    tick_hours,
    longest_hours,
    mute_us,
    mean,
    cov,
    model,
    track,
    wealth,
    onset,
    runs,
    muted_until,
    seen_until,
    alternatives,
    stakes,
    smallest_gate,
    z_out,
    widening_out,
    wealth_out,
):
    ticks, streams = y.shape
    n = mean.shape[1]
    count = alternatives.shape[0]
    h = np.ones(n)
    ph = np.empty(n)
    boost = np.ones(share.shape[1])
    alarms = [(0, 0, 0.0, np.int64(0), 0.0)]
    alarms.clear()
    for t in range(ticks):
        h[1:] = columns[t]
        _spread(
            clock[t], weight, tier, model, seen_until, muted_until, longest_hours * HOUR_US, boost
        )
        for k in range(streams):
            phi = model[k, PHI]
            for _ in range(skipped[t]):
                _predict(mean[k], cov[k], model[k], model[k, WALK])
                for j in range(count):
                    runs[k, j, RESPONSE] *= phi
            if _seen(y[t, k], v[t, k]):
                known = v[t, k] * model[k, SCALE2]
                s = max(_project(cov[k], h, ph), 0.0) + known
                e = y[t, k]
                for i in range(n):
                    e -= h[i] * mean[k, i]
                sd = math.sqrt(s)
                e = _clip(e, FARTHEST_SD * sd)
                raw = e / sd
                wide = _widen(track[k], raw, scale_rate, correlation_rate, rho, slack)
                _remember(track[k], model[k], e + mean[k, 0], known, rho)
                muted = clock[t] < muted_until[k]
                limit = MUTED_CLIP_SD if muted else CLIP_SD
                _correct(mean[k], cov[k], ph, s, e, _clip(e, limit * sd))
                hours = _credit(
                    clock[t],
                    seen_until[k],
                    muted_until[k],
                    tick_hours,
                    longest_hours,
                    boost[tier[k]],
                )
                seen_until[k] = clock[t]
                if not muted:
                    z = raw / wide
                    gate = max(smallest_gate[k], model[k, GATE] / (sd * wide))
                    injection = hours * weight[k] * share[t, tier[k]] * model[k, ACTIVE]
                    shown = e
                    if wealth[k].sum() >= threshold[k]:
                        shown = _clip(e, _farthest(model[k], sd * wide))
                    total = 0.0
                    best = 0
                    for j in range(count):
                        evalue = student_t_evalue(z, alternatives[j], gate)
                        grown = inject(wealth[k, j], injection * stakes[j], evalue)
                        wealth[k, j] = min(grown, RICHEST * threshold[k])
                        total += wealth[k, j]
                        if wealth[k, j] > wealth[k, best]:
                            best = j
                        _extend(runs[k, j], onset[k], j, start[t], evalue, shown, s * wide * wide)
                        runs[k, j, RESPONSE] += ph[0] / s * (1.0 - runs[k, j, RESPONSE])
                    if wealth_out.shape[0] > 0:
                        wealth_out[t, k] = total
                    if total >= threshold[k]:
                        matters, since, effect = _matters(
                            track[k], model[k], wealth[k], runs[k], alternatives, best, rho
                        )
                        if matters:
                            alarms.append((t, k, total / threshold[k], onset[k, since], effect))
                            wealth[k] = 0.0
                            runs[k] = 0.0
                            cov[k, 2] += model[k, RESET]
                            muted_until[k] = clock[t] + mute_us
                if z_out.shape[0] > 0:
                    z_out[t, k] = raw
                if widening_out.shape[0] > 0:
                    widening_out[t, k] = wide
            _predict(mean[k], cov[k], model[k], model[k, WALK])
            for j in range(count):
                runs[k, j, RESPONSE] *= phi
    return alarms


@njit(cache=True, nogil=True)
def _extend(run, onset, j, start, evalue, e, variance):  # type: ignore[no-untyped-def]
    """One CUSUM step, and the generalised least squares sums of the step since its onset."""
    if run[RUN] <= 1.0:
        run[:] = 0.0
        onset[j] = start
    run[RUN] = min(restart(float(run[RUN]), evalue), LONGEST_RUN)
    shown = 1.0 - run[RESPONSE]
    run[MOVED] += shown * e / variance
    run[WEIGHED] += shown * shown / variance
