"""Which version's facts are told of rows that name versions, and of rows that name none."""

from __future__ import annotations

import pytest

from detectors.alignment.anchors import AnchorChange
from detectors.alignment.forgetting import Forgetting
from detectors.records import State
from monitor.watching.alignment import VersionFacts


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
