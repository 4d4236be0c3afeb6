"""Mappings while time moves on: what rows propose, and whether they keep to what is approved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from alerts.mappings import MappingVersion, next_versions, review_message
from alerts.records import Decision, MessageType
from alerts.settings import AlertSettings
from detectors.mappings.compose import composed
from detectors.mappings.violations import FEWEST_ROWS, violations
from detectors.records import (
    DAY_US,
    Finding,
    MappingProposal,
    Tier,
    Window,
    concat_windows,
    to_datetime,
    to_us,
)
from monitor.rows.base import RowSource
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch, sample_rows

STREAM = "mapping.kept:"
LOOK_US = (DAY_US, 7 * DAY_US)
MOST_ROWS = 5_000
HEALED_US = 3 * DAY_US


def with_review(
    watch: Watch,
    progress: Progress,
    known: Iterable[MappingVersion],
    decision: Decision,
    found: Sequence[MappingProposal],
    now_us: int,
    alerts: AlertSettings,
) -> tuple[Decision, tuple[MappingVersion, ...]]:
    """The versions that rows propose, and the decision with the message that asks for a look.

    Each version is asked about once, by the message of its own cause: where the rows say which
    mapping is meant, the message about the incident as a whole is left out.
    """
    if not found:
        return decision, ()
    kept = tuple(m for m in decision.messages if m.type is not MessageType.MAPPING_REVIEW_REQUESTED)
    decision = replace(decision, messages=kept)
    incident = decision.incidents[0] if decision.incidents else None
    approved = [one.entry for one in watch.mappings]
    proposals = [replace(proposal, entry=composed(proposal.entry, approved)) for proposal in found]
    onset_us = now_us if incident is None else to_us(incident.onset)
    made = next_versions(
        watch.deployment,
        known,
        proposals,
        at=to_datetime(now_us),
        since=None if _from_the_start(watch, progress, onset_us) else to_datetime(onset_us),
        incident_id="" if incident is None else incident.id,
    )
    if not made:
        return decision, ()
    message = review_message(made, incident, now=to_datetime(now_us), public_url=alerts.public_url)
    return replace(decision, messages=(*decision.messages, message)), made


def _from_the_start(watch: Watch, progress: Progress, onset_us: int) -> bool:
    """A domain held against others' rows has been written its own way from its first row."""
    first_us = progress.first_live_us
    return not watch.own_reference and first_us is not None and onset_us - first_us < 2 * DAY_US


def broken_mappings(
    watch: Watch, progress: Progress, rows: RowSource, now_us: int
) -> tuple[list[Finding], list[MappingProposal]]:
    """Once a day: a ticket for each approved mapping that the last day's rows break.

    It is said once, and again only after the mapping has held for three days in between: a day
    of few rows cannot always tell. With it goes what the rows look like instead.
    """
    if not watch.mappings or now_us % DAY_US >= watch.base_tick_us:
        return [], []
    current = _last_rows(rows, now_us)
    if current.rows < FEWEST_ROWS:
        return [], []
    found = violations(watch.reference, current, watch.schema, watch.mappings)
    told = {
        name: last_us
        for name, last_us in progress.broken_mappings.items()
        if now_us - last_us <= HEALED_US
    }
    progress.broken_mappings = {**told, **{one.id: now_us for one in found}}
    new = [one for one in found if one.id not in told]
    findings = [
        Finding(
            kind="mapping",
            ts=to_datetime(now_us),
            onset=to_datetime(now_us - DAY_US),
            stream=f"{STREAM}{one.id}",
            tier=Tier.TICKET,
            column=one.entry.column,
            detail=one.words,
        )
        for one in new
    ]
    return findings, [MappingProposal(entry, one.words) for one in new for entry in one.instead]


def mapping_is_kept(progress: Progress, stream: str) -> bool:
    """Whether the mapping of a finding's stream has held for three days."""
    return stream.removeprefix(STREAM) not in progress.broken_mappings


def _last_rows(rows: RowSource, now_us: int) -> Window:
    current = Window(rows=0)
    for span_us in LOOK_US:
        pieces: Sequence[Window] = list(rows.rows(now_us - span_us, now_us, labels_by_us=None))
        current = concat_windows(pieces)
        if current.rows >= FEWEST_ROWS:
            break
    return sample_rows(current, MOST_ROWS, seed=0)
