"""What `kedge doctor` looks at, one line each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from monitor.clock import Clock
from monitor.config import Config
from monitor.errors import KedgeError
from monitor.outgoing.outbound import GuardedClient
from monitor.outgoing.sending import Sender
from monitor.outgoing.trial import try_channel
from monitor.process.daemon import open_channels
from monitor.process.door import anonymous_words, refuse_open_door, refuse_weak_token
from storage.engine import Database, open_database, sqlite_version, sqlite_warning
from storage.migrations import current_revision, head_revision
from storage.outbox import dead_count, oldest_unsent_age, waiting_count
from storage.tokens import any_live_token, any_token

LEAST_FREE_BYTES = 1_000_000_000
RELEASED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Look:
    """One thing looked at; `wrong` is "" where it is fine."""

    what: str
    words: str = ""
    wrong: str = ""


def examine(config: Config, clock: Clock) -> Iterator[Look]:
    """Database, outbox, clock, disk, channels, door. Changes nothing but the database's files."""
    yield Look("configuration", f"{len(config.models)} models, {len(config.channels)} channels")
    yield _refused("shared token", lambda: refuse_weak_token(config), "none, or a good one")
    yield _refused("channels", lambda: open_channels(config), "secrets and addresses can be used")
    try:
        database = open_database(config.service.database)
    except (ValueError, SQLAlchemyError) as error:
        yield Look("database", wrong=str(error).splitlines()[0])
        return
    try:
        yield from _database(database, clock)
        yield _door(config, database, clock)
    finally:
        database.close()
    now = clock.now()
    wrong = "" if now > RELEASED else f"it is {now:%Y-%m-%d} here, before this version was made"
    yield Look("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC", wrong)


def try_channels(config: Config, clock: Clock) -> Iterator[Look]:
    """A test message through every channel that can be opened, from this very machine."""
    try:
        channels = open_channels(config)
    except KedgeError:
        return  # `examine` has said why
    sender = Sender(GuardedClient(clock))
    for name, channel in channels.by_name.items():
        trial = try_channel(channel, client=sender, clock=clock, console=sys.stdout)
        words = f"test message: {trial.words} ({trial.duration_ms} ms)"
        yield Look(f"channel {name}", words, "" if trial.delivered else words)


def _database(database: Database, clock: Clock) -> Iterator[Look]:
    try:
        with database.read() as session:
            session.execute(text("SELECT 1"))
        current, head = current_revision(database), head_revision()
        if current is None:
            yield Look("database", "empty; `kedge run` or `kedge db upgrade` makes the tables")
        else:
            wrong = "" if current == head else f"at {current}, needs {head}: `kedge db upgrade`"
            yield Look("database", f"at revision {current}", wrong)
            yield _outbox(database, clock)
    except SQLAlchemyError as error:
        yield Look("database", wrong=str(error).splitlines()[0])
        return
    if database.is_sqlite:
        words = ".".join(map(str, sqlite_version()))
        warning = sqlite_warning(sqlite_version(), writing_processes=1)
        yield Look("SQLite", f"{words}{'; ' + warning if warning else ''}")
    if database.path is not None:
        folder = Path(database.path).resolve().parent
        free = shutil.disk_usage(folder).free
        wrong = "" if free >= LEAST_FREE_BYTES else f"only {free / 1e9:.2f} GB free in {folder}"
        yield Look("disk", f"{free / 1e9:.0f} GB free", wrong)


def _door(config: Config, database: Database, clock: Clock) -> Look:
    try:
        with database.read() as session:
            live, ever = any_live_token(session, clock.now()), any_token(session)
    except SQLAlchemyError:
        live = ever = False  # no tables yet; the look at the database says so
    return _refused(
        "door",
        lambda: refuse_open_door(config, tokens=live),
        anonymous_words(config, tokens=ever) or "only those with a token",
    )


def _outbox(database: Database, clock: Clock) -> Look:
    with database.read() as session:
        waiting, dead = waiting_count(session), dead_count(session)
        age = oldest_unsent_age(session, clock.now())
    wrong = f"{dead} dead letters; look at them with `kedge channels dead`" if dead else ""
    oldest = "" if age is None else f", the oldest for {age}"
    return Look("outbox", f"{waiting} waiting{oldest}", wrong)


def _refused(what: str, look: Callable[[], object], fine: str) -> Look:
    try:
        look()
    except KedgeError as error:
        return Look(what, wrong=str(error))
    return Look(what, fine)
