"""What the demo prints. Plain sentences and small tables, about a screenful in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alerts.records import RequestStatus
from alerts.runbooks import slug
from detectors.records import DAY_US, Tier
from monitor.demo.calendar import Plan
from monitor.demo.faults import Fault
from monitor.demo.flights import SOURCE, Flights
from monitor.demo.people import ENGINEER, Deed
from monitor.durations import parse_duration

if TYPE_CHECKING:
    from monitor.demo.run import Outcome

STATUS_COLOURS = {"verified": "green", "refuted": "red", "rejected": "dim", "undecided": "dim"}
COLOURS = {"helps": "green", "hurts": "red", "neutral": "cyan"}


@dataclass(frozen=True, slots=True)
class TrainedLine:
    """Log losses of one domain on its reference."""

    domain: str
    rows: int
    base_rate: float
    baseline: float
    transferred: float


def print_opening(console: Console, flights: Mapping[str, Flights], plan: Plan) -> None:
    """What is about to happen."""
    live = sum(len(flights[name].between(*plan.live)) for name in plan.domains)
    console.print("[bold]Kedge demo[/bold]: will a flight from New York arrive late? (2013, CC0)")
    console.print(
        f"source  {SOURCE}; domains {', '.join(plan.domains)}; to stream: {live:,} flights from "
        f"{plan.live[0]:%-d %b}"
    )


def print_networks(console: Console, lines: Sequence[TrainedLine]) -> None:
    """How good each network is before anything goes wrong."""
    table = _table("domain", "rows trained on", "base rate", "from scratch", "transferred")
    for line in lines:
        table.add_row(
            line.domain,
            f"{line.rows:,}",
            *(f"{loss:.3f}" for loss in (line.base_rate, line.baseline, line.transferred)),
        )
    console.print("\n[bold]Networks[/bold]  log loss on the reference, lower is better")
    console.print(table)


def print_references(console: Console, rows: int, plan: Plan) -> None:
    since, last = plan.reference[0], plan.reference[1] - timedelta(days=1)
    console.print(
        f"\nreference {rows:,} rows in SQL, {since:%-d %b} to {last:%-d %b}: 1 source, "
        f"{len(plan.domains)} domains"
    )


def print_ready(console: Console, port: int) -> None:
    console.print(f"daemon    http://127.0.0.1:{port}, SQLite, one process")


def print_fault(console: Console, fault: Fault) -> None:
    _one_line(
        console,
        f"[yellow]fault[/yellow]     {fault.since:%-d %b} {fault.domain}: {escape(fault.words)}",
    )


def print_streamed(
    console: Console, span: tuple[datetime, datetime], events: int, labels: int, seconds: float
) -> None:
    rate = events / max(seconds, 1e-3)
    last = span[1] - timedelta(days=1)
    console.print(
        f"stream    {span[0]:%-d %b} to {last:%-d %b}: {events:,} events ({rate:,.0f}/s), "
        f"{labels:,} labels 2 days late"
    )


def print_deeds(console: Console, at: datetime, deeds: Sequence[Deed]) -> None:
    """What a person decided, in the order in which it was done."""
    for deed in deeds:
        _one_line(
            console,
            f"[magenta]person[/magenta]    {at:%-d %b} {deed.domain}: {escape(deed.words)}",
        )


def print_outcome(
    console: Console, outcome: Outcome, faults: Sequence[Fault], plan: Plan, *, seconds: float
) -> None:
    """What was found, told, asked for and spent."""
    _print_incidents(console, outcome.incidents)
    for fault in faults:
        console.print(answer_to(fault, outcome.incidents))
    _print_told(console, outcome)
    _print_mappings(console, outcome.mappings)
    _print_requests(console, outcome.requests)
    _print_domains(console, outcome, plan)
    console.print("\n[bold]Reports[/bold]  to open in a browser")
    console.print(" ".join(str(path) for path in outcome.reports.values()), soft_wrap=True)
    console.print(f"done in {seconds:.0f} s")


def _print_incidents(console: Console, incidents: Sequence[Mapping[str, Any]]) -> None:
    """Pages one by one; tickets are counted, the reports list them."""
    pages = [incident for incident in incidents if incident["tier"] == Tier.PAGE]
    tickets = Counter(i["mode"] for i in incidents if i["tier"] == Tier.TICKET)
    console.print(f"\n[bold]Incidents[/bold]  {len(pages)} paged")
    for incident in pages:
        closed = incident["closed_at"]
        _one_line(
            console,
            f"{_day(incident['opened_at']):>6} {incident['domain'] or 'several'} "
            f"[bold]{incident['mode']}[/bold] {'until ' + _day(closed) if closed else '(open)'}: "
            f"{escape(_why(incident))}",
        )
        action = incident["action"]["kind"]
        page = f"docs/runbooks/{slug(incident['mode'])}.md"
        _one_line(console, f"       [dim]do[/dim] {escape(action)}; [dim]runbook[/dim] {page}")
    if tickets:
        counted = ", ".join(f"{number} {mode}" for mode, number in tickets.most_common())
        console.print(f"and {tickets.total()} tickets, for working hours: {counted}")


def _day(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%-d %b}"


def _why(incident: Mapping[str, Any]) -> str:
    """The first sentence of evidence, else what is left of the headline."""
    evidence = incident["evidence"]
    return str(evidence[0] if evidence else incident["headline"])


def answer_to(fault: Fault, incidents: Sequence[Mapping[str, Any]]) -> str:
    """One sentence: was a fault that was put in found, when, and under which name?"""
    since = fault.since.isoformat().replace("+00:00", "Z")
    tiers = {Tier.PAGE} if fault.costs else {Tier.PAGE, Tier.TICKET}
    own = [i for i in incidents if i["domain"] == fault.domain and i["tier"] in tiers]
    told = [i for i in own if i["updated_at"] >= since and (i["closed_at"] or since) >= since]
    right = [
        i
        for i in told
        if i["mode"] == fault.expected and (not fault.column or fault.column in i["columns"])
    ]
    what = f"{fault.domain} from {fault.since:%-d %b}"
    if right:
        first = min(_named_at(i, since) for i in right)
        return f"[green]found[/green]     {what}: named {fault.expected.value} on {_day(first)}"
    if told:
        first_of: dict[str, str] = {}
        for incident in sorted(told, key=lambda i: _named_at(i, since)):
            first_of.setdefault(incident["mode"], _day(_named_at(incident, since)))
        names = ", ".join(f"{mode} ({day})" for mode, day in first_of.items())
        return (
            f"[yellow]seen[/yellow]      {what}: paged as {names}; put in was "
            f"{fault.expected.value}"
        )
    return f"[red]missed[/red]    {what}: no page; put in was {fault.expected.value}"


def _named_at(incident: Mapping[str, Any], since: str) -> str:
    """When an incident first paged under its present name, after an instant."""
    touched = [change["at"] for change in incident["history"] if change["at"] >= since]
    turned = [
        change["at"]
        for change in incident["history"]
        if (change["what"] == "renamed" and change["words"].endswith(f"now {incident['mode']}"))
        or (change["what"] == "escalated" and change["words"].endswith("now a page"))
    ]
    return str(max([min(touched, default=incident["updated_at"]), *turned]))


def _print_told(console: Console, outcome: Outcome) -> None:
    receiver = outcome.receiver
    types = ", ".join(f"{number} {name}" for name, number in sorted(receiver.types.items()))
    console.print(
        f"\n[bold]Webhooks[/bold]  {len(receiver.accepted)} received, every signature verified; "
        f"{len(receiver.refused)} refused, {outcome.outbox['dead']} undelivered"
    )
    console.print(types)


def _print_mappings(console: Console, mappings: Sequence[Mapping[str, Any]]) -> None:
    """What Kedge proposed, and what became of it."""
    console.print("\n[bold]Mappings[/bold]  what a domain writes in its own way")
    for mapping in mappings:
        by = f" by {mapping['decided_by']}" if mapping["decided_by"] else ", waits for a person"
        _one_line(
            console,
            f"       {mapping['domain']:<2} {escape(mapping['words'])}: [bold]{mapping['status']}"
            f"[/bold]{escape(by)}; {escape(mapping['evidence'])}",
        )


def _print_requests(console: Console, requests: Sequence[Mapping[str, Any]]) -> None:
    """What was asked for, and whether it worked."""
    console.print(f"\n[bold]Retraining requests[/bold]  {len(requests)}")
    for request in requests:
        action, status = request["action"], request["status"]
        colour = STATUS_COLOURS.get(status, "yellow")
        _one_line(
            console,
            f"{_day(request['requested_at']):>6} {request['domain']:<2} "
            f"{escape(action['kind'])}: [{colour}]{status}[/{colour}]{escape(_ended(request))}",
        )


def _ended(request: Mapping[str, Any]) -> str:
    """What is known about the result, else what would prove it."""
    if request["outcome"]:
        return f" on {_day(request['judged_at'])}, {request['outcome']}"
    if request["status"] == RequestStatus.REJECTED:
        return f" by {request['decided_by'] or ENGINEER}"
    return f"; proof: {request['action']['falsified_by'].partition(';')[0]}"


def _print_domains(console: Console, outcome: Outcome, plan: Plan) -> None:
    console.print("\n[bold]Domains[/bold]  does the transferred network beat the one from scratch?")
    days = (plan.live[1] - plan.live[0]) / timedelta(days=1)
    for line in outcome.domains:
        domain, transfer = line["domain"], line["transfer"]
        budget = outcome.budgets[domain]
        periods = days / (parse_duration(budget["period"], what="period") / DAY_US)
        colour = COLOURS.get(transfer["state"], "yellow")
        promise = "promised" if budget["guaranteed"] else f"not promised: {budget['why_not']}"
        words = transfer["words"].partition(" (interval")[0]
        _one_line(console, f"{domain}  [{colour}]{escape(words)}[/{colour}]")
        allowed = f"{budget['allowed'] * periods:.0f} ({budget['allowed']:g} / {budget['period']})"
        console.print(
            f"    budget: {budget['spent_since_start']} of {allowed} pages spent, {escape(promise)}"
        )


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, header_style="dim", no_wrap=True)
    return table


def _one_line(console: Console, text: str) -> None:
    """What does not fit the terminal ends in an ellipsis; a file gets all of it."""
    fits = console.is_terminal
    console.print(text, no_wrap=True, overflow="ellipsis" if fits else "ignore", crop=fits)
