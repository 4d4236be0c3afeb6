"""Which version's facts are told of rows that name versions, and of rows that name none."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.alignment.anchors import AnchorChange
from detectors.alignment.forgetting import Forgetting
from detectors.alignment.staleness import frozen, repeats
from detectors.records import DAY_US, Deployment, Schema, Settings, State, Task, Window
from monitor.watching.alignment import VersionFacts
from monitor.watching.watch import DIAGNOSIS_ROWS, open_watch


def scored(version: str, state: State) -> Forgetting:
    return Forgetting("1", version, 2_000, state, f"{version} is {state.value}")


def embedded(before: str, version: str, state: State) -> AnchorChange:
    return AnchorChange(before, version, 300, state, f"{version} is {state.value}")


MENDED = VersionFacts(
    anchors=(embedded("1", "2", State.DRIFT), embedded("2", "3", State.OK)),
    probe=(scored("2", State.DRIFT), scored("3", State.OK)),
)


@pytest.mark.parametrize(
    ("served", "ill"),
    [
        (None, False),  # the newest on record serves, and it is well
        (frozenset({"3"}), False),
        (frozenset({"2"}), True),
        (frozenset({"2", "3"}), True),  # some of the rows are of the version that is ill
        (frozenset({"1"}), False),
    ],
)
def test_what_a_later_version_has_mended_is_told_only_of_rows_that_name_the_ill_one(
    served: frozenset[str] | None, ill: bool
) -> None:
    assert MENDED.forgotten_by(served) == ("2 is drift" if ill else "")
    assert MENDED.broken_by(served) == ("version 2: 2 is drift" if ill else "")


def test_rows_that_name_no_version_are_of_the_newest_on_record() -> None:
    facts = VersionFacts(
        anchors=(embedded("1", "2", State.OK), embedded("2", "3", State.DRIFT)),
        probe=(scored("2", State.DRIFT), scored("3", State.DRIFT)),
    )
    assert facts.forgotten_by(None) == "3 is drift"
    assert facts.broken_by(None) == "version 3: 3 is drift"
    assert facts.forgotten_by(frozenset({"2", "3"})) == "3 is drift"
    nothing = VersionFacts()
    assert nothing.forgotten_by(None) == nothing.broken_by(None) == ""


def test_frozen_vectors_are_known_by_all_of_a_reference_not_by_the_rows_a_diagnosis_draws() -> None:
    rng = np.random.default_rng(2)
    rows = 5 * DIAGNOSIS_ROWS
    vectors = rng.normal(size=(rows, 4)).astype(np.float32)
    reference = Window(
        rows=rows,
        ts_us=np.sort(rng.integers(0, 28 * DAY_US, rows)),
        score=rng.random(rows),
        embedding=vectors,
    )
    watch = open_watch(
        Deployment("m", "d"),
        Schema(Task.BINARY, (), embedding_dim=4),
        Settings(),
        reference=reference,
        own_reference=True,
    )
    stuck = Window(rows=2_000, embedding=vectors[rng.integers(0, rows, 2_000)])

    assert watch.reference.rows == DIAGNOSIS_ROWS
    assert frozen(watch.reference, stuck) == ""
    assert repeats(watch.vectors, stuck).startswith("100 % of embeddings repeat")
