"""Forms of the pages do what the routes do, and a walk over every page finds nothing broken."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alerts.mappings import MappingStatus
from alerts.records import IncidentState, RequestStatus
from storage.mappings import list_mappings
from storage.retraining import list_requests
from storage.silences import list_silences
from tests.monitor.api.asking import (
    World,
    add_domain,
    add_incident,
    add_reference_window,
    add_retraining,
    world,
)

CENTS = {"domain": "VT", "column": "age", "scale": 100.0}


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        add_domain(running, tick_us=1)
        add_reference_window(running)
        yield running


def submit(asked: World, path: str, **fields: str) -> int:
    """A form of a page, sent; the status of the first answer."""
    reply = asked.client.post(path, data=fields, follow_redirects=False)
    return int(reply.status_code)


def test_an_incident_is_answered_by_form_under_the_name_given(asked: World) -> None:
    incident = add_incident(asked)
    place = f"/incidents/{incident.id}"
    assert submit(asked, f"{place}/ack", by="ann", note="on it") == 303
    assert asked.incident(incident.id).acknowledged_by == "ann"
    silence = {"by": "ann", "for": "2h", "reason": "migration"}
    assert submit(asked, f"{place}/silence", **silence) == 303
    with asked.database.read() as session:
        assert [found.reason for found in list_silences(session)] == ["migration"]
    assert submit(asked, f"{place}/feedback", by="ann", verdict="false alarm") == 303
    assert submit(asked, f"{place}/resolve", by="ann", note="mended") == 303
    assert asked.incident(incident.id).state is IncidentState.RESOLVED


def test_a_form_without_a_name_or_a_reason_changes_nothing_and_says_why(asked: World) -> None:
    incident = add_incident(asked)
    place = f"/incidents/{incident.id}"
    nameless = asked.client.post(f"{place}/ack", data={"note": "x"})
    assert (nameless.status_code, "say who does this" in nameless.text) == (422, True)
    assert submit(asked, f"{place}/silence", by="ann", **{"for": "2h"}) == 422
    assert submit(asked, f"{place}/silence", by="ann", reason="x", **{"for": "soon"}) == 422
    assert submit(asked, "/incidents/inc_none/ack", by="ann") == 404
    assert asked.incident(incident.id).state is IncidentState.OPEN


def test_a_form_of_another_site_is_refused(asked: World) -> None:
    incident = add_incident(asked)
    reply = asked.client.post(
        f"/incidents/{incident.id}/ack",
        data={"by": "mallory"},
        headers={"origin": "https://evil.example"},
    )
    assert reply.status_code == 403
    assert asked.incident(incident.id).state is IncidentState.OPEN


def test_a_mapping_and_a_request_are_decided_by_form_once(asked: World) -> None:
    asked.post("/v1/mappings", {"model": "credit", "by": "ann", "mappings": [CENTS]})
    request = add_retraining(asked)
    with asked.database.read() as session:
        (mapping,) = list_mappings(session)
    place = f"/mappings/{mapping.id}"
    assert submit(asked, f"{place}/approve", by="bo") == 422
    assert submit(asked, f"{place}/approve", by="bo", reason="cents since May") == 303
    assert submit(asked, f"{place}/reject", by="cy", reason="no") == 409
    steps = ("approve", "start", "complete")
    for step in steps:
        assert submit(asked, f"/retraining/{request.id}/{step}", by="bo") == 303
    assert submit(asked, f"/retraining/{request.id}/reject", by="cy") == 409
    with asked.database.read() as session:
        assert list_mappings(session)[0].status is MappingStatus.APPROVED
        assert list_requests(session)[0].status is RequestStatus.COMPLETED


class Cells(HTMLParser):
    """Addresses a page leads to, and the text of every cell and fact."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.cells: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.add(dict(attrs)["href"] or "")
        if tag in {"td", "th", "dd"}:
            self._inside = tag
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def test_a_walk_from_the_start_page_reaches_every_page_and_finds_no_broken_one(
    asked: World,
) -> None:
    """Every link answers 200, and no table shows what a program says for "nothing"."""
    incident = add_incident(asked)
    request = add_retraining(asked)
    asked.post("/v1/mappings", {"model": "credit", "by": "ann", "mappings": [CENTS]})
    submit(asked, f"/incidents/{incident.id}/silence", by="ann", reason="x", **{"for": "2h"})
    todo, seen, known = ["/"], set[str](), {"inc_x"}
    while todo:
        path = todo.pop().partition("#")[0]
        if not path or path in seen or any(path.endswith(name) for name in known):
            continue  # the incident behind the made-up request is not there
        seen.add(path)
        reply = asked.get(path, accept="text/html")
        assert reply.status_code == 200, path
        page = Cells(reply.text)
        wrong = [c for c in page.cells if {"nan", "None", "NaN", "inf"} & set(c.split())]
        assert not wrong, (path, wrong)
        outside = [link for link in page.links if not link.startswith(("/", "#"))]
        assert path.startswith("/runbooks") or not outside, (path, outside)
        todo += [link for link in page.links if link.startswith("/")]
    wanted = {
        *("/silences", "/references", "/runbooks", "/retraining", "/mappings", "/incidents"),
        *(f"/incidents/{incident.id}", f"/retraining/{request.id}"),
        "/models/credit/domains/VT",
    }
    assert wanted <= seen
    assert any(path.startswith("/mappings/map_") for path in seen)


def test_every_page_can_be_reached_from_a_report_too(asked: World) -> None:
    page = Cells(asked.get("/models/credit/domains/VT").text)
    assert {"/", "/incidents?state=open", "/references"} <= page.links
