"""What became of injected changes, for the terminal: a line of alarms, then the answer."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from detectors.records import Finding, Tier, to_datetime
from monitor.durations import budget_words
from monitor.replaying.injected_replay import InjectedReplay, Outcome
from monitor.replaying.replay import DomainReplay
from monitor.reports.numbers import clean, count

WIDTH = 60
HEIGHTS = " ▁▂▃▄▅▆▇█"


def print_outcomes(result: InjectedReplay, console: Console) -> None:
    """Print a sparkline for each domain that was touched and a paragraph for each injection."""
    by_rows = result.changed.settings.tick_rows is not None
    clean_runs = {d.deployment.domain: d for d in result.clean.domains}
    for domain in result.changed.domains:
        name = domain.deployment.domain
        own = [outcome for outcome in result.outcomes if outcome.domain == name]
        if not own:
            continue
        console.print(Text(f"{domain.deployment}", style="bold"))
        console.print(Text(f"  as it was  {sparkline(clean_runs[name])}", style="dim"))
        console.print(Text(f"  injected   {sparkline(domain)}"))
        console.print(Text(f"             {marks(domain, own)}", style="red"))
        first = own[0]
        console.print(
            Text(
                f"  as it was: {count(first.false_pages, 'page')} and "
                f"{count(first.false_tickets, 'ticket')}"
                + ("" if by_rows else f" in {first.days:.0f} days")
                + f"; the budget is {budget_words(result.changed.settings.budget)}"
            )
        )
        for outcome in own:
            _outcome(outcome, console, by_rows=by_rows)
        console.print()


def sparkline(domain: DomainReplay, width: int = WIDTH) -> str:
    """Alarms over the log, one character a span; the highest is the most alarms in a span."""
    counts = [0] * width
    for finding in domain.findings:
        if finding.tier is not Tier.LOG:
            counts[_place(domain, finding.ts.timestamp() * 1e6, width)] += 1
    most = max(counts)
    if not most:
        return "·" * width
    return "".join(
        "·" if not n else HEIGHTS[max(1, round(n / most * (len(HEIGHTS) - 1)))] for n in counts
    )


def marks(domain: DomainReplay, outcomes: list[Outcome], width: int = WIDTH) -> str:
    """A ▲ under the span in which each change began."""
    line = [" "] * width
    for outcome in outcomes:
        line[_place(domain, outcome.since_us, width)] = "▲"
    return "".join(line).rstrip()


def _place(domain: DomainReplay, instant_us: float, width: int) -> int:
    along = (instant_us - domain.since_us) / max(domain.until_us - domain.since_us, 1)
    return min(max(int(along * width), 0), width - 1)


def _outcome(outcome: Outcome, console: Console, *, by_rows: bool) -> None:
    injection, domain = outcome.placed.injection, outcome.domain
    since = (
        f"row {outcome.placed.first_row[domain]:,}"
        if by_rows
        else f"{to_datetime(outcome.since_us):%Y-%m-%d %H:%M}"
    )
    rows = count(outcome.placed.rows[domain], "row")
    console.print(Text(f"  ▲ {clean(injection.spec, 120)} from {since}, {rows}", style="bold"))
    if outcome.first is None:
        console.print(Text("    not seen by the end of the log", style="yellow"))
        return
    console.print(Text(f"    seen {_alarm(outcome, outcome.first, by_rows=by_rows)}"))
    page = outcome.first_page
    if page is None:
        console.print(Text("    nobody was paged", style="dim"))
    elif page != outcome.first:
        console.print(Text(f"    paged {_alarm(outcome, page, by_rows=by_rows)}"))
    incident = outcome.incident
    if incident is not None:
        confidence = f" ({incident.confidence:.0%})" if incident.confidence else ""
        to_do = "" if incident.action.kind == "none" else f"; to do: {incident.action.kind}"
        console.print(Text(f"    named {incident.mode.value}{confidence}{to_do}"))


def _alarm(outcome: Outcome, finding: Finding, *, by_rows: bool) -> str:
    delay = outcome.delay_hours(finding)
    assert delay is not None
    after = f"{delay:.0f} ticks" if by_rows else delay_words(delay)
    return f"after {after} by {finding.stream} ({finding.tier.value}): {clean(finding.detail, 120)}"


def delay_words(hours: float) -> str:
    """Hours below two days, days above."""
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.1f} d"
