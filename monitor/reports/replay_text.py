"""A replay for the terminal: the story of each domain, then the numbers."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerts.records import Incident
from detectors.records import HOUR_US, Tier, TransferState, to_us
from detectors.transfer.ladder import recovery_ladder
from detectors.transfer.standing import facts_words
from monitor.durations import budget_words
from monitor.replaying.replay import (
    DomainReplay,
    FleetReplay,
    Replay,
    budget_json,
    headline_of,
    replay_gate,
)
from monitor.reports.view import followed_line
from monitor.watching.day_words import day_sentences
from monitor.watching.forecast_watch import followed_slices
from monitor.watching.found_slices import SOME_EVIDENCE
from monitor.watching.standing import followed_streams, streams_summary

STYLE = {
    TransferState.HELPS: "green",
    TransferState.NEUTRAL: "cyan",
    TransferState.HURTS: "bold red",
    TransferState.UNDETERMINED: "yellow",
    TransferState.NOT_MONITORED: "dim",
}


def print_replay(result: Replay, console: Console) -> None:
    """Print everything; file content is shown as text and never read as markup."""
    for domain in result.domains:
        _domain(domain, console)
    if result.fleet is not None:
        _fleet(result.model, result.fleet, console)
    _versions(result, console)
    console.print(Text(f"Budget: {budget_words(result.settings.budget)} per deployment"))
    console.print(_budget_table(result))
    _reasons(result, console)


def _versions(result: Replay, console: Console) -> None:
    """What each version did to its anchors and to the probe; what is missing where none is told."""
    known = result.versions
    for what, changes in (("anchors", known.anchors), ("probe", known.probe)):
        for one in changes:
            state = f"{one.before} → {one.now}  {one.state.value}"
            console.print(Text(f"Versions, {what}: {state}  {one.words}"))
    if known.words and not (known.anchors or known.probe):
        console.print(Text(f"Versions: {known.words}", style="dim"))


def _budget_table(result: Replay) -> Table:
    """One line a domain, narrow enough for 80 columns; reasons stand below as numbered notes."""
    reasons = _numbered(result)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("domain", max_width=20, overflow="ellipsis", no_wrap=True)
    for name in ("days", "pages", "tickets", "spent", "per period"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("tick", no_wrap=True)
    table.add_column("promised", no_wrap=True)
    for domain in result.domains:
        budget = budget_json(domain, result.settings)
        ticks = dict.fromkeys(
            (budget["tick"], *([budget["label_tick"]] if domain.watch.label_specs else []))
        )
        realised = budget["realised"]
        why = budget["why_not"]
        table.add_row(
            Text(domain.deployment.domain),
            "–" if result.settings.tick_rows else f"{domain.days:.0f}",
            str(sum(i.tier is Tier.PAGE for i in domain.incidents)),
            str(sum(i.tier is Tier.TICKET for i in domain.incidents)),
            str(budget["spent"]),
            "–" if realised is None else f"{realised:.2f}",
            "/".join(ticks),
            "yes" if why is None else f"no [{reasons[why]}]",
        )
    return table


def _numbered(result: Replay) -> dict[str, int]:
    """Why the budget is not promised, each reason once, numbered as first met."""
    numbers: dict[str, int] = {}
    for domain in result.domains:
        if domain.why_not:
            numbers.setdefault(domain.why_not, len(numbers) + 1)
    return numbers


def _reasons(result: Replay, console: Console) -> None:
    for why, number in _numbered(result).items():
        console.print(Text(f"[{number}] not promised: {why}", style="dim"))


def _domain(domain: DomainReplay, console: Console) -> None:
    verdict = domain.verdict
    title = Text(str(domain.deployment), style="bold")
    title.append(f"  transfer {verdict.state.value}", style=STYLE[verdict.state])
    console.print(title)
    console.print(Text(f"  {verdict.words}"))
    gate = replay_gate(domain)
    if verdict.state is not TransferState.NOT_MONITORED:
        reason = gate.reasons[0]
        why = "" if verdict.words in reason else f": {reason}"
        console.print(Text(f"  {gate.state.value}{why}"))
        if domain.facts is not None and "baseline" not in verdict.words:
            console.print(Text(f"  {facts_words(domain.facts, domain.until_us)}", style="dim"))
        if domain.erosion is not None and domain.erosion.eroded:
            console.print(Text(f"  {domain.erosion.words}", style="yellow"))
        ladder = recovery_ladder(domain.rows.window, task=domain.watch.schema.task)
        if ladder is not None and ladder.cheapest:
            console.print(Text(f"  {ladder.words}", style="yellow"))
        console.print(Text(f"  note: {verdict.caveat}", style="dim"))
    for _, part in verdict.slices:
        if part.state in {TransferState.HURTS, TransferState.HELPS}:
            console.print(Text(f"  {part.words}", style=STYLE[part.state]))
    by_day = budget_json(domain, domain.watch.settings)["by_day"]
    for words in day_sentences(by_day):
        console.print(Text(f"  {words}", style="dim"))
    for one in followed_slices(domain.watch, domain.progress.forecast_watch):
        if one["evidence"] >= SOME_EVIDENCE:
            console.print(
                Text(f"  found slice {followed_line(one)}", style="yellow"), soft_wrap=True
            )
    followed = streams_summary(followed_streams(domain.progress))["words"]
    if followed:
        console.print(Text(f"  {followed}", style="dim"))
    if not domain.incidents:
        console.print(Text("  no incidents", style="dim"))
    for incident in sorted(domain.incidents, key=lambda i: i.opened_at):
        _incident(incident, domain, console)
    console.print()


def _fleet(model: str, fleet: FleetReplay, console: Console) -> None:
    console.print(Text(f"{model}, all domains", style="bold"))
    console.print(Text(f"  {fleet.words}", style="dim"))
    if not fleet.incidents:
        console.print(Text("  no incidents", style="dim"))
    for incident in sorted(fleet.incidents, key=lambda i: i.opened_at):
        line = Text("  ")
        line.append(f"{incident.opened_at:%Y-%m-%d %H:%M}  ", style="dim")
        line.append("ticket ", style="yellow")
        line.append(incident.headline.removeprefix(f"{model}: "))
        console.print(line)
    console.print()


def _incident(incident: Incident, domain: DomainReplay, console: Console) -> None:
    paging = incident.tier is Tier.PAGE
    line = Text("  ")
    line.append(f"{_when(incident, domain)}  ", style="dim")
    line.append("PAGE  " if paging else "ticket ", style="bold red" if paging else "yellow")
    line.append(headline_of(incident, domain).removeprefix(f"{domain.deployment}: "))
    console.print(line)
    said = f"{incident.alarms} alarm{'' if incident.alarms == 1 else 's'}"
    if incident.closed_at is None:
        said += ", still open"
    elif domain.watch.settings.tick_rows is None:
        said += f", resolved {incident.closed_at:%Y-%m-%d}"
    else:
        said += ", resolved"
    console.print(Text(f"         {said}", style="dim"))
    if paging:
        for sentence in incident.evidence[:3]:
            console.print(Text(f"         · {sentence}", style="dim"))
        action = incident.action
        console.print(Text(f"         → {action.kind} ({action.scope}, {action.cadence})"))
        console.print(Text(f"         test: {action.falsified_by}", style="dim"))


def _when(incident: Incident, domain: DomainReplay) -> str:
    by_rows = domain.watch.settings.tick_rows
    if by_rows is None:
        return f"{incident.opened_at:%Y-%m-%d %H:%M}"
    return f"row {(to_us(incident.opened_at) - domain.since_us) // HOUR_US * by_rows:,}"
