"""What a served version has forgotten of its source, told once a version.

New information comes only with a new version, so the probe is judged by version and not by tick,
at the error that version may spend (detectors/alignment/forgetting.py). A ticket: the domain itself
may be served well by a version that has forgotten everybody else.
"""

from __future__ import annotations

import numpy as np

from detectors.actions import PROBE
from detectors.records import DAY_US, Finding, State, Tier, to_datetime
from monitor.rows.base import RowSource
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch


def forgetting_findings(
    watch: Watch, progress: Progress, rows: RowSource, now_us: int
) -> list[Finding]:
    """A ticket for each version that serves and has forgotten; looked at once a day."""
    if now_us % DAY_US >= watch.base_tick_us:
        return []
    new = [
        one
        for one in watch.versions.probe
        if one.state is State.DRIFT and one.now not in progress.forgotten_told
    ]
    if not new:
        return []
    served = _served(rows, now_us)
    if served is None:  # the rows name no version: the newest on record serves
        new = [one for one in new if one is watch.versions.probe[-1]]
    else:
        new = [one for one in new if one.now in served]
    progress.forgotten_told += [one.now for one in new]
    return [
        Finding(
            kind="probe",
            ts=to_datetime(now_us),
            onset=to_datetime(now_us - DAY_US),
            stream=PROBE,
            tier=Tier.TICKET,
            effect=one.change,
            detail=one.words,
        )
        for one in new
    ]


def is_forgotten(watch: Watch) -> bool:
    """Whether the newest version on record has forgotten what the first one knew."""
    return bool(watch.versions.probe) and watch.versions.probe[-1].state is State.DRIFT


def _served(rows: RowSource, now_us: int) -> frozenset[str] | None:
    """The versions that the last day's rows name; None where they name none."""
    named: set[str] = set()
    for piece in rows.rows(now_us - DAY_US, now_us, labels_by_us=None):
        if piece.version is not None:
            used = np.unique(piece.version.codes[piece.version.codes >= 0])
            named |= {piece.version.values[code] for code in used}
    return frozenset(named) or None
