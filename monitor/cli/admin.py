"""`kedge check-config`, `kedge doctor`, `kedge db`: administration."""

from __future__ import annotations

import click

_CONFIG = click.option("--config", "config_path", metavar="FILE", help="Default: ./kedge.toml")


@click.command("check-config")
@_CONFIG
@click.option("--explain", metavar="MODEL/DOMAIN", help="Say who would hear of it, and why.")
@click.option("--severity", type=click.Choice(["low", "medium", "high", "critical"]))
@click.option("--tier", type=click.Choice(["page", "ticket"]), default="page", show_default=True)
@click.option("--type", "kind", default="incident.opened", show_default=True)
def check_config(
    config_path: str | None, explain: str | None, severity: str | None, tier: str, kind: str
) -> None:
    """Validate a configuration and say what it means. Touches nothing."""
    from monitor.config import load_config
    from monitor.config.oncall import explain_route
    from monitor.process.daemon import open_channels
    from monitor.process.door import refuse_weak_token
    from storage.engine import parse_url

    config = load_config(config_path)
    parse_url(config.service.database)
    refuse_weak_token(config)
    open_channels(config)
    click.echo(f"listens on {config.service.host}:{config.service.port}")
    if not config.service.is_loopback and config.service.token is None:
        click.echo(
            f"  others can reach it and {config.service.token_env} holds no token: it starts only "
            "if `kedge token create` has made one"
        )
    for name, model in config.models.items():
        click.echo(f"model {name}: {model.task.value}, {model.budget}, tick {model.tick}")
    for channel in config.channels:
        click.echo(f"channel {channel.name}: {channel.kind}, {' and '.join(channel.tiers)}")
    for source in config.sources:
        click.echo(f"source {source.name}: {source.kind} of {source.rows} for {source.model}")
    for number, route in enumerate(config.routes, start=1):
        goes = ", ".join(route.channels) or "nobody"
        click.echo(f"route {route.name or number}: to {goes}")
    if explain is not None:
        from monitor.clock import SystemClock

        for line in explain_route(config, explain, tier, severity, kind, SystemClock().now()):
            click.echo(line)
    click.echo("fine")


@click.command()
@_CONFIG
@click.option("--send-test", is_flag=True, help="Send a test message through every channel.")
def doctor(config_path: str | None, send_test: bool) -> int:
    """Look at database, clock, disk, channels and SQLite version; exit 1 if something is wrong."""
    from itertools import chain

    from monitor.clock import SystemClock
    from monitor.config import load_config
    from monitor.doctor import examine, try_channels

    wrong = 0
    config, clock = load_config(config_path), SystemClock()
    looks = [examine(config, clock)] + ([try_channels(config, clock)] if send_test else [])
    for look in chain.from_iterable(looks):
        mark = "ok   " if not look.wrong else "WRONG"
        click.echo(f"{mark} {look.what}: {look.wrong or look.words}")
        wrong += bool(look.wrong)
    return 1 if wrong else 0


@click.group()
def db() -> None:
    """Upgrade, back up, restore, prune the database, or look at it."""


@db.command("upgrade")
@_CONFIG
def upgrade_(config_path: str | None) -> None:
    """Bring the tables to this version's revision."""
    from monitor.cli.database import opened_database
    from storage.migrations import upgrade

    with opened_database(config_path) as database:
        click.echo(f"at revision {upgrade(database)}")


@db.command()
@click.argument("path")
@_CONFIG
def backup(path: str, config_path: str | None) -> None:
    """Copy the database to the SQLite file PATH while the daemon runs."""
    from pathlib import Path

    from monitor.cli.database import opened_database
    from monitor.errors import InputError
    from storage.backup import BackupError
    from storage.backup import backup as copy

    with opened_database(config_path) as database:
        try:
            copy(database, Path(path))
        except BackupError as error:
            raise InputError(str(error)) from error
    click.echo(f"copied to {path}")


@db.command()
@click.argument("path")
@_CONFIG
def restore(path: str, config_path: str | None) -> None:
    """Fill the configured database, which must be empty, from a backup."""
    from pathlib import Path

    from monitor.cli.database import opened_database
    from monitor.errors import InputError
    from storage.backup import BackupError
    from storage.backup import restore as fill
    from storage.migrations import head_revision
    from storage.one_writer import SecondWriterError

    with opened_database(config_path) as database:
        try:
            fill(Path(path), database)
        except (BackupError, SecondWriterError) as error:
            raise InputError(str(error)) from error
    click.echo(f"restored from {path}; at revision {head_revision()}")


@db.command()
@_CONFIG
def status(config_path: str | None) -> None:
    """Say what the database holds and who works on it. Changes nothing."""
    from monitor.cli.database import opened_database
    from monitor.process.database_status import status_lines

    with opened_database(config_path) as database:
        for line in status_lines(database):
            click.echo(line)


@db.command()
@click.option("--older-than", default=None, metavar="DURATION", help="Default: the retention.")
@_CONFIG
def prune(older_than: str | None, config_path: str | None) -> None:
    """Delete raw rows older than the retention; summaries and incidents stay."""
    from datetime import timedelta

    from monitor.cli.database import opened_database
    from monitor.clock import SystemClock
    from monitor.config import load_config
    from monitor.durations import parse_duration
    from monitor.process.daemon import KEPT_HISTORY
    from storage.migrations import upgrade
    from storage.retention import prune as prune_rows

    keep_us = load_config(config_path).service.retention
    if older_than is not None:
        keep_us = parse_duration(older_than, what="--older-than")
    with opened_database(config_path) as database:
        upgrade(database)
        gone = prune_rows(
            database,
            now=SystemClock().now(),
            raw=timedelta(microseconds=keep_us),
            history=KEPT_HISTORY,
        )
    weeks = f" ({gone.partitions:,} whole weeks)" if gone.partitions else ""
    click.echo(
        f"deleted {gone.segments:,} batches of rows{weeks}, "
        f"{gone.id_runs + gone.label_runs:,} days of ids and labels, "
        f"{gone.summaries:,} summaries, {gone.messages:,} delivered messages"
    )
