"""Versions of mappings in SQL: never overwritten, and of two deciders one is told who was first."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from alerts.mappings import MappingStatus, MappingVersion, next_versions
from detectors.records import MappingEntry, MappingProposal
from storage.deployments import register_model
from storage.engine import Database
from storage.mappings import (
    MappingExistsError,
    MappingStateError,
    UnknownMappingError,
    add_versions,
    count_waiting,
    decide_mapping,
    get_mapping,
    list_mappings,
    mappings_of,
)
from tests.storage.rows import DAY, START, VERMONT

CENTS = MappingEntry("income", scale=100.0)


def propose(database: Database, *entries: MappingEntry) -> list[MappingVersion]:
    with database.write() as session:
        register_model(session, "credit", START)
        made = next_versions(
            VERMONT,
            mappings_of(session, VERMONT),
            [MappingProposal(entry, "seen") for entry in entries],
            at=START,
            since=START - DAY,
        )
        add_versions(session, made)
    return list(made)


def decide(database: Database, version: MappingVersion, status: MappingStatus, by: str) -> None:
    with database.write() as session:
        decide_mapping(session, version.id, status, by=by, reason="asked", now=START + DAY)


def statuses(database: Database) -> list[tuple[int, str]]:
    with database.read() as session:
        return [(v.version, v.status.value) for v in mappings_of(session, VERMONT)]


def test_a_version_is_read_as_it_was_made_and_then_as_it_was_decided(database: Database) -> None:
    (made,) = propose(database, CENTS)
    with database.read() as session:
        assert get_mapping(session, made.id) == made
        assert count_waiting(session) == {VERMONT: 1}
    decide(database, made, MappingStatus.APPROVED, "ann")
    with database.read() as session:
        assert get_mapping(session, made.id) == replace(
            made,
            status=MappingStatus.APPROVED,
            decided_at=START + DAY,
            decided_by="ann",
            reason="asked",
        )
        assert count_waiting(session) == {}


def test_a_newer_proposal_takes_the_place_of_one_that_waits(database: Database) -> None:
    propose(database, CENTS)
    propose(database, replace(CENTS, scale=1_000.0))
    assert statuses(database) == [(1, "superseded"), (2, "proposed")]


def test_what_is_approved_stands_until_the_next_version_is_approved(database: Database) -> None:
    (first,) = propose(database, CENTS)
    decide(database, first, MappingStatus.APPROVED, "ann")
    (second,) = propose(database, replace(CENTS, scale=1_000.0))
    assert statuses(database) == [(1, "approved"), (2, "proposed")]
    decide(database, second, MappingStatus.APPROVED, "bob")
    assert statuses(database) == [(1, "superseded"), (2, "approved")]


@pytest.mark.parametrize("first", [MappingStatus.APPROVED, MappingStatus.REJECTED])
@pytest.mark.parametrize("then", [MappingStatus.APPROVED, MappingStatus.REJECTED])
def test_what_is_decided_is_not_decided_again(
    database: Database, first: MappingStatus, then: MappingStatus
) -> None:
    (made,) = propose(database, CENTS)
    decide(database, made, first, "ann")
    with pytest.raises(MappingStateError, match=f"{first.value} by ann and stays so"):
        decide(database, made, then, "bob")
    with database.read() as session:
        kept = get_mapping(session, made.id)
    assert (kept.status, kept.decided_by) == (first, "ann")


def test_of_many_who_decide_at_once_exactly_one_does(database: Database) -> None:
    (made,) = propose(database, CENTS)
    won: list[str] = []
    lost: list[str] = []
    start = threading.Barrier(6)

    def person(number: int) -> None:
        status = MappingStatus.APPROVED if number % 2 else MappingStatus.REJECTED
        start.wait()
        try:
            decide(database, made, status, f"p{number}")
            won.append(f"p{number}")
        except MappingStateError:
            lost.append(f"p{number}")

    people = [threading.Thread(target=person, args=(number,)) for number in range(6)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert (len(won), len(lost)) == (1, 5)
    with database.read() as session:
        assert get_mapping(session, made.id).decided_by == won[0]


def test_a_version_made_twice_is_refused_and_the_first_stays(database: Database) -> None:
    (made,) = propose(database, CENTS)
    with pytest.raises(MappingExistsError), database.write() as session:
        add_versions(session, [replace(made, evidence="other")])
    with database.read() as session:
        assert get_mapping(session, made.id).evidence == "seen"


def test_mappings_are_found_by_model_domain_and_status(database: Database) -> None:
    (made,) = propose(database, CENTS)
    with database.read() as session:
        assert list_mappings(session, model="credit", domain="VT") == (made,)
        assert list_mappings(session, model="credit", domain="NH") == ()
        assert list_mappings(session, status=MappingStatus.APPROVED) == ()
        with pytest.raises(UnknownMappingError, match="map_9"):
            get_mapping(session, "map_9")
