"""`kedge demo`: the whole job on real data, by itself."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Where the daemon listens on 127.0.0.1. Default: a free port.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep everything in this new folder: database, configuration, log, reports.",
)
@click.option("--quick", is_flag=True, hidden=True, help="One month of two domains, for tests.")
def demo(port: int | None, keep: Path | None, quick: bool) -> None:
    """Watch Kedge do its whole job on real data.

    Trains small networks on one airline's flights, warm-starts them for five others, starts the
    daemon, streams four months of flights through its HTTP interface with labels two days late,
    breaks two domains on purpose, receives the signed webhooks, and prints what was found.
    HTML reports go to ./demo-output.
    """
    import signal

    from rich.console import Console

    from monitor.demo.calendar import FULL, QUICK
    from monitor.demo.run import run_demo

    # SIGTERM unwinds like Ctrl-C, so that the daemon is stopped and the folder removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_demo(Console(), plan=QUICK if quick else FULL, port=port, keep=keep)
