"""What is followed beside the reference's streams, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from detectors.records import HOUR_US, Settings, to_datetime
from monitor.durations import duration_words
from monitor.watching.day_watch import DayWatch
from monitor.watching.first_days import FirstDays
from monitor.watching.newcomer_words import newcomers_json
from monitor.watching.progress import Progress

NAMED_PEERS = 4
PARTS = ("first_days", "peers", "slow_change", "newcomers")


def by_day_json(progress: Progress, settings: Settings) -> dict[str, Any]:
    """Which days stand for a reference without times; peers; slow change; newcomers.

    Every value is plain JSON; `words` are for reports. Empty where nothing is followed so.
    """
    said: dict[str, Any] = {}
    if progress.first_days is not None:
        said["first_days"] = _first_days(progress.first_days)
    if progress.days:
        said |= {"peers": _peers(progress.days), "slow_change": _slow(progress.days, settings)}
    if newcomers := newcomers_json(progress.newcomers):
        said["newcomers"] = newcomers
    return said


def day_sentences(by_day: Mapping[str, Any]) -> list[str]:
    """The words of `by_day_json` for a line of a report."""
    parts = (by_day.get(key) or {} for key in PARTS)
    return [part["words"] for part in parts if part.get("words")]


def _first_days(first: FirstDays) -> dict[str, Any]:
    since_us, until_us = first.span_us or (None, None)
    return {
        "words": first.words,
        "since": None if since_us is None else to_datetime(since_us).isoformat(),
        "until": None if until_us is None else to_datetime(until_us).isoformat(),
    }


def _peers(days: tuple[DayWatch, ...]) -> dict[str, Any]:
    controls = {stream: one for watch in days for stream, one in watch.peers.controls.items()}
    reasons = Counter(why for watch in days for why in watch.peers.why_not.values())
    followed = len(controls) + reasons.total()
    names = sorted({peer for one in controls.values() for peer in one.peers})
    words = ""
    if controls:
        shown = ", ".join(names[:NAMED_PEERS])
        more = f" and {len(names) - NAMED_PEERS} more" if len(names) > NAMED_PEERS else ""
        words = f"{len(controls)} of {followed} streams also against peers ({shown}{more})"
    elif reasons:
        words = f"no peers: {reasons.most_common(1)[0][0]}"
    return {
        "words": words,
        "streams": {
            stream: {
                "peers": list(one.peers),
                "correlation": round(one.correlation, 3),
                "slope": round(one.slope, 3),
            }
            for stream, one in sorted(controls.items())
        },
        "why_not": dict(reasons.most_common()),
    }


def _slow(days: tuple[DayWatch, ...], settings: Settings) -> dict[str, Any]:
    streams = sum(len(watch.slow.bank.specs) for watch in days if watch.slow is not None)
    if settings.slow is None or not streams:
        return {"words": "", "streams": 0}
    knows_year = all(watch.knows_year for watch in days)
    period = duration_words(round(settings.slow.period_hours * HOUR_US))
    tickets = f"{settings.slow.pages:g} ticket{'' if settings.slow.pages == 1 else 's'}"
    season = "" if knows_year else "; the reference is too short to know the season of the year"
    return {
        "words": f"slow change in {streams} streams, {tickets} / {period}{season}",
        "streams": streams,
        "allowed": settings.slow.pages,
        "period": period,
        "knows_year": knows_year,
    }
