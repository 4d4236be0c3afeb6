"""Pages: a policy that lets nothing in, and names that stay text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from alerts.records import Change, IncidentState
from detectors.records import Deployment
from tests.monitor.api.asking import HOSTILE, VT, World, add_domain, add_incident, world
from tests.monitor.serving import NOW

POLICY = re.compile(
    r"default-src 'none'; style-src 'nonce-([\w-]{20,})'; img-src data:; base-uri 'none'; "
    r"form-action 'self'; frame-ancestors 'none'"
)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        yield running


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def links(self) -> set[str]:
        return {attrs["href"] or "" for tag, attrs in self.tags if tag == "a"}


def pages(asked: World, deployment: Deployment) -> dict[str, str]:
    """Every address that answers HTML, for a deployment with one open incident."""
    add_domain(asked, deployment, tick_us=1)
    incident = add_incident(
        asked,
        deployment,
        headline=f"{deployment}: up",
        evidence=(f"evidence {HOSTILE}",),
        streams=(f"column.location:{HOSTILE}",),
        acknowledged_by=HOSTILE,
        state=IncidentState.ACKNOWLEDGED,
        history=(Change(NOW, HOSTILE, by=HOSTILE, words=HOSTILE),),
    )
    place = f"{quote(deployment.model, safe='')}/domains/{quote(deployment.domain, safe='')}"
    return {
        "/": "",
        "/incidents": "",
        "/incidents?state=acknowledged": "",
        f"/incidents/{incident.id}": "",
        f"/models/{place}": "",
        f"/v1/models/{place}/report": "text/html",
        f"/v1/incidents/{incident.id}": "text/html",
    }


def test_every_page_lets_in_only_the_style_with_its_own_nonce(asked: World) -> None:
    seen = set()
    for path, accept in pages(asked, VT).items():
        for _ in range(2):
            reply = asked.get(path, accept=accept)
            assert reply.headers["content-type"] == "text/html; charset=utf-8", path
            match = POLICY.fullmatch(reply.headers["content-security-policy"])
            assert match, path
            seen.add(match[1])
            page = Page(reply.text)
            styles = [attrs for tag, attrs in page.tags if tag == "style"]
            assert styles
            assert all(attrs.get("nonce") == match[1] for attrs in styles), path
            assert not [attrs for _, attrs in page.tags if "style" in attrs], path
    assert len(seen) == 2 * 7


def test_hostile_names_stay_text_on_every_page(asked: World) -> None:
    """A domain, an evidence line, a stream and a person's name that are all HTML."""
    hostile = Deployment("credit", HOSTILE)
    for path, accept in pages(asked, hostile).items():
        reply = asked.get(path, accept=accept)
        assert reply.status_code == 200, path
        page = Page(reply.text)
        assert not {"script", "img", "iframe", "object", "link"} & {tag for tag, _ in page.tags}
        assert not [n for _, attrs in page.tags for n in attrs if n.startswith("on")], path
        assert "\u202e" not in reply.text, path
        assert "<script>alert('x')</script>" in page.words, path
        assert all(link.startswith(("/", "#")) for link in page.links()), path


def test_the_fleet_leads_with_what_needs_somebody(asked: World) -> None:
    fine, ill = Deployment("credit", "AA"), Deployment("credit", "ZZ")
    add_domain(asked, fine, tick_us=1)
    add_domain(asked, ill, tick_us=1)
    add_incident(asked, ill)
    page = Page(asked.get("/").text)
    assert "2 deployments: 1 ok, 1 that need somebody" in page.words
    assert page.words.index("credit / ZZ") < page.words.index("credit / AA")
    assert "/models/credit/domains/ZZ" in page.links()


def test_an_empty_fleet_says_how_to_begin(asked: World) -> None:
    assert "kedge send FILE --model credit" in asked.get("/").text


def test_the_pages_link_to_each_other(asked: World) -> None:
    add_domain(asked, tick_us=1)
    incident = add_incident(asked)
    fleet, many = Page(asked.get("/").text), Page(asked.get("/incidents").text)
    one = Page(asked.get(f"/incidents/{incident.id}").text)
    assert f"/incidents/{incident.id}" in many.links()
    assert {"/", "/incidents?state=open"} <= fleet.links() & one.links()
    assert "/models/credit/domains/VT" in fleet.links() & many.links() & one.links()
    assert f"kedge ack {incident.id}" in one.words
