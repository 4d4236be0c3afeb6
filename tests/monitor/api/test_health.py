"""Alive, ready, and figures whose labels nobody outside can invent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from detectors.records import Deployment, Tier
from monitor import metrics
from tests.monitor.api.asking import (
    HOSTILE,
    VT,
    World,
    add_domain,
    add_finding,
    add_incident,
    add_message,
    world,
)
from tests.monitor.serving import event

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        yield running


def figures(asked: World) -> Figures:
    reply = asked.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def figure(asked: World, name: str, **labels: str) -> float | None:
    return figures(asked).get((name, frozenset(labels.items())))


def test_a_living_process_needs_no_database(asked: World) -> None:
    asked.database.close()
    for path in asked.database.path.parent.glob("kedge.db*"):  # type: ignore[union-attr]
        path.unlink()
    assert asked.get("/livez").json() == {"status": "alive"}


def test_ready_says_what_is_wrong(asked: World) -> None:
    assert asked.get("/readyz").json() == {"ready": True, "checks": {"database": "ok"}}
    asked.wrong["outbox"] = "the oldest message has waited 3 h"
    reply = asked.get("/readyz")
    assert reply.status_code == 503
    assert reply.json() == {
        "ready": False,
        "checks": {"database": "ok", "outbox": "the oldest message has waited 3 h"},
    }


def test_health_says_what_is_wrong_of_all_that_is_looked_at(asked: World) -> None:
    assert asked.get("/healthz").json() == {"healthy": True, "checks": {"database": "ok"}}
    asked.wrong["outbox"] = "the oldest message has waited 3 h"
    reply = asked.get("/healthz")
    assert reply.status_code == 503
    assert reply.json()["healthy"] is False


def test_what_was_ingested_is_counted_by_outcome(asked: World) -> None:
    events = [event(number, features={"age": 1.0}) for number in range(3)]
    events[2]["score"] = 7
    asked.post("/v1/events", {"model": "credit", "events": events})
    asked.post("/v1/events", {"model": "credit", "events": events[:1]})
    for outcome, count in (("accepted", 2), ("duplicate", 1), ("rejected", 1), ("late", 0)):
        told = figure(asked, "kedge_ingest_events_total", model="credit", outcome=outcome)
        assert told == count, outcome


def test_checks_deliveries_and_failed_jobs_are_counted(asked: World) -> None:
    told = asked.context.metrics
    assert isinstance(told, metrics.Metrics)
    told.checked("credit", seconds=0.2, instants=5)
    told.checked("credit", seconds=0.4, instants=0, failed=True)
    told.checked("not configured", seconds=9.0)
    told.delivered("dead", 2)
    told.job_failed("deliver")
    assert figure(asked, "kedge_checks_total", model="credit", result="ok") == 1
    assert figure(asked, "kedge_checks_total", model="credit", result="failed") == 1
    assert figure(asked, "kedge_instants_judged_total", model="credit") == 5
    assert figure(asked, "kedge_last_check_seconds") == 0.4
    assert figure(asked, "kedge_check_seconds_count") == 2
    assert figure(asked, "kedge_delivery_attempts_total", outcome="dead") == 2
    assert figure(asked, "kedge_job_failures_total", job="deliver") == 1
    assert "not configured" not in asked.get("/metrics").text


def test_findings_since_the_start_incidents_and_outbox_are_read_from_the_database(
    asked: World,
) -> None:
    add_domain(asked)
    add_finding(asked, 99)
    assert figure(asked, "kedge_findings_total", model="credit", domain="VT", tier="page") is None
    add_finding(asked, 3)
    add_finding(asked, 2)
    add_finding(asked, 1, Tier.TICKET)
    add_incident(asked)
    add_message(asked, dead=True)
    add_message(asked)
    for _ in range(2):
        found = figures(asked)
        place = [("model", "credit"), ("domain", "VT")]
        assert found["kedge_findings_total", frozenset([*place, ("tier", "page")])] == 2
        assert found["kedge_findings_total", frozenset([*place, ("tier", "ticket")])] == 1
        assert found["kedge_incidents_open", frozenset([*place, ("tier", "page")])] == 1
        assert found["kedge_outbox_waiting", frozenset()] == 1
        assert found["kedge_outbox_dead", frozenset()] == 1
        assert found["kedge_outbox_oldest_seconds", frozenset()] == 300
        assert found["kedge_database_bytes", frozenset()] > 100_000


def test_only_configured_models_and_a_bounded_number_of_domains_are_labels(
    asked: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOST_DOMAINS", 2)
    for domain in ("a", "b", "c", "d"):
        place = add_domain(asked, Deployment("credit", domain))
        add_incident(asked, place)
    add_incident(asked, Deployment("stranger", "x"))
    seen = {
        dict(labels)["domain"]: value
        for (name, labels), value in figures(asked).items()
        if name == "kedge_incidents_open"
    }
    assert seen == {"a": 1, "b": 1, "(other)": 2}
    assert "stranger" not in asked.get("/metrics").text


def test_a_hostile_domain_is_one_label_value_and_no_new_line(asked: World) -> None:
    hostile = Deployment("credit", f'{HOSTILE}"}} 1\nkedge_fake 7')
    add_domain(asked, hostile)
    add_incident(asked, hostile)
    assert figure(asked, "kedge_incidents_open", model="credit", domain=hostile.domain, tier="page")
    assert figure(asked, "kedge_fake") is None


def test_slices_and_features_are_never_labels(asked: World) -> None:
    add_domain(asked)
    asked.get("/metrics")
    add_finding(asked, 1)
    assert "h=1" not in asked.get("/metrics").text


def test_figures_survive_a_database_that_is_gone(asked: World) -> None:
    assert figure(asked, "kedge_database_up") == 1
    asked.database.close()
    for path in asked.database.path.parent.glob("kedge.db*"):  # type: ignore[union-attr]
        path.unlink()
    found = figures(asked)
    assert found["kedge_database_up", frozenset()] == 0
    assert ("kedge_ingest_commits_total", frozenset([("result", "ok")])) in found


def test_counting_goes_on_where_it_was(asked: World) -> None:
    """A second collector counts from its own start; neither takes from the other."""
    add_domain(asked, VT)
    figures(asked)
    add_finding(asked, 1)
    other = metrics.Metrics(asked.database, asked.clock, asked.context.config)
    assert b"kedge_findings_total{" not in other.render()
    assert figure(asked, "kedge_findings_total", model="credit", domain="VT", tier="page") == 1
    assert replace(asked.context, metrics=other).metrics is other
