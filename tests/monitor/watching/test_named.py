"""Named detectors in the pipeline: they start on the reference and file tickets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detectors.records import DAY_US, NamedDetector, Settings, Tier
from monitor.config import DetectorConfig
from monitor.errors import InputError
from monitor.replaying.replay import replay, to_json
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


def test_columns_stands_for_every_column_and_each_says_what_run_length_it_reached() -> None:
    reference = as_table(history(days=40, rows_a_day=60, seed=1))
    log = history(days=4, rows_a_day=60, seed=2, first_day=40)
    settings = replace(SETTINGS, named=(NamedDetector("cusum", "columns"),))
    result = replay(reference, as_table(log, like=reference), settings, model="m")
    told = to_json(result)["budget"]["south"]["detectors"]
    columns = {column.name for column in reference.schema.columns}
    assert {one["signal"] for one in told} == columns
    for one in told:
        length = one["run_length"]
        # A tenth of ten tickets in 30 days, shared; 2.5 times that; in ticks of a day.
        assert length["target"] == pytest.approx(2.5 * 3.0 / (0.1 / len(columns)))
        assert length["low"] <= length["ticks"]
        assert one["options"]["limit_sd"] > 0
        assert "one false alarm in" in one["words"]


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        ({"method": "cusumm", "signal": "score"}, "Did you mean 'cusum'"),
        ({"method": "ewma", "signal": "score", "options": {"weight": 2.0}}, "0 < weight <= 1"),
    ],
)
def test_a_wrong_method_or_option_stops_the_configuration(
    detector: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        DetectorConfig.model_validate(detector)
