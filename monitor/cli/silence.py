"""`kedge silence`: what not to be told of, until when and why."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli.incidents import by_option, output_option
from monitor.cli.service import Service, segment, service_option
from monitor.cli.tables import moment, print_json, print_table


@click.group()
def silence() -> None:
    """Hide messages for a while. Incidents, evidence and reports go on as without it."""


@silence.command()
@click.option("--model", "models", multiple=True, metavar="PATTERN")
@click.option("--domain", "domains", multiple=True, metavar="PATTERN")
@click.option("--mode", "modes", multiple=True, metavar="MODE", help="As in 'concept shift'.")
@click.option("--severity", "severities", multiple=True, metavar="SEVERITY")
@click.option("--tier", "tiers", multiple=True, type=click.Choice(["page", "ticket"]))
@click.option("--column", "columns", multiple=True, metavar="PATTERN")
@click.option("--incident", "incidents", multiple=True, metavar="ID")
@click.option("--for", "lasts", metavar="DURATION", help="How long: 2h, 3d.")
@click.option("--until", metavar="TIME", help="Instead: RFC 3339, as in 2026-01-31T07:00:00Z.")
@click.option("--reason", required=True, help="Why; whoever finds it needs to know.")
@by_option
@output_option
@service_option
def add(
    lasts: str | None,
    until: str | None,
    reason: str,
    by: str,
    output: str,
    service: Service,
    **matches: tuple[str, ...],
) -> None:
    """Hide what fits every option given; one given several times fits either way."""
    body: dict[str, Any] = {"by": by, "reason": reason, "for": lasts, "until": until}
    body |= {name: list(values) for name, values in matches.items() if values}
    done = service.post("/v1/silences", body)
    if output == "json":
        print_json(done)
        return
    hushed = f"; {done['hushed']} waiting messages taken back" if done["hushed"] else ""
    click.echo(f"{done['id']}: {done['words']} until {moment(done['until'])}{hushed}")


@silence.command("list")
@click.option("--all", "all_", is_flag=True, help="Also those that are over.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@output_option
@service_option
def list_(all_: bool, limit: int, output: str, service: Service) -> None:
    """List silences, the one that ends last first."""
    found = service.get("/v1/silences", all=str(all_).lower(), limit=limit)
    if output == "json":
        print_json(found)
        return
    print_table(
        ("silence", "until", "by", "hides", "reason"),
        [(s["id"], _ends(s), s["author"], s["words"], s["reason"]) for s in found["silences"]],
        empty="no silences",
    )


def _ends(found: dict[str, Any]) -> str:
    if found["expired_at"]:
        return f"ended {moment(found['expired_at'])} by {found['expired_by']}"
    return moment(found["until"]) if found["active"] else f"over {moment(found['ends_at'])}"


@silence.command()
@click.argument("silence_id", metavar="SILENCE")
@by_option
@service_option
def expire(silence_id: str, by: str, service: Service) -> None:
    """End a silence now; what is still open is told once."""
    done = service.post(f"/v1/silences/{segment(silence_id)}/expire", {"by": by})
    click.echo(f"{done['id']}: {_ends(done)}")
