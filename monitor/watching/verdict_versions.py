"""The transfer verdict issued again when labels come after their cohort was judged.

Evidence and the planned review never look back. What people read does: cohorts whose labels may
still come are summed again from rows, and where that changes the answer a new version is issued,
numbered and with its reason. Only baselines and arms that came with the rows are summed again; a
baseline that Kedge trains would have to be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from detectors.records import DAY_US, TransferVerdict
from detectors.summary import TickSummary, merge_summaries, summarise_labels
from monitor.baseline.baselines import RecordedScorer, Scorer
from monitor.reports.forms import finite, iso
from monitor.rows.base import RowSource
from monitor.watching.watch import Watch

LONGEST_US = 28 * DAY_US
SHORTEST_US = 3 * DAY_US
DELAYS = 3
CHANGED = 0.1
"""A difference that moved by a tenth of the margin is worth a new version; less is rounding."""
KEPT = 20


def revised_days(
    watch: Watch,
    days: Sequence[TickSummary],
    rows: RowSource,
    scorer: Scorer | None,
    versions: Sequence[Mapping[str, Any]],
) -> list[TickSummary]:
    """Judged cohort days with all labels known now in those that may have got some.

    These are the days of the last three label delays, three to 28 days, and those of which an
    earlier version knew late labels.
    """
    if not days or not isinstance(scorer, RecordedScorer | None):
        return list(days)
    span_us = min(max(DELAYS * watch.label_delay_us, SHORTEST_US), LONGEST_US)
    since_us = days[-1].end_us - span_us
    known = {int(day) for version in versions[-1:] for day in version["late"]}
    return [
        _again(watch, day, rows, scorer) if day.end_us > since_us or day.start_us in known else day
        for day in days
    ]


def _again(
    watch: Watch, day: TickSummary, rows: RowSource, scorer: RecordedScorer | None
) -> TickSummary:
    parts = []
    for piece in rows.rows(day.start_us, day.end_us, labels_by_us=None):
        compared = piece if scorer is None else scorer.comparable(piece)[0]
        parts.append(
            summarise_labels(compared, watch.profile, start_us=day.start_us, end_us=day.end_us)
        )
    again = merge_summaries(parts, day.start_us, day.end_us)
    # Rows past their retention are gone; what was judged then stands.
    return again if again.labelled_rows >= day.labelled_rows else day


def late_labels(days: Sequence[TickSummary], revised: Sequence[TickSummary]) -> dict[int, int]:
    """How many labels each day (by its start) got after it was judged; days with none left out."""
    pairs = zip(days, revised, strict=True)
    found = {old.start_us: new.labelled_rows - old.labelled_rows for old, new in pairs}
    return {day: count for day, count in found.items() if count > 0}


def next_versions(
    versions: Sequence[Mapping[str, Any]],
    judged: TransferVerdict,
    revised: TransferVerdict,
    late: Mapping[int, int],
    *,
    now: datetime,
) -> list[dict[str, Any]]:
    """The versions after one more look; `now` is event time.

    The first is issued as soon as there is a verdict. Another follows where days got labels that
    the last version did not know and the answer with them differs from the answer without.
    """
    kept = [dict(version) for version in versions][-KEPT:]
    if judged.difference is None:
        return kept
    if not kept:
        return [_version(1, judged, {}, "first verdict", now)]
    before = {int(day): int(count) for day, count in kept[-1]["late"].items()}
    if all(count <= before.get(day, 0) for day, count in late.items()):
        return kept
    if not _differs(judged, revised):
        return kept
    more = sum(late.values()) - sum(before.get(day, 0) for day in late)
    reason = f"{more:,} labels came after their cohort was judged"
    return [*kept, _version(int(kept[-1]["version"]) + 1, revised, late, reason, now)][-KEPT:]


def with_version(
    verdict: TransferVerdict, versions: Sequence[Mapping[str, Any]]
) -> TransferVerdict:
    """A verdict whose words name its version, where it was issued again."""
    if not versions or int(versions[-1]["version"]) == 1:
        return verdict
    last = versions[-1]
    return replace(verdict, words=f"{verdict.words} (version {last['version']}: {last['reason']})")


def _differs(judged: TransferVerdict, revised: TransferVerdict) -> bool:
    if judged.state is not revised.state:
        return True
    if judged.difference is None or revised.difference is None:
        return judged.difference is not revised.difference
    margin = judged.margin or revised.margin or 0.0
    return abs(judged.difference - revised.difference) > CHANGED * margin


def _version(
    number: int, verdict: TransferVerdict, late: Mapping[int, int], reason: str, now: datetime
) -> dict[str, Any]:
    return {
        "version": number,
        "issued_at": iso(now),
        "state": verdict.state.value,
        "difference": finite(verdict.difference),
        "ci": [finite(bound) for bound in verdict.ci],
        "rows": verdict.rows,
        "reason": reason,
        # JSON has no whole-number keys.
        "late": {str(day): count for day, count in late.items()},
    }
