"""From rows to a proposal, from an approval to rows read by it, and what happens when it breaks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerts.mappings import MappingStatus, MappingVersion, in_force
from alerts.settings import AlertSettings
from detectors.records import DAY_US, Deployment, MappingEntry, Settings, Tier, Window, to_datetime
from monitor.reports.verification import held_state, verification_json, with_verification
from monitor.rows.held import FileRows
from monitor.rows.translated import in_source_terms
from monitor.watching.judgement import Ledger, Step, judge
from monitor.watching.pipeline import evaluate, open_progress
from monitor.watching.watch import open_watch
from tests.simulate import START_US, Stream, history, table

SHOP = Stream(rows_a_day=150)
HERE = Deployment("model", "shop")
SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DAY_US)
THOUSAND = MappingEntry("spend", scale=1_000.0)


def steps(
    fault: str,
    *approved: MappingVersion,
    days: int = 14,
    fault_day: int = 36,
    mend_day: int | None = None,
) -> tuple[list[Step], Ledger]:
    """A month of reference and a live fortnight with a fault, read by what is approved."""
    past = table(history(SHOP, days=30, seed=5))
    arrow = history(SHOP, days=days, seed=5, first_day=30, fault=fault, fault_day=fault_day)
    live = replace(table(arrow, like=past).window, domain=None)
    if mend_day is not None:
        live = _mended(live, mend_day)
    reference = replace(past.window, domain=None)
    watch = open_watch(
        HERE,
        past.schema,
        SETTINGS,
        reference=reference,
        own_reference=True,
        mappings=in_force(approved),
    )
    rows = in_source_terms(FileRows(live), watch.mappings)
    progress, ledger = open_progress(watch, reference), Ledger()
    ledger.mappings = {version.id: version for version in approved}
    until_us = START_US + (30 + days) * DAY_US
    found = [
        judge(watch, progress, one, rows, ledger, alerts=AlertSettings())
        for one in evaluate(watch, progress, rows, watermark_us=until_us, flush=True)
    ]
    return found, ledger


def _mended(live: Window, day: int) -> Window:
    """The unit is the source's again from a day on."""
    assert live.ts_us is not None
    back = live.ts_us >= START_US + day * DAY_US
    spend = live.numeric["spend"].copy()
    spend[back] /= 1_000.0
    return replace(live, numeric={**live.numeric, "spend": spend})


def approved(version: MappingVersion) -> MappingVersion:
    return replace(version, status=MappingStatus.APPROVED, decided_by="ann")


@pytest.fixture(scope="module")
def proposed() -> tuple[list[Step], Ledger]:
    return steps("unit")


def test_a_unit_change_is_proposed_once_with_its_evidence_and_one_message(
    proposed: tuple[list[Step], Ledger],
) -> None:
    told, ledger = proposed
    (version,) = ledger.mappings.values()
    assert (version.entry, version.version) == (THOUSAND, 1)
    assert "times those of the reference" in version.evidence
    assert version.incident_id in ledger.incidents
    asked = [m for step in told for m in step.messages if m.type == "mapping.review_requested"]
    (message,) = asked
    assert message.incident_id == version.incident_id
    assert message.body["data"]["mappings"][0]["id"] == version.id
    (step,) = [step for step in told if step.mappings]
    assert message in step.messages


def test_what_is_approved_is_read_by_and_costs_no_page_nor_ticket_of_its_column(
    proposed: tuple[list[Step], Ledger],
) -> None:
    """The change at its true day, read by the approved mapping: `spend` is quiet again."""
    (version,) = proposed[1].mappings.values()
    began = to_datetime(START_US + 36 * DAY_US)
    told, ledger = steps("unit", approved(replace(version, since=began)))
    of_spend = [f for step in told for f in step.findings if f.column == "spend"]
    assert [f for f in of_spend if f.tier is not Tier.LOG] == []
    assert list(ledger.mappings) == [version.id]
    untranslated = [f for step in proposed[0] for f in step.findings if f.column == "spend"]
    assert [f for f in untranslated if f.tier is not Tier.LOG] != []


def test_an_approved_mapping_that_breaks_is_a_ticket_that_names_it_and_a_new_version(
    proposed: tuple[list[Step], Ledger],
) -> None:
    """The domain goes back to the source's unit: told the day after, once, and proposed anew."""
    (version,) = proposed[1].mappings.values()
    began = to_datetime(START_US + 36 * DAY_US)
    known = approved(replace(version, since=began))
    told, ledger = steps("unit", known, days=16, mend_day=41)
    broken = [f for step in told for f in step.findings if f.kind == "mapping"]
    (finding,) = broken
    assert finding.tier is Tier.TICKET
    assert version.id in finding.detail
    assert finding.ts == datetime(2024, 11, 15, tzinfo=UTC)
    newest = max(ledger.mappings.values(), key=lambda one: one.version)
    assert (newest.version, newest.status) == (2, MappingStatus.PROPOSED)
    assert newest.entry.is_identity


def test_a_report_says_unverified_while_one_version_waits(
    proposed: tuple[list[Step], Ledger], tmp_path: Path
) -> None:
    from detectors.records import State

    (version,) = proposed[1].mappings.values()
    open_now, done = verification_json([version]), verification_json([approved(version)])
    assert (open_now["state"], done["state"]) == ("unverified", "verified")
    assert verification_json([])["state"] == "none"
    assert held_state(State.OK, open_now) is State.WATCH
    assert held_state(State.OK, done) is State.OK
    assert held_state(State.HARM, open_now) is State.HARM
    assert with_verification("a/b: fine.", open_now).endswith(
        "unverified: a mapping waits for a person."
    )
    assert version.id in open_now["words"]
