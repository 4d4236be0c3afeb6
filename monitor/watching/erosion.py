"""The benefit of transfer as a stream of its own: a ticket when it goes, day by day of cohorts.

It wakes nobody: a benefit that has turned into harm is paged by the verdict and by the transfer
stream. Its share of the ticket budget comes on top of what the evidence may use, like that of
label delays.
"""

from __future__ import annotations

from detectors.records import Finding, Tier, to_datetime
from detectors.scales import difference_scale, loss_scale
from detectors.streams import LOSS_STEP
from detectors.summary import transfer_sums
from detectors.transfer.eroding import eroding
from detectors.transfer.erosion import Erosion, erosion_of
from detectors.transfer.sums import TransferSums
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch, onboarding_level

STREAM = "transfer.erosion"
SHARE = 0.1
"""Of the ticket budget: one false ticket in ten times its period at most."""


def erosion_findings(watch: Watch, progress: Progress, now_us: int) -> list[Finding]:
    """A ticket where the last day of cohorts has brought the evidence; asked once a day."""
    sums = _sums(watch, progress)
    if sums is None:
        return []
    found = eroding(
        sums,
        onboarding=onboarding_level(watch),
        step=smallest_loss_of_benefit(watch),
        weight=SHARE,
        threshold_hours=watch.settings.budget.threshold_hours(Tier.TICKET),
    )
    last = len(sums.rows) - 1
    if not found.alarms or found.alarms[-1] != last:
        return []
    size = erosion_of(sums, onboarding=onboarding_level(watch))
    words = "the benefit of transfer is going" if size is None else size.words
    return [
        Finding(
            kind="drift",
            ts=to_datetime(now_us),
            onset=to_datetime(int(sums.start_us[found.onset[-1]])),
            stream=STREAM,
            # What the last 28 days do not show is written down, and nobody is told.
            tier=Tier.TICKET if size is not None and size.eroded else Tier.LOG,
            evidence=float(found.evidence[last]),
            effect=None if size is None else size.change / difference_scale(watch.profile).sd,
            detail=words,
        )
    ]


def is_eroded(watch: Watch, progress: Progress) -> bool | None:
    """Whether the last 28 days still lie below onboarding by more than may be ignored."""
    sums = _sums(watch, progress)
    size: Erosion | None = None
    if sums is not None:
        size = erosion_of(sums, onboarding=onboarding_level(watch))
    return None if size is None else size.change > smallest_loss_of_benefit(watch)


def smallest_loss_of_benefit(watch: Watch) -> float:
    """Two per cent of the baseline's loss, or the margin if that is wider."""
    base = watch.profile.baseline_loss
    loss = loss_scale(watch.profile)
    mean = base.mean if base is not None and base.mean > 0.0 else loss.mean or loss.sd
    return max(LOSS_STEP, watch.settings.margin) * mean


def _sums(watch: Watch, progress: Progress) -> TransferSums | None:
    if not watch.schema.has_baseline or watch.settings.tick_rows is not None:
        return None
    sums = transfer_sums(progress.cohort_days, label_rate=watch.profile.label_rate).filled()
    return sums if len(sums.rows) else None
