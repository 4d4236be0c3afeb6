"""What is told and what is kept quiet, as a table of small stories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.closing import acknowledge, resolve_by_person, resolve_if_recovered
from alerts.lifecycle import KEPT_STREAMS
from alerts.records import IncidentState, MessageType, Severity
from detectors.records import Deployment, Diagnosis, Finding, Mode, Tier
from tests.alerts.build import MAPPING, OO, Story, at, codes, diagnosis, finding, kinds

QUIET = diagnosis(action=replace(diagnosis().action, retraining=False))
TICKET = diagnosis(Mode.COVARIATE_SHIFT, action=QUIET.action, runner_up=None)


@dataclass(frozen=True)
class Second:
    """An incident opened at hour 0 with evidence 1.5; what a second sighting does to it."""

    name: str
    hours: float
    code: str
    types: tuple[str, ...] = ()
    found: Diagnosis | None = QUIET
    evidence: float = 1.5
    tier: Tier = Tier.PAGE
    first_tier: Tier = Tier.PAGE
    first: Diagnosis = QUIET
    acknowledged: bool = False
    onset_hours: float | None = None
    stream: str = "loss.mean"
    incidents: int = 1


UPDATED = ("incident.updated",)
OPENED = ("incident.opened",)
SEMANTICS = replace(QUIET, mode=Mode.LABEL_SEMANTICS)

DAYS_15 = 15 * 24

TABLE = [
    Second("the next tick joins without a word", 1, "joined quietly"),
    Second("so does one just before the reminder", 23.9, "joined quietly"),
    Second("a day later a reminder goes out", 24, "reminder", UPDATED),
    Second(
        "a ticket is not said again after a day",
        24,
        "joined quietly",
        found=TICKET,
        tier=Tier.TICKET,
        first=TICKET,
        first_tier=Tier.TICKET,
    ),
    Second(
        "but after a week",
        168,
        "reminder",
        UPDATED,
        found=TICKET,
        tier=Tier.TICKET,
        first=TICKET,
        first_tier=Tier.TICKET,
    ),
    Second("acknowledged means no reminder", 24, "joined quietly", acknowledged=True),
    Second("tenfold evidence is told", 6, "worse", UPDATED, evidence=15.0, tier=Tier.TICKET),
    Second("but not before six hours", 5.9, "joined quietly", evidence=15.0, tier=Tier.TICKET),
    Second("ninefold is not", 6, "joined quietly", evidence=13.4, tier=Tier.TICKET),
    Second("overwhelming harm is critical at once", 1, "worse", UPDATED, evidence=10.0),
    Second(
        "critical is told though acknowledged",
        1,
        "worse",
        UPDATED,
        evidence=10.0,
        acknowledged=True,
    ),
    Second("a page escalates a ticket", 1, "escalated", UPDATED, first_tier=Tier.TICKET),
    Second(
        "and takes back its acknowledgement",
        1,
        "escalated",
        UPDATED,
        first_tier=Tier.TICKET,
        acknowledged=True,
    ),
    Second("a ticket does not calm a page", 1, "joined quietly", tier=Tier.TICKET),
    Second("a new name is told", 1, "renamed", UPDATED, found=SEMANTICS),
    Second("though acknowledged", 1, "renamed", UPDATED, found=SEMANTICS, acknowledged=True),
    Second("no name does not replace a name", 1, "joined quietly", found=None),
    Second(
        "an overlapping onset is the same change however late",
        200,
        "renamed",
        UPDATED,
        found=SEMANTICS,
        onset_hours=23,
        stream="prediction.mean",
    ),
    Second(
        "a later onset with another name in another stream is another incident",
        200,
        "opened",
        OPENED,
        found=SEMANTICS,
        onset_hours=25,
        stream="prediction.mean",
        incidents=2,
    ),
    Second(
        "in the same stream evidence has only started anew: the name is better",
        200,
        "renamed",
        UPDATED,
        found=SEMANTICS,
        onset_hours=25,
    ),
    Second(
        "a later onset with the same name is the same incident",
        200,
        "reminder",
        UPDATED,
        onset_hours=25,
        stream="prediction.mean",
    ),
    Second(
        "but not one that begins more than two weeks after it, in another stream",
        DAYS_15,
        "opened",
        OPENED,
        onset_hours=14 * 24,
        stream="prediction.mean",
        incidents=2,
    ),
    Second(
        "one that began within them is, however late it is seen",
        DAYS_15,
        "reminder",
        UPDATED,
        onset_hours=14 * 24 - 2,
        stream="prediction.mean",
    ),
    Second(
        "what the same stream says by then is told beside the name",
        DAYS_15,
        "also",
        UPDATED,
        found=SEMANTICS,
        onset_hours=14 * 24,
    ),
    Second(
        "though acknowledged",
        DAYS_15,
        "also",
        UPDATED,
        found=SEMANTICS,
        onset_hours=14 * 24,
        acknowledged=True,
    ),
    Second(
        "but a page is named for what pages",
        DAYS_15,
        "escalated",
        UPDATED,
        found=SEMANTICS,
        first_tier=Tier.TICKET,
        onset_hours=14 * 24,
    ),
    Second(
        "a mapping to verify is its own message",
        1,
        "renamed",
        ("incident.updated", "mapping.review_requested"),
        found=diagnosis(Mode.SCHEMA_MISMATCH, action=MAPPING),
    ),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_a_second_sighting(case: Second) -> None:
    story = Story()
    assert kinds(story.see(0, case.first, tier=case.first_tier)) == list(OPENED)
    if case.acknowledged:
        story.keep(acknowledge(story.only, by="ann", now=at(0.5)))

    onset = at(case.hours - 2 if case.onset_hours is None else case.onset_hours)
    decision = story.see(
        case.hours,
        case.found,
        tier=case.tier,
        evidence=case.evidence,
        onset=onset,
        stream=case.stream,
    )

    assert codes(decision) == [case.code]
    assert kinds(decision) == list(case.types)
    assert len(story.incidents) == case.incidents
    if case.incidents == 1:
        assert story.only.alarms == 2
        still_acknowledged = case.acknowledged and case.code != "escalated"
        assert (story.only.state is IncidentState.ACKNOWLEDGED) == still_acknowledged


@pytest.mark.parametrize(
    ("mode", "tier", "stream", "evidence", "expected_tier", "severity"),
    [
        (Mode.CONCEPT_SHIFT, Tier.PAGE, "loss.mean", 1.0, Tier.PAGE, Severity.HIGH),
        (Mode.CONCEPT_SHIFT, Tier.PAGE, "loss.mean", 10.0, Tier.PAGE, Severity.CRITICAL),
        (Mode.CONCEPT_SHIFT, Tier.PAGE, "prediction.mean", 99.0, Tier.PAGE, Severity.HIGH),
        (Mode.SCHEMA_MISMATCH, Tier.TICKET, "column.share", 99.0, Tier.TICKET, Severity.MEDIUM),
        (Mode.COVARIATE_SHIFT, Tier.TICKET, "column.mean", 99.0, Tier.TICKET, Severity.LOW),
        (Mode.BENIGN, Tier.PAGE, "prediction.mean", 2.0, Tier.TICKET, Severity.LOW),
        (Mode.NONE, Tier.PAGE, "prediction.mean", 2.0, Tier.PAGE, Severity.HIGH),
    ],
)
def test_tier_and_severity_follow_harm_not_movement(
    mode: Mode, tier: Tier, stream: str, evidence: float, expected_tier: Tier, severity: Severity
) -> None:
    story = Story()
    message = story.see(
        0, replace(QUIET, mode=mode), tier=tier, stream=stream, evidence=evidence
    ).messages[0]
    assert (story.only.tier, story.only.severity) == (expected_tier, severity)
    assert (message.tier, message.severity) == (expected_tier, severity)


def test_many_alarms_of_a_tick_are_one_message() -> None:
    story = Story()
    found = [finding(stream=f"loss.mean@origin={i}", slice=f"origin={i}") for i in range(200)]
    decision = story.see(0, QUIET, findings=found)
    assert kinds(decision) == ["incident.opened"]
    assert story.only.alarms == 200
    assert len(story.only.streams) == KEPT_STREAMS


def test_an_alarm_without_a_cause_still_pages_and_takes_the_name_found_later() -> None:
    story = Story()
    story.see(0, diagnosis(Mode.NONE))
    assert story.only.mode.value == "undetermined"
    assert story.only.action.kind == "investigate"
    assert codes(story.see(1, QUIET)) == ["renamed"]
    assert story.only.mode.value == "concept shift"
    assert "concept shift (was undetermined)" in story.only.headline


def test_the_log_tier_never_speaks() -> None:
    story = Story()
    decision = story.see(0, QUIET, tier=Tier.LOG, evidence=1e9)
    assert (decision.incidents, decision.messages, decision.retraining) == ((), (), ())
    assert codes(decision) == ["nothing to tell"]
    assert not story.see(1, QUIET, findings=[]).messages


def test_a_diagnosis_that_flaps_between_two_names_is_told_once_a_name() -> None:
    story = Story()
    for hour in range(20):
        story.see(hour, QUIET if hour % 2 else SEMANTICS)
    assert [message.type for message in story.messages] == [
        MessageType.OPENED,
        MessageType.UPDATED,
    ]


def test_alarms_after_resolution_reopen_the_incident_under_its_id() -> None:
    story = Story()
    story.see(0, QUIET)
    first = story.only.id
    story.keep(resolve_by_person(story.only, by="ann", now=at(3)))
    assert codes(story.see(26, QUIET)) == ["reopened"]
    assert story.only.id == first
    assert story.only.state is IncidentState.OPEN
    assert story.only.closed_at is None
    assert [m.type.value for m in story.messages] == [
        "incident.opened",
        "incident.resolved",
        "incident.opened",
    ]
    assert len({m.id for m in story.messages}) == 3


@pytest.mark.parametrize(
    ("hours", "onset_hours", "incidents"), [(27.5, 27, 2), (27.5, 2.9, 1), (26.9, 26.5, 1)]
)
def test_a_new_incident_needs_a_day_of_quiet_and_a_new_onset(
    hours: float, onset_hours: float, incidents: int
) -> None:
    story = Story()
    story.see(0, QUIET)
    story.keep(resolve_by_person(story.only, by="ann", now=at(3)))
    story.see(hours, QUIET, onset=at(onset_hours))
    assert len(story.incidents) == incidents


def test_incidents_of_other_deployments_are_not_touched() -> None:
    other = Story(deployment=Deployment("flights", "HA"))
    other.see(0, QUIET)
    story = Story(incidents=dict(other.incidents))
    assert kinds(story.see(1, QUIET)) == ["incident.opened"]
    assert len(story.incidents) == 2


def test_new_alarms_end_a_recovery_and_history_says_all_that_was_told() -> None:
    story = Story()
    story.see(0, QUIET)
    story.put(recovering_since=at(1))
    story.see(2, SEMANTICS)
    assert story.only.recovering_since is None
    assert [change.what for change in story.only.history] == ["opened", "renamed"]


def test_a_page_has_the_onset_of_what_pages_and_not_of_what_moved_before() -> None:
    story = Story()
    story.see(0, QUIET, tier=Tier.TICKET, onset=at(-240))
    assert story.only.onset == at(-240)
    story.see(1, SEMANTICS, tier=Tier.PAGE, onset=at(-3))
    assert story.only.onset == at(-3)
    assert "since 12 Nov 03:00" in story.only.headline
    story.see(2, SEMANTICS, tier=Tier.TICKET, onset=at(-300))
    assert story.only.onset == at(-3), "a ticket that joins a page does not move it"
    story.see(3, SEMANTICS, tier=Tier.PAGE, onset=at(-5))
    assert story.only.onset == at(-5), "a page that joins may show that it began earlier"


def test_one_tick_of_a_page_and_tickets_begins_where_the_page_does() -> None:
    story = Story()
    old = finding(0, stream="column.mean", tier=Tier.TICKET, onset=at(-500))
    story.see(0, SEMANTICS, findings=[old, finding(0, onset=at(-4))])
    assert story.only.onset == at(-4)


OLD = replace(QUIET, mode=Mode.SCHEMA_MISMATCH)


def test_a_name_that_came_long_before_stays_and_what_came_later_stands_beside_it() -> None:
    story = Story()
    story.see(0, OLD)
    first = story.only
    decision = story.see(DAYS_15, SEMANTICS)
    assert story.only.mode is Mode.SCHEMA_MISMATCH
    assert (story.only.onset, story.only.action) == (first.onset, first.action)
    since = "since 27 Nov 04:00 also conflicting label semantics"
    assert since in story.only.evidence[-1]
    assert story.only.evidence[: len(first.evidence)] == first.evidence
    (told,) = decision.messages
    headline = str(told.body["data"]["headline"])
    assert "schema mismatch and, later, conflicting label semantics since 27 Nov" in headline
    for later in range(1, 5):
        again = story.see(DAYS_15 + later, SEMANTICS)
        assert not again.messages, "it is said once"


def test_an_incident_without_a_name_takes_the_first_it_gets_however_late() -> None:
    story = Story()
    story.see(0)
    assert codes(story.see(10 * DAYS_15, QUIET)) == ["renamed"]
    assert story.only.mode is Mode.CONCEPT_SHIFT


def test_the_alarms_of_one_tick_go_to_the_incidents_that_they_are_of() -> None:
    """One stream has been ill for months; another breaks on a day on which the first is said again.

    The message is about what is new; the old incident gets its alarm and no other name.
    """
    story = Story()
    story.see(0, replace(TICKET, mode=Mode.BENIGN), tier=Tier.TICKET, stream="column.mean:age")
    old = story.only.id
    hours = 80 * 24
    both = [
        finding(hours, stream="column.mean:age", tier=Tier.TICKET, onset=at(hours - 30)),
        finding(hours, stream="column.mean:spend", tier=Tier.TICKET, onset=at(hours - 6)),
    ]
    decision = story.see(hours, OLD, findings=both)
    new = next(i for i in story.incidents.values() if i.id != old)
    assert (new.mode, new.streams) == (Mode.SCHEMA_MISMATCH, ("column.mean:spend",))
    assert new.onset == at(hours - 6)
    assert story.incidents[old].mode is Mode.BENIGN
    assert story.incidents[old].streams == ("column.mean:age",)
    assert story.incidents[old].alarms == 2
    assert codes(decision)[0] == "opened"


def test_of_one_tick_what_is_new_and_what_is_known_of_one_change_is_one_message() -> None:
    story = Story()
    story.see(0, TICKET, tier=Tier.TICKET, stream="column.mean:age")
    both = [
        finding(24, stream="column.mean:age", tier=Tier.TICKET, onset=at(20)),
        finding(24, stream="loss.mean", onset=at(20)),
    ]
    decision = story.see(24, SEMANTICS, findings=both)
    assert codes(decision) == ["escalated"]
    assert story.only.alarms == 3


@pytest.mark.parametrize(
    ("named", "stream", "incidents"),
    [
        ("loss.mean", "loss.mean@plan=pro", 1),
        ("loss.mean", "loss.mean~slow", 1),
        ("loss.mean~slow", "loss.mean", 1),
        ("loss.mean~slow", "loss.mean@plan=pro", 1),
        ("loss.mean@plan=pro", "loss.mean@plan=free", 2),
        ("loss.mean@plan=pro", "loss.mean", 2),  # what ails one slice is not all that may ail
        ("column.mean:age", "column.mean:age_2", 2),
        ("loss.mean", "loss.mean~peers", 2),  # that all domains move says nothing of this one
    ],
)
def test_slices_of_a_stream_that_is_ill_as_a_whole_are_of_its_incident(
    named: str, stream: str, incidents: int
) -> None:
    story = Story()
    story.see(0, QUIET, stream=named)
    story.see(DAYS_15, QUIET, stream=stream)
    assert len(story.incidents) == incidents


ticks = st.lists(
    st.tuples(
        st.floats(0.1, 200.0),
        st.sampled_from([None, QUIET, SEMANTICS, TICKET, diagnosis(), diagnosis(Mode.BENIGN)]),
        st.sampled_from(list(Tier)),
        st.floats(1.0, 1e6),
        st.floats(0.0, 100.0),
        st.sampled_from(["loss.mean", "prediction.mean", "column.mean:age"]),
        st.booleans(),
    ),
    max_size=25,
)


def run(history: list[tuple[float, Diagnosis | None, Tier, float, float, str, bool]]) -> Story:
    story = Story()
    hours = 0.0
    for step, found, tier, evidence, lag, stream, recovered in history:
        hours += step
        onset = at(hours - lag)
        story.see(hours, found, tier=tier, evidence=evidence, onset=onset, stream=stream)
        if recovered:
            hours += 80.0
            for incident in list(story.incidents.values()):
                story.keep(
                    resolve_if_recovered(
                        incident, inside_margin_since=at(hours - 80), now=at(hours)
                    )
                )
    return story


@settings(max_examples=60, deadline=None)
@given(ticks)
def test_any_history_keeps_the_promises(
    history: list[tuple[float, Diagnosis | None, Tier, float, float, str, bool]],
) -> None:
    """Ids are never used twice, replay makes the same ones, transitions alternate."""
    story = run(history)
    again = run(history)
    assert [m.id for m in story.messages] == [m.id for m in again.messages]
    assert story.incidents == again.incidents
    assert len({m.id for m in story.messages}) == len(story.messages)

    openings = {MessageType.OPENED, MessageType.RESOLVED}
    for incident in story.incidents.values():
        told = [m for m in story.messages if m.incident_id == incident.id and m.type in openings]
        alternating = [MessageType.OPENED, MessageType.RESOLVED] * len(told)
        assert [m.type for m in told] == alternating[: len(told)]
        assert incident.is_open == (told[-1].type is MessageType.OPENED)
        requests = {MessageType.RETRAINING_REQUESTED}
        numbered = [m for m in story.messages if m.incident_id == incident.id]
        assert incident.sequence == sum(m.type not in requests for m in numbered)
    opened = [i for i in story.incidents.values() if i.is_open]
    named = [stream for i in opened for stream in i.streams]
    assert len(set(named)) == len(named), "a stream is of one open incident"


@settings(max_examples=60, deadline=None)
@given(ticks)
def test_a_storm_costs_a_bounded_number_of_messages(
    history: list[tuple[float, Diagnosis | None, Tier, float, float, str, bool]],
) -> None:
    """Beyond transitions and first names, an incident speaks at most every six hours."""
    story = run(history)
    for incident in story.incidents.values():
        told = [
            m
            for m in story.messages
            if m.incident_id == incident.id and m.type is MessageType.UPDATED
        ]
        loud = [c for c in incident.history if c.what in {"renamed", "also", "escalated", "worse"}]
        hours = (incident.updated_at - incident.opened_at) / timedelta(hours=6)
        assert len(told) <= len(loud) + hours + 1


def test_times_and_deployment_alone_make_the_id() -> None:
    one, two = Story(), Story()
    one.see(0, QUIET, evidence=2.0, stream="loss.mean")
    two.see(0, QUIET, evidence=9.0, stream="prediction.mean")
    assert one.only.id == two.only.id
    later = Story()
    later.see(0.001, QUIET)
    assert later.only.id != one.only.id
    assert one.only.deployment == OO


def test_findings_of_one_tick_with_mixed_tiers_take_the_highest() -> None:
    story = Story()
    found: list[Finding] = [
        finding(tier=Tier.TICKET, stream="column.mean:hour", evidence=50.0),
        finding(tier=Tier.PAGE, evidence=1.1, detail="loss up 0.08 (0.41 → 0.49)"),
    ]
    story.see(0, QUIET, findings=found)
    assert story.only.tier is Tier.PAGE
    assert story.only.headline == (
        "flights/OO: concept shift since 12 Nov 04:00 — loss up 0.08 (0.41 → 0.49); "
        "re-fit head (this domain)"
    )
