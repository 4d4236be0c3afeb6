"""The demo from start to end: train, add references, stream, ask, print."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from alerts.signature import Key
from detectors.records import Task, to_us
from detectors.transfer.loss import loss_of
from monitor.clock import Clock, SystemClock
from monitor.demo import story
from monitor.demo.calendar import FULL, Plan
from monitor.demo.faults import FAULTS, Fault, without_hour
from monitor.demo.flights import SOURCE, Flights, load_flights
from monitor.demo.networks import Network, train_from_scratch, warm_start
from monitor.demo.people import Deed, decide_mappings, decide_requests
from monitor.demo.receiver import Receiver, receiving
from monitor.demo.service import (
    MODEL,
    Daemon,
    DemoError,
    new_secret,
    running_daemon,
    usable_port,
)
from monitor.demo.traffic import (
    LABEL_DELAY,
    ROLES,
    Served,
    Stream,
    days,
    reference_table,
    stream_of,
    then,
)
from monitor.errors import UsageError

REPORTS = Path("demo-output")
JSON_FOR = timedelta(days=7)
"""The first week travels as JSON, the rest as Arrow: both roads end in the same rows."""

DRAIN_S = 60.0
JUDGED_S = 600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the daemon answered at the end, and where the reports lie."""

    domains: tuple[dict[str, Any], ...]
    incidents: tuple[dict[str, Any], ...]
    requests: tuple[dict[str, Any], ...]
    mappings: tuple[dict[str, Any], ...]
    deeds: tuple[Deed, ...]
    budgets: dict[str, dict[str, Any]]
    outbox: dict[str, Any]
    reports: dict[str, Path]
    receiver: Receiver


def run_demo(
    console: Console,
    *,
    plan: Plan = FULL,
    faults: Sequence[Fault] = FAULTS,
    port: int | None = None,
    keep: Path | None = None,
    reports: Path = REPORTS,
) -> Outcome:
    """Run it all and print what happens; everything but the reports is gone afterwards.

    `keep` is a new folder for everything: database, configuration, log, reports.

    Raises:
        UsageError: if `keep` has something in it.
        DemoError: if the daemon does not start, or refuses what it is sent.
    """
    clock, started = SystemClock(), SystemClock().monotonic()
    faults = [fault for fault in faults if fault.domain in plan.domains]
    chosen = usable_port(port)
    with _workplace(keep) as folder:
        flights = load_flights()
        story.print_opening(console, flights, plan)
        served = _train(console, flights, plan)
        secret = new_secret()
        with receiving(Key.parse(secret), clock) as receiver:
            _add_references(console, folder, flights, served, plan, clock)
            with running_daemon(
                folder, plan, port=chosen, webhook_url=receiver.url, secret=secret
            ) as daemon:
                story.print_ready(console, chosen)
                streams = {
                    name: stream_of(flights[name].between(*plan.live), served[name], faults)
                    for name in plan.domains
                }
                deeds: list[Deed] = []
                since = plan.live[0]
                for at in plan.people:
                    _stream(console, daemon, streams, (since, at), plan, faults, clock)
                    _wait_until_judged(console, daemon, receiver, plan, at, clock)
                    done = _people(daemon, flights, served, streams, faults, plan, at)
                    story.print_deeds(console, at, done)
                    deeds += done
                    since = at
                _stream(console, daemon, streams, (since, plan.live[1]), plan, faults, clock)
                _wait_until_judged(console, daemon, receiver, plan, plan.live[1], clock)
                daemon.flush()
                _drain(daemon, clock)
                outcome = _ask(daemon, receiver, keep or reports, plan, deeds)
    story.print_outcome(console, outcome, faults, plan, seconds=clock.monotonic() - started)
    return outcome


@contextlib.contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    """A folder of this run alone, so that two demos at once do not meet."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="kedge-demo-") as name:
            yield Path(name)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        msg = f"--keep {keep}: there is something in it; give a new or empty folder"
        raise UsageError(msg)
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def _train(console: Console, flights: dict[str, Flights], plan: Plan) -> dict[str, Served]:
    """The source's network, then two for each domain; printed with their reference losses."""
    import torch

    torch.set_num_threads(1)
    with console.status("training the networks"):
        source = train_from_scratch(flights[SOURCE].between(*plan.source_training))
        served = {SOURCE: Served(source, None)}
        lines = []
        for name in plan.domains:
            own = flights[name].between(*plan.domain_training)
            served[name] = Served(warm_start(source, own), train_from_scratch(own))
            lines.append(
                story.TrainedLine(name, len(own), *_losses(flights[name], served[name], plan))
            )
    story.print_networks(console, lines)
    return served


def _losses(flights: Flights, served: Served, plan: Plan) -> tuple[float, float, float]:
    """Mean log loss on the reference: of the base rate, of the baseline, of the transferred."""
    assert served.baseline is not None
    window = flights.between(*plan.reference)
    late = window.late()

    def loss(scores: np.ndarray[Any, np.dtype[np.float64]]) -> float:
        return float(np.mean(loss_of(Task.BINARY, scores, late)))

    return (
        loss(np.full(len(late), late.mean())),
        loss(served.baseline.score(window.features)),
        loss(served.transferred.score(window.features)),
    )


def _add_references(
    console: Console,
    folder: Path,
    flights: dict[str, Flights],
    served: dict[str, Served],
    plan: Plan,
    clock: Clock,
) -> None:
    """What `kedge reference add` does, for the source and every domain."""
    from monitor.files.references import add_reference_table
    from monitor.files.tables import to_table
    from storage.engine import open_database
    from storage.migrations import upgrade
    from storage.references import Role

    database = open_database(f"sqlite:///{folder / 'kedge.db'}")
    try:
        upgrade(database)
        rows = 0
        for name in (SOURCE, *plan.domains):
            stream = stream_of(flights[name].between(*plan.reference), served[name])
            table = to_table(reference_table(stream), ROLES, path=name)
            # The schema is the model's: baselines come with the rows of its domains.
            table = replace(table, schema=replace(table.schema, has_baseline=True))
            add_reference_table(
                database,
                table,
                model=MODEL,
                role=Role.SOURCE if name == SOURCE else Role.ONBOARDING,
                domain=None if name == SOURCE else name,
                note="June to August 2013, scored by networks that have not seen it",
                now=clock.now(),
            )
            rows += len(stream)
    finally:
        database.close()
    story.print_references(console, rows, plan)


def _people(
    daemon: Daemon,
    flights: dict[str, Flights],
    served: dict[str, Served],
    streams: dict[str, Stream],
    faults: Sequence[Fault],
    plan: Plan,
    at: datetime,
) -> list[Deed]:
    """What people decide on a day; rows from then on are scored by what they put into service."""

    def retrain(name: str) -> str:
        again = _retrained(served[SOURCE].transferred, flights[name], plan, at)
        before, after = (
            flights[name].between(*span) for span in ((plan.live[0], at), (at, plan.live[1]))
        )
        streams[name] = then(
            stream_of(before, served[name], faults), stream_of(after, again, faults)
        )
        return again.version

    return [
        *decide_mappings(daemon, faults),
        *decide_requests(daemon, faults, retrain, served_since=at),
    ]


def _retrained(source: Network, flights: Flights, plan: Plan, at: datetime) -> Served:
    """Version 2 of a domain: both networks on all labelled rows up to now, without `hour`.

    What comes from upstream has no `hour` any more, so no row may have it in training.
    """
    rows = flights.between(plan.domain_training[0], at - LABEL_DELAY)
    since = plan.domain_training[0]
    rows = replace(rows, features=without_hour(rows.features, rows.ts_us, since))
    return Served(warm_start(source, rows), train_from_scratch(rows), version="2")


def _stream(
    console: Console,
    daemon: Daemon,
    streams: Mapping[str, Stream],
    span: tuple[datetime, datetime],
    plan: Plan,
    faults: Sequence[Fault],
    clock: Clock,
) -> None:
    """Send every day of a span in order: labels that have become known, then the day's events.

    Labels go first so that a day is judged with all labels that were known when it ended.
    """
    closing = span[1] == plan.live[1]
    total = sum(int(np.searchsorted(s.ts_us, to_us(span[1]))) for s in streams.values())
    total -= sum(int(np.searchsorted(s.ts_us, to_us(span[0]))) for s in streams.values())
    sent = labels = 0
    announced = {fault for fault in faults if fault.since < span[0]}
    started = clock.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TextColumn("events"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        shown = bar.add_task("streaming", total=total)
        for day in days(list(streams.values()), *span, closing=closing):
            for fault in faults:
                if day.since >= fault.since and fault not in announced:
                    announced.add(fault)
                    story.print_fault(console, fault)
            if day.labels.num_rows:
                labels += daemon.send("labels", day.labels)
            if day.events.num_rows and day.since < plan.live[0] + JSON_FOR:
                sent += daemon.send_json("events", _as_objects(day.events.to_pylist()))
            elif day.events.num_rows:
                sent += daemon.send("events", day.events)
            bar.update(shown, completed=sent, description=f"{day.since:%d %b %Y}")
    story.print_streamed(console, span, sent, labels, clock.monotonic() - started)


def _as_objects(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an event table as the JSON interface wants them: features in an object."""
    outer = ("id", "ts", "domain", "version", "score", "baseline_score")
    return [
        {
            **{name: row[name] for name in outer},
            "ts": row["ts"].isoformat(),
            "features": {name: value for name, value in row.items() if name not in outer},
        }
        for row in rows
    ]


def _wait_until_judged(
    console: Console,
    daemon: Daemon,
    receiver: Receiver,
    plan: Plan,
    sent_until: datetime,
    clock: Clock,
) -> None:
    """Show how far the checks have come until they have caught up with the stream."""
    deadline = clock.monotonic() + JUDGED_S
    caught_up = sent_until - timedelta(days=1)
    with console.status("judging") as status:
        while clock.monotonic() < deadline:
            domains = daemon.get(f"/v1/models/{MODEL}/domains")["domains"]
            until = [line["evaluated_until"] for line in domains]
            done = sum(u is not None and datetime.fromisoformat(u) >= caught_up for u in until)
            if done == len(plan.domains):
                return
            status.update(
                f"judging tick by tick: {done} of {len(plan.domains)} domains up to date, "
                f"{len(receiver.accepted)} webhooks received"
            )
            time.sleep(0.5)
    msg = (
        f"after {JUDGED_S:.0f} s the checks have not come to {caught_up:%-d %b}; is the machine "
        "busy with something else?"
    )
    raise DemoError(msg)


def _drain(daemon: Daemon, clock: Clock) -> None:
    """Wait until every message has left."""
    deadline = clock.monotonic() + DRAIN_S
    while (outbox := daemon.get("/v1/outbox"))["waiting"]:
        if clock.monotonic() > deadline:
            msg = f"{outbox['waiting']} messages still wait after {DRAIN_S:.0f} s"
            raise DemoError(msg)
        time.sleep(0.2)


def _ask(
    daemon: Daemon, receiver: Receiver, folder: Path, plan: Plan, deeds: Sequence[Deed]
) -> Outcome:
    """Everything a person would look up, over HTTP; reports are written as files."""
    folder.mkdir(parents=True, exist_ok=True)
    budgets, reports = {}, {}
    for domain in plan.domains:
        place = f"/v1/models/{MODEL}/domains/{domain}/report"
        budgets[domain] = daemon.get(place)["budget"]
        page = folder / f"{domain}.html"
        page.write_text(daemon.get_html(place), "utf-8")
        reports[domain] = page
    listed = daemon.get("/v1/incidents", model=MODEL, limit=1000)["incidents"]
    return Outcome(
        domains=tuple(daemon.get(f"/v1/models/{MODEL}/domains")["domains"]),
        incidents=tuple(sorted(listed, key=lambda i: (i["opened_at"], i["domain"]))),
        requests=tuple(
            sorted(
                daemon.get("/v1/retraining-requests", limit=1000)["requests"],
                key=lambda r: str(r["requested_at"]),
            )
        ),
        mappings=tuple(daemon.get("/v1/mappings", model=MODEL)["mappings"]),
        deeds=tuple(deeds),
        budgets=budgets,
        outbox=daemon.get("/v1/outbox"),
        reports=reports,
        receiver=receiver,
    )
