"""Put changes into the rows of a log: columns in, columns out, the same for a seed.

A change of a feature leaves scores and labels as they are: a log cannot say what the model would
have answered. `odds`, `flip` and `bias` change those themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Never

import numpy as np

from detectors.records import BoolArray, Categories, FloatArray, Schema, Task, Window
from monitor.errors import InputError, did_you_mean, shortened
from monitor.replaying.injection import Injection, Moment

CLIP = 1e-4
UNSEEN = "never seen before"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an injection came to lie. Instants are None where rows have no times.

    `first_row` counts rows of each domain from 0; `rows` (by domain) is how many were touched.
    """

    injection: Injection
    since_us: int | None
    until_us: int | None
    first_row: Mapping[str, int]
    rows: Mapping[str, int]


def inject(
    log: Window,
    reference: Window,
    schema: Schema,
    injections: Sequence[Injection],
    *,
    seed: int = 0,
) -> tuple[Window, tuple[Placed, ...]]:
    """The log with every injection put in, in order, and where each came to lie.

    Raises:
        InputError: for a column, domain or time that the log does not have, or a kind that does
            not fit the column.
    """
    placed = []
    for number, injection in enumerate(injections):
        mask, place = _where(log, injection)
        rng = np.random.default_rng([seed, number])
        log = _changed(log, reference, schema, injection, mask, rng)
        placed.append(place)
    return log, tuple(placed)


def _where(log: Window, injection: Injection) -> tuple[BoolArray, Placed]:
    names = ("default",) if log.domain is None else log.domain.values
    if injection.domain and injection.domain not in names:
        _refuse(
            injection,
            f"no domain '{injection.domain}'; there is {shortened(names)}."
            f"{did_you_mean(injection.domain, names)}",
        )
    since = _from(log, injection, injection.since)
    mask = since
    if injection.until is not None:
        mask = since & ~_from(log, injection, injection.until)
    counts, firsts = {}, {}
    for code, name in enumerate(names):
        own = np.ones(log.rows, np.bool_) if log.domain is None else log.domain.codes == code
        if injection.domain in {"", name}:
            counts[name] = int((mask & own).sum())
            touched = (mask & own)[_in_order(log, own)]
            firsts[name] = int(touched.argmax()) if touched.any() else 0
    if injection.domain and log.domain is not None:
        mask = mask & (log.domain.codes == log.domain.values.index(injection.domain))
    if not mask.any():
        _refuse(injection, f"no row of the log lies there; it has {log.rows:,} rows{_span(log)}")
    return mask, Placed(
        injection,
        _instant(log, injection.since),
        None if injection.until is None else _instant(log, injection.until),
        firsts,
        counts,
    )


def _in_order(log: Window, own: BoolArray) -> BoolArray | np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Index of a domain's rows in the order a replay judges them."""
    rows = np.flatnonzero(own)
    return rows if log.ts_us is None else rows[np.argsort(log.ts_us[rows], kind="stable")]


def _span(log: Window) -> str:
    if log.ts_us is None or not log.rows:
        return ""
    first, last = (np.datetime64(int(t), "us") for t in (log.ts_us.min(), log.ts_us.max()))
    return f" from {str(first)[:16]} to {str(last)[:16]} UTC"


def _instant(log: Window, moment: Moment) -> int | None:
    """Event time of a moment, None where it can only be counted in rows."""
    if moment.at_us is not None:
        return moment.at_us
    if log.ts_us is None or not log.rows:
        return None
    first, last = int(log.ts_us.min()), int(log.ts_us.max())
    if moment.after_us is not None:
        return first + moment.after_us
    if moment.share is not None:
        return first + round(moment.share * (last - first))
    assert moment.row is not None
    ordered = np.sort(log.ts_us)
    return int(ordered[min(moment.row, log.rows - 1)])


def _from(log: Window, injection: Injection, moment: Moment) -> BoolArray:
    """The rows (n,) from a moment on."""
    instant = _instant(log, moment)
    if log.ts_us is not None and instant is not None:
        found: BoolArray = log.ts_us >= instant
        return found
    if moment.share is None and moment.row is None:
        _refuse(injection, "the log has no times; say 50% of it, or row5000")
    row = moment.row if moment.row is not None else round((moment.share or 0.0) * log.rows)
    return np.arange(log.rows) >= row


def _changed(
    log: Window,
    reference: Window,
    schema: Schema,
    injection: Injection,
    mask: BoolArray,
    rng: np.random.Generator,
) -> Window:
    column, kind = injection.column, injection.kind
    if column == "label" or kind in {"odds", "flip"}:
        return _labels(log, schema, injection, mask, rng)
    if column == "score" and column not in log.numeric:
        return _scores(log, reference, schema, injection, mask)
    if column in log.numeric:
        values = _numbers(log, reference, injection, mask, rng)
        return replace(log, numeric={**log.numeric, **values})
    if column in log.categorical:
        categories = _categories(log.categorical[column], injection, mask, rng)
        return replace(log, categorical={**log.categorical, column: categories})
    known = [*log.numeric, *log.categorical, "label", "score"]
    return _refuse(
        injection,
        f"no column '{column}'; there is {shortened(known)}.{did_you_mean(column, known)}",
    )


def _numbers(
    log: Window,
    reference: Window,
    injection: Injection,
    mask: BoolArray,
    rng: np.random.Generator,
) -> dict[str, FloatArray]:
    column, kind, size = injection.column, injection.kind, injection.size
    old = log.numeric[column]
    new = old.copy()
    mean, sd = _scale(reference.numeric.get(column, old))
    if kind == "shift":
        new[mask] += size * sd
    elif kind == "scale":
        new[mask] = mean + size * (old[mask] - mean)
    elif kind == "unit":
        new[mask] *= size
    elif kind in {"nulls", "drop"}:
        new[mask & (rng.random(len(old)) < size)] = np.nan
    elif kind == "zero-fill":
        new[mask & (rng.random(len(old)) < size)] = 0.0
    elif kind == "swap":
        if len(injection.names) != 1 or injection.names[0] not in log.numeric:
            others = [name for name in log.numeric if name != column]
            _refuse(injection, f"a number is swapped with another column: {shortened(others)}")
        other = injection.names[0]
        partner = log.numeric[other].copy()
        new[mask], partner[mask] = log.numeric[other][mask], old[mask]
        return {column: new, other: partner}
    else:
        _refuse(
            injection,
            f"{kind} is not for a number; use shift, scale, unit, nulls, zero-fill, swap or drop",
        )
    return {column: new}


def _scale(values: FloatArray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    sd = float(np.std(known))
    return float(np.mean(known)), sd if sd > 0.0 else 1.0


def _categories(
    old: Categories, injection: Injection, mask: BoolArray, rng: np.random.Generator
) -> Categories:
    kind, size = injection.kind, injection.size
    codes, values = old.codes.copy(), old.values
    some = mask & (rng.random(len(codes)) < size)
    if kind in {"nulls", "drop"}:
        codes[some] = -1
    elif kind == "unseen":
        name = UNSEEN
        while name in values:
            name += "'"
        codes[some] = len(values)
        values = (*values, name)
    elif kind == "swap":
        first, second = _two(old, injection)
        codes[mask & (old.codes == first)] = second
        codes[mask & (old.codes == second)] = first
    else:
        _refuse(injection, f"{kind} is not for categories; use nulls, unseen, swap or drop")
    return Categories(codes, values)


def _two(old: Categories, injection: Injection) -> tuple[int, int]:
    """Codes of the values that change places: those named, or the two commonest."""
    if injection.names:
        for name in injection.names:
            if name not in old.values:
                _refuse(
                    injection,
                    f"no value '{name}'; there is {shortened(old.values)}."
                    f"{did_you_mean(name, old.values)}",
                )
        if len(set(injection.names)) == 2:
            return old.values.index(injection.names[0]), old.values.index(injection.names[1])
    counts = np.bincount(old.codes[old.codes >= 0], minlength=len(old.values))
    if injection.names or (counts > 0).sum() < 2:
        _refuse(injection, "a swap needs two different values")
    first, second = np.argsort(-counts, kind="stable")[:2]
    return int(first), int(second)


def _labels(
    log: Window, schema: Schema, injection: Injection, mask: BoolArray, rng: np.random.Generator
) -> Window:
    if log.label is None:
        _refuse(injection, "the log has no labels")
    kind, size = injection.kind, injection.size
    if injection.column != "label" or kind not in {"odds", "flip", "nulls", "shift"}:
        _refuse(injection, "labels take odds, flip and nulls: write label:odds:1.65@time")
    label = log.label.copy()
    draw = rng.random(log.rows)
    if kind == "nulls":
        label[mask & (draw < size)] = np.nan
    elif kind == "shift":
        if schema.task is not Task.REGRESSION:
            _refuse(injection, "shift is for the labels of a regression; use odds")
        label[mask] += size * _scale(label)[1]
    elif schema.task is Task.REGRESSION:
        _refuse(injection, "the labels of a regression take shift and nulls")
    elif kind == "flip":
        turned = mask & (draw < size) & ~np.isnan(label)
        label[turned] = 1.0 - label[turned]
    else:
        p = np.full(log.rows, np.nanmean(label)) if log.score is None else log.score
        p = np.clip(np.nan_to_num(p, nan=0.5), CLIP, 1.0 - CLIP)
        wanted = size * p / (1.0 - p + size * p)
        up = mask & (label == 0.0) & (draw < (wanted - p) / (1.0 - p))
        down = mask & (label == 1.0) & (draw < (p - wanted) / p)
        label[up], label[down] = 1.0, 0.0
    return replace(log, label=label)


def _scores(
    log: Window, reference: Window, schema: Schema, injection: Injection, mask: BoolArray
) -> Window:
    if log.score is None:
        _refuse(injection, "the log has no scores")
    if injection.kind != "bias":
        _refuse(injection, "scores take bias: write score:bias:0.3@time")
    score = log.score.copy()
    if schema.task is Task.REGRESSION:
        past = log.score if reference.score is None else reference.score
        score[mask] += injection.size * _scale(past)[1]
    else:
        p = np.clip(score[mask], CLIP, 1.0 - CLIP)
        score[mask] = 1.0 / (1.0 + np.exp(-(np.log(p / (1.0 - p)) + injection.size)))
    return replace(log, score=score)


def _refuse(injection: Injection, words: str) -> Never:
    msg = f"--inject {injection.spec}: {words}"
    raise InputError(msg)
