"""The baseline that Kedge trains: the same in the daemon, after a restart and in replay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import DAY_US, BaselinePlan, Deployment, Design, Settings, Task, Window
from detectors.transfer.scratch.features import labelled_rows
from detectors.transfer.scratch.fit import fit_network
from monitor.baseline.fitting import FitFailedError, FitWorker, worker_for
from monitor.baseline.trained import TrainedScorer
from monitor.config import parse_config
from monitor.files.references import add_reference_table
from monitor.files.roles import Roles
from monitor.files.tables import Table, to_table
from monitor.process.daemon import Service
from monitor.replaying.replay import replay
from monitor.rows.held import FileRows
from storage.baselines import BaselineSource, list_baselines
from storage.references import Role
from tests.detectors.transfer.test_scratch import SCHEMA, rows
from tests.end_to_end.histories import ROLES, START_US, history
from tests.end_to_end.test_daemon_is_replay import FixedClock, push

PLAN = BaselinePlan(Design.TRAINED, least_rows=300)
DELAY_US = 2 * DAY_US


@pytest.fixture(scope="module")
def worker() -> FitWorker:
    return worker_for(PLAN)


def daily(seed: int, days: int, a_day: int = 60) -> Window:
    window = rows(seed, days * a_day)
    return replace(window, ts_us=np.repeat(np.arange(days, dtype=np.int64) * DAY_US, a_day))


def scores(window: Window, reference: Window | None = None) -> list[Window]:
    scorer = TrainedScorer.open(SCHEMA, PLAN, reference, chunk_us=DAY_US, delay_us=DELAY_US)
    source, out = FileRows(window), []
    for day in range(window.rows // 60):
        start = day * DAY_US
        pieces = source.rows(start, start + DAY_US, labels_by_us=None)
        out += [w for w, _ in scorer.cohort(pieces, source, start, start + DAY_US)]
    return out


def test_no_score_knows_a_label_that_had_not_matured_when_its_day_began() -> None:
    """Labels of day 4 may move scores from day 7 on (two days of delay), and no earlier one."""
    window = daily(1, 9)
    assert window.label is not None
    of_day = np.repeat(np.arange(9), 60)
    other = replace(window, label=np.where(of_day == 4, 1.0 - window.label, window.label))
    before, after = scores(window), scores(other)
    same = [
        np.array_equal(a.baseline_score, b.baseline_score, equal_nan=True)  # type: ignore[arg-type]
        for a, b in zip(before, after, strict=True)
    ]
    assert same[:7] == [True] * 7
    assert not all(same[7:])


def test_it_has_no_score_before_200_labels_and_learns_from_a_reference_first() -> None:
    young = scores(daily(1, 8))
    known = [
        w.baseline_score is not None and bool(np.isfinite(w.baseline_score).all()) for w in young
    ]
    assert known == [False] * 6 + [True] * 2
    reference = replace(daily(2, 5), ts_us=np.repeat(np.arange(-5, 0) * DAY_US, 60))
    first = scores(daily(1, 3), reference)[0]
    assert first.baseline_score is not None
    assert np.isfinite(first.baseline_score).all()


def test_the_process_trains_what_a_call_would(worker: FitWorker) -> None:
    sample = labelled_rows(rows(1, 400), SCHEMA)
    here = fit_network(sample, task=Task.BINARY, seed=3)
    there = worker.fit(sample, task=Task.BINARY, seed=3)
    assert there.validation == pytest.approx(here.validation, rel=1e-5)
    assert there.network.arm is here.network.arm
    numeric, bucket = sample.numeric, sample.bucket
    assert there.network.predict(numeric, bucket) == pytest.approx(
        here.network.predict(numeric, bucket), abs=1e-5
    )


def test_what_cannot_be_learnt_is_a_sentence_and_the_process_lives_on(worker: FitWorker) -> None:
    same = labelled_rows(replace(rows(1, 300), label=np.ones(300)), SCHEMA)
    with pytest.raises(FitFailedError, match="cannot be learnt"):
        worker.fit(same, task=Task.BINARY, seed=0)
    assert worker.fit(labelled_rows(rows(1, 300), SCHEMA), task=Task.BINARY, seed=0).train > 0


def test_a_fit_beyond_its_processor_time_is_ended_and_the_baseline_says_so() -> None:
    slow = FitWorker(2_048, 1)
    with pytest.raises(FitFailedError, match="more than 1 s of processor time"):
        slow.fit(labelled_rows(rows(1, 40_000), SCHEMA), task=Task.BINARY, seed=0)
    scorer = TrainedScorer.open(SCHEMA, PLAN, None, chunk_us=DAY_US, delay_us=0)
    scorer.worker = slow
    window = replace(rows(1, 90_000), ts_us=np.repeat([0, DAY_US], 45_000))
    scorer.plan = replace(PLAN, most_rows=100_000)
    source = FileRows(window)
    for day in range(2):
        pieces = source.rows(day * DAY_US, (day + 1) * DAY_US, labels_by_us=None)
        scored = list(scorer.cohort(pieces, source, day * DAY_US, (day + 1) * DAY_US))
    assert "could not be trained again" in scorer.trouble
    assert np.isnan(scored[0][0].baseline_score).all()  # type: ignore[arg-type]
    slow.close()


def unscored(table: pa.Table, *, like: Table | None = None) -> Table:
    """The history without its baseline scores."""
    kept = [name for name in table.column_names if name not in {"id", "baseline_score"}]
    roles = replace(ROLES, id=None, baseline_score=None, slices=())
    return to_table(table.select(kept), roles, like=like)


def service(url: str) -> Service:
    model = {
        "tick": "1d",
        "label_delay": "2d",
        "lateness": "0s",
        "review": "12d",
        "baseline": {"kind": "trained", "least_rows": 300},
    }
    return Service(
        parse_config({"service": {"database": url}, "models": {"churn": model}}, source="t"),
        FixedClock(),
    )


def test_daemon_restart_and_replay_train_the_same_baseline(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'k.db'}"
    reference = unscored(history(days=8, rows_a_day=50, seed=1))
    log = history(days=12, rows_a_day=50, seed=2, first_day=30)
    running = service(url)
    add_reference_table(
        running.database,
        reference,
        model="churn",
        role=Role.ONBOARDING,
        domain=None,
        slices=(),
        now=FixedClock().now(),
    )
    running.ingest.start()
    for day in range(30, 44, 3):
        since_us = START_US + day * DAY_US
        push(running, log.drop_columns(["baseline_score"]), since_us, since_us + 3 * DAY_US)
        running.check("churn")
        if day == 36:
            running.ingest.stop()
            running.database.close()
            running = service(url)
            running.ingest.start()
    running.flush("churn")
    north = Deployment("churn", "north")
    told = running.report(north)["transfer"]
    with running.database.read() as session:
        kept = list_baselines(session, "churn", "north")
    running.ingest.stop()
    running.database.close()

    settings = replace(running.settings_of("churn"), review_us=12 * DAY_US)
    result = replay(reference, unscored(log, like=reference), settings, model="churn")
    domain = next(d for d in result.domains if d.deployment == north)
    assert told["design"] == "trained"
    assert told["rows"] == domain.verdict.rows > 500
    assert told["difference"] == pytest.approx(domain.verdict.difference, abs=1e-9)
    facts = domain.facts
    assert facts is not None
    assert [(b.version, b.source) for b in kept][-1] == (facts.version, BaselineSource.TRAINED)
    assert kept[-1].rows == facts.rows
    assert told["baseline"]["version"] == facts.version


def test_without_labels_or_scores_nothing_is_trained() -> None:
    settings = Settings(tick_us=DAY_US, baseline=PLAN)
    table = history(days=10, rows_a_day=30, seed=1).drop_columns(
        ["baseline_score", "label", "label_ts"]
    )
    reference = as_table_without_labels(table)
    log = history(days=5, rows_a_day=30, seed=2, first_day=10).drop_columns(
        ["baseline_score", "label", "label_ts"]
    )
    result = replay(reference, as_table_without_labels(log), settings, model="churn")
    assert {d.verdict.state.value for d in result.domains} == {"not_monitored"}


def as_table_without_labels(arrow: pa.Table) -> Table:
    roles = Roles(timestamp="ts", domain="domain", score="score", ignore=("id",))
    return to_table(arrow, roles)
