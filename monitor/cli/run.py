"""`kedge run`: the daemon."""

from __future__ import annotations

import click


@click.command()
@click.option("--config", "config_path", metavar="FILE", help="Default: ./kedge.toml")
@click.option("--port", type=click.IntRange(0, 65535), help="Instead of service.port.")
@click.option(
    "--role",
    type=click.Choice(["api", "worker", "all"]),
    default="all",
    show_default=True,
    help="On PostgreSQL several processes may share the work.",
)
def run(config_path: str | None, port: int | None, role: str) -> None:
    """Run the daemon: ingest, checks, delivery, pages.

    SIGTERM drains and stops. SIGHUP reads the configuration again: it is checked first and
    swapped whole, or the old one stays.
    """
    from monitor.process.process_role import ProcessRole
    from monitor.process.serve import serve

    serve(config_path, port=port, role=ProcessRole(role))
