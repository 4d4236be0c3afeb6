"""What findings lead to: which rows a diagnosis reads, what it may rename, what counts as spent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from alerts.records import Incident, IncidentState, Severity
from alerts.settings import AlertSettings
from detectors.records import (
    DAY_US,
    Action,
    Deployment,
    Finding,
    Mode,
    Settings,
    Tier,
    Window,
    to_datetime,
)
from monitor.rows.held import FileRows
from monitor.watching.judgement import (
    CURRENT_ROWS,
    Ledger,
    current_rows,
    judge,
    spends_budget,
)
from monitor.watching.pipeline import Evaluation, open_progress
from monitor.watching.watch import Watch, open_watch
from tests.simulate import START_US, Stream, history, table

DELAY = 40 * DAY_US
SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DELAY)
NOW_US = START_US + 100 * DAY_US


@pytest.fixture(scope="module")
def reference() -> Window:
    past = table(history(Stream(rows_a_day=20), days=30, seed=5))
    return replace(past.window, domain=None)


@pytest.fixture(scope="module")
def watch(reference: Window) -> Watch:
    schema = table(history(Stream(rows_a_day=20), days=1, seed=5)).schema
    where = Deployment("model", "shop")
    return open_watch(where, schema, SETTINGS, reference=reference, own_reference=True)


def even_rows(rows_a_day: int) -> FileRows:
    """Rows at even spaces over the hundred days."""
    count = 100 * rows_a_day
    ts_us = START_US + np.arange(count, dtype=np.int64) * DAY_US // rows_a_day
    return FileRows(Window(rows=count, ts_us=ts_us))


def days_of(window: Window) -> tuple[int, int]:
    assert window.ts_us is not None
    days = (window.ts_us - START_US) // DAY_US
    return int(days.min()), int(days.max())


def test_input_alarms_are_diagnosed_on_the_newest_rows(watch: Watch) -> None:
    rows = current_rows(watch, even_rows(100), ["column.location:age"], START_US, NOW_US)
    assert days_of(rows) == (86, 99)


def test_labelled_alarms_are_diagnosed_on_the_rows_they_judged(watch: Watch) -> None:
    """The cohort clock stands 40 days back; the newest rows have no labels yet."""
    rows = current_rows(watch, even_rows(100), ["loss.mean"], START_US, NOW_US)
    assert days_of(rows) == (46, 59)


def test_a_small_domain_is_diagnosed_on_more_days(watch: Watch) -> None:
    rows = current_rows(watch, even_rows(10), ["column.location:age"], START_US, NOW_US)
    assert days_of(rows) == (44, 99)


def test_rows_before_the_change_are_never_read(watch: Watch) -> None:
    onset = START_US + 97 * DAY_US
    rows = current_rows(watch, even_rows(10), ["column.location:age"], onset, NOW_US)
    assert days_of(rows) == (97, 99)


def test_a_large_domain_is_sampled(watch: Watch) -> None:
    rows = current_rows(watch, even_rows(1000), ["column.location:age"], START_US, NOW_US)
    assert rows.rows == CURRENT_ROWS
    assert days_of(rows) == (86, 99)


def incident(*streams: str, tier: Tier = Tier.PAGE) -> Incident:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Incident(
        id="inc_1",
        deployment=Deployment("model", "shop"),
        mode=Mode.CONCEPT_SHIFT,
        state=IncidentState.OPEN,
        severity=Severity.HIGH,
        tier=tier,
        headline="",
        opened_at=at,
        updated_at=at,
        onset=at,
        action=Action("re-fit head", "this domain", "days", ""),
        streams=streams,
    )


@pytest.mark.parametrize(
    ("streams", "tier", "spends"),
    [
        (("loss.mean",), Tier.PAGE, True),
        (("schema.missing:age",), Tier.PAGE, False),
        (("transfer.verdict@plan=pro",), Tier.PAGE, False),
        (("transfer.difference",), Tier.PAGE, True),
        (("schema.missing:age", "loss.mean"), Tier.PAGE, True),
        (("column.location:age",), Tier.TICKET, False),
    ],
)
def test_only_budgeted_pages_spend_the_budget(
    streams: tuple[str, ...], tier: Tier, spends: bool
) -> None:
    assert spends_budget(incident(*streams, tier=tier)) is spends


def test_many_alarms_of_one_instant_make_one_incident_and_one_message(
    watch: Watch, reference: Window
) -> None:
    at = to_datetime(NOW_US)
    found = tuple(
        Finding("drift", at, at, stream, tier, evidence=2.0, detail=stream)
        for stream, tier in (
            ("column.location:age", Tier.TICKET),
            ("loss.mean", Tier.PAGE),
            ("calibration.in_the_large", Tier.PAGE),
        )
    )
    ledger = Ledger()
    step = judge(
        watch,
        open_progress(watch, reference),
        Evaluation(NOW_US, (), found, cohort_day_closed=False),
        even_rows(20),
        ledger,
        alerts=AlertSettings(),
    )
    (opened,) = ledger.open
    assert (opened.alarms, opened.tier) == (3, Tier.PAGE)
    assert "loss.mean" in opened.headline or "calibration" in opened.headline
    assert len(step.messages) == 1


def test_logged_findings_open_nothing(watch: Watch, reference: Window) -> None:
    at = to_datetime(NOW_US)
    found = (Finding("drift", at, at, "column.location:age", Tier.LOG, column="age"),)
    ledger = Ledger()
    step = judge(
        watch,
        open_progress(watch, reference),
        Evaluation(NOW_US, (), found, cohort_day_closed=False),
        even_rows(20),
        ledger,
        alerts=AlertSettings(),
    )
    assert not ledger.incidents
    assert step.findings == found
    assert step.diagnosis is None


def test_a_column_that_is_empty_since_this_morning_is_not_hidden_by_the_full_days_before(
    watch: Watch, reference: Window
) -> None:
    """Evidence beside the certain check dates the same change ten days earlier."""
    window = replace(table(history(Stream(rows_a_day=20), days=100, seed=6)).window, domain=None)
    assert window.ts_us is not None
    column = next(iter(window.numeric))
    gone = np.where(window.ts_us >= NOW_US - 3 * DAY_US, np.nan, window.numeric[column])
    rows = FileRows(replace(window, numeric={**window.numeric, column: gone}))
    at, began = to_datetime(NOW_US), to_datetime(NOW_US - 3 * DAY_US)
    early = to_datetime(NOW_US - 13 * DAY_US)
    found = (
        Finding("schema", at, began, f"schema.all_null:{column}", Tier.PAGE, column=column),
        Finding("drift", at, early, f"column.null_share:{column}", Tier.TICKET, column=column),
    )
    ledger = Ledger()
    judge(
        watch,
        open_progress(watch, reference),
        Evaluation(NOW_US, (), found, cohort_day_closed=False),
        rows,
        ledger,
        alerts=AlertSettings(),
    )
    (opened,) = ledger.open
    assert (opened.mode, opened.tier) == (Mode.FEATURE_ABSENT, Tier.PAGE)
