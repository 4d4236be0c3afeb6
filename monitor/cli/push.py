"""`kedge send` and `kedge label`: a file of rows to a running daemon, counted and explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from alerts.plain import plain
from monitor.cli.options import role_options
from monitor.cli.service import Service, raise_for_problem, service_option
from monitor.cli.tables import print_json
from monitor.errors import KedgeError
from monitor.files.roles import Roles, check_names, infer_roles

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 5_000
SHOWN_REJECTIONS = 5
TRIES = 30
LONGEST_WAIT_S = 30.0
ARROW = "application/vnd.apache.arrow.stream"
COUNTS = (
    "accepted",
    "duplicate",
    "sampled_out",
    "rejected",
    "late",
    "waiting",
    "correction",
)

_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
_batch = click.option(
    "--batch-rows",
    type=click.IntRange(1, 100_000),
    default=BATCH_ROWS,
    show_default=True,
    help="Rows of one request.",
)


@dataclass(slots=True)
class Sent:
    """What became of a file's rows. The index of a rejection counts from 0 in what was sent."""

    rows: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    rejections: list[dict[str, Any]] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)

    def add(self, answer: dict[str, Any], first: int, rows: int) -> None:
        """Take in the answer to rows `first` to `first + rows`."""
        self.rows += rows
        for name in COUNTS:
            self.counts[name] += int(answer.get(name, 0))
        room = SHOWN_REJECTIONS - len(self.rejections)
        for rejection in answer.get("rejections", [])[: max(0, room)]:
            self.rejections.append({**rejection, "index": rejection["index"] + first})
        self.warnings |= dict.fromkeys(answer.get("warnings", []))


@click.command()
@click.argument("file")
@click.option("--model", required=True, metavar="M", help="Which model made these predictions.")
@role_options
@_batch
@_output
@service_option
def send(
    file: str, model: str, roles: Roles, batch_rows: int, output: str, service: Service
) -> int:
    """Push a file of events (Parquet, CSV, JSON lines, Arrow) to a running daemon.

    --domain names a column, or, where the file has no such column, the domain of all rows.
    Sending the same file again changes nothing. Exit code 1 if any row was refused.
    """
    from monitor.cli.wire import events_of
    from monitor.files.tables import read_arrow

    arrow = read_arrow(file)
    domain = None
    if roles.domain is not None and roles.domain not in arrow.column_names:
        domain, roles = roles.domain, replace(roles, domain=None)
        click.echo(f"no column '{plain(domain)}': it is the domain of all rows", err=True)
    events = events_of(arrow, _completed(arrow, roles, file), domain=domain, source=file)
    return _push(service, "/v1/events", events, model, batch_rows, output)


@click.command()
@click.argument("file")
@click.option("--model", required=True, metavar="M", help="Which model these events belong to.")
@role_options
@_batch
@_output
@service_option
def label(
    file: str, model: str, roles: Roles, batch_rows: int, output: str, service: Service
) -> int:
    """Push a file of labels to a running daemon, before or after their events.

    Rows without a label are left out. Exit code 1 if any row was refused.
    """
    from monitor.cli.wire import labels_of
    from monitor.files.tables import read_arrow

    arrow = read_arrow(file)
    labels = labels_of(arrow, _completed(arrow, roles, file), source=file)
    if labels.num_rows < arrow.num_rows:
        click.echo(f"{arrow.num_rows - labels.num_rows:,} rows have no label", err=True)
    return _push(service, "/v1/labels", labels, model, batch_rows, output)


def _completed(arrow: pa.Table, roles: Roles, file: str) -> Roles:
    """The roles, with those nobody named inferred and said."""
    check_names(roles, arrow.schema, source=file)
    roles, inferred = infer_roles(roles, arrow.schema)
    for line in inferred:
        click.echo(plain(line), err=True)
    return roles


def _push(
    service: Service, path: str, table: pa.Table, model: str, batch_rows: int, output: str
) -> int:
    from monitor.cli.wire import bodies

    sent = Sent()
    with _progress(path.rpartition("/")[2], table.num_rows) as advance:
        for first, rows, body in bodies(table, batch_rows):
            sent.add(_post(service, path, body, model), first, rows)
            advance(rows)
    if output == "json":
        print_json({"rows": sent.rows, **sent.counts, "rejections": sent.rejections})
    else:
        _tell(sent)
    return 1 if sent.counts["rejected"] else 0


def _post(service: Service, path: str, body: bytes, model: str) -> dict[str, Any]:
    """Send one batch until it is answered for good; an overloaded daemon says when to try again.

    Raises:
        KedgeError: the batch as a whole is refused, or the daemon stays overloaded.
    """
    for _ in range(TRIES):
        response = service.send(path, body, ARROW, model=model)
        if response.status_code not in {429, 503}:
            break
        time.sleep(_wait_s(response.headers.get("retry-after", "")))
    else:
        msg = f"{service.url} was overloaded {TRIES} times in a row; rows before this are kept"
        raise KedgeError(msg)
    if response.status_code == 422:
        answer = response.json()
        if isinstance(answer, dict) and "rejected" in answer:
            return answer
    raise_for_problem(response, service.url)
    counts: dict[str, Any] = response.json()
    return counts


def _wait_s(retry_after: str) -> float:
    if not (retry_after.isascii() and retry_after.isdigit()):
        return 1.0
    return min(LONGEST_WAIT_S, max(0.1, float(retry_after)))


def _tell(sent: Sent) -> None:
    """The counts on standard output, what went wrong on standard error."""
    told = [f"{sent.counts[name]:,} {name.replace('_', ' ')}" for name in COUNTS[:4]]
    told += [f"{sent.counts[n]:,} {n}" for n in COUNTS[4:] if sent.counts[n]]
    click.echo(f"{sent.rows:,} rows: {', '.join(told)}")
    for warning in sent.warnings:
        click.echo(f"note: {plain(warning)}", err=True)
    for refused in sent.rejections:
        click.echo(
            plain(
                f"row {refused['index']:,} ({refused['id']}): {refused['field']} "
                f"{refused['reason']}, got '{refused['value']}'; {refused['remedy']}"
            ),
            err=True,
        )
    more = sent.counts["rejected"] - len(sent.rejections)
    if more > 0:
        click.echo(f"and {more:,} more", err=True)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, silence elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)
