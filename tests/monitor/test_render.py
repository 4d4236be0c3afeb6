"""Reports as text, Markdown and HTML: the verdict leads, and strangers' text stays text."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from monitor.reports import plots
from monitor.reports.html import render_html, render_html_many, style_hash, style_text
from monitor.reports.markdown import render_markdown, render_markdown_many
from monitor.reports.numbers import clean, estimate, number, share
from monitor.reports.text import render_text, render_text_many
from monitor.reports.view import loss_change_words, questions, rows_words
from tests.monitor.two_files import HOSTILE, hostile_report, pair, report_of, rows_of

VOID = {"meta", "br", "hr", "img", "link", "input"}
SHAPES = {"rect", "line", "circle", "polyline", "polygon"}


class Page(HTMLParser):
    """Every tag with its attributes; the nesting must close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert tag in SHAPES

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("drifted")
    return report_of(
        *pair(folder, rows_of(2_000, seed=1), rows_of(2_000, seed=2, shift=1.0, bias=1.0)),
        *("--slice", "job"),
    )


def as_text(report: dict[str, Any], *, everything: bool = False, width: int = 100) -> str:
    out = io.StringIO()
    render_text(report, Console(file=out, width=width), everything=everything)
    return out.getvalue()


def test_hostile_text_opens_no_tag_and_reaches_for_nothing_outside() -> None:
    page = Page(render_html_many(hostile_report()))
    allowed = {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "div"),
        *("h1", "h2", "h3", "p", "span", "strong", "em", "dl", "dt", "dd", "ul", "li", "a"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
        *("details", "summary", "footer", "svg", "desc", "g", "text", *SHAPES),
    }
    assert {tag for tag, _ in page.tags} <= allowed
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name == "style"}, tag
        for name in ("href", "src", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "<script>alert(1)</script>" in "".join(page.words), "shown as text"


def test_html_says_a_policy_that_allows_its_own_style_and_nothing_else() -> None:
    text = render_html_many(hostile_report())
    policy = next(a["content"] for t, a in Page(text).tags if t == "meta" and "http-equiv" in a)

    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"style-src '{style_hash()}'" in policy
    inline = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    assert inline == [style_text()], "the hash is of exactly what stands between the tags"
    assert "url(" not in style_text()
    assert "@import" not in style_text()


def test_a_nonce_takes_the_place_of_the_hash(drifted: dict[str, Any]) -> None:
    text = render_html(drifted, nonce='abc"123')

    assert 'nonce="abc&#34;123"' in text
    assert style_hash() not in text


def test_ids_are_unique_and_every_plot_has_a_title_and_a_description() -> None:
    page = Page(render_html_many(hostile_report()))
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    named = [a["aria-labelledby"] for t, a in page.tags if t == "svg" and "aria-labelledby" in a]

    assert len(ids) == len(set(ids))
    assert named
    assert all(word in ids for names in named for word in (names or "").split())


def test_control_and_turning_characters_become_visible_everywhere() -> None:
    report = hostile_report()
    forms = [
        render_html_many(report),
        render_markdown_many(report),
        as_text(report["reports"][0], everything=True),
    ]
    for form in forms:
        assert "\x1b" not in form
        assert "\x07" not in form
        assert "\u202e" not in form
        assert "x" * 1_000 not in form, "10 kB names are cut"
    assert "\\u202e" in forms[0]


def test_markdown_keeps_links_code_and_tags_from_being_read() -> None:
    text = render_markdown_many(hostile_report())

    assert not re.search(r"(?<!\\)\]\(", text)
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)`", text)
    assert "http://" not in text, "no bare link for a forge to make clickable"
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1, "a cell was split"


def test_rich_markup_in_names_is_not_obeyed(tmp_path: Path) -> None:
    before, after = rows_of(seed=1), rows_of(seed=2, shift=2.0)
    before["[bold red]x[/]"], after["[bold red]x[/]"] = before["age"], after["age"]
    text = as_text(report_of(*pair(tmp_path, before, after)), width=200)

    assert "[bold red]x[/]" in text


def test_the_headline_stands_before_every_number(drifted: dict[str, Any]) -> None:
    sentence = drifted["headline"].split(": ", 1)[1].split(";")[0]

    for form in (render_html(drifted).split("<main>")[1], render_markdown(drifted)):
        plain = form.replace("\\", "").lower()
        assert 0 <= plain.find(sentence.lower()) < plain.index("inputs")


def test_every_question_has_its_state_in_every_form(drifted: dict[str, Any]) -> None:
    asked = questions(drifted)

    assert [q.name for q in asked] == [
        *("transfer", "calibration", "labels", "inputs", "predictions", "schema", "gate"),
    ]
    assert {q.name: q.state for q in asked}["calibration"] == drifted["calibration"]["state"]
    for form in (render_html(drifted), render_markdown(drifted), as_text(drifted)):
        for question in asked:
            assert question.name in form.lower()
            assert question.state.replace("_", " ") in form


def test_text_is_a_screenful_unless_everything_is_asked_for(drifted: dict[str, Any]) -> None:
    wide = dict(drifted, columns=[dict(drifted["columns"][0], name=f"c{n}") for n in range(300)])

    assert len(as_text(wide, width=140).splitlines()) < 70
    assert "c299" in as_text(wide, everything=True, width=140)


def test_many_domains_come_worst_first_above_their_sections(drifted: dict[str, Any]) -> None:
    calm = dict(drifted, domain="calm", state="ok")
    ill = dict(drifted, domain="ill", state="harm")
    result = {"schema": "kedge.reports/1", "model": "m", "reports": [calm, ill], "absent": []}
    out = io.StringIO()
    render_text_many(result, Console(file=out, width=120))

    for form in (out.getvalue(), render_markdown_many(result), render_html_many(result)):
        assert form.index("ill") < form.index("calm")
    page = Page(render_html_many([calm, ill]))
    targets = [a["href"] for t, a in page.tags if t == "a"]
    assert targets == ["#domain-1", "#domain-0"]
    assert {"domain-0", "domain-1"} <= {a.get("id") for _, a in page.tags}


def test_a_report_with_incidents_draws_and_lists_them(drifted: dict[str, Any]) -> None:
    incident = {
        "mode": "concept shift",
        "state": "open",
        "tier": "page",
        "headline": "m/d: <b>loss</b> rose",
        "opened_at": "2026-01-05T00:00:00Z",
        "onset": "2026-01-03T00:00:00Z",
        "updated_at": "2026-01-06T00:00:00Z",
        "closed_at": None,
    }
    text = render_html(dict(drifted, incidents=[incident]))

    Page(text)
    assert "Incidents over time" in text
    assert "1 incident, 1 still open." in text
    assert "&lt;b&gt;loss" in text
    assert "2026-01-05 00:00 UTC" in as_text(dict(drifted, incidents=[incident]))


def test_bars_are_as_high_as_their_shares() -> None:
    column = {
        "name": "x",
        "kind": "numeric",
        "bins": {"labels": ["0", "1"], "reference": [0.25, 0.75], "current": [0.5, 0.5]},
    }
    heights = [
        float(found)
        for found in re.findall(
            r'class="\w+"[^>]* height="([\d.]+)"', plots.histogram(column, uid="u")
        )
    ]
    before_0, now_0, before_1, now_1 = heights

    assert before_0 / before_1 == pytest.approx(1 / 3, rel=0.01)
    assert now_0 == now_1
    assert now_0 / before_1 == pytest.approx(2 / 3, rel=0.01)


def test_a_perfect_curve_lies_on_the_diagonal() -> None:
    points = [
        {"score": s, "observed": s, "lower": s - 0.1, "upper": s + 0.1, "reference": s, "rows": 9}
        for s in (0.1, 0.5, 0.9)
    ]
    drawn = plots.calibration_curve(points, uid="u")
    diagonal = re.search(
        r'class="diagonal" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', drawn
    )
    assert diagonal is not None
    x1, y1, x2, y2 = map(float, diagonal.groups())
    dots = re.findall(r'class="dot" cx="([\d.]+)" cy="([\d.]+)"', drawn)

    assert len(dots) == 3
    for x, y in ((float(a), float(b)) for a, b in dots):
        assert (y - y1) / (y2 - y1) == pytest.approx((x - x1) / (x2 - x1), abs=0.005)
    assert "in 0 of them" in drawn


def test_a_band_that_is_not_bounded_yet_is_left_out() -> None:
    points = [
        {"ts": f"2026-01-0{day}T00:00:00Z", "difference": 0.1, "lower": low, "upper": high}
        for day, low, high in ((1, None, None), (2, -0.5, 0.5), (3, -0.2, 0.3))
    ]
    drawn = plots.difference_over_time(points, margin=0.01, uid="u")
    band = re.search(r'class="band" points="([^"]*)"', drawn)

    assert band is not None
    assert len(band[1].split()) == 4
    assert plots.difference_over_time(points[:1], margin=None, uid="u") == ""


def test_nothing_to_draw_draws_nothing() -> None:
    bins: dict[str, list[float]] = {"labels": [], "reference": [], "current": []}
    assert plots.histogram({"name": "x", "kind": "numeric", "bins": bins}, uid="u") == ""
    assert plots.calibration_curve([], uid="u") == ""
    assert plots.incident_timeline([], since=None, until=None, uid="u") == ""
    assert plots.interval_bar(None, (None, None), margin=0.1, uid="u", what="x") == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.1234, "0.123"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (3e-7, "3.0e-07"),
    ],
)
def test_numbers_read_well(value: float | None, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0 %"),
        (0.0004, "< 0.1 %"),
        (0.034, "3.4 %"),
        (0.5, "50 %"),
        (0.9999, "> 99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_shares_read_well(value: float, words: str) -> None:
    assert share(value) == words


def test_an_estimate_has_the_digits_its_interval_supports() -> None:
    assert estimate(-0.00967, [-0.061, 0.042], sign=True) == "-0.01 [-0.06, +0.04]"
    assert estimate(0.0382, [0.034, 0.043], as_share=True) == "3.8 % [3.4, 4.3]"
    assert estimate(0.5, [None, 0.7]) == "0.500 [−∞, 0.700]"
    assert estimate(None, [None, None]) == "–"


def test_a_change_that_rounds_to_nothing_has_no_exponent_and_no_minus() -> None:
    terms = [{"name": "harder inputs", "change": -4.39e-05, "ci": [-0.00715, 0.00677]}]
    loss = {"before": 0.605, "after": 1.08, "terms": terms, "columns": []}
    said = loss_change_words({"loss_change": loss})
    assert said == "loss 0.605 → 1.08: harder inputs +0.000 [-0.007, +0.007]"


def test_a_stored_reference_is_told_by_its_role_and_a_file_by_its_name() -> None:
    window = {"rows": 446, "labelled": 446, "since": None, "until": None}
    stored = {"id": "4", "role": "onboarding", "version": 1, "rows": 6259}
    file = {"id": "reference.parquet", "role": "onboarding", "version": 1, "rows": 1}
    assert rows_words({"window": window, "references": [stored, file]}) == (
        "446 rows (446 labelled) against onboarding reference 4 (6,259 rows), "
        "reference.parquet (1 row)"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_clean_text_is_printable_and_short(text: str) -> None:
    shown = clean(text, 100)

    assert shown.isprintable()
    assert len(shown) < 200


def test_dates_are_in_utc() -> None:
    assert plots._day(datetime(2026, 1, 2, 23, 59, tzinfo=UTC).timestamp()) == "2026-01-02"
