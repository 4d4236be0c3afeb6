"""`kedge reference`: windows that live rows are held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from monitor.cli.options import role_options
from monitor.files.roles import Roles

if TYPE_CHECKING:
    from storage.references import Reference


@click.group()
def reference() -> None:
    """Manage reference windows: frozen, versioned, never overwritten.

    Works on the database directly; a running daemon sees a change at its next look.
    """


_CONFIG = click.option("--config", "config_path", metavar="FILE", help="Default: ./kedge.toml")


@reference.command()
@click.argument("file")
@click.option("--model", required=True)
@click.option(
    "--role",
    type=click.Choice(["source", "onboarding", "recent"]),
    default="onboarding",
    show_default=True,
    help="What the rows are: of the source domain, or of a domain when it was taken in.",
)
@click.option("--for-domain", metavar="NAME", help="The domain, where FILE has no domain column.")
@click.option("--note", default="", help="A line people will read later.")
@click.option("--pending", is_flag=True, help="Wait for `kedge reference approve`.")
@_CONFIG
@role_options
def add(
    file: str,
    model: str,
    role: str,
    for_domain: str | None,
    note: str,
    pending: bool,
    config_path: str | None,
    roles: Roles,
) -> None:
    """Store FILE (Parquet, CSV, JSON lines) as the next version of a reference."""
    from monitor.clock import SystemClock
    from monitor.config import load_config
    from monitor.files.references import add_reference_table
    from monitor.files.tables import read_table
    from storage.engine import open_database
    from storage.migrations import upgrade
    from storage.references import Role

    config = load_config(config_path)
    section = config.models.get(model)
    table = read_table(file, roles)
    for line in table.notes:
        click.echo(line, err=True)
    database = open_database(config.service.database)
    try:
        upgrade(database)
        added = add_reference_table(
            database,
            table,
            model=model,
            role=Role(role),
            domain=for_domain,
            slices=section.slices if section is not None else (),
            note=note,
            activate=not pending,
            now=SystemClock().now(),
        )
    finally:
        database.close()
    for stored in added.references:
        click.echo(_line(stored))
    for line in added.left_out:
        click.echo(f"left out {line}", err=True)


@reference.command("list")
@click.option("--model")
@_CONFIG
def list_(model: str | None, config_path: str | None) -> None:
    """List references, the newest version last."""
    from monitor.cli.database import opened_session
    from storage.references import list_references

    with opened_session(config_path) as session:
        listed = list_references(session, model)
    for stored in listed:
        click.echo(_line(stored))
    if not listed:
        which = "" if model is None else f" for model '{model}'"
        click.echo(f"no references{which}; add one with `kedge reference add`", err=True)


@reference.command()
@click.argument("reference_id", type=int)
@_CONFIG
def show(reference_id: int, config_path: str | None) -> None:
    """Show one reference: columns, span, state."""
    from detectors.records import to_datetime
    from monitor.cli.database import opened_session
    from storage.references import get_reference

    with opened_session(config_path) as session:
        stored = _known(get_reference, session, reference_id)
    click.echo(_line(stored))
    if stored.since_us is not None and stored.until_us is not None:
        since, until = to_datetime(stored.since_us), to_datetime(stored.until_us)
        click.echo(f"from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC")
    click.echo(f"task {stored.schema.task.value}")
    for column in stored.schema.columns:
        click.echo(f"  {column.name}  {column.kind.value}")
    if stored.note:
        click.echo(stored.note)


@reference.command()
@click.argument("reference_id", type=int)
@_CONFIG
def promote(reference_id: int, config_path: str | None) -> None:
    """Make a version the active one; the one before is retired and kept."""
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from storage.references import promote as promote_reference

    with opened_session(config_path, write=True) as session:
        stored = _known(promote_reference, session, reference_id, SystemClock().now())
    click.echo(_line(stored))


@reference.command()
@click.argument("reference_id", type=int)
@click.option("--by", required=True, metavar="NAME", help="Who looked at it.")
@_CONFIG
def approve(reference_id: int, by: str, config_path: str | None) -> None:
    """Approve a pending reference, which makes it active."""
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from storage.references import approve as approve_reference

    with opened_session(config_path, write=True) as session:
        stored = _known(approve_reference, session, reference_id, by, SystemClock().now())
    click.echo(_line(stored))


def _known(call: Callable[..., Reference], *arguments: object) -> Reference:
    """Call storage; what a person can mend becomes one line."""
    from monitor.errors import InputError
    from storage.references import ReferenceStateError, UnknownReferenceError

    try:
        return call(*arguments)
    except (UnknownReferenceError, ReferenceStateError) as error:
        raise InputError(str(error)) from error


def _line(stored: Reference) -> str:
    where = stored.domain or "every domain"
    return (
        f"{stored.id}  {stored.model}/{where}  {stored.role.value} version {stored.version}  "
        f"{stored.status.value}  {stored.rows:,} rows"
    )
