"""What can be asked: happy paths, filters, names that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from alerts.records import IncidentKind, IncidentState
from detectors.records import (
    HOUR_US,
    ColumnSpec,
    Deployment,
    Kind,
    Schema,
    Task,
    Tier,
    Window,
    concat_windows,
    to_us,
)
from detectors.summary import fit_profile, summarise
from monitor.errors import InputError
from monitor.reports.forms import iso
from storage.baselines import BaselineSource, add_baseline
from storage.incidents import save_incidents
from storage.outbox import get_message
from storage.references import Role, add_reference, save_profile
from storage.summaries import Clock, StoredSummary, save_summaries
from tests.monitor.api.asking import (
    EVALUATED,
    VT,
    World,
    add_domain,
    add_finding,
    add_incident,
    add_message,
    add_reference_window,
    add_retraining,
    world,
)
from tests.monitor.serving import NOW


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One application for questions that change nothing."""
    with world(tmp_path_factory.mktemp("quiet")) as running:
        add_domain(running)
        yield running


def test_models_are_told_with_what_has_come_for_them(asked: World) -> None:
    add_domain(asked, VT, rows=100)
    add_domain(asked, Deployment("credit", "NH"), rows=30)
    assert asked.get("/v1/models").json()["models"] == [
        {
            "name": "credit",
            "task": "binary",
            "domains": 2,
            "rows": 130,
            "latest_event": iso(NOW - timedelta(hours=1)),
        },
        {"name": "fraud", "task": "binary", "domains": 0, "rows": 0, "latest_event": None},
    ]


def test_a_domain_nothing_was_judged_of_yet_is_undetermined_and_says_so(asked: World) -> None:
    add_domain(asked)
    (line,) = asked.get("/v1/models/credit/domains").json()["domains"]
    assert (line["state"], line["words"]) == ("undetermined", "not evaluated yet")
    assert (line["maturity"], line["guaranteed"]) == ("warming", False)
    assert line["transfer"]["state"] == "undetermined"
    assert line["evaluated_until"] is None


@pytest.mark.parametrize(
    ("transfer", "tiers", "state"),
    [
        ("helps", [], "ok"),
        ("helps", [Tier.TICKET], "watch"),
        ("helps", [Tier.TICKET, Tier.PAGE], "drift"),
        ("hurts", [], "harm"),
        ("hurts", [Tier.PAGE], "harm"),
    ],
)
def test_a_domain_is_as_ill_as_the_worst_that_is_known_of_it(
    asked: World, transfer: str, tiers: list[Tier], state: str
) -> None:
    verdict = {
        "state": transfer,
        "words": "so it is",
        "difference": -0.02,
        "ci": [-0.03, None],
        "rows": 900,
        "slices": [],
    }
    add_domain(asked, tick_us=6 * HOUR_US, transfer=verdict, pages=2, tickets=5)
    for number, tier in enumerate(tiers):
        add_incident(asked, tier=tier, opened_at=NOW - timedelta(days=number + 1))
    add_incident(
        asked, opened_at=NOW - timedelta(days=9), state=IncidentState.RESOLVED, closed_at=NOW
    )
    (line,) = asked.get("/v1/models/credit/domains").json()["domains"]
    assert line["state"] == state
    assert line["open_incidents"] == {
        "page": tiers.count(Tier.PAGE),
        "ticket": tiers.count(Tier.TICKET),
    }
    assert line["transfer"] == {key: verdict[key] for key in verdict if key != "slices"}
    assert line["evaluated_until"] == iso(EVALUATED)
    assert (line["tick_hours"], line["pages"], line["tickets"]) == (6.0, 2, 5)


@pytest.mark.parametrize(
    ("place", "kind", "state"),
    [
        (VT, IncidentKind.SOURCE_QUIET, "watch"),
        (Deployment("credit", ""), IncidentKind.SOURCE_QUIET, "watch"),
        (VT, IncidentKind.NO_LABELS, "watch"),
        (VT, IncidentKind.TOO_LITTLE_DATA, "undetermined"),
    ],
)
def test_a_domain_whose_rows_or_labels_stay_away_is_not_just_ok(
    asked: World, place: Deployment, kind: IncidentKind, state: str
) -> None:
    add_domain(asked, tick_us=HOUR_US, maturity="guaranteed")
    add_domain(asked, Deployment("fraud", "NH"), tick_us=HOUR_US, maturity="guaranteed")
    amiss = add_incident(asked, place, kind=kind, tier=Tier.TICKET)
    (line,) = asked.get("/v1/models/credit/domains").json()["domains"]
    assert (line["state"], line["arrivals"]) == (state, [kind.value])
    assert line["words"] == f"{kind.value}; nothing open"
    assert line["open_incidents"] == {"page": 0, "ticket": 0}
    assert f"{kind.value}; nothing open" in asked.get("/").text
    (other,) = asked.get("/v1/models/fraud/domains").json()["domains"]
    assert (other["state"], other["arrivals"]) == ("ok", [])
    with asked.database.write() as session:
        save_incidents(session, [replace(amiss, state=IncidentState.RESOLVED, closed_at=NOW)])
    (line,) = asked.get("/v1/models/credit/domains").json()["domains"]
    assert (line["state"], line["arrivals"]) == ("ok", [])


def test_a_report_comes_in_the_form_that_is_asked_for(asked: World) -> None:
    add_domain(asked)
    path = "/v1/models/credit/domains/VT/report"
    plain = asked.get(path)
    assert plain.json()["schema"] == "kedge.report/1"
    assert plain.headers["vary"] == "Accept"
    html = asked.get(path + "?days=7", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert html.text.startswith("<!doctype html>")
    markdown = asked.get(path, accept="text/markdown")
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    assert markdown.text.startswith("# ")
    assert asked.asked == [(VT, None), (VT, 7), (VT, None)]


def test_a_report_of_a_domain_without_rows_is_refused_in_words(asked: World) -> None:
    add_domain(asked, rows=0)
    reply = asked.get("/v1/models/credit/domains/VT/report")
    assert reply.status_code == 409
    assert reply.json() == {
        "error": "credit/VT has no rows yet",
        "hint": "send events, then ask for the report",
    }


def test_an_error_of_the_report_is_told_in_its_own_words(
    asked: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_domain(asked)

    def refuse(*_: object) -> None:
        raise InputError("credit/VT has under two days of rows; wait")

    monkeypatch.setattr("monitor.api.query.find_report", refuse)
    reply = asked.get("/v1/models/credit/domains/VT/report")
    assert reply.status_code == 409
    assert reply.json() == {"error": "credit/VT has under two days of rows", "hint": "wait"}


def test_a_domain_may_be_called_anything_that_ingest_takes(asked: World) -> None:
    odd = Deployment("credit", "a/b c?é#+")
    add_domain(asked, odd)
    path = f"/v1/models/credit/domains/{quote(odd.domain, safe='')}"
    assert asked.get(f"{path}/report").status_code == 200
    assert asked.get(f"{path}/findings").json() == {"findings": []}
    assert asked.asked == [(odd, None)]


def test_findings_are_cut_by_time_tier_and_number(asked: World) -> None:
    add_domain(asked)
    page, ticket = add_finding(asked, 30), add_finding(asked, 20, Tier.TICKET)
    newest = add_finding(asked, 10)

    def streams(**params: str) -> list[str]:
        path = "/v1/models/credit/domains/VT/findings"
        found = asked.client.get(path, params=params).json()["findings"]
        return [finding["stream"] for finding in found]

    assert streams() == [newest.stream, ticket.stream, page.stream]
    assert streams(since=iso(ticket.ts)) == [newest.stream, ticket.stream]
    assert streams(until=iso(ticket.ts)) == [page.stream]
    assert streams(tier="ticket") == [ticket.stream]
    assert streams(limit="1") == [newest.stream]


SCORED = Schema(Task.BINARY, (ColumnSpec("age", Kind.NUMERIC),), has_baseline=False)


def scored(seed: int, since_us: int, rows: int = 50) -> Window:
    """An hour of rows."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.1, 0.9, rows)
    return Window(
        rows=rows,
        ts_us=since_us + np.sort(rng.integers(0, HOUR_US, rows)),
        score=score,
        label=(rng.uniform(size=rows) < score).astype(float),
        numeric={"age": rng.normal(40, 10, rows)},
    )


def test_a_stream_is_read_back_from_stored_summaries(asked: World) -> None:
    """The mean score of a tick, in standard deviations of the reference's scores."""
    add_domain(asked, tick_us=HOUR_US)
    since_us = to_us(EVALUATED) - 10 * HOUR_US
    reference = concat_windows([scored(n, n * HOUR_US) for n in range(100)])
    profile = fit_profile(reference, SCORED)
    hours = [scored(500 + n, since_us + n * HOUR_US) for n in range(3)]
    hours.append(Window(rows=0))
    with asked.database.write() as session:
        added = add_reference(session, "credit", "VT", Role.ONBOARDING, reference, SCORED, NOW)
        save_profile(session, added.id, profile.fingerprint, profile.to_bytes(), NOW)
        stored = []
        for number, rows in enumerate(hours):
            start = since_us + number * HOUR_US
            tick = summarise(rows, profile, start_us=start, end_us=start + HOUR_US)
            stored.append(
                StoredSummary(
                    Clock.FEATURE,
                    profile.fingerprint,
                    HOUR_US,
                    start,
                    rows.rows,
                    tick.to_bytes(),
                )
            )
        save_summaries(session, VT, stored)

    path = "/v1/models/credit/domains/VT/streams/prediction.mean"
    told = asked.get(path).json()
    assert reference.score is not None
    center, scale = reference.score.mean(), reference.score.std()
    for point, rows in zip(told["points"], hours[:3], strict=False):
        assert rows.score is not None
        assert point["y"] == pytest.approx((rows.score.mean() - center) / scale, rel=1e-3)
        assert point["v"] == pytest.approx(1 / 50, rel=0.5)
    assert told["points"][3] == {
        "ts": iso(EVALUATED - timedelta(hours=7)),
        "y": None,
        "v": None,
    }
    assert (told["clock"], told["tick_seconds"], told["tier"]) == ("feature", 3600, "page")
    assert [p["ts"] for p in asked.get(f"{path}?limit=2").json()["points"]] == [
        p["ts"] for p in told["points"][2:]
    ]
    unknown = asked.get(path.replace("mean", "meen"))
    assert unknown.status_code == 404
    assert "Did you mean 'prediction.mean'?" in unknown.json()["hint"]


def test_a_stream_without_a_fitted_reference_is_refused_with_a_remedy(asked: World) -> None:
    add_domain(asked)
    reply = asked.get("/v1/models/credit/domains/VT/streams/loss.mean")
    assert reply.status_code == 409
    assert "kedge reference add" in reply.json()["hint"]


def test_incidents_are_found_by_state_model_and_domain(asked: World) -> None:
    here = add_incident(asked)
    other = Deployment("fraud", "VT")
    there = add_incident(asked, other, state=IncidentState.ACKNOWLEDGED, acknowledged_by="ann")

    def ids(query: str) -> set[str]:
        return {i["id"] for i in asked.get(f"/v1/incidents{query}").json()["incidents"]}

    assert ids("") == {here.id, there.id}
    assert ids("?state=open") == {here.id}
    assert ids("?model=fraud&domain=VT") == {there.id}
    assert ids("?domain=NH") == set()
    assert ids("?limit=1") <= {here.id, there.id}
    one = asked.get(f"/v1/incidents/{there.id}").json()
    assert (one["state"], one["acknowledged_by"]) == ("acknowledged", "ann")
    assert one["history"][0]["words"] == "loss is up"


def test_a_link_of_a_webhook_shows_a_page_in_a_browser(asked: World) -> None:
    incident = add_incident(asked)
    page = asked.get(f"/v1/incidents/{incident.id}", accept="text/html")
    assert page.headers["content-type"].startswith("text/html")
    assert "loss is up" in page.text


def test_retraining_requests_are_told_with_their_steps(asked: World) -> None:
    request = add_retraining(asked)
    (line,) = asked.get("/v1/retraining-requests?status=requested").json()["requests"]
    assert (line["id"], line["rows"], line["decided_by"]) == (request.id, 800, None)
    assert asked.get("/v1/retraining-requests?status=approved").json() == {"requests": []}
    assert asked.get("/v1/retraining-requests?model=credit&domain=NH").json() == {"requests": []}
    one = asked.get(f"/v1/retraining-requests/{request.id}").json()
    assert [step["status"] for step in one["history"]] == ["requested"]


def test_references_are_told_without_their_rows(asked: World) -> None:
    number = add_reference_window(asked)
    (line,) = asked.get("/v1/references?model=credit&domain=VT").json()["references"]
    assert line == asked.get(f"/v1/references/{number}").json()
    assert (line["role"], line["status"], line["rows"]) == ("onboarding", "active", 2)
    assert line["columns"] == {"age": "numeric"}
    assert asked.get("/v1/references?model=fraud").json() == {"references": []}


def test_the_outbox_says_what_waits_and_what_was_given_up(asked: World) -> None:
    dead = add_message(asked, dead=True)
    waiting = add_message(asked)
    told = asked.get("/v1/outbox").json()
    assert (told["waiting"], told["dead"], told["oldest_seconds"]) == (1, 1, 300.0)
    assert [line["id"] for line in told["deliveries"]] == [waiting.id]
    (letter,) = told["dead_letters"]
    assert (letter["id"], letter["channel"]) == (dead.id, "ops")
    assert (letter["last_error"], letter["due_at"]) == ("answered 404", None)
    with asked.database.read() as session:
        assert get_message(session, dead.id) == dead


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/models/credt/domains", "credit"),
        ("/v1/models/credit/domains/VTT/report", "VT"),
        ("/v1/models/credit/domains/VTT/findings", "VT"),
        ("/v1/models/credit/domains/VTT/streams/loss.mean", "VT"),
        ("/models/credit/domains/VTT", "VT"),
    ],
)
def test_a_name_that_does_not_exist_is_a_404_with_the_nearest_one(
    quiet: World, path: str, named: str
) -> None:
    reply = quiet.get(path)
    assert reply.status_code == 404
    assert set(reply.json()) == {"error", "hint"}
    assert f"Did you mean '{named}'?" in reply.json()["hint"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/incidents/inc_nope",
        "/incidents/inc_nope",
        "/v1/retraining-requests/ret_nope",
        "/v1/references/17",
        "/v1/nothing",
        "/nothing",
    ],
)
def test_an_unknown_id_is_a_404_of_one_line(quiet: World, path: str) -> None:
    reply = quiet.get(path)
    assert reply.status_code == 404
    assert set(reply.json()) == {"error", "hint"}
    assert "\n" not in reply.text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/references/0",
        "/v1/references/99999999999999999999",
        "/v1/incidents?limit=0",
        "/v1/incidents?limit=1001",
        "/v1/incidents?state=gone",
        "/v1/models/credit/domains/VT/findings?since=2026-01-01T00:00:00",
        "/v1/models/credit/domains/VT/report?days=0",
        "/v1/retraining-requests?model=credit",
    ],
)
def test_a_parameter_out_of_range_is_named(quiet: World, path: str) -> None:
    reply = quiet.get(path)
    assert reply.status_code == 422
    assert set(reply.json()) == {"error", "hint"}


def test_a_nul_in_an_address_never_reaches_the_database(quiet: World) -> None:
    assert quiet.get("/v1/incidents?domain=a%00b").status_code == 400
    assert quiet.get("/v1/models/a%00b/domains").status_code == 400


def test_every_route_describes_its_answer(quiet: World) -> None:
    paths = quiet.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, route in methods.items():
            answer = next(r for status, r in route["responses"].items() if status < "300")
            for content in answer["content"].values():
                assert content.get("schema", {}) or len(answer["content"]) > 1, (path, method)


def test_baselines_are_told_with_what_they_were_trained_on(asked: World) -> None:
    with asked.database.write() as session:
        for domain in (None, "VT", "NH"):
            add_baseline(
                session,
                "credit",
                domain,
                source=BaselineSource.SHADOW,
                rows=900,
                since_us=0,
                until_us=HOUR_US,
                curve=[[500, 100, 0.5, 0.4]],
                now=NOW,
            )
    found = asked.get("/v1/models/credit/baselines?domain=VT").json()["baselines"]
    assert [(line["domain"], line["version"], line["rows"]) for line in found] == [
        (None, 1, 900),
        ("VT", 1, 900),
    ]
    assert found[0]["until"] == "1970-01-01T01:00:00Z"
    assert found[0]["curve"] == [[500.0, 100.0, 0.5, 0.4]]
    assert asked.get("/v1/models/credt/baselines").status_code == 404
