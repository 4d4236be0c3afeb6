"""`kedge channels`: how they fare, a test message, dead letters, and sending those again."""

from __future__ import annotations

import click

from monitor.cli.service import Service, segment, service_option
from monitor.cli.tables import moment, print_json, print_table

_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group()
def channels() -> None:
    """Look at channels, test them, send dead letters again."""


@channels.command("list")
@_output
@service_option
def list_channels(output: str, service: Service) -> None:
    """List channels: what waits, what was given up, what is held or disabled."""
    found = service.get("/v1/channels")
    if output == "json":
        print_json(found)
        return
    print_table(
        ("channel", "kind", "tiers", "waiting", "dead", "last delivered", "state"),
        [
            (
                line["name"],
                line["kind"] or "not configured",
                ", ".join(line["tiers"]),
                line["waiting"],
                line["dead"],
                moment(line["last_delivered_at"]),
                _state(line),
            )
            for line in found["channels"]
        ],
        empty="no channels; name one in kedge.toml",
    )


def _state(line: dict[str, object]) -> str:
    if line["disabled_at"]:
        return f"disabled since {moment(str(line['disabled_at']))}: {line['disabled_words']}"
    if line["held_until"] and line["failures"]:
        return f"held after {line['failures']} failures, until {line['held_until']}"
    return "ok"


@channels.command()
@click.argument("channel")
@service_option
def test(channel: str, service: Service) -> int:
    """Send a test message through a channel of the running daemon; exit 1 if it fails."""
    done = service.post(f"/v1/channels/{segment(channel)}/test", {})
    mark = "delivered" if done["delivered"] else "FAILED"
    click.echo(f"{done['channel']}: {mark}, {done['words']} ({done['duration_ms']} ms)")
    return 0 if done["delivered"] else 1


@channels.command()
@click.argument("channel")
@service_option
def enable(channel: str, service: Service) -> None:
    """Call a channel again that was disabled; replay what it has missed."""
    done = service.post(f"/v1/channels/{segment(channel)}/enable", {})
    click.echo(f"{channel}: {'enabled' if done['enabled'] else 'nothing kept it'}")


@channels.command()
@_output
@service_option
def dead(output: str, service: Service) -> None:
    """List messages that were given up, newest first."""
    found = service.get("/v1/outbox")
    letters = found["dead_letters"]
    if output == "json":
        print_json({"dead": found["dead"], "dead_letters": letters})
        return
    print_table(
        ("message", "channel", "type", "deployment", "given up", "attempts", "why"),
        [
            (
                line["id"],
                line["channel"],
                line["type"],
                f"{line['model']}/{line['domain']}",
                moment(line["dead_at"]),
                line["attempts"],
                line["last_error"],
            )
            for line in letters
        ],
        empty="no dead letters",
    )
    if found["dead"] > len(letters):
        click.echo(f"and {found['dead'] - len(letters)} more", err=True)


@channels.command()
@click.argument("what", metavar="CHANNEL|MESSAGE")
@service_option
def replay(what: str, service: Service) -> None:
    """Send dead letters again under their old ids: all of a channel, or one message (msg_…)."""
    path = f"outbox/{segment(what)}" if what.startswith("msg_") else f"channels/{segment(what)}"
    done = service.post(f"/v1/{path}/replay", {})
    click.echo(f"{what}: {done['replayed']} deliveries on their way again")
