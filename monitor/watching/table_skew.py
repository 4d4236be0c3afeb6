"""One ticket where serving differs from a training table that has no times."""

from __future__ import annotations

import numpy as np

from detectors.records import Finding, Tier, to_datetime
from detectors.skew import SKEW_AFTER_US, serving_skew
from detectors.streams import effect_words
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch

STREAM = "skew.serving"
MOST_TOLD = 4


def table_skew(watch: Watch, progress: Progress, instant_us: int) -> list[Finding]:
    """The ticket, at the first tick that closes a week of serving; nothing before and after."""
    first_us, bank = progress.first_live_us, progress.feature.bank
    if progress.skew_told or not watch.is_table or first_us is None or not bank.history:
        return []
    if instant_us - first_us < SKEW_AFTER_US:
        return []
    progress.skew_told = True
    found = serving_skew(
        bank.specs,
        watch.profile,
        np.concatenate([part.starts_us for part in bank.history]),
        np.concatenate([part.y for part in bank.history]),
        np.concatenate([part.v for part in bank.history]),
    )
    if not found:
        return []
    first = bank.specs[found[0].stream].stream
    told = [
        effect_words(bank.specs[one.stream], one.effect, watch.profile) for one in found[:MOST_TOLD]
    ]
    more = f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return [
        Finding(
            kind="skew",
            ts=to_datetime(instant_us),
            onset=to_datetime(first_us),
            stream=STREAM,
            tier=Tier.TICKET,
            column=first.column,
            effect=found[0].effect,
            detail=(
                f"what is served differs from the training table since its first day: "
                f"{'; '.join(told)}{more} (over {found[0].days} daily means)"
            ),
        )
    ]
