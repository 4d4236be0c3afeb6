"""The delay distance and the gap of estimate and outcome, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from detectors.maturity.facts import (
    DELAY_STEP,
    LabelFacts,
    delay_statistic,
    fit_delay_ruler,
    gap_statistic,
    label_facts,
    label_watch_specs,
)
from detectors.records import DAY_US, HOUR_US, Task, Tier, Window
from detectors.sums import R_FLOOR


def rows(count: int, seed: int, *, mean_days: float = 1.0, rule: float = 0.0) -> Window:
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(0, 10 * DAY_US, count))
    score = rng.uniform(0.05, 0.95, count)
    label = (rng.random(count) < np.clip(score + rule, 0, 1)).astype(float)
    return Window(
        rows=count,
        ts_us=ts,
        score=score,
        label=label,
        label_ts_us=ts + rng.exponential(mean_days * DAY_US, count).astype(np.int64),
    )


def test_the_distance_is_the_largest_gap_of_two_distribution_functions_at_the_ages() -> None:
    reference, live = rows(5000, 1), rows(800, 2, mean_days=2.0)
    ruler = fit_delay_ruler(reference, label_delay_us=3 * DAY_US)
    assert ruler is not None
    y, v = delay_statistic(label_facts(live, ruler, None, Task.BINARY), ruler)
    delay = live.label_ts_us - live.ts_us  # type: ignore[operator]
    past = reference.label_ts_us - reference.ts_us  # type: ignore[operator]
    slow = max(abs(float((delay <= a).mean()) - float((past <= a).mean())) for a in ruler.ages_us)
    assert y == pytest.approx(slow - ruler.mean / 800**0.5)
    assert v == pytest.approx(ruler.sd**2 / 800)
    assert y > DELAY_STEP
    assert slow == pytest.approx(stats.ks_2samp(delay, past).statistic, abs=0.05)


def test_without_a_change_the_statistic_has_mean_zero_and_its_variance() -> None:
    ruler = fit_delay_ruler(rows(200_000, 3), label_delay_us=3 * DAY_US)
    assert ruler is not None
    found = [
        delay_statistic(label_facts(rows(300, 100 + s), ruler, None, Task.BINARY), ruler)
        for s in range(600)
    ]
    z = np.array([y / v**0.5 for y, v in found])
    assert abs(z.mean()) < 0.15
    assert z.std() == pytest.approx(1.0, abs=0.12)


def test_labels_that_have_not_come_count_as_late() -> None:
    reference = rows(5000, 1)
    ruler = fit_delay_ruler(reference, label_delay_us=3 * DAY_US)
    assert ruler is not None
    live = rows(800, 2)
    none = Window(rows=800, ts_us=live.ts_us, label=np.full(800, np.nan), label_ts_us=live.ts_us)
    y, _ = delay_statistic(label_facts(none, ruler, None, Task.BINARY), ruler)
    assert y == pytest.approx(ruler.shares[-1] - ruler.mean / 800**0.5)


def test_no_age_lies_beyond_the_label_delay() -> None:
    ruler = fit_delay_ruler(rows(5000, 1), label_delay_us=DAY_US // 2)
    assert ruler is not None
    assert max(ruler.ages_us) <= DAY_US // 2
    assert fit_delay_ruler(rows(5000, 1), label_delay_us=HOUR_US // 10) is None
    assert fit_delay_ruler(rows(100, 1), label_delay_us=DAY_US) is None
    assert fit_delay_ruler(Window(rows=3), label_delay_us=DAY_US) is None


def test_the_gap_is_realised_less_expected_loss_row_by_row() -> None:
    live = rows(500, 4)
    facts = label_facts(live, None, None, Task.BINARY)
    total = variance = 0.0
    assert live.score is not None
    assert live.label is not None
    for p, y in zip(live.score.tolist(), live.label.tolist(), strict=True):
        r = min(max(p, R_FLOOR), 1 - R_FLOOR)
        losses = {1: -np.log(p), 0: -np.log(1 - p)}
        expected = r * losses[1] + (1 - r) * losses[0]
        total += losses[int(y)] - expected
        variance += r * losses[1] ** 2 + (1 - r) * losses[0] ** 2 - expected**2
    y_, v_ = gap_statistic(facts)
    assert y_ == pytest.approx(total / 500)
    assert v_ == pytest.approx(variance / 500**2)


def test_the_gap_sees_the_changed_rule_that_estimates_are_blind_to() -> None:
    same = [gap_statistic(label_facts(rows(400, s), None, None, Task.BINARY)) for s in range(300)]
    z = np.array([y / v**0.5 for y, v in same])
    assert abs(z.mean()) < 0.2
    assert z.std() == pytest.approx(1.0, abs=0.12)
    rng = np.random.default_rng(9)
    turned = rows(4000, 9)
    flipped = Window(
        rows=4000,
        ts_us=turned.ts_us,
        score=turned.score,
        label=np.abs((rng.random(4000) < 0.3) - turned.label),  # type: ignore[operator]
    )
    y, v = gap_statistic(label_facts(flipped, None, None, Task.BINARY))
    assert y / v**0.5 > 8


def test_facts_of_pieces_add_up_to_facts_of_the_whole() -> None:
    live = rows(1000, 5)
    ruler = fit_delay_ruler(rows(5000, 1), label_delay_us=3 * DAY_US)
    whole = label_facts(live, ruler, None, Task.BINARY)
    joined = LabelFacts()
    for part in (slice(0, 300), slice(300, 1000)):
        joined = joined.plus(label_facts(live.take(part), ruler, None, Task.BINARY))
    assert joined.by_age == pytest.approx(whole.by_age)
    assert joined.weight == whole.weight
    assert joined.gap == pytest.approx(whole.gap)


def test_ticks_without_rows_or_labels_say_nothing() -> None:
    ruler = fit_delay_ruler(rows(5000, 1), label_delay_us=3 * DAY_US)
    assert ruler is not None
    empty = label_facts(Window(rows=0), ruler, None, Task.BINARY)
    assert delay_statistic(empty, ruler)[1] == np.inf
    assert gap_statistic(empty)[1] == np.inf
    assert delay_statistic(LabelFacts(), ruler)[1] == np.inf


def test_both_streams_are_tickets_and_share_what_they_are_given() -> None:
    ruler = fit_delay_ruler(rows(5000, 1), label_delay_us=3 * DAY_US)
    specs = label_watch_specs(ruler, task=Task.BINARY, mean_loss=0.5, share=0.1)
    assert [spec.stream.id for spec in specs] == ["labels.delay", "estimate.gap"]
    assert sum(spec.weight for spec in specs) == pytest.approx(0.1)
    assert {spec.stream.tier for spec in specs} == {Tier.TICKET}
    assert label_watch_specs(None, task=Task.REGRESSION, mean_loss=1.0, share=0.1) == ()
