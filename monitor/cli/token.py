"""`kedge token`: who may come in. Works on the database directly; no daemon is needed."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from monitor.cli.tables import print_json, print_table
from monitor.errors import UsageError

SCOPES = ("ingest", "read", "operate", "admin")
_CONFIG = click.option("--config", "config_path", metavar="FILE", help="Default: ./kedge.toml")
_OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group()
def token() -> None:
    """Make, list and revoke tokens.

    Once the first is made, everybody needs one. A running daemon sees a change within a second.
    """


@token.command()
@click.option("--name", required=True, help="Who or what uses it; it is the author of its deeds.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES))
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this; * is any text.")
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Only this; likewise.")
@click.option("--expires", metavar="DURATION", help="For example 90d.  [default: never]")
@_OUTPUT
@_CONFIG
def create(
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    domains: tuple[str, ...],
    expires: str | None,
    output: str,
    config_path: str | None,
) -> None:
    """Make a token and print it: the only time that anybody sees it."""
    from alerts.plain import name as plain_name
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from storage.tenancy import Tenant
    from storage.tokens import Scope, TokenError, create_token

    now = SystemClock().now()
    called = plain_name(name)
    if not called:
        msg = "--name is empty; say who or what will use the token"
        raise UsageError(msg)
    try:
        with opened_session(config_path, write=True) as session:
            made, text = create_token(
                session,
                name=called,
                scopes=[Scope(scope) for scope in scopes],
                tenant=Tenant(models, domains),
                now=now,
                by="command line",
                expires_at=_expiry(now, expires),
            )
    except TokenError as error:
        raise UsageError(str(error)) from error
    if output == "json":
        print_json({"id": made.id, "token": text})
        return
    click.echo(f"token {made.id} for {made.name}; it is not shown again:", err=True)
    click.echo(text)


def _expiry(now: datetime, text: str | None) -> datetime | None:
    if text is None:
        return None
    from monitor.durations import parse_duration

    return now + timedelta(microseconds=parse_duration(text, what="--expires"))


@token.command("list")
@_OUTPUT
@_CONFIG
def list_(output: str, config_path: str | None) -> None:
    """Every token that was ever made, without its secret."""
    from monitor.api.tokens import token_json
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from storage.tokens import list_tokens

    with opened_session(config_path) as session:
        found = list_tokens(session)
    now = SystemClock().now()
    lines = [token_json(one, now) for one in found]
    if output == "json":
        print_json({"tokens": lines})
        return
    print_table(
        ("id", "name", "scopes", "models", "domains", "state", "expires", "last used"),
        [
            (
                line["id"],
                line["name"],
                " ".join(line["scopes"]),
                " ".join(line["models"]) or "every",
                " ".join(line["domains"]) or "every",
                line["state"],
                line["expires_at"],
                line["last_used_at"],
            )
            for line in lines
        ],
        empty="no tokens; make one with `kedge token create`",
    )


@token.command()
@click.argument("token_id")
@_CONFIG
def revoke(token_id: str, config_path: str | None) -> None:
    """End a token and the browser sessions that began with it."""
    from alerts.plain import name as plain_name
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from storage.tokens import UnknownTokenError, revoke_token

    try:
        with opened_session(config_path, write=True) as session:
            ended = revoke_token(session, token_id, now=SystemClock().now(), by="command line")
    except UnknownTokenError as error:
        msg = f"no token has the id '{plain_name(token_id)}'; `kedge token list` shows them"
        raise UsageError(msg) from error
    click.echo(f"{token_id}: {'revoked' if ended else 'was revoked before'}")
