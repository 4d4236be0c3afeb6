"""Slices an uncorrected look found: a ticket, and a new test on later rows alone.

Asking every slice at its own error finds more hidden harm than a corrected question, and finds
some that is not there. So such a find wakes nobody: it opens a ticket and begins a test on rows
that had no part in it, which may page. The k-th suspect spends .025 · 6 / (π² k²), so that
however many there are they share one error.
"""

from __future__ import annotations

import math
from dataclasses import replace

from detectors.records import Finding, Tier, TransferState, TransferVerdict, to_datetime
from detectors.summary import transfer_sums
from detectors.transfer.verdict import transfer_verdict
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch

ERROR = 0.025
MOST_AT_ONCE = 50
REFUTED = -1


def suspect_findings(
    watch: Watch, progress: Progress, verdict: TransferVerdict, now_us: int
) -> list[Finding]:
    """Tickets for new suspects, pages for those that later rows confirm; moves `progress`."""
    found = []
    for name in watched(progress):
        later = _on_later_rows(watch, progress, name)
        if later.state is TransferState.HURTS:
            del progress.suspects[name]
            if name not in progress.verdict_told:
                progress.verdict_told.append(name)
                words = f"confirmed on {later.rows:,} rows after the first find: {later.words}"
                stream = f"transfer.verdict@{name}"
                found.append(_finding(stream, name, Tier.PAGE, later, words, now_us, now_us))
        elif later.state in {TransferState.HELPS, TransferState.NEUTRAL}:
            progress.suspects[name][0] = REFUTED
            words = f"not confirmed on {later.rows:,} later rows: {later.words}"
            stream = f"transfer.suspect@{name}"
            found.append(_finding(stream, name, Tier.LOG, later, words, now_us, now_us))
    for name, part in verdict.slices:
        known = name in progress.suspects or name in progress.verdict_told
        if not part.suspect or known or len(watched(progress)) >= MOST_AT_ONCE:
            continue
        progress.suspected += 1
        progress.suspects[name] = [progress.cohort_days[-1].end_us, progress.suspected]
        words = (
            f"{part.words}; uncorrected for the number of slices it would be called harm: a new "
            "test on later rows has begun"
        )
        onset_us = progress.first_live_us or now_us
        stream = f"transfer.suspect@{name}"
        found.append(_finding(stream, name, Tier.TICKET, part, words, now_us, onset_us))
    return found


def watched(progress: Progress) -> list[str]:
    """Suspects whose new test still runs; one that was refuted stays so."""
    return [name for name, (since_us, _) in progress.suspects.items() if since_us != REFUTED]


def _on_later_rows(watch: Watch, progress: Progress, name: str) -> TransferVerdict:
    since_us, rank = progress.suspects[name]
    later = [day for day in progress.cohort_days if day.start_us >= since_us]
    rate = watch.profile.label_rate
    return transfer_verdict(
        transfer_sums(later, name),
        task=watch.schema.task,
        settings=replace(watch.settings, review_us=None),
        ended=False,
        minority_rate=None if rate is None else min(rate, 1.0 - rate),
        alpha=ERROR * 6.0 / (math.pi * rank) ** 2,
        scope=name,
    )


def _finding(
    stream: str,
    name: str,
    tier: Tier,
    verdict: TransferVerdict,
    words: str,
    now_us: int,
    onset_us: int,
) -> Finding:
    return Finding(
        kind="verdict",
        ts=to_datetime(now_us),
        onset=to_datetime(onset_us),
        stream=stream,
        tier=tier,
        slice=name,
        effect=verdict.difference,
        detail=words,
    )
