"""What holds a message back: a silence, the fault that explains it, the group that tells of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.holding import HoldKind, why_held
from alerts.inhibition import inhibited_by
from alerts.records import Incident, IncidentKind, IncidentState, Message, MessageType
from alerts.silences import Matcher, make_silence
from detectors.records import Deployment, Mode, Tier
from tests.alerts.build import Story, at, diagnosis

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def told() -> tuple[Incident, Message]:
    story = Story()
    decision = story.see(48, diagnosis())
    return story.only, decision.messages[0]


def fault(**fields: Any) -> Incident:
    """An open page for a pipeline fault of the same deployment that began two days before."""
    incident, _ = told()
    given: dict[str, Any] = {
        "id": "inc_fault",
        "mode": Mode.PIPELINE_FAULT,
        "onset": at(0),
        "opened_at": at(1),
    }
    return replace(incident, **(given | fields))


@pytest.mark.parametrize(
    ("cause", "echo", "inhibits"),
    [
        ({}, {}, True),
        ({"mode": Mode.SCHEMA_MISMATCH}, {}, True),
        ({"mode": Mode.FEATURE_ABSENT}, {}, True),
        ({"mode": Mode.COVARIATE_SHIFT}, {}, False),
        ({"state": IncidentState.ACKNOWLEDGED}, {}, True),
        ({"state": IncidentState.RESOLVED}, {}, False),
        ({"deployment": Deployment("flights", "DL")}, {}, False),
        # Faults do not hush each other: each needs its own mending.
        ({}, {"mode": Mode.SCHEMA_MISMATCH}, False),
        # A ticket hushes tickets; a page needs somebody awake.
        ({"tier": Tier.TICKET}, {}, False),
        ({"tier": Tier.TICKET}, {"tier": Tier.TICKET}, True),
        # What began long before the fault is not its echo; onsets are estimates, a day is allowed.
        ({}, {"onset": at(-23)}, True),
        ({}, {"onset": at(-25)}, False),
        # A source that sends nothing explains missing labels and too few rows, not drift.
        ({"kind": IncidentKind.SOURCE_QUIET}, {"kind": IncidentKind.NO_LABELS}, True),
        ({"kind": IncidentKind.SOURCE_QUIET}, {}, False),
        ({}, {"kind": IncidentKind.NO_LABELS}, False),
    ],
)
def test_which_fault_explains_what(
    cause: dict[str, Any], echo: dict[str, Any], inhibits: bool
) -> None:
    incident, _ = told()
    found = inhibited_by(replace(incident, **echo), [fault(**cause)])
    assert (found is not None) == inhibits


def test_an_incident_does_not_inhibit_itself() -> None:
    incident, _ = told()
    assert inhibited_by(incident, [replace(fault(), id=incident.id)]) is None


def test_the_reason_names_what_holds() -> None:
    incident, message = told()
    silence = make_silence(
        Matcher(domains=("OO",)),
        until=NOW + timedelta(hours=1),
        reason="migration",
        author="ann",
        now=NOW,
    )
    held = why_held(message, incident, silences=[silence], now=NOW)
    assert held is not None
    assert (held.kind, held.by) == (HoldKind.SILENCE, silence.id)
    assert held.words == "silenced by ann until 2026-01-10 13:00Z: migration"
    held = why_held(message, incident, others=[fault()], now=NOW)
    assert held is not None
    assert (held.kind, held.by) == (HoldKind.INHIBITION, "inc_fault")
    group = replace(incident, id="inc_group", kind=IncidentKind.GROUP)
    held = why_held(message, incident, silences=[silence], group=group, now=NOW)
    assert held is not None
    assert (held.kind, held.by) == (HoldKind.GROUP, "inc_group")
    closed = replace(group, state=IncidentState.RESOLVED)
    assert why_held(message, incident, group=closed, now=NOW) is None
    assert why_held(message, incident, now=NOW) is None


def test_who_was_told_of_a_problem_is_told_of_its_end_and_nobody_else() -> None:
    incident, opened = told()
    ended = replace(opened, type=MessageType.RESOLVED)
    assert why_held(ended, incident, others=[fault()], told=True, now=NOW) is None
    held = why_held(ended, incident, held_before=True, now=NOW)
    assert held is not None
    assert held.kind is HoldKind.UNTOLD
    assert why_held(ended, incident, now=NOW) is None


def test_a_request_to_a_machine_wakes_nobody_and_is_not_held() -> None:
    incident, message = told()
    request = replace(message, type=MessageType.RETRAINING_REQUESTED)
    assert why_held(message, incident, others=[fault()], now=NOW) is not None
    assert why_held(request, incident, others=[fault()], now=NOW) is None
