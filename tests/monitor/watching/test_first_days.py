"""Where the reference is a table without times, the first days of serving become it in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from detectors.evidence.young import PROMISED_US
from detectors.records import (
    DAY_US,
    HOUR_US,
    ColumnSpec,
    Deployment,
    Finding,
    Kind,
    Maturity,
    Schema,
    Settings,
    Task,
    Tier,
    Window,
)
from monitor.rows.held import FileRows
from monitor.watching.day_words import day_sentences
from monitor.watching.first_days import FEWEST_ROWS
from monitor.watching.pipeline import evaluate, open_progress
from monitor.watching.progress import Progress
from monitor.watching.standing import followed_streams
from monitor.watching.watch import Watch, open_watch

START_US = 20_454 * DAY_US
SCHEMA = Schema(
    task=Task.BINARY,
    columns=(ColumnSpec("age", Kind.NUMERIC), ColumnSpec("spend", Kind.NUMERIC)),
    has_score=True,
    has_label=True,
)
SETTINGS = Settings(tick_us=6 * HOUR_US, label_delay_us=DAY_US)
LIVE, JUMPS = 30, 22


def rows_of(
    days: int, *, jump: float = 0.0, gone: Iterable[int] = (), rows_a_day: int = 96, seed: int = 0
) -> Window:
    """Evenly spaced rows, served half an sd beside the table; scores jump on day 22.

    `spend` is null on the days that it is `gone`.
    """
    rng = np.random.default_rng(seed)
    count = days * rows_a_day
    ts_us = START_US + np.arange(count, dtype=np.int64) * DAY_US // rows_a_day
    day = (ts_us - START_US) // DAY_US
    logit = rng.normal(-1.0, 0.5, count) + 0.25 + jump * (day >= JUMPS)
    score = 1.0 / (1.0 + np.exp(-logit))
    spend = rng.normal(5.0, 1.0, count)
    spend[np.isin(day, list(gone))] = np.nan
    return Window(
        rows=count,
        ts_us=ts_us,
        score=score,
        label=(rng.random(count) < score).astype(np.float64),
        label_ts_us=ts_us + HOUR_US,
        numeric={"age": rng.normal(40.0, 10.0, count), "spend": spend},
    )


def table() -> Window:
    """The rows the model was trained on: no times, other scores."""
    past = rows_of(30, seed=7)
    assert past.score is not None
    return replace(past, ts_us=None, label_ts_us=None, score=np.clip(past.score - 0.05, 0.01, 1.0))


def watched(settings: Settings = SETTINGS) -> Watch:
    return open_watch(Deployment("m", "d"), SCHEMA, settings, reference=table(), own_reference=True)


def followed(
    log: Window,
    stops: Sequence[int],
    *,
    settings: Settings = SETTINGS,
    through_bytes: bool = False,
) -> tuple[Progress, list[Finding]]:
    watch = watched(settings)
    progress = open_progress(watch, table())
    found: list[Finding] = []
    for stop in stops:
        for seen in evaluate(watch, progress, FileRows(log), watermark_us=stop):
            found += seen.findings
        if through_bytes:
            kept = progress.cohort_days
            progress = Progress.from_bytes(progress.to_bytes())
            progress.cohort_days = kept
    return progress, found


def end_of(day: int) -> int:
    return START_US + day * DAY_US


def pages(found: Iterable[Finding]) -> list[Finding]:
    return [one for one in found if one.tier is Tier.PAGE and one.kind == "drift"]


@pytest.fixture(scope="module")
def log() -> Window:
    return rows_of(LIVE, jump=2.0)


def test_after_two_weeks_features_start_anew_on_the_days_that_were_served(log: Window) -> None:
    before, found = followed(log, [end_of(14) - 1])
    assert before.first_days is not None
    assert before.first_days.span_us is None
    assert not pages(found)
    assert "from 1 Jan on" in before.first_days.words
    assert np.isnan(before.feature.level).all()
    after, _ = followed(log, [end_of(14)])
    assert after.first_days is not None
    assert after.first_days.span_us == (START_US, end_of(14))
    assert "own first 14 days, 1 Jan to 14 Jan" in after.first_days.words
    bank = after.feature.bank
    assert (bank.age_us, bank.maturity, bank.live) == (PROMISED_US, Maturity.GUARANTEED, False)
    assert not bank.wealth.any(), "what was gathered before is not carried on"
    assert np.isfinite(after.feature.level).all()
    assert after.day_watch("feature") is not None, "slow change begins too"


def test_labels_go_on_and_get_their_level_one_delay_later(log: Window) -> None:
    progress, _ = followed(log, [end_of(15) - 1])
    assert progress.first_days is not None
    assert set(progress.first_days.until_us) == {"feature"}
    progress, _ = followed(log, [end_of(15)])
    assert progress.first_days.until_us["label"] == end_of(14)  # type: ignore[union-attr]
    assert progress.label.bank.live
    assert len(progress.label.level) == len(progress.label.bank.specs)
    assert progress.day_watch("label") is not None


def test_a_step_after_the_fortnight_pages_and_the_table_never_does(log: Window) -> None:
    quiet, found = followed(rows_of(LIVE), [end_of(LIVE)])
    assert not pages(found), "half an sd beside the table since the first day"
    assert [one.stream for one in found if one.kind == "skew"] == ["skew.serving"]
    assert any("own first 14 days" in words for words in day_sentences(by_day(quiet)))
    _, found = followed(log, [end_of(LIVE)])
    first = min(pages(found), key=lambda one: one.ts)
    assert end_of(JUMPS) <= first.ts.timestamp() * 1e6 <= end_of(JUMPS + 2)


def by_day(progress: Progress) -> dict[str, object]:
    from monitor.watching.day_words import by_day_json

    return by_day_json(progress, SETTINGS)


def test_the_same_however_time_moves_and_through_the_checkpoint(log: Window) -> None:
    _, at_once = followed(log, [end_of(LIVE)])
    odd = [*range(START_US, end_of(LIVE), 41 * HOUR_US), end_of(LIVE)]
    _, in_steps = followed(log, odd, through_bytes=True)
    assert at_once
    assert in_steps == at_once


def test_the_back_test_chooses_the_tick_of_features(log: Window) -> None:
    auto = replace(SETTINGS, tick_us=None)
    progress, _ = followed(log, [end_of(14) + HOUR_US], settings=auto)
    assert progress.feature.tick_us == HOUR_US
    assert progress.feature.next_us == end_of(14) + HOUR_US
    assert {one["followed"] for one in followed_streams(progress)} <= {"tick", "sparse"}


@pytest.mark.parametrize(
    ("gone", "since_day"),
    [
        ((5, 6), 7),  # repaired after two days: the fortnight begins anew
        (range(LIVE), 0),  # never served: that is how this domain is
        (range(5, LIVE), None),  # lasts: it is not made the norm
    ],
)
def test_a_fault_that_came_later_is_no_part_of_the_norm(
    gone: Iterable[int], since_day: int | None
) -> None:
    progress, _ = followed(rows_of(LIVE, gone=gone), [end_of(25)])
    assert progress.first_days is not None
    span = progress.first_days.span_us
    assert span == (None if since_day is None else (end_of(since_day), end_of(since_day + 14)))


def test_too_few_rows_make_the_fortnight_longer() -> None:
    a_day = FEWEST_ROWS // 20
    progress, _ = followed(rows_of(LIVE, rows_a_day=a_day), [end_of(25)])
    assert progress.first_days is not None
    assert progress.first_days.span_us == (START_US, end_of(20))


def test_a_reference_with_times_has_no_such_days() -> None:
    reference = rows_of(20, seed=7)
    watch = open_watch(
        Deployment("m", "d"), SCHEMA, SETTINGS, reference=reference, own_reference=True
    )
    assert open_progress(watch, reference).first_days is None
    assert watch.fingerprint != watched().fingerprint
