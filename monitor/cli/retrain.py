"""`kedge retrain`: the life of a retraining request, from asked for to verified or refuted."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli.incidents import by_option, output_option
from monitor.cli.service import Service, segment, service_option
from monitor.cli.tables import moment, print_facts, print_json, print_table

_STATUS = click.Choice(
    [
        "requested",
        "approved",
        "running",
        "rejected",
        "completed",
        "verified",
        "refuted",
        "undecided",
    ]
)
_note = click.option("--note", default="", help="What to remember about it.")


@click.group()
def retrain() -> None:
    """Work on retraining requests.

    Requested, approved, running, completed, and then verified or refuted by the stream that the
    request names, within the time that it names; undecided if nothing can tell by the deadline.
    """


@retrain.command("list")
@click.option("--status", type=_STATUS)
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@output_option
@service_option
def list_requests(status: str | None, limit: int, output: str, service: Service) -> None:
    """List retraining requests, newest first."""
    found = service.get("/v1/retraining-requests", status=status, limit=limit)
    if output == "json":
        print_json(found)
        return
    print_table(
        ("request", "requested", "status", "domain", "action", "why"),
        (
            (
                line["id"],
                moment(line["requested_at"]),
                line["status"],
                f"{line['model']}/{line['domain']}",
                f"{line['action']['kind']} ({line['action']['scope']})",
                line["outcome"] or line["reason"],
            )
            for line in found["requests"]
        ),
        empty="no retraining requests",
    )


@retrain.command()
@click.argument("request")
@output_option
@service_option
def show(request: str, output: str, service: Service) -> None:
    """Show one request: its window, its test, every step it took."""
    found = service.get(f"/v1/retraining-requests/{segment(request)}")
    if output == "json":
        print_json(found)
        return
    test = found["test"]
    print_facts(
        (
            ("request", found["id"]),
            ("domain", f"{found['model']}/{found['domain']}"),
            ("status", found["status"]),
            ("action", f"{found['action']['kind']} ({found['action']['scope']})"),
            ("layer", found["layer"]),
            ("cadence", found["action"]["cadence"]),
            ("because of", f"{found['mode']}: {found['reason']}"),
            *(("evidence", line) for line in found["evidence"]),
            ("train on", f"{moment(found['since'])} to {moment(found['until'])}"),
            ("rows", found["rows"]),
            ("it worked if", found["action"]["falsified_by"]),
            ("decided by", _test_words(test)),
            ("version", found["version"]),
            ("served since", moment(found["served_since"])),
            ("outcome", found["outcome"]),
            *((moment(step["at"]), _step_words(step)) for step in found["history"]),
        )
    )


def _test_words(test: dict[str, Any] | None) -> str:
    if test is None:
        return "a person: no stream that is followed can tell"
    return f"{test['stream']} within {test['within_days']} d of serving"


def _step_words(step: dict[str, Any]) -> str:
    words = f": {step['words']}" if step["words"] else ""
    return f"{step['status']} by {step['by'] or 'Kedge'}{words}"


def _step(name: str, words: str) -> None:
    @retrain.command(name, help=words)
    @click.argument("request")
    @_note
    @by_option
    @service_option
    def step(request: str, by: str, note: str, service: Service) -> None:
        path = f"/v1/retraining-requests/{segment(request)}/{name}"
        done = service.post(path, {"by": by, "note": note})
        click.echo(f"{done['id']}: {done['status']}")


_step("approve", "Let a request go ahead; the channels that train are told.")
_step("reject", "Turn a request down.")
_step("start", "Say that training runs.")


@retrain.command()
@click.argument("request")
@click.option("--version", default="", metavar="V", help="The version that serves now.")
@click.option("--served-since", metavar="TIME", help="From when on; default: the newest event.")
@_note
@by_option
@service_option
def complete(
    request: str, version: str, served_since: str | None, by: str, note: str, service: Service
) -> None:
    """Say that the result serves; the stream of its test then decides whether it worked."""
    body: dict[str, Any] = {"by": by, "note": note, "version": version}
    if served_since is not None:
        body["served_since"] = served_since
    done = service.post(f"/v1/retraining-requests/{segment(request)}/complete", body)
    click.echo(f"{done['id']}: {done['status']}")
