"""Named detectors in the pipeline: they start on the reference and file tickets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.records import DAY_US, NamedDetector, Settings, Tier
from monitor.errors import InputError
from monitor.replay import replay
from tests.end_to_end.histories import as_table, history

SETTINGS = Settings(tick_us=DAY_US, label_delay_us=2 * DAY_US)


def found(named: NamedDetector) -> list[tuple[str, Tier]]:
    reference = as_table(history(days=20, rows_a_day=60, seed=1))
    log = history(days=20, rows_a_day=60, seed=2, first_day=20, fault_day=28)
    result = replay(
        reference, as_table(log, like=reference), replace(SETTINGS, named=(named,)), model="m"
    )
    return [
        (domain.deployment.domain, finding.tier)
        for domain in result.domains
        for finding in domain.findings
        if finding.kind == named.method
    ]


def test_page_hinkley_on_the_loss_files_a_ticket_where_labels_are_flipped() -> None:
    assert ("south", Tier.TICKET) in found(NamedDetector("page_hinkley", "loss"))


def test_a_signal_the_model_does_not_have_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"no signal 'los' .* Did you mean 'loss'"):
        found(NamedDetector("adwin", "los"))
