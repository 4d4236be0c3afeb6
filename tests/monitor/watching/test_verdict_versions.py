"""Late labels issue the verdict again, with a number and a reason; evidence stays as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import (
    DAY_US,
    Deployment,
    Task,
    TransferState,
    TransferVerdict,
    to_datetime,
)
from detectors.transfer.loss import loss_of
from monitor.files.references import add_reference_table
from monitor.reports.live import live_report
from monitor.watching.verdict_versions import late_labels, next_versions, with_version
from storage.deployments import get_deployment
from storage.references import Role
from tests.end_to_end.histories import START_US, as_table, history
from tests.end_to_end.test_daemon_is_replay import MODEL, FixedClock, push, service

NOW = to_datetime(START_US)


def verdict(difference: float, state: TransferState = TransferState.HELPS) -> TransferVerdict:
    return TransferVerdict(
        state, "log loss", difference, (difference - 0.01, difference + 0.01), 900, 0.01, words="w"
    )


def test_the_first_verdict_is_version_one_and_a_changed_one_the_next() -> None:
    first = next_versions([], verdict(-0.05), verdict(-0.05), {}, now=NOW)
    assert [version["version"] for version in first] == [1]
    same = next_versions(first, verdict(-0.05), verdict(-0.0505), {START_US: 40}, now=NOW)
    assert same == first
    second = next_versions(first, verdict(-0.05), verdict(-0.03), {START_US: 40}, now=NOW)
    assert second[-1]["version"] == 2
    assert second[-1]["difference"] == -0.03
    assert second[-1]["reason"] == "40 labels came after their cohort was judged"
    again = next_versions(second, verdict(-0.05), verdict(-0.03), {START_US: 40}, now=NOW)
    assert again == second
    third = next_versions(second, verdict(-0.05), verdict(-0.02), {START_US: 55}, now=NOW)
    assert third[-1]["version"] == 3
    assert third[-1]["reason"].startswith("15 labels")


def test_a_changed_state_is_a_new_version_however_small_the_step() -> None:
    first = next_versions([], verdict(-0.05), verdict(-0.05), {}, now=NOW)
    turned = verdict(-0.0501, TransferState.UNDETERMINED)
    assert next_versions(first, verdict(-0.05), turned, {START_US: 1}, now=NOW)[-1]["version"] == 2


def test_words_name_a_version_only_where_it_was_issued_again() -> None:
    first = next_versions([], verdict(-0.05), verdict(-0.05), {}, now=NOW)
    assert with_version(verdict(-0.05), first).words == "w"
    second = next_versions(first, verdict(-0.05), verdict(0.0), {START_US: 9}, now=NOW)
    assert "(version 2: 9 labels came after" in with_version(verdict(0.0), second).words


def test_no_verdict_issues_nothing() -> None:
    none = replace(verdict(0.0), difference=None)
    assert next_versions([], none, none, {}, now=NOW) == []


def test_a_daemon_issues_the_verdict_again_when_slow_labels_come(tmp_path: Path) -> None:
    """Every third label of four days comes five days late, and goes against the model."""
    log = history(days=16, rows_a_day=120, seed=2, first_day=30)
    ts = log.column("ts").cast(pa.int64()).to_numpy()
    day = (ts - START_US) // DAY_US
    slow = (day >= 36) & (day < 40) & (np.arange(len(ts)) % 3 == 0)
    known = log.column("label_ts").cast(pa.int64()).to_numpy()
    known = np.where(slow, ts + 5 * DAY_US, known)
    score = log.column("score").to_numpy()
    label = np.where(slow, score < 0.5, log.column("label").to_numpy()).astype(np.int8)
    log = log.drop_columns(["label", "label_ts"])
    log = log.append_column("label", pa.array(label))
    log = log.append_column("label_ts", pa.array(known, pa.timestamp("us", tz="UTC")))

    running = service(f"sqlite:///{tmp_path / 'kedge.db'}")
    try:
        reference = as_table(history(days=30, rows_a_day=120, seed=1))
        add_reference_table(
            running.database,
            reference,
            model=MODEL,
            role=Role.ONBOARDING,
            domain=None,
            slices=(("plan",),),
            now=FixedClock().now(),
        )
        running.ingest.start()
        deployment = Deployment(MODEL, "south")
        numbers = []
        for until in (40, 43, 46):
            since = {40: 30, 43: 40, 46: 43}[until]
            push(running, log, START_US + since * DAY_US, START_US + until * DAY_US)
            running.check(MODEL)
            with running.database.read() as session:
                state = get_deployment(session, deployment)
            assert state is not None
            issued = (state.status or {})["verdict_versions"]
            numbers.append(issued[-1]["version"])
        assert numbers[0] == 1
        assert numbers[-1] >= 2
        report = live_report(running.runner, deployment, days=None, now=FixedClock().now())
        assert [incident["state"] for incident in report["incidents"]] == ["open"]
        change = report["diagnosis"]["loss_change"]
        steps = sum(term["change"] for term in change["terms"])
        assert steps == pytest.approx(change["after"] - change["before"])
        transfer = report["transfer"]
        assert transfer["version"] == numbers[-1]
        assert "labels came after their cohort was judged" in transfer["words"]
        # By hand: the mean paired loss difference over the judged days, slow labels among them.
        own = (log.column("domain").to_numpy() == "south") & (day < 43)
        baseline = log.column("baseline_score").to_numpy()
        paired = loss_of(Task.BINARY, score, label) - loss_of(Task.BINARY, baseline, label)
        assert transfer["difference"] == pytest.approx(float(paired[own].mean()), abs=1e-4)
        assert abs(paired[own].mean() - paired[own & ~slow].mean()) > 1e-3
    finally:
        running.ingest.stop()
        running.database.close()


def test_late_labels_are_counted_by_day() -> None:
    from detectors.summary import TickSummary
    from detectors.sums import Sum

    def day(start: int, labelled: int) -> TickSummary:
        sums = np.zeros(len(Sum))
        sums[Sum.LABELLED_ROWS] = labelled
        return TickSummary("p", start, start + DAY_US, slices={"": sums})

    old, new = [day(0, 10), day(DAY_US, 5)], [day(0, 10), day(DAY_US, 9)]
    assert late_labels(old, new) == {DAY_US: 4}
