"""Versions of mappings: made once, numbered on, and asked about in one message."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from alerts.bodies import BODY_BYTES, encode
from alerts.mappings import (
    MappingStatus,
    MappingVersion,
    in_force,
    next_versions,
    review_message,
)
from detectors.records import Deployment, MappingEntry, MappingProposal, to_us
from tests.alerts.build import OO, START

CENTS = MappingEntry("income", scale=100.0)
VEG = MappingEntry("aisle", category="Vegetables", domain_category="Veg")


def made(*entries: MappingEntry, known: tuple[MappingVersion, ...] = ()) -> list[MappingVersion]:
    proposals = [MappingProposal(entry, "seen") for entry in entries]
    return list(next_versions(OO, known, proposals, at=START))


def test_the_same_is_proposed_once_whatever_was_decided_on_it() -> None:
    (first,) = made(CENTS)
    for status in (MappingStatus.PROPOSED, MappingStatus.APPROVED, MappingStatus.REJECTED):
        assert made(CENTS, known=(replace(first, status=status),)) == []
    assert made(CENTS, CENTS) == [first]


def test_something_else_about_the_same_feature_is_the_next_version() -> None:
    (first,) = made(CENTS)
    (second,) = made(replace(CENTS, scale=1_000.0), known=(first,))
    assert (first.version, second.version) == (1, 2)
    assert first.id != second.id
    (third,) = made(CENTS, known=(second, first))
    assert third.version == 3


def test_another_category_or_domain_is_another_mapping() -> None:
    first, second = made(CENTS, VEG)
    assert (first.version, second.version) == (1, 1)
    elsewhere = replace(first, deployment=Deployment("flights", "DL"))
    assert made(CENTS, known=(elsewhere,)) == [first]


def test_only_what_is_approved_is_in_force_from_when_it_began() -> None:
    first, second = made(CENTS, VEG)
    since = START - timedelta(days=2)
    approved = replace(first, status=MappingStatus.APPROVED, since=since)
    (applied,) = in_force([second, approved])
    assert (applied.id, applied.entry, applied.since_us) == (first.id, CENTS, to_us(since))


def test_one_message_asks_about_all_that_is_new_and_has_what_every_message_has() -> None:
    message = review_message(made(CENTS, VEG), None, now=START, public_url="https://k.example")
    data = message.body["data"]
    for key in ("id", "model", "domain", "headline", "severity", "action", "evidence", "links"):
        assert key in data
    assert [line["says"] for line in data["mappings"]] == [CENTS.words, VEG.words]
    assert data["links"]["mapping"].startswith("https://k.example/mappings/map_")
    assert message.body["type"] == "mapping.review_requested"


def test_a_version_is_in_no_second_message() -> None:
    """The id of a message comes from the versions in it: the same ones make the same message."""
    both = made(CENTS, VEG)
    again = review_message(both[::-1], None, now=START + timedelta(days=1), public_url="")
    assert again.id == review_message(both, None, now=START, public_url="").id
    assert again.id != review_message(both[:1], None, now=START, public_url="").id


def test_a_thousand_proposals_of_hostile_names_make_a_body_under_the_limit() -> None:
    entries = [
        MappingEntry("c" * 900, category=f"{at}" + "\u202e<x>" * 200, domain_category="y" * 900)
        for at in range(1_000)
    ]
    message = review_message(made(*entries), None, now=START, public_url="")
    assert len(encode(message.body)) < BODY_BYTES
    assert message.body["data"]["waiting"] == 1_000
    assert "\u202e" not in encode(message.body).decode()
