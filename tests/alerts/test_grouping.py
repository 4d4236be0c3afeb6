"""Which incidents are one change at the source, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerts.grouping import Grouped, one_cause, regroup
from alerts.records import Incident, IncidentKind, IncidentState, MessageType, Severity
from alerts.settings import AlertSettings
from detectors.records import Deployment, Mode, Tier
from tests.alerts.build import Story, at, diagnosis

SETTINGS = AlertSettings()


def ill(domain: str, **fields: Any) -> Incident:
    """A page of a domain of model `flights`: schema mismatch of `dep_hour`."""
    story = Story(Deployment("flights", domain))
    story.see(0, diagnosis(Mode.SCHEMA_MISMATCH, columns=("dep_hour",)))
    return replace(story.only, **fields)


def group(*incidents: Incident, groups: Any = ()) -> tuple[Grouped, ...]:
    return regroup(incidents, groups, now=at(1), settings=SETTINGS)


@pytest.mark.parametrize(
    ("change", "one"),
    [
        ({}, True),
        ({"deployment": Deployment("flights", "OO")}, False),
        ({"deployment": Deployment("credit", "DL")}, False),
        ({"mode": Mode.COVARIATE_SHIFT}, False),
        ({"onset": at(-2) + timedelta(days=1)}, True),
        ({"onset": at(-2) + timedelta(days=1, seconds=1)}, False),
        ({"columns": ("dep_hour", "origin")}, True),
        ({"columns": ("dep_hour", "origin", "carrier")}, False),
        ({"columns": ("arr_hour",)}, False),
        ({"columns": ()}, False),
        ({"kind": IncidentKind.SOURCE_QUIET}, False),
        ({"tier": Tier.TICKET}, True),
    ],
)
def test_what_is_one_cause(change: dict[str, Any], one: bool) -> None:
    a, b = ill("OO"), replace(ill("DL"), **change)
    assert one_cause(a, b) == one_cause(b, a) == one


@pytest.mark.parametrize("mode", [Mode.UNDETERMINED, Mode.BENIGN, Mode.NONE])
def test_what_has_no_name_yet_may_be_anything(mode: Mode) -> None:
    assert not one_cause(ill("OO", mode=mode), ill("DL", mode=mode))


def test_a_loss_that_rose_names_no_column_in_either() -> None:
    shift = {"mode": Mode.CONCEPT_SHIFT, "columns": ()}
    assert one_cause(ill("OO", **shift), ill("DL", **shift))


def test_a_benefit_that_wears_off_in_several_domains_within_a_month_is_one() -> None:
    worn = {"mode": Mode.NEGATIVE_TRANSFER, "columns": ()}
    first = ill("OO", onset=at(-2), **worn)
    later = ill("DL", onset=at(-2) + timedelta(days=27), **worn)

    assert one_cause(first, later)
    assert not one_cause(first, replace(later, onset=at(-2) + timedelta(days=29)))
    (made,) = group(first, later)
    assert "shared embeddings may be stale" in made.group.headline


def test_stale_embeddings_of_several_domains_are_one_incident() -> None:
    stale = {"mode": Mode.STALE_EMBEDDINGS, "columns": ("embedding",)}
    (made,) = group(ill("OO", **stale), ill("DL", **stale), ill("AA", **stale))

    assert made.group.mode is Mode.STALE_EMBEDDINGS
    assert "stale shared embeddings in embedding in 3 domains at once" in made.group.headline
    assert "may be stale" not in made.group.headline


def test_several_domains_make_one_incident_that_names_them_and_pages_once() -> None:
    members = [ill("OO"), ill("DL", severity=Severity.CRITICAL), ill("AA", tier=Tier.TICKET)]
    other = ill("UA", mode=Mode.CONCEPT_SHIFT)
    (made,) = group(*members, other)
    assert made.group.kind is IncidentKind.GROUP
    assert made.group.deployment == Deployment("flights", "")
    assert set(made.group.domains) == {"OO", "DL", "AA"}
    assert (made.group.tier, made.group.severity) == (Tier.PAGE, Severity.CRITICAL)
    assert {incident.id for incident in made.joined} == {incident.id for incident in members}
    assert made.message is not None
    assert made.message.type is MessageType.OPENED
    data = made.message.body["data"]
    assert set(data["domains"]) == {"OO", "DL", "AA"}
    assert "report" not in data["links"]
    assert data["headline"].startswith(
        "flights: schema mismatch in dep_hour in 3 domains at once (AA, DL, OO) since 12 Nov 04:00"
    )


def test_one_domain_is_no_group_and_neither_is_what_is_over() -> None:
    assert group(ill("OO")) == ()
    assert group(ill("OO"), ill("DL", state=IncidentState.RESOLVED)) == ()


def test_the_same_incidents_make_the_same_group_in_any_order() -> None:
    members = [ill("OO"), ill("DL"), ill("AA")]
    (one,), (other,) = group(*members), group(*reversed(members))
    assert one == other


def test_newcomers_join_quietly_until_the_group_has_doubled() -> None:
    """2 told, 3 quiet, 4 told, 5 to 7 quiet, 8 told: log2 of the fleet, not a page a domain."""
    members = [ill("d0"), ill("d1")]
    (made,) = group(*members)
    told = [len(made.group.domains)]
    now = made.group
    for number in range(2, 9):
        ids = tuple(incident.id for incident in members)
        members.append(ill(f"d{number}"))
        (wider,) = group(*members, groups=[(now, ids)])
        assert [incident.deployment.domain for incident in wider.joined] == [f"d{number}"]
        assert wider.group.id == made.group.id
        now = wider.group
        if wider.message is not None:
            assert wider.message.type is MessageType.UPDATED
            told.append(len(now.domains))
    assert told == [2, 4, 8]
    assert len(now.domains) == 9


def test_a_group_that_gets_worse_says_so_and_one_without_news_does_not() -> None:
    members = [ill("OO", tier=Tier.TICKET, severity=Severity.MEDIUM)]
    members.append(replace(members[0], id="inc_dl", deployment=Deployment("flights", "DL")))
    (made,) = group(*members)
    ids = tuple(incident.id for incident in members)
    assert group(*members, groups=[(made.group, ids)]) == ()
    taken = replace(made.group, state=IncidentState.ACKNOWLEDGED, acknowledged_by="ann")
    worse = [replace(members[0], tier=Tier.PAGE, severity=Severity.HIGH), members[1]]
    (wider,) = group(*worse, groups=[(taken, ids)])
    assert wider.message is not None
    assert wider.group.tier is Tier.PAGE
    # What was acknowledged was the ticket.
    assert wider.group.state is IncidentState.OPEN


def test_a_newcomer_that_is_like_a_member_joins_although_another_group_could_be_made() -> None:
    old = [ill("OO"), ill("DL")]
    (made,) = group(*old)
    new = [ill("AA"), ill("UA")]
    ids = tuple(incident.id for incident in old)
    (wider,) = group(*old, *new, groups=[(made.group, ids)])
    assert len(wider.group.domains) == 4


def test_an_incident_of_the_fleet_is_told_with_the_domains_that_saw_the_same() -> None:
    """Whatever they are called; but a domain that differs from its peers speaks for itself."""
    fleet = ill("", mode=Mode.COVARIATE_SHIFT)
    unnamed = ill("OO", mode=Mode.UNDETERMINED, onset=fleet.onset + timedelta(days=3))
    other = ill("UA", mode=Mode.UNDETERMINED, columns=("arr_hour",))
    own = ill("DL", streams=("column.location:dep_hour~peers",))
    (made,) = group(fleet, unnamed, other, own)
    assert {i.id for i in made.joined} == {fleet.id, unnamed.id}
    assert made.group.domains == ("OO",)
    assert not one_cause(fleet, replace(unnamed, onset=fleet.onset + timedelta(days=4)))
