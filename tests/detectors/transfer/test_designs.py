from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.records import (
    DAY_US,
    BaselinePlan,
    Categories,
    Design,
    FloatArray,
    Settings,
    Task,
    TransferState,
    Window,
    concat_windows,
)
from detectors.transfer.designs import (
    CAVEAT,
    ab_contrast,
    arm_trouble,
    tick_difference,
    with_contrast,
)
from detectors.transfer.loss import loss_of
from detectors.transfer.sums import sums_of
from detectors.transfer.verdict import transfer_verdict

AB = BaselinePlan(Design.AB)
INTERLEAVED = BaselinePlan(Design.INTERLEAVED)


def served(
    seed: int, days: int = 40, a_day: int = 400, *, harm: float, share: float | FloatArray = 0.5
) -> Window:
    """Rows that one of two arms served; the transferred arm's score carries `harm` of noise."""
    rng = np.random.default_rng(seed)
    n = days * a_day
    logit = rng.normal(0, 1.2, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    treated = rng.random(n) < share
    off = np.where(treated, harm, 0.4) * rng.normal(size=n)
    return Window(
        rows=n,
        ts_us=np.repeat(np.arange(days), a_day) * DAY_US,
        score=1 / (1 + np.exp(-(logit + off))),
        label=label,
        arm=Categories(np.where(treated, 0, 1).astype(np.int32), ("transfer", "baseline")),
    )


def judged(window: Window, plan: BaselinePlan) -> TransferState:
    made = with_contrast(window, plan, task=Task.BINARY, centre=0.55)
    settings = Settings(baseline=plan)
    return transfer_verdict(
        sums_of(made, task=Task.BINARY), task=Task.BINARY, settings=settings, ended=True
    ).state


def test_the_mean_contrast_is_the_difference_of_the_arms() -> None:
    window = served(1, harm=1.5)
    treated = window.arm is not None and window.arm.codes == 0
    assert window.score is not None
    assert window.label is not None
    loss = loss_of(Task.BINARY, window.score, window.label)
    contrast = ab_contrast(window, AB, task=Task.BINARY, centre=0.55)
    between = loss[treated].mean() - loss[~treated].mean()
    found = tick_difference(loss[treated], loss[~treated])
    assert found is not None
    assert found[0] == between
    assert contrast[:, 0].mean() == pytest.approx(between, abs=3 * np.sqrt(found[1]))
    assert contrast[:, 1].mean() == pytest.approx(loss[~treated].mean(), abs=0.03)


def test_a_centre_leaves_the_mean_alone_and_takes_noise_away() -> None:
    means, spreads = [], []
    for centre in (0.0, 0.6):
        of = [
            ab_contrast(served(seed, 10, harm=1.5), AB, task=Task.BINARY, centre=centre)[:, 0]
            for seed in range(40)
        ]
        means.append(np.mean([c.mean() for c in of]))
        spreads.append(np.std([c.mean() for c in of]))
    assert means[0] == pytest.approx(means[1], abs=0.02)
    assert spreads[1] < 0.8 * spreads[0]


def test_a_harmful_arm_hurts_and_a_good_one_helps() -> None:
    assert judged(served(2, harm=2.0), AB) is TransferState.HURTS
    assert judged(served(3, harm=0.0, a_day=1500), AB) is not TransferState.HURTS
    assert judged(served(4, harm=0.4), AB) is not TransferState.HURTS


def test_propensities_undo_a_split_that_depends_on_the_row() -> None:
    """Hard rows go to the transferred arm: a plain split would blame it for them."""
    rng = np.random.default_rng(5)
    n = 40_000
    hard = rng.random(n) < 0.5
    share = np.where(hard, 0.9, 0.3)
    logit = np.where(hard, 0.0, 3.0) * rng.choice([-1, 1], n)
    treated = rng.random(n) < share
    window = Window(
        rows=n,
        score=1 / (1 + np.exp(-logit)),
        label=(rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float),
        arm=Categories(np.where(treated, 0, 1).astype(np.int32), ("transfer", "baseline")),
        numeric={"p": share},
    )
    found = ab_contrast(window, replace(AB, propensity="p"), task=Task.BINARY)
    fair = found[:, 0]
    assert window.score is not None
    assert window.label is not None
    everybody = loss_of(Task.BINARY, window.score, window.label).mean()
    assert abs(found[:, 1].mean() - everybody) < 3 * found[:, 1].std() / np.sqrt(n)
    naive = ab_contrast(window, AB, task=Task.BINARY)[:, 0]
    assert abs(fair.mean()) < 3 * fair.std() / np.sqrt(n)
    assert naive.mean() > 10 * naive.std() / np.sqrt(n)


def test_rows_of_other_arms_or_without_a_fair_propensity_are_left_out() -> None:
    window = Window(
        rows=4,
        score=np.full(4, 0.5),
        label=np.array([1.0, 0.0, 1.0, 1.0]),
        arm=Categories(np.array([0, 1, 2, 0], np.int32), ("transfer", "baseline", "pilot")),
        numeric={"p": np.array([0.5, 0.5, 0.5, 0.0])},
    )
    found = ab_contrast(window, replace(AB, propensity="p"), task=Task.BINARY)
    assert np.isfinite(found[:, 0]).tolist() == [True, True, False, False]


def test_credits_are_bet_on() -> None:
    rng = np.random.default_rng(6)

    def clicks(preference: float) -> Window:
        n = 12_000
        return Window(
            rows=n,
            ts_us=np.sort(rng.integers(0, 30 * DAY_US, n)),
            label=(rng.random(n) < 0.3).astype(float),
            arm=Categories((rng.random(n) > preference).astype(np.int32), ("transfer", "baseline")),
        )

    assert judged(clicks(0.6), INTERLEAVED) is TransferState.HELPS
    assert judged(clicks(0.4), INTERLEAVED) is TransferState.HURTS
    assert judged(clicks(0.5), INTERLEAVED) not in {TransferState.HELPS, TransferState.HURTS}


def test_every_design_says_what_it_cannot_see() -> None:
    assert all(CAVEAT[design] for design in Design if design is not Design.NONE)
    shadow = transfer_verdict(
        sums_of(
            Window(
                rows=1,
                ts_us=np.zeros(1, np.int64),
                score=np.full(1, 0.5),
                baseline_score=np.full(1, 0.5),
                label=np.ones(1),
            ),
            task=Task.BINARY,
        ),
        task=Task.BINARY,
        settings=Settings(),
        ended=False,
    )
    assert shadow.caveat.startswith("a shadow sees only")


@pytest.mark.parametrize(
    ("arm", "plan", "words"),
    [
        (None, AB, "no arm is recorded"),
        (("transfer", "other"), AB, "no row of arm 'baseline'"),
        (("transfer", "baseline"), replace(AB, propensity="p"), "no numeric column 'p'"),
        (("transfer", "baseline"), replace(AB, share=0.9), "50.0 % of 400 rows went to"),
        (("transfer", "baseline"), AB, ""),
        (None, BaselinePlan(), ""),
    ],
)
def test_wrong_arms_are_said_in_words(
    arm: tuple[str, ...] | None, plan: BaselinePlan, words: str
) -> None:
    codes = np.arange(400, dtype=np.int32) % 2
    window = Window(rows=400, arm=None if arm is None else Categories(codes, arm))
    said = arm_trouble(window, plan)
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_contrasts_stay_with_their_rows() -> None:
    one = with_contrast(served(7, 2, 50, harm=1.0), AB, task=Task.BINARY, centre=0.5)
    both = concat_windows([one.take(slice(0, 30)), one.take(slice(30, None))])
    assert both.contrast is not None
    assert one.contrast is not None
    assert np.array_equal(both.contrast, one.contrast)
