"""The bench that injects faults: what is drawn is what was asked for, and shares are counted so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.faults.confusion import Named, precision
from benchmarks.faults.inject import Injector, Severity, unevenly
from benchmarks.faults.model import Model
from benchmarks.faults.simulator import ATTRIBUTION_US, START_US, impressions, places
from benchmarks.faults.tables import Split
from benchmarks.faults.worlds import World, next_version
from detectors.records import DAY_US, HOUR_US, Mode

HOME, PARTNER = places(3)
LOG = impressions(PARTNER, 6_000, days=14, rng=np.random.default_rng(1))


@pytest.fixture(scope="module")
def injector() -> Injector:
    """A partner under a model that has learnt nothing: enough to see what a fault touches."""
    at_home = impressions(HOME, 500, days=7, rng=np.random.default_rng(2)).rows
    reference, pool = LOG.rows.take(slice(0, 2_000)), LOG.rows.take(slice(2_000, None))
    model = Model.fresh(at_home, 0)
    world = World("simulator", 3, Split(at_home, at_home, reference, pool), model, model)
    return Injector(world, np.random.default_rng(4), 1_000)


def test_a_click_is_known_within_a_day_and_the_lack_of_one_after_it() -> None:
    waited = LOG.label_ts_us - LOG.ts_us

    assert (np.diff(LOG.ts_us) >= 0).all()
    assert START_US <= LOG.ts_us[0] <= LOG.ts_us[-1] < START_US + 14 * DAY_US
    assert (waited[LOG.rows.label == 0] == ATTRIBUTION_US).all()
    clicks = waited[LOG.rows.label == 1]
    assert clicks.max() <= ATTRIBUTION_US
    assert np.mean(clicks) / HOUR_US == pytest.approx(4.0, abs=0.5)


def test_a_leaf_of_the_taxonomy_lies_in_its_department_and_low_positions_are_clicked_more() -> None:
    rows = LOG.rows
    inside = [
        leaf.startswith(department)
        for leaf, department in zip(
            rows.categorical["category"], rows.categorical["department"], strict=True
        )
    ]
    assert all(inside)
    first = rows.label[rows.numeric["position"] <= 2].mean()
    assert first > 1.3 * rows.label[rows.numeric["position"] >= 8].mean()


def test_rows_are_drawn_once_and_the_first_of_them_by_weight() -> None:
    rng = np.random.default_rng(0)
    weight = np.array([1.0, 2.0, 5.0, 2.0])

    first = [int(unevenly(weight, 1, rng)[0]) for _ in range(4_000)]
    three = unevenly(weight, 3, rng)

    assert np.bincount(first) / 4_000 == pytest.approx(weight / 10, abs=0.03)
    assert len(set(three.tolist())) == 3


def test_a_label_fault_leaves_inputs_and_scores_as_they_were(injector: Injector) -> None:
    plain = injector.world.window(injector.plain)
    fault = injector.fault(Mode.LABEL_SEMANTICS, Severity.MIDDLE)

    assert fault is not None
    assert fault.keeps_inputs
    assert fault.window.label is not None
    assert fault.window.score is not None
    assert plain.label is not None
    assert plain.score is not None
    assert fault.window.numeric["price"] is plain.numeric["price"]
    assert np.array_equal(fault.window.score, plain.score)
    turned = float(np.mean(fault.window.label != plain.label))
    assert turned == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 1_000))


def test_more_of_one_label_leaves_the_rows_of_a_class_as_they_were(injector: Injector) -> None:
    fault = injector.fault(Mode.PRIOR_SHIFT, Severity.MILD)
    rate = float(injector.pool.label.mean())

    assert fault is not None
    assert fault.window.label is not None
    wanted = 2 * rate / (1 + rate)
    assert fault.window.label.mean() == pytest.approx(wanted, abs=4 * np.sqrt(0.2 / 1_000))
    clicked = fault.window.numeric["relevance"][fault.window.label == 1]
    before = injector.pool.numeric["relevance"][injector.pool.label == 1]
    assert clicked.mean() == pytest.approx(before.mean(), abs=0.03)


def test_precision_is_what_a_name_is_worth_where_all_causes_are_equally_likely() -> None:
    """Ten windows of one cause, all right; two of another, one of them called by the first name."""

    def named(true: str, said: str) -> Named:
        return Named("simulator", 0, 500, "mild", "by hand", true, said, "", {})

    found = [named("a", "a") for _ in range(10)] + [named("b", "b"), named("b", "a")]

    # P(a | named a) = 1 / (1 + 1/2), whatever the numbers of windows.
    assert precision(found, ["a", "b"]) == pytest.approx([1 / 1.5, 1.0])


def test_old_vectors_stand_in_a_share_of_rows_and_the_next_head_reads_them(
    injector: Injector,
) -> None:
    turned = replace(injector, turn=1)
    fault = turned.fault(Mode.STALE_EMBEDDINGS, Severity.MIDDLE)

    assert fault is not None
    assert fault.window.embedding is not None
    assert fault.window.score is not None
    served, now = injector.world.served, next_version(injector.world)
    old = (fault.window.embedding == served.embedding(turned.plain).astype(np.float32)).all(axis=1)
    new = (fault.window.embedding == now.embedding(turned.plain).astype(np.float32)).all(axis=1)
    assert (old ^ new).all()
    assert old.mean() == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / 1_000))
    own = now.score(turned.plain)
    assert fault.window.score[new] == pytest.approx(own[new], abs=1e-6)
    assert np.abs(fault.window.score[old] - own[old]).mean() > 1e-3


def test_frozen_vectors_are_those_of_reference_rows(injector: Injector) -> None:
    fault = injector.fault(Mode.STALE_EMBEDDINGS, Severity.SEVERE)

    assert fault is not None
    assert fault.window.embedding is not None
    assert fault.reference.embedding is not None
    known = {vector.tobytes() for vector in list(fault.reference.embedding)}
    assert all(vector.tobytes() in known for vector in fault.window.embedding)
