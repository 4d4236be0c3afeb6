from dataclasses import replace

from detectors.records import Deployment, Finding, Tier
from storage.engine import Database
from storage.findings import count_findings, last_finding_id, list_findings, save_findings
from tests.storage.rows import DAY, START, VERMONT

FINDING = Finding(
    kind="drift",
    ts=START,
    onset=START - DAY,
    stream="loss.mean@origin=JFK",
    tier=Tier.PAGE,
    column="age ☃",
    slice="origin=JFK",
    evidence=1.25,
    effect=-0.1 - 0.2,
    detail="loss is up",
)


def saved(database: Database, *findings: Finding) -> tuple[Finding, ...]:
    with database.write() as session:
        save_findings(session, VERMONT, findings)
    with database.read() as session:
        return list_findings(session, VERMONT)


def test_a_finding_comes_back_as_it_was(database: Database) -> None:
    bare = Finding("schema", START + DAY, START, "schema:age", Tier.TICKET, evidence=float("inf"))
    assert saved(database, FINDING, bare) == (bare, FINDING)
    assert saved(database) == (bare, FINDING)


def test_a_rebuild_neither_repeats_nor_demotes_what_was_told(database: Database) -> None:
    saved(database, FINDING)
    again = replace(FINDING, tier=Tier.LOG, evidence=9.0)
    other = replace(FINDING, stream="score.mean")
    assert set(saved(database, again, other)) == {FINDING, other}


def test_findings_are_chosen_by_time_tier_and_deployment(database: Database) -> None:
    days = [replace(FINDING, ts=START + number * DAY) for number in range(4)]
    logged = replace(FINDING, ts=START + DAY, stream="x", tier=Tier.LOG)
    saved(database, *days, logged)
    with database.read() as session:
        between = list_findings(session, VERMONT, since=START + DAY, until=START + 3 * DAY)
        assert between == (days[2], logged, days[1])
        assert list_findings(session, VERMONT, tier=Tier.LOG) == (logged,)
        assert list_findings(session, VERMONT, limit=1) == (days[3],)
        assert list_findings(session, Deployment("credit", "NH")) == ()


def test_only_findings_that_came_since_are_counted(database: Database) -> None:
    with database.read() as session:
        assert (last_finding_id(session), count_findings(session, 0)) == (0, (0, {}))
    saved(database, FINDING)
    with database.read() as session:
        start = last_finding_id(session)
        assert count_findings(session, start) == (start, {})
    saved(database, FINDING, replace(FINDING, ts=START + DAY), replace(FINDING, ts=START + 2 * DAY))
    saved(database, replace(FINDING, ts=START + 3 * DAY, tier=Tier.LOG))
    with database.read() as session:
        newest, counts = count_findings(session, start)
        assert counts == {(VERMONT, Tier.PAGE): 2, (VERMONT, Tier.LOG): 1}
        assert count_findings(session, newest) == (newest, {})
