"""Runbook pages as a browser gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.runbooks import slug
from detectors.records import Mode
from monitor.web import runbooks
from tests.monitor.api.asking import VT, World, add_domain, add_incident, world
from tests.monitor.api.test_pages import POLICY, Page


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("runbooks")) as running:
        yield running


def test_every_page_is_served_and_its_links_are_answered(asked: World) -> None:
    waiting, seen = {"/runbooks"}, set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        reply = asked.get(path)
        assert reply.status_code == 200, path
        assert POLICY.fullmatch(reply.headers["content-security-policy"])
        links = Page(reply.text).links()
        assert not [link for link in links if link.endswith(".md")], path
        waiting |= {link for link in links if link.startswith("/runbooks")} - seen
    assert len(seen) == len(runbooks.runbooks())
    assert {f"/runbooks/{slug(mode)}" for mode in Mode} < seen


def test_a_page_shows_its_title_and_sections(asked: World) -> None:
    reply = asked.get("/runbooks/prior-shift")
    assert "<title>Prior shift · Kedge</title>" in reply.text
    assert "<h2>Do not</h2>" in reply.text
    assert "<table>" in asked.get("/runbooks").text


def test_an_incident_links_to_the_page_of_its_mode(asked: World) -> None:
    add_domain(asked, VT, tick_us=1)
    incident = add_incident(asked, VT)
    links = Page(asked.get(f"/incidents/{incident.id}").text).links()
    assert f"/runbooks/{slug(incident.mode)}" in links


def test_an_unknown_page_is_answered_with_the_nearest(asked: World) -> None:
    reply = asked.get("/runbooks/prior-shfit")
    assert reply.status_code == 404
    assert "prior-shift" in reply.json()["hint"]
    assert asked.get("/runbooks/..%2F..%2FREADME").status_code == 404


def test_html_in_a_page_is_shown_and_not_let_in(tmp_path: Path) -> None:
    page = tmp_path / "odd.md"
    page.write_text("# Odd\n\n<script>alert(1)</script> [x](javascript:alert(1)) **b**\n")
    title, html = runbooks._to_html(page)
    assert title == "Odd"
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'href="javascript' not in html
    assert "<strong>b</strong>" in html
