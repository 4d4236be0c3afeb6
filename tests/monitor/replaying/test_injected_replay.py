"""`kedge replay --inject`: two runs that differ in the change alone, and what is said of it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rich.console import Console

from detectors.records import DAY_US, HOUR_US, Finding, Settings, Tier, to_us
from monitor.cli.replay import replay as replay_command
from monitor.replaying.injected_replay import (
    InjectedReplay,
    injected_json,
    injected_replay,
    outcomes_of,
)
from monitor.replaying.injection import parse_injection
from monitor.replaying.replay import Replay, replay, to_json
from monitor.reports.injected_text import HEIGHTS, marks, print_outcomes, sparkline
from monitor.reports.timeline import render_timeline
from tests.end_to_end.histories import START_US, as_table, history

REFERENCE = as_table(history(days=30, rows_a_day=80, seed=1))
LOG = as_table(history(days=16, rows_a_day=80, seed=2, first_day=30), like=REFERENCE)
SETTINGS = Settings(tick_us=DAY_US // 4, label_delay_us=DAY_US)
CHANGE = "spend:unit:100@+8d@north"
LATE = "plan:unseen:0.5@+12d@south"
STRUCK_US = START_US + 38 * DAY_US


@pytest.fixture(scope="module")
def result() -> InjectedReplay:
    return injected_replay(
        REFERENCE, LOG, SETTINGS, [parse_injection(spec) for spec in (CHANGE, LATE)], model="m"
    )


def to_six_digits(told: Any) -> Any:
    """A sum over the same rows may differ in its last bits, by where they lie in memory."""
    if isinstance(told, float):
        return pytest.approx(told, rel=1e-6, abs=1e-9)
    if isinstance(told, dict):
        return {key: to_six_digits(value) for key, value in told.items()}
    return [to_six_digits(value) for value in told] if isinstance(told, list) else told


def test_the_run_as_it_was_is_a_plain_replay(result: InjectedReplay) -> None:
    plain = replay(REFERENCE, LOG, SETTINGS, model="m")
    told = json.loads(json.dumps(to_json(result.clean)))
    assert told == to_six_digits(json.loads(json.dumps(to_json(plain))))


def test_a_unit_error_is_seen_at_the_next_tick_and_named(result: InjectedReplay) -> None:
    (outcome,) = [o for o in result.outcomes if o.placed.injection.spec == CHANGE]
    first = outcome.first
    assert first is not None
    assert first.column == "spend"
    begin_us = int(LOG.window.ts_us.min()) + 8 * DAY_US  # type: ignore[union-attr]
    assert outcome.since_us == begin_us
    # By hand: the end of the tick in which it began, or of the one after.
    assert 0 < to_us(first.ts) - begin_us <= 2 * DAY_US // 4
    shown = injected_json(result)["injections"][0]
    assert shown["first"]["delay_hours"] == pytest.approx(
        (to_us(first.ts) - begin_us) / HOUR_US, abs=1e-3
    )
    assert shown["incident"]["mode"] == "schema mismatch"
    assert (shown["domain"], shown["rows"] > 500, shown["detected"]) == ("north", True, True)


def test_an_alarm_of_the_history_as_it_was_is_false_and_never_caused(
    result: InjectedReplay,
) -> None:
    for outcome in result.outcomes:
        clean = next(d for d in result.clean.domains if d.deployment.domain == outcome.domain)
        usual = {(f.stream, f.ts) for f in clean.findings}
        assert not usual & {(f.stream, f.ts) for f in outcome.caused}
        assert outcome.false_pages == sum(i.tier is Tier.PAGE for i in clean.incidents)


def test_an_alarm_that_the_history_has_anyway_is_not_the_changes_though_it_comes_after(
    result: InjectedReplay,
) -> None:
    (outcome,) = [o for o in result.outcomes if o.placed.injection.spec == CHANGE]
    assert outcome.first is not None
    usual = replace(outcome.first, stream="column.other:spend")

    def with_usual(run: Replay) -> Replay:
        north = [
            replace(d, findings=(*d.findings, usual)) if d.deployment.domain == "north" else d
            for d in run.domains
        ]
        return replace(run, domains=tuple(north))

    def caused(clean: Replay) -> tuple[Finding, ...]:
        found = outcomes_of(clean, with_usual(result.changed))
        return next(o.caused for o in found if o.placed.injection.spec == CHANGE)

    assert usual in caused(result.clean)
    assert usual not in caused(with_usual(result.clean))
    assert caused(with_usual(result.clean)) == outcome.caused


def test_each_change_is_told_of_its_own_domain(result: InjectedReplay) -> None:
    told = {o.placed.injection.spec: (o.domain, o.first) for o in result.outcomes}
    assert told[CHANGE][0] == "north"
    assert told[LATE][0] == "south"
    late = told[LATE][1]
    assert late is not None
    assert late.column == "plan"


def test_two_changes_of_one_domain_keep_their_own_alarms() -> None:
    specs = ["age:shift:2@+4d@north", "plan:unseen:0.5@+10d@north"]
    found = injected_replay(
        REFERENCE, LOG, SETTINGS, [parse_injection(spec) for spec in specs], model="m"
    )
    first, second = found.outcomes
    assert first.first is not None
    assert second.first is not None
    assert (first.first.column, second.first.column) == ("age", "plan")
    assert "plan" not in {f.column for f in first.caused}
    assert "age" not in {f.column for f in second.caused}


def test_the_terminal_shows_alarms_the_change_and_the_answer(result: InjectedReplay) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    print_outcomes(result, console)
    said = " ".join(console.export_text().split())
    assert "as it was: 0 pages" in said
    assert "named schema mismatch" in said
    assert CHANGE in said
    north = next(d for d in result.changed.domains if d.deployment.domain == "north")
    own = [o for o in result.outcomes if o.domain == "north"]
    bars = sparkline(north, 40)
    place = marks(north, own, 40).index("▲")
    assert place == 20
    assert set(bars[: place - 1]) == {"·"}
    assert set(bars[place:]) & set(HEIGHTS[1:])


class Page(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_the_timeline_opens_alone_and_shows_every_domain(result: InjectedReplay) -> None:
    html = render_timeline(result)
    page = Page()
    page.feed(html)
    assert page.tags.count("svg") == 2
    assert "script" not in page.tags
    assert page.loads == []
    assert "as it was: pages" in html
    assert CHANGE in html
    assert "http" not in html.replace("http-equiv", "")


def test_a_domain_called_like_markup_stays_text(result: InjectedReplay) -> None:
    from detectors.records import Deployment

    nasty = replace(result.clean.domains[0], deployment=Deployment("m", "<script>x</script>"))
    html = render_timeline(replace(result.clean, domains=(nasty,)))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_command_writes_json_with_injections_and_a_page(tmp_path: Path) -> None:
    pq.write_table(history(days=20, rows_a_day=40, seed=1), tmp_path / "ref.parquet")
    pq.write_table(history(days=6, rows_a_day=40, seed=2, first_day=20), tmp_path / "log.parquet")
    files = ["--reference", str(tmp_path / "ref.parquet"), "--log", str(tmp_path / "log.parquet")]
    more = ["--tick", "1d", "-o", "json", "--out", str(tmp_path / "t.html")]
    ran = CliRunner().invoke(
        replay_command, [*files, *more, "--inject", "spend:drop@+3d"], catch_exceptions=False
    )
    assert ran.exit_code == 0
    shown = json.loads(ran.stdout)
    assert shown["schema"] == "kedge.replay/1"
    assert {one["domain"] for one in shown["injections"]} == {"north", "south"}
    for one in shown["injections"]:
        assert one["detected"]
        assert "spend" in one["first"]["stream"]
        assert one["first_page"]["delay_hours"] <= 48
    assert "<svg" in (tmp_path / "t.html").read_text()


def test_ticks_of_rows_count_delays_in_ticks() -> None:
    settings = Settings(tick_rows=100)
    found = injected_replay(
        REFERENCE, LOG, settings, [parse_injection("age:shift:3@row1280")], model="m"
    )
    for one in injected_json(found)["injections"]:
        assert one["at"] is None
        assert one["first"]["delay_hours"] is None
        assert 0 < one["first"]["delay_ticks"] <= 3
