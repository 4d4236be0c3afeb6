"""The arithmetic of the detection tables, held against definitions and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

from benchmarks.detection import births
from benchmarks.detection.delay import CAP, CHANGE_AT, cell, run_length
from benchmarks.detection.no_change import delays
from benchmarks.detection.production import chi_square, jensen_shannon, psi
from benchmarks.detection.real_streams import Score, Ticks, incidents, match, permuted, windows
from benchmarks.detection.simulator import CHANGE_AT as HOUR
from benchmarks.detection.simulator import CHANGED, World, draw, rate_of
from benchmarks.detection.young import Life, case_of, changed, lent, ticks_of, young_specs
from detectors.records import DAY_US, Tier


def test_a_change_leaves_the_reference_and_the_other_streams_alone() -> None:
    run = draw(World(streams=CHANGED + 2, reference_days=7), (1,), followed_hours=96)
    calm, moved = run.counts().successes, run.counts(3.0).successes
    from_then = run.world.cut + HOUR
    assert (calm[:from_then] == moved[:from_then]).all()
    before, after = calm[from_then:].sum(axis=0), moved[from_then:].sum(axis=0)
    assert (after[:CHANGED] > 1.5 * before[:CHANGED]).all()
    assert after[CHANGED:] == pytest.approx(before[CHANGED:], rel=0.1)


def test_the_noise_of_the_simulator_has_the_memory_and_the_size_it_is_asked_for() -> None:
    world = World(phi=0.9, streams=40, reference_days=56, season_sd=0.0, common=0.0)
    logit = draw(world, (2,)).logit
    noise = logit - logit.mean(axis=0)
    assert noise.std() == pytest.approx(world.noise_sd, rel=0.1)
    assert (noise[1:] * noise[:-1]).mean() / noise.var() == pytest.approx(0.9, abs=0.03)


def test_no_pages_in_a_hundred_periods_still_have_an_upper_limit_of_three() -> None:
    """-ln(.05) = 2.996 expected events show none in one case of twenty."""
    assert rate_of(np.zeros(10), 10.0).upper == pytest.approx(-math.log(0.05) / 100)
    swarm = rate_of(np.array([0.0] * 9 + [10.0]), 1.0)
    assert swarm.mean == 1.0
    assert swarm.upper == pytest.approx(1.0 + 1.645 * 1.0)


def test_a_page_before_the_change_is_neither_found_nor_missed() -> None:
    early, late = (HOUR - 1, 0), (HOUR + 2, 1)
    found = delays([early, late], 3)
    assert math.isnan(found[0])
    assert found[1:] == [3.0, 360.0]


def test_the_daily_rules_are_those_of_scipy() -> None:
    x, n = np.array([[30.0], [50.0]]), np.array([[400.0], [420.0]])
    day_x, day_n = np.array([[31.0]]), np.array([[200.0]])
    table = [[80, 820 - 80], [31, 200 - 31]]
    assert chi_square(x, n, day_x, day_n)[0, 0] == pytest.approx(
        chi2_contingency(table, correction=False).pvalue
    )
    p, q = 80.5 / 821, 31.5 / 201
    assert jensen_shannon(x, n, day_x, day_n)[0, 0] == pytest.approx(
        jensenshannon([p, 1 - p], [q, 1 - q], base=2)
    )
    by_hand = (q - p) * math.log(q / p) + (p - q) * math.log((1 - q) / (1 - p))
    assert psi(x, n, day_x, day_n)[0, 0] == pytest.approx(by_hand)


def test_a_run_length_counts_rows_of_silent_streams_too() -> None:
    """Alarms after 10 and 20 rows and a third stream silent for 100: 130 rows, two alarms."""
    assert run_length(np.array([9, 19, 100]), 100) == 65.0
    assert run_length(np.array([100]), 100) == math.inf


def test_a_delay_leaves_early_alarms_out_and_caps_what_is_missed() -> None:
    first = np.array([CHANGE_AT - 1, CHANGE_AT + 9, CHANGE_AT + CAP])
    words = cell(first)
    assert words.startswith(f"{(10 + CAP) / 2:.0f} ±")
    assert "50% missed" in words


def test_alarms_within_two_days_are_one_incident() -> None:
    assert incidents([]) == 0
    assert incidents([5 * DAY_US, 0, 2 * DAY_US, 9 * DAY_US]) == 3
    assert incidents([0, DAY_US, 3 * DAY_US]) == 1


def test_permuting_weeks_keeps_every_tick_and_its_weekday() -> None:
    count = 10 * 7 + 3
    y = np.arange(count, dtype=np.float64)[:, None]
    ticks = Ticks(np.arange(count) * DAY_US, y, np.ones((count, 1)))
    dealt = permuted(ticks, np.random.default_rng(3), DAY_US)
    assert sorted(dealt.y[:, 0]) == sorted(y[:, 0])
    assert (dealt.y[:, 0] % 7 == y[:, 0] % 7).all()
    assert (dealt.y != y).any()


def test_a_second_alarm_in_a_window_is_neither_hit_nor_false() -> None:
    score = Score(months=1.0)
    late = match([DAY_US, 2 * DAY_US, 9 * DAY_US], [(0, 3 * DAY_US), (20, 25)], score)
    assert (score.hits, score.false, score.changes) == (1, 1, 2)
    assert late == [1.0]


def test_windows_are_the_runs_of_rows_inside() -> None:
    inside = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert windows(np.arange(5) * 10, inside) == [(10, 20), (40, 40)]


def test_a_moved_newcomer_speaks_after_the_change_and_only_then() -> None:
    said = births.tickets(births.World(1_000, 0.6, 1.0, 8.0), 14, 3)
    assert {name for name, _ in said} == set(births.NEW)
    assert min(day for _, day in said) > 8.0


def test_domains_of_one_season_seed_differ_in_all_but_their_seasons() -> None:
    """Without noise what is left after the level is the season."""
    world = World(streams=3, reference_days=7, noise_sd=0.0)
    one, two = (draw(world, (seed,), season_seed=(9,)).logit for seed in (1, 2))
    alone = draw(world, (2,)).logit
    assert not np.allclose(one, two)
    assert np.allclose(one - one[0], two - two[0])
    assert not np.allclose(one - one[0], alone - alone[0])


def test_the_odds_of_a_young_domain_change_at_the_hour_that_is_asked_for() -> None:
    run = draw(World(streams=CHANGED + 1, reference_days=0), (3,), 300)
    calm, moved = run.counts().successes, changed(run, 168, 2.7).successes
    assert (calm[:168] == moved[:168]).all()
    assert moved[168:, :CHANGED].sum() > 1.3 * calm[168:, :CHANGED].sum()


def test_a_tick_of_six_hours_holds_what_six_hours_do() -> None:
    run = draw(World(streams=2, reference_days=0), (4,), 48)
    counts = run.counts()
    y, v = ticks_of(run, counts, 6)
    hits, n = counts.successes[6:12, 1].sum(), counts.rows[6:12].sum()
    assert y[1, 1] == pytest.approx(math.log((hits + 0.5) / (n - hits + 0.5)))
    rate = (1 / (1 + np.exp(-run.logit[:, 1]))).mean()
    assert v[1, 1] == pytest.approx(1 / (n * rate * (1 - rate)))


def test_both_tiers_of_a_young_domain_have_their_whole_budget() -> None:
    specs = young_specs(9)
    for tier in (Tier.PAGE, Tier.TICKET):
        of_tier = [spec.weight for spec in specs if spec.stream.tier is tier]
        assert sum(of_tier) == pytest.approx(1.0)
    assert {spec.stream.tier for spec in specs[:2]} == {Tier.PAGE, Tier.TICKET}


def test_a_wrong_fleet_lends_the_memory_it_has() -> None:
    """Half the noise lends the memory of the domain; φ = .3 lends a shorter one."""
    right, wrong, none = (
        lent(case_of(0.9, fleet, 1, 4), (0, 5)) for fleet in ("half", ".3", "none")
    )
    assert none is None
    assert right is not None
    assert wrong is not None
    assert right.phi_weights[:5].sum() < 0.5 < wrong.phi_weights[:5].sum()


def test_a_delay_of_a_young_domain_counts_from_the_change() -> None:
    quiet = ((100, 1), (300, 2))
    lived = Life(quiet, {(168, 2.7): ((170, 0), (171, 0), (180, 2))})
    assert lived.delays((168, 2.7), [0, 1, 2, 3]) == [2, 12, math.inf]
