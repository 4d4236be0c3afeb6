"""A transfer verdict as one plain sentence with its numbers."""

from __future__ import annotations

from detectors.records import Design, TransferState, TransferVerdict
from detectors.transfer.power import power_words

NOT_MONITORED = (
    "not monitored: no baseline scores are recorded, so there is nothing to compare with"
)


AGAINST = {
    Design.SHADOW: "the from-scratch baseline",
    Design.AB: "the baseline's arm",
    Design.INTERLEAVED: "the baseline",
    Design.TRAINED: "the self-trained baseline",
    Design.NONE: "the baseline",
}


def number(value: float) -> str:
    """Three significant digits, thousands separated, never in exponents a reader must decode."""
    size = abs(value)
    if size == 0.0:
        return "0"
    if size >= 100.0:
        return f"{value:,.0f}"
    if size >= 1e-4:
        decimals = 1 if size >= 10.0 else 2 if size >= 1.0 else 3 if size >= 0.01 else 5
        return f"{value:.{decimals}f}"
    return f"{value:.1e}"


def _side(value: float) -> str:
    if value == 0.0:
        return "equal"
    return f"{number(abs(value))} {'lower' if value < 0.0 else 'higher'}"


def _interval(verdict: TransferVerdict) -> str:
    lower, upper = verdict.ci
    rows = f"{verdict.rows:,} rows"
    if lower is None or upper is None:
        return f"interval not yet bounded, {rows}"
    if lower < 0.0 and upper < 0.0:
        return f"interval {number(-lower)} to {number(-upper)} lower, {rows}"
    if lower > 0.0 and upper > 0.0:
        return f"interval {number(lower)} to {number(upper)} higher, {rows}"
    return f"interval {_side(lower)} to {_side(upper)}, {rows}"


def _review(verdict: TransferVerdict) -> str:
    """What the planned review bounds, where it spoke; the any-time interval is wider."""
    if verdict.bound is None:
        return ""
    return f"by the planned review at least {_side(verdict.bound)}, {verdict.rows:,} rows"


def words_for(verdict: TransferVerdict, *, scope: str = "", note: str = "") -> str:
    """The sentence that leads a report. `scope` names a slice, `note` is appended."""
    where = f" in {scope}" if scope else ""
    tail = f"; {note}" if note else ""
    state = verdict.state
    against = AGAINST[verdict.design]
    if state is TransferState.NOT_MONITORED:
        return NOT_MONITORED
    if verdict.difference is None:
        return f"undetermined{where}: no row has both scores and a label yet{tail}"
    so_far = " so far" if verdict.so_far else ""
    if state in (TransferState.HELPS, TransferState.HURTS):
        return (
            f"{state.value}{so_far}{where}: {verdict.loss} is {_side(verdict.difference)} than "
            f"{against} ({_review(verdict) or _interval(verdict)}){tail}"
        )
    if state is TransferState.NEUTRAL:
        return (
            f"neutral{where}: {verdict.loss} is {_side(verdict.difference)}, within 5 % of "
            f"{against}'s ({_interval(verdict)}){_power(verdict)}{tail}"
        )
    open_words = f"{_why_open(verdict)}{_power(verdict)}"
    return f"undetermined{so_far}{where} after {verdict.rows:,} rows: {open_words}{tail}"


def _power(verdict: TransferVerdict) -> str:
    said = power_words(verdict.minimum_detectable, verdict.baseline_loss)
    return f"; it {said}" if said else ""


def _why_open(verdict: TransferVerdict) -> str:
    lower, upper = verdict.ci
    margin = number(verdict.margin or 0.0)
    more = (
        f"; about {verdict.rows_needed:,} more rows would decide it"
        if verdict.rows_needed is not None
        else ""
    )
    if lower is None or upper is None:
        return f"too little data for an interval (margin {margin}){more}"
    half = 0.5 * (upper - lower)
    if half > (verdict.margin or 0.0):
        return f"the interval ±{number(half)} is wider than the margin {margin}{more}"
    apart = number(abs(verdict.difference or 0.0))
    return f"the losses are {apart} apart, too near the margin {margin} to call{more}"
