"""`kedge replay`: history through the pipeline as if live."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from detectors.records import MOST_KEPT_COLUMNS, Settings
from monitor.cli.options import role_options, settings_options
from monitor.errors import UsageError
from monitor.files.roles import BASELINE_CLASSES, ROLE_NAMES, Roles


@click.command()
@click.option("--reference", required=True, metavar="FILE", help="What the log is held against.")
@click.option("--log", "log_path", required=True, metavar="FILE", help="The history to replay.")
@role_options
@settings_options
@click.option("--model", default="model", show_default=True, help="What to call the model.")
@click.option(
    "--inject",
    "injected",
    multiple=True,
    metavar="COLUMN:KIND:SIZE@TIME",
    help="Put a change into the log and say when it is seen: income:shift:0.5@+20d.",
)
@click.option(
    "--mappings",
    "mapping_file",
    metavar="FILE",
    help="Read domains by these mappings (YAML or JSON), as approved ones are.",
)
@click.option(
    "--anchors",
    multiple=True,
    metavar="VERSION=FILE",
    help="Rows as a version embeds them, the oldest version first; see kedge anchors add.",
)
@click.option("--probe", metavar="FILE", help="Labelled rows of the source; see kedge probe add.")
@click.option(
    "--probe-scores",
    multiple=True,
    metavar="VERSION=FILE",
    help="What a version scores the probe's rows, the oldest first; see kedge probe score.",
)
@click.option("--out", metavar="FILE.html", help="Also draw the timeline as one HTML file.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option("--exit-code", is_flag=True, help="Exit 3 on drift or harm, 5 on too little data.")
def replay(
    reference: str,
    log_path: str,
    roles: Roles,
    settings: Settings,
    model: str,
    injected: tuple[str, ...],
    mapping_file: str | None,
    anchors: tuple[str, ...],
    probe: str | None,
    probe_scores: tuple[str, ...],
    out: str | None,
    output: str,
    exit_code: bool,
) -> int:
    """Run the streaming pipeline over a log: alarms, incidents, verdicts, budget.

    The reference and the log are Parquet, CSV or JSON-lines files with the same columns. Ticks
    close by event time, labels are judged one label delay after their event, and the end of the
    log is taken as the planned review of the transfer verdict unless --review says otherwise.

    --inject puts a change into a copy of the log, COLUMN:KIND:SIZE@TIME[..UNTIL][@DOMAIN], and
    may be repeated. Kinds: shift, scale, unit, nulls, zero-fill, unseen, swap, drop for columns;
    odds, flip, nulls for label; bias for score. The log is replayed as it was and with the
    change: false alarms of the first, delay and diagnosis of the second.

    --mappings takes what `kedge mapping export` writes: its entries count as approved, so the rows
    of a domain are read in the terms of the reference, and one that they break is a ticket.

    --anchors, --probe and --probe-scores are what a daemon is told of at each release, so that rows
    that name a version can be found to be of one that forgot its source, broke its heads, or is
    not the one that serves.
    """
    from rich.console import Console

    from monitor.files.tables import read_table
    from monitor.mapping.files import read_mappings
    from monitor.replaying.injected_replay import InjectedReplay, injected_json, injected_replay
    from monitor.replaying.injection import parse_injection
    from monitor.replaying.replay import Replay, to_json
    from monitor.replaying.replay import replay as run_replay
    from monitor.replaying.version_files import parse_version_files, read_version_files
    from monitor.reports.replay_text import print_replay
    from monitor.watching.alignment import NOTHING_KNOWN

    errors = Console(stderr=True)
    injections = [parse_injection(text) for text in injected]
    files = parse_version_files(anchors, probe, probe_scores)
    # A reference may be a training table: without times, scores or labels of its own.
    reference_table = read_table(
        reference, roles, optional=frozenset({*ROLE_NAMES, BASELINE_CLASSES})
    )
    versions = NOTHING_KNOWN
    if files:
        task = reference_table.schema.task
        versions = read_version_files(files, roles, model=model, task=task)
    mappings = {} if mapping_file is None else read_mappings(mapping_file)
    theirs = frozenset(one.entry.here for mine in mappings.values() for one in mine)
    log = read_table(
        log_path, roles, like=reference_table, besides=theirs, new_columns=MOST_KEPT_COLUMNS
    )
    for note in dict.fromkeys((*reference_table.notes, *log.notes)):
        errors.print(note, style="dim", highlight=False, markup=False)
    with _progress(errors) as on_tick:
        told: Replay | InjectedReplay
        if injections:
            told = injected_replay(
                reference_table,
                log,
                settings,
                injections,
                model=model,
                on_tick=on_tick,
                mappings=mappings,
                versions=versions,
            )
        else:
            told = run_replay(
                reference_table,
                log,
                settings,
                model=model,
                on_tick=on_tick,
                mappings=mappings,
                versions=versions,
            )
    result = told.changed if isinstance(told, InjectedReplay) else told
    for note in result.notes:
        errors.print(note, style="dim", highlight=False, markup=False)
    if out is not None:
        from monitor.reports.timeline import render_timeline

        try:
            Path(out).write_text(render_timeline(told), encoding="utf-8")
        except OSError as error:
            msg = f"--out {out}: cannot be written ({error.strerror}); is the folder there?"
            raise UsageError(msg) from error
        errors.print(f"timeline in {out}", style="dim", highlight=False, markup=False)
    if output == "json":
        shown = injected_json(told) if isinstance(told, InjectedReplay) else to_json(result)
        json.dump(shown, sys.stdout, allow_nan=False, indent=2)
        sys.stdout.write("\n")
    else:
        console = Console()
        print_replay(result, console)
        if isinstance(told, InjectedReplay):
            from monitor.reports.injected_text import print_outcomes

            print_outcomes(told, console)
    return _code(to_json(result)) if exit_code else 0


def _progress(console: Any) -> Any:
    """A progress bar a domain on a terminal; silence elsewhere."""
    from contextlib import contextmanager

    from rich.progress import Progress, TaskID

    @contextmanager
    def shown() -> Any:
        if not console.is_terminal:
            yield None
            return
        with Progress(console=console, transient=True) as bar:
            tasks: dict[str, TaskID] = {}

            def on_tick(domain: str, done_us: int, total_us: int) -> None:
                if domain not in tasks:
                    tasks[domain] = bar.add_task(domain, total=total_us)
                bar.update(tasks[domain], completed=min(done_us, total_us))

            yield on_tick

    return shown()


def _code(result: dict[str, Any]) -> int:
    """3 where a page fired or transfer hurts, 5 where nothing could be said, else 0."""
    hurts = any(verdict["state"] == "hurts" for verdict in result["transfer"].values())
    if hurts or any(alarm["tier"] == "page" for alarm in result["alarms"]):
        return 3
    verdicts = [verdict["state"] for verdict in result["transfer"].values()]
    maturities = [budget["maturity"] for budget in result["budget"].values()]
    if all(maturity == "warming" for maturity in maturities) and not any(
        state in {"helps", "neutral"} for state in verdicts
    ):
        return 5
    return 0
