"""`kedge mapping`: what the features and categories of the source are in each domain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from monitor.cli.incidents import by_option, output_option
from monitor.cli.service import Service, segment, service_option
from monitor.cli.tables import moment, print_facts, print_json, print_table
from monitor.errors import InputError


@click.group()
def mapping() -> None:
    """Verify mappings: what a feature or category of the source is in a domain.

    Kedge proposes them from what it sees, or a file says them. Until a person has approved or
    rejected each, the domain is unverified; what was approved is monitored ever after.
    """


_PLAIN: dict[str, Any] = {
    "category": "",
    "domain_column": "",
    "domain_category": "",
    "scale": 1.0,
    "offset": 0.0,
    "missing": "",
    "absent": False,
}
_STATUS = click.Choice(["proposed", "approved", "rejected", "superseded"])


@mapping.command("list")
@click.option("--model", metavar="M")
@click.option("--domain", metavar="D")
@click.option("--status", type=_STATUS)
@output_option
@service_option
def list_all(
    model: str | None, domain: str | None, status: str | None, output: str, service: Service
) -> None:
    """List every version of every mapping."""
    found = service.get("/v1/mappings", model=model, domain=domain, status=status)
    if output == "json":
        print_json(found)
        return
    print_table(
        ("mapping", "domain", "version", "status", "by", "says"),
        (
            (
                line["id"],
                f"{line['model']}/{line['domain']}",
                line["version"],
                line["status"],
                line["decided_by"] or line["created_by"] or "Kedge",
                line["words"],
            )
            for line in found["mappings"]
        ),
        empty="no mappings",
    )


@mapping.command()
@click.argument("mapping_id", metavar="MAPPING")
@output_option
@service_option
def show(mapping_id: str, output: str, service: Service) -> None:
    """Show one version with its evidence and who decided what."""
    found = service.get(f"/v1/mappings/{segment(mapping_id)}")
    if output == "json":
        print_json(found)
        return
    print_facts(
        (
            ("mapping", found["id"]),
            ("domain", f"{found['model']}/{found['domain']}"),
            ("says", found["words"]),
            ("version", found["version"]),
            ("status", found["status"]),
            ("since", "always" if found["since"] is None else moment(found["since"])),
            ("evidence", found["evidence"]),
            ("proposed by", found["created_by"] or "Kedge"),
            ("proposed at", moment(found["created_at"])),
            ("decided by", found["decided_by"]),
            ("decided at", moment(found["decided_at"])),
            ("reason", found["reason"]),
            ("incident", found["incident_id"]),
            ("side by side", f"{service.url}/mappings/{found['id']}"),
        )
    )


@mapping.command("import")
@click.argument("file")
@click.option("--model", metavar="M", help="Default: the model that FILE names.")
@by_option
@service_option
def import_file(file: str, model: str | None, by: str, service: Service) -> None:
    """Propose the mappings of FILE (YAML or JSON): all of them, or none if one is wrong."""
    from monitor.mapping.files import as_text, read_file

    path = Path(file)
    try:
        text = sys.stdin.read() if file == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: cannot be read ({type(error).__name__})"
        raise InputError(msg) from error
    given = read_file(text, file)
    name = model or given.get("model")
    if not name:
        msg = f"{file}: names no model; add `model: NAME` or give --model"
        raise InputError(msg)
    lines = [as_text(line, at, file) for at, line in enumerate(given["mappings"], start=1)]
    done = service.post("/v1/mappings", {"model": str(name), "by": by, "mappings": lines})
    added = len(done["added"])
    click.echo(f"{added} to review, {done['unchanged']} as they were")
    for line in done["added"]:
        click.echo(f"  {line['id']}  {line['domain']}: {line['words']}")


@mapping.command()
@click.option("--model", metavar="M", required=True)
@click.option("--domain", metavar="D")
@click.option("--status", type=_STATUS, default="approved", show_default=True)
@click.option("--form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@service_option
def export(model: str, domain: str | None, status: str, form: str, service: Service) -> None:
    """Write mappings as a file that can be imported again, to standard output."""
    found = service.get("/v1/mappings", model=model, domain=domain, status=status)
    lines = [
        {
            "domain": line["domain"],
            **{key: value for key, value in line["entry"].items() if value != _PLAIN.get(key)},
            **({} if line["since"] is None else {"since": line["since"]}),
        }
        for line in found["mappings"]
    ]
    file = {"model": model, "mappings": lines}
    if form == "json":
        print_json(file)
        return
    import yaml

    sys.stdout.write(yaml.safe_dump(file, sort_keys=False, allow_unicode=True))


def _decision(name: str, words: str) -> None:
    @mapping.command(name, help=words)
    @click.argument("mapping_id", metavar="MAPPING")
    @click.option("--reason", required=True, help="Why; people will read it later.")
    @by_option
    @service_option
    def decide(mapping_id: str, reason: str, by: str, service: Service) -> None:
        path = f"/v1/mappings/{segment(mapping_id)}/{name}"
        done = service.post(path, {"by": by, "reason": reason})
        click.echo(f"{done['id']}: {done['status']} by {done['decided_by']}")


_decision("approve", "Stand behind a mapping; rows are read by it and held to it.")
_decision("reject", "Say that a mapping is not so; the same is not proposed again.")
