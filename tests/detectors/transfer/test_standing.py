from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.records import (
    DAY_US,
    BaselinePlan,
    Categories,
    Maturity,
    Settings,
    Task,
    TransferState,
    TransferVerdict,
    Window,
    to_us,
)
from detectors.transfer.erosion import erosion_of
from detectors.transfer.gate import Admission, onboarding_gate
from detectors.transfer.learning_curve import CurvePoint
from detectors.transfer.pooling import pool_for_display
from detectors.transfer.standing import (
    UNRECORDED,
    BaselineFacts,
    Fitness,
    downgraded,
    facts_words,
    standing_of,
    trained_on,
    without_leaks,
)
from detectors.transfer.sums import concat_sums
from detectors.transfer.suspicions import suspicions
from detectors.transfer.verdict import transfer_verdict
from tests.detectors.transfer.simulate import cohort_days

PLAN = BaselinePlan(least_rows=500, max_age_us=90 * DAY_US)
UNTIL = 20_574 * DAY_US  # 1 May 2026
FACTS = BaselineFacts(3, "imported", 41_000, UNTIL - 100 * DAY_US, UNTIL)


def verdict(difference: float = -0.06, seed: int = 1, days: int = 60) -> TransferVerdict:
    sums = cohort_days(np.random.default_rng(seed), days, difference, rows=120)
    return transfer_verdict(sums, task=Task.BINARY, settings=Settings(), ended=True)


def test_a_baseline_is_named_with_its_rows_its_end_and_its_age() -> None:
    words = facts_words(FACTS, UNTIL + 40 * DAY_US)
    assert words == "baseline 3, trained on 41,000 rows until 1 May 2026, 40 d old"


@pytest.mark.parametrize("difference", [-0.1, 0.1])
def test_an_old_or_starved_baseline_decides_nothing_and_says_why(difference: float) -> None:
    said = verdict(difference)
    assert said.state in {TransferState.HELPS, TransferState.HURTS}
    old = standing_of(FACTS, said, PLAN, UNTIL + 91 * DAY_US)
    few = standing_of(replace(FACTS, rows=499), said, PLAN, UNTIL)
    assert (old.fitness, few.fitness) == (Fitness.STALE, Fitness.STARVED)
    for standing, word in ((old, "stale, the limit is 90 d"), (few, "starved, 500 rows would do")):
        lowered = downgraded(said, standing)
        assert lowered.state is TransferState.UNDETERMINED
        assert word in lowered.words
        assert f"would say {said.state.value}" in lowered.words
        assert lowered.difference == said.difference


def test_a_fit_or_unrecorded_baseline_leaves_the_verdict_alone() -> None:
    said = verdict()
    assert downgraded(said, standing_of(FACTS, said, PLAN, UNTIL)) is said
    assert downgraded(said, standing_of(None, said, PLAN, UNTIL)) is said


def learning(scale: float) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(float(n), 500.0, 0.3 + scale * n**-0.5, 0.44)
        for n in np.geomspace(500, 10_000, 12)
    )


def test_a_baseline_that_still_learns_cannot_be_said_to_be_beaten_narrowly() -> None:
    """Doubling gains 8 % of its loss: a lead of 6 % may be gone by then, one of 30 % is not."""
    facts = replace(FACTS, curve=learning(12.0))
    narrow = replace(verdict(-0.1), difference=-0.03, baseline_loss=0.5, margin=0.005)
    wide = replace(narrow, difference=-0.15)
    assert standing_of(facts, narrow, PLAN, UNTIL).fitness is Fitness.LEARNING
    assert standing_of(facts, wide, PLAN, UNTIL).fitness is Fitness.FIT
    hurt = replace(narrow, state=TransferState.HURTS, difference=0.05)
    assert standing_of(facts, hurt, PLAN, UNTIL).fitness is Fitness.FIT


def test_rows_the_baseline_was_trained_on_are_left_out_and_counted() -> None:
    """The two versions meet in the middle of a tick: each row belongs to the one that scored it."""
    day = np.arange(10, dtype=np.int64) * DAY_US
    first = BaselineFacts(1, "imported", 900, -5 * DAY_US, 2 * DAY_US)
    second = BaselineFacts(2, "imported", 900, 1 * DAY_US, 5 * DAY_US, scores_from_us=4 * DAY_US)
    expected = [True, True, True, False, True, True, False, False, False, False]
    assert trained_on(day, [second, first]).tolist() == expected
    window = Window(rows=10, ts_us=day, baseline_score=np.full(10, 0.5))
    left, count = without_leaks(window, [first, second])
    assert count == 5
    assert left.baseline_score is not None
    assert np.isnan(left.baseline_score).tolist() == expected
    assert without_leaks(window, []) == (window, 0)


def test_the_gate_admits_refuses_and_waits_with_reasons() -> None:
    helps, hurts = verdict(-0.1), verdict(0.1)
    assert onboarding_gate(helps, UNRECORDED).state is Admission.ADMITTED
    refused = onboarding_gate(hurts, UNRECORDED)
    assert refused.state is Admission.REFUSED
    assert refused.reasons[0].startswith("transfer hurts")
    broken = onboarding_gate(helps, UNRECORDED, faults=("`age` is missing",))
    assert broken.state is Admission.REFUSED
    assert broken.reasons == ("schema: `age` is missing",)
    young = onboarding_gate(helps, UNRECORDED, maturity=Maturity.WARMING)
    assert young.state is Admission.PROBATION
    open_ = onboarding_gate(verdict(0.004, days=10), UNRECORDED)
    assert open_.state is Admission.PROBATION
    assert "more rows would decide it" in open_.reasons[0]
    stale = standing_of(FACTS, helps, PLAN, UNTIL + 400 * DAY_US)
    assert onboarding_gate(downgraded(helps, stale), stale).state is Admission.PROBATION


def test_benefit_that_shrinks_is_eroded_and_one_that_stays_is_not() -> None:
    rng = np.random.default_rng(8)
    good, worse = cohort_days(rng, 60, -0.10, rows=200), cohort_days(rng, 28, -0.02, rows=200)
    worse = replace(worse, start_us=worse.start_us + 60 * DAY_US)
    found = erosion_of(concat_sums([good, worse]))
    assert found is not None
    assert found.eroded
    assert found.onboarding == pytest.approx(0.10, abs=0.02)
    assert found.now == pytest.approx(0.02, abs=0.02)
    same = erosion_of(cohort_days(rng, 88, -0.10, rows=200))
    assert same is not None
    assert not same.eroded
    assert erosion_of(cohort_days(rng, 5, -0.1)) is None


def test_pooling_is_shown_for_small_domains_only() -> None:
    many = {f"d{i}": verdict(-0.05, seed=i, days=60) for i in range(4)}
    small = replace(verdict(0.2, seed=9), rows=60, se=0.06, difference=0.2)
    pooled = pool_for_display({**many, "odd": small})
    assert list(pooled) == ["odd"]
    assert pooled["odd"].difference < 0.2
    assert "no verdict reads it" in pooled["odd"].words
    assert pool_for_display({"odd": small}) == {}


def rows(seed: int = 3, n: int = 2_000) -> Window:
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=n)
    return Window(
        rows=n,
        score=1 / (1 + np.exp(-logit)),
        baseline_score=1 / (1 + np.exp(-(logit + rng.normal(size=n)))),
        label=(rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float),
    )


def test_scores_that_cannot_be_the_baselines_are_said_in_words() -> None:
    good = rows()
    ask = {"task": Task.BINARY, "settings": Settings()}
    assert suspicions(good, **ask) == ()  # type: ignore[arg-type]  # the two are what they say
    assert good.baseline_score is not None
    shuffled = np.random.default_rng(0).permutation(good.baseline_score)
    (other,) = suspicions(replace(good, baseline_score=shuffled), **ask)  # type: ignore[arg-type]
    assert "joined to other rows" in other
    (same,) = suspicions(replace(good, baseline_score=good.score), **ask)  # type: ignore[arg-type]
    assert "sent twice" in same
    swapped = replace(good, score=good.baseline_score, baseline_score=good.score)
    (turned,) = suspicions(swapped, source=swapped, **ask)  # type: ignore[arg-type]
    assert "swapped" in turned
    assert suspicions(good, source=good, **ask) == ()  # type: ignore[arg-type]


def test_a_baseline_scored_on_other_rows_than_the_model_is_said_with_the_numbers() -> None:
    good = rows()
    assert good.score is not None
    assert good.baseline_score is not None
    at = np.arange(good.rows)
    apart = replace(
        good,
        score=np.where(at % 3 > 0, good.score, np.nan),
        baseline_score=np.where(at % 3 == 0, good.baseline_score, np.nan),
    )
    (said,) = suspicions(apart, task=Task.BINARY, settings=Settings())
    assert "and only 0 have both" in said
    assert f"{int((at % 3 == 0).sum()):,} rows have a baseline score" in said
    half = replace(apart, score=good.score)
    assert suspicions(half, task=Task.BINARY, settings=Settings()) == ()


def test_two_versions_in_one_hour_are_noted() -> None:
    ts = np.arange(20, dtype=np.int64) * DAY_US // 48
    codes = (np.arange(20) >= 9).astype(np.int32)
    window = replace(rows(n=20), ts_us=ts, version=Categories(codes, ("3", "4")))
    (said,) = suspicions(window, task=Task.BINARY, settings=Settings())
    assert said.startswith("several model versions served in 1 of 10 hours")


def test_an_undetermined_verdict_says_which_harm_it_would_have_seen() -> None:
    """The harm named is called hurts in about four of five histories that have it."""
    said = [verdict(0.0, seed=seed, days=60) for seed in range(20)]
    sizes = [v.minimum_detectable for v in said if v.minimum_detectable is not None]
    assert len(sizes) == 20
    harm = float(np.median(sizes))
    called = sum(verdict(harm, seed=100 + s).state is TransferState.HURTS for s in range(60))
    assert 0.6 <= called / 60 <= 0.95
    open_ = next(v for v in said if v.state in {TransferState.UNDETERMINED, TransferState.NEUTRAL})
    assert "would have seen a harm of" in open_.words


def test_may_of_2026_is_what_the_test_says_it_is() -> None:
    from datetime import UTC, datetime

    assert to_us(datetime(2026, 5, 1, tzinfo=UTC)) == UNTIL
