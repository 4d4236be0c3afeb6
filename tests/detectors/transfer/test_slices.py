from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.multiple import e_benjamini_hochberg
from detectors.records import Settings, Task, TransferState
from detectors.transfer.interval import tick_t_log_e
from detectors.transfer.merging import merge_ticks
from detectors.transfer.slices import find_levels, slice_verdicts
from detectors.transfer.sums import TransferSums
from detectors.transfer.verdict import transfer_verdict
from tests.detectors.transfer.simulate import cohort_days

SETTINGS = Settings()


def log(difference: float, seed: int, days: int = 40) -> TransferSums:
    return cohort_days(np.random.default_rng(seed), days, difference, rows=60)


def test_levels_share_one_error_in_proportion_to_root_rows() -> None:
    levels = find_levels({"big": 900, "small": 100})
    assert sum(levels.values()) == pytest.approx(0.025)
    assert levels["big"] == pytest.approx(3 * levels["small"])
    assert np.log(1 / levels["small"]) == pytest.approx(np.log(40 * (30 + 10) / 10))


def test_a_slice_is_found_when_its_e_value_reaches_the_weighted_threshold() -> None:
    """The threshold is ln(40 Σ√n / √n_s), with ln 2 won for having the tested sign."""
    rows = {"a": 500.0, "b": 50.0}
    overall = transfer_verdict(log(0.0, 1), task=Task.REGRESSION, settings=SETTINGS, ended=False)
    seen = set()
    for seed in range(40):
        sums = {"a": log(0.022, 100 + seed), "b": log(0.0, 200 + seed)}
        found = dict(slice_verdicts(overall, sums, rows, task=Task.REGRESSION, settings=SETTINGS))
        verdict = found["a"]
        if (
            transfer_verdict(sums["a"], task=Task.REGRESSION, settings=SETTINGS, ended=False)
            is None
        ):
            continue
        margin = verdict.margin
        assert margin is not None
        means = sums["a"].difference / sums["a"].rows
        log_e = tick_t_log_e(means, sums["a"].rows, margin)[-1] + np.log(2)
        threshold = np.log(40 * (np.sqrt(500) + np.sqrt(50)) / np.sqrt(500))
        expected = log_e >= threshold and (verdict.difference or 0) > margin
        if merge_ticks(sums["a"], task=Task.REGRESSION).factor[-1] > 1:
            continue
        assert (verdict.state is TransferState.HURTS) == expected
        seen.add(expected)
    assert seen == {True, False}


def test_a_hurt_corner_of_a_helpful_transfer_is_named_as_the_opposite() -> None:
    overall = transfer_verdict(log(-0.1, 2), task=Task.BINARY, settings=SETTINGS, ended=False)
    slices = {"origin=JFK": log(0.15, 3), "origin=LGA": log(-0.15, 4)}
    rows = {"origin=JFK": 400.0, "origin=LGA": 400.0}
    found = slice_verdicts(overall, slices, rows, task=Task.BINARY, settings=SETTINGS)
    assert [name for name, _ in found] == ["origin=JFK", "origin=LGA"], "worst first"
    assert found[0][1].state is TransferState.HURTS
    assert "opposite of the verdict over all rows, which is helps" in found[0][1].words
    assert "in origin=JFK" in found[0][1].words
    assert "opposite" not in found[1][1].words


def test_a_report_keeps_what_e_bh_keeps() -> None:
    overall = transfer_verdict(log(0.0, 5), task=Task.REGRESSION, settings=SETTINGS, ended=False)
    slices = {f"s={i}": log(0.02 * i, 20 + i, days=15) for i in range(6)}
    rows = dict.fromkeys(slices, 100.0)
    found = dict(
        slice_verdicts(
            overall, slices, rows, task=Task.REGRESSION, settings=SETTINGS, rule="report"
        )
    )
    log_e = []
    for name, sums in slices.items():
        margin = found[name].margin
        assert margin is not None
        means = sums.difference / sums.rows
        above = sums.difference.sum() / sums.rows.sum() > margin
        log_e.append(tick_t_log_e(means, sums.rows, margin)[-1] if above else -np.inf)
    kept = e_benjamini_hochberg(np.array(log_e), 0.05)
    hurts = [found[name].state is TransferState.HURTS for name in slices]
    assert hurts == kept.tolist()
    assert any(hurts)
    assert not all(hurts)


def test_no_slices_and_empty_slices_are_answered() -> None:
    overall = transfer_verdict(log(0.0, 6), task=Task.BINARY, settings=SETTINGS, ended=False)
    assert slice_verdicts(overall, {}, {}, task=Task.BINARY, settings=SETTINGS) == ()
    one = log(0.0, 7).take(slice(0, 1))
    nothing = replace(one, rows=np.zeros(1), difference=np.zeros(1))
    for rule in ("find", "report"):
        found = slice_verdicts(
            overall,
            {"empty": TransferSums.empty(), "zero": nothing, "one": one},
            {},
            task=Task.BINARY,
            settings=SETTINGS,
            rule=rule,
        )
        assert {verdict.state for _, verdict in found} == {TransferState.UNDETERMINED}
