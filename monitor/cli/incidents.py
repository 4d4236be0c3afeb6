"""On-call work from a terminal: list, describe, acknowledge, resolve, decide on retraining."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any, TypeVar

import click

from monitor.cli.service import Service, segment, service_option
from monitor.cli.tables import moment, print_facts, print_json, print_table

F = TypeVar("F", bound=Callable[..., Any])

VERDICTS = {"true": "correct", "false": "false alarm", "other": "other cause"}

output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


def _by_options(command: F) -> F:
    """Add --by (the user of this machine by default) and --note."""
    wrapped: Any = click.option("--note", default="", help="What to remember about it.")(command)
    result: F = click.option("--by", default=_user, help="Who does this.  [default: your login]")(
        wrapped
    )
    return result


def by_option(command: F) -> F:
    """Add --by, the user of this machine by default."""
    wrapped: F = click.option("--by", default=_user, help="Who does this.  [default: your login]")(
        command
    )
    return wrapped


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@click.command()
@click.argument(
    "what", type=click.Choice(["incidents", "models", "domains", "requests", "references"])
)
@click.option("--model", metavar="M")
@click.option("--domain", metavar="D")
@click.option("--state", metavar="STATE", help="Incidents: open, acknowledged, resolved.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@output_option
@service_option
def get(
    what: str,
    model: str | None,
    domain: str | None,
    state: str | None,
    limit: int,
    output: str,
    service: Service,
) -> None:
    """List incidents, models, domains, retraining requests or references."""
    match what:
        case "incidents":
            found = service.get(
                "/v1/incidents", model=model, domain=domain, state=state, limit=limit
            )
        case "models":
            found = service.get("/v1/models")
        case "domains":
            found = {"domains": _domains(service, model)}
        case "requests":
            found = service.get(
                "/v1/retraining-requests", model=model, domain=domain, status=state, limit=limit
            )
        case _:
            found = service.get("/v1/references", model=model, domain=domain)
    if output == "json":
        print_json(found)
    else:
        _LISTS[what](found[what])


def _domains(service: Service, model: str | None) -> list[dict[str, Any]]:
    """The domains of a model, or of all."""
    models = (
        [model]
        if model is not None
        else [line["name"] for line in service.get("/v1/models")["models"]]
    )
    lines: list[dict[str, Any]] = []
    for name in models:
        lines += service.get(f"/v1/models/{segment(name)}/domains")["domains"]
    return lines


def _print_incidents(incidents: list[dict[str, Any]]) -> None:
    print_table(
        ("incident", "opened", "state", "severity", "what happened"),
        [
            (i["id"], moment(i["opened_at"]), i["state"], i["severity"], i["headline"])
            for i in incidents
        ],
        empty="no incidents",
    )


def _print_models(models: list[dict[str, Any]]) -> None:
    print_table(
        ("model", "task", "domains", "rows", "latest event"),
        [
            (m["name"], m["task"], m["domains"], m["rows"], moment(m["latest_event"]))
            for m in models
        ],
        empty="no models; name one in kedge.toml",
    )


def _print_domains(domains: list[dict[str, Any]]) -> None:
    print_table(
        (
            "deployment",
            "state",
            "transfer",
            "open",
            "arrivals",
            "promise",
            "rows",
            "evaluated until",
        ),
        [
            (
                f"{d['model']}/{d['domain']}",
                d["state"],
                d["transfer"]["state"],
                d["open_incidents"]["page"] + d["open_incidents"]["ticket"],
                ", ".join(d["arrivals"]) or "as usual",
                _promise(d),
                d["rows"],
                moment(d["evaluated_until"]),
            )
            for d in domains
        ],
        empty="no domains yet; they appear with their first event",
    )


def _promise(domain: dict[str, Any]) -> str:
    """Whether the budget is kept; old enough is not enough where the series will not have it."""
    kept = domain["guaranteed"] or domain["maturity"] != "guaranteed"
    return str(domain["maturity"]) if kept else "not available"


def _print_requests(requests: list[dict[str, Any]]) -> None:
    print_table(
        ("request", "deployment", "asked", "status", "action"),
        [
            (
                r["id"],
                f"{r['model']}/{r['domain']}",
                moment(r["requested_at"]),
                r["status"],
                f"{r['action']['kind']} ({r['action']['scope']})",
            )
            for r in requests
        ],
        empty="no retraining requests",
    )


def _print_references(references: list[dict[str, Any]]) -> None:
    print_table(
        ("id", "model", "domain", "role", "version", "status", "rows"),
        [
            (
                r["id"],
                r["model"],
                r["domain"] or "(every)",
                r["role"],
                r["version"],
                r["status"],
                r["rows"],
            )
            for r in references
        ],
        empty="no references; add one with `kedge reference add`",
    )


_LISTS: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "incidents": _print_incidents,
    "models": _print_models,
    "domains": _print_domains,
    "requests": _print_requests,
    "references": _print_references,
}


@click.command()
@click.argument("what", type=click.Choice(["incident", "request", "domain"]))
@click.argument("id_", metavar="ID")
@output_option
@service_option
def describe(what: str, id_: str, output: str, service: Service) -> None:
    """Show one incident or request with its history, or the streams of a domain (MODEL/DOMAIN)."""
    if what == "domain":
        _describe_domain(id_, output, service)
        return
    path = "incidents" if what == "incident" else "retraining-requests"
    found = service.get(f"/v1/{path}/{segment(id_)}")
    if output == "json":
        print_json(found)
        return
    (_print_incident if what == "incident" else _print_request)(found)
    click.echo()
    kind = "what" if what == "incident" else "status"
    print_table(
        ("at", "what", "by", "words"),
        [
            (moment(line["at"]), line[kind], line["by"] or "Kedge", line["words"])
            for line in found["history"]
        ],
        empty="no history",
    )
    if what == "incident":
        click.echo()
        _print_told(service.get(f"/v1/{path}/{segment(id_)}/deliveries")["deliveries"])
        _print_around(service.get(f"/v1/{path}/{segment(id_)}/history")["history"], found)


def _describe_domain(place: str, output: str, service: Service) -> None:
    """How each stream of MODEL/DOMAIN is followed."""
    model, slash, domain = place.partition("/")
    if not slash or not domain:
        msg = f"'{place}' names no domain; write MODEL/DOMAIN, such as delays/DL"
        raise click.UsageError(msg)
    found = service.get(f"/v1/models/{segment(model)}/domains/{segment(domain)}/streams")
    if output == "json":
        print_json(found)
        return
    if found["words"]:
        click.echo(f"{model}/{domain}: {found['words']}")
        click.echo()
    print_table(
        ("stream", "tier", "tick", "followed", "promise", "evidence", "why"),
        [
            (
                f"{line['stream']} *" if line["stands_out"] else line["stream"],
                line["tier"],
                line["tick"],
                line["followed"],
                line["promise"]
                if line["since"] is None
                else f"{line['promise']}, since {moment(line['since'])}",
                "–" if line["evidence"] is None else f"{line['evidence']:.2g}",
                line["why"],
            )
            for line in found["streams"]
        ],
        empty="no streams yet; they are followed from the first check on",
    )


def _print_told(lines: list[dict[str, Any]]) -> None:
    print_table(
        ("told at", "channel", "message", "outcome", "words"),
        [
            (
                moment(line["at"]),
                line["channel"],
                line["type"],
                line["outcome"] or "waits",
                line["words"],
            )
            for line in lines
        ],
        empty="nobody was told",
    )


DELIVERY = frozenset({"delivered", "retry", "dead", "disabled", "skipped", "waits"})
"""Lines that the table of who was told has already."""


def _print_around(lines: list[dict[str, Any]], found: dict[str, Any]) -> None:
    """Silences, groups and requests, where there are any."""
    around = [line for line in lines[len(found["history"]) :] if line["what"] not in DELIVERY]
    if not around:
        return
    click.echo()
    print_table(
        ("at", "around it", "by", "words"),
        [(moment(a["at"]), a["what"], a["by"] or "Kedge", a["words"] or a["id"]) for a in around],
        empty="",
    )


def _state_words(found: dict[str, Any]) -> str:
    who = f" by {found['acknowledged_by']}" if found["acknowledged_by"] else ""
    until = f" until {moment(found['snoozed_until'])}" if found["snoozed_until"] else ""
    return f"{found['state']}{who}{until}"


def until_text(lasts: str | None) -> str | None:
    """The end of so long from now on, as RFC 3339; None stays None."""
    if lasts is None:
        return None
    from datetime import timedelta

    from monitor.clock import SystemClock
    from monitor.durations import parse_duration

    span = timedelta(microseconds=parse_duration(lasts, what="--for"))
    return (SystemClock().now() + span).isoformat()


def _print_incident(found: dict[str, Any]) -> None:
    action = found["action"]
    second = f"; else {found['runner_up']}" if found["runner_up"] else ""
    print_facts(
        [
            ("incident", found["id"]),
            ("deployment", f"{found['model']}/{found['domain']}"),
            ("headline", found["headline"]),
            ("state", _state_words(found)),
            ("verdict", found["verdict"] and f"{found['verdict']}, says {found['verdict_by']}"),
            ("severity", f"{found['severity']} ({found['tier']})"),
            ("diagnosis", f"{found['mode']}, confidence {found['confidence'] or 0:.2f}{second}"),
            ("began about", moment(found["onset"])),
            ("opened", moment(found["opened_at"])),
            ("closed", moment(found["closed_at"])),
            ("to do", f"{action['kind']} ({action['scope']}), {action['cadence']}"),
            ("it worked if", action["falsified_by"]),
            *(("evidence", line) for line in found["evidence"]),
        ]
    )


def _print_request(found: dict[str, Any]) -> None:
    action = found["action"]
    print_facts(
        [
            ("request", found["id"]),
            ("deployment", f"{found['model']}/{found['domain']}"),
            ("incident", found["incident_id"]),
            ("action", f"{action['kind']} ({action['scope']}), {action['cadence']}"),
            ("because", found["reason"]),
            ("train on", f"{moment(found['since'])} to {moment(found['until'])}"),
            ("rows", found["rows"]),
            ("it worked if", action["falsified_by"]),
            ("status", found["status"]),
            ("decided by", found["decided_by"]),
        ]
    )


@click.command()
@click.argument("incident")
@click.option("--for", "lasts", metavar="DURATION", help="Tell me again after 2h, 1d …")
@_by_options
@service_option
def ack(incident: str, by: str, note: str, lasts: str | None, service: Service) -> None:
    """Acknowledge an incident: you have it, reminders and escalation stop."""
    body = {"by": by, "note": note, "until": until_text(lasts)}
    done = service.post(f"/v1/incidents/{segment(incident)}/ack", body)
    until = f" until {moment(done['snoozed_until'])}" if done["snoozed_until"] else ""
    click.echo(f"{done['id']}: {done['outcome']} by {done['acknowledged_by']}{until}")


@click.command()
@click.argument("incident")
@_by_options
@service_option
def resolve(incident: str, by: str, note: str, service: Service) -> None:
    """Resolve an incident; alarms that go on will open it again."""
    done = service.post(f"/v1/incidents/{segment(incident)}/resolve", {"by": by, "note": note})
    click.echo(f"{done['id']}: {done['outcome']}")


@click.command()
@click.argument("incident")
@click.argument("alarm", type=click.Choice(["true", "false", "other"]))
@click.option("--reason", default="", help="What it was.")
@click.option("--by", default=_user, help="Who says so.  [default: your login]")
@service_option
def feedback(incident: str, alarm: str, reason: str, by: str, service: Service) -> None:
    """Say whether an incident's alarm was true, false, or had another cause than was named."""
    body = {"by": by, "note": reason, "verdict": VERDICTS[alarm]}
    done = service.post(f"/v1/incidents/{segment(incident)}/feedback", body)
    click.echo(f"{done['id']}: {done['verdict']}, says {done['verdict_by']}")
