"""A replay for the terminal: the story of each domain, then the numbers."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from detectors.records import Tier, TransferState
from monitor.durations import budget_words
from monitor.replay import DomainReplay, Replay, budget_json

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
    table = Table(
        title=f"Budget: {budget_words(result.settings.budget)} per deployment", expand=True
    )
    table.add_column("domain", no_wrap=True)
    table.add_column("days", justify="right")
    table.add_column("pages", justify="right")
    table.add_column("tickets", justify="right")
    table.add_column("spent", justify="right")
    table.add_column("tick")
    table.add_column("promised?", ratio=1)
    for domain in result.domains:
        budget = budget_json(domain, result.settings)
        table.add_row(
            Text(domain.deployment.domain),
            "–" if result.settings.tick_rows else f"{domain.days:.0f}",
            str(sum(i.tier is Tier.PAGE for i in domain.incidents)),
            str(sum(i.tier is Tier.TICKET for i in domain.incidents)),
            f"{budget['spent']} incident{'s' if budget['spent'] != 1 else ''}",
            f"{budget['tick']}, labels {budget['label_tick']}",
            Text("yes" if budget["guaranteed"] else f"no: {budget['why_not']}"),
        )
    console.print(table)


def _domain(domain: DomainReplay, console: Console) -> None:
    verdict = domain.verdict
    title = Text(str(domain.deployment), style="bold")
    title.append(f"  transfer {verdict.state.value}", style=STYLE[verdict.state])
    console.print(title)
    console.print(Text(f"  {verdict.words}"))
    for name, part in verdict.slices:
        if part.state in {TransferState.HURTS, TransferState.HELPS}:
            console.print(Text(f"  {name}: {part.words}", style=STYLE[part.state]))
    if not domain.incidents:
        console.print(Text("  no incidents", style="dim"))
    by_rows = domain.watch.settings.tick_rows
    for incident in sorted(domain.incidents, key=lambda i: i.opened_at):
        paging = incident.tier is Tier.PAGE
        line = Text("  ")
        if not by_rows:
            line.append(f"{incident.opened_at:%Y-%m-%d %H:%M}  ", style="dim")
        line.append("PAGE  " if paging else "ticket ", style="bold red" if paging else "yellow")
        line.append(incident.headline)
        console.print(line)
        closed = "" if incident.closed_at is None else f", resolved {incident.closed_at:%Y-%m-%d}"
        console.print(
            Text(
                f"         {incident.alarms} alarm{'' if incident.alarms == 1 else 's'}"
                f"{'' if by_rows else closed}",
                style="dim",
            )
        )
        if paging:
            for sentence in incident.evidence[:3]:
                console.print(Text(f"         · {sentence}", style="dim"))
            console.print(
                Text(
                    f"         → {incident.action.kind} ({incident.action.scope}, "
                    f"{incident.action.cadence}); {incident.action.falsified_by}"
                )
            )
    console.print()
