"""Two processes at one channel whose receiver keeps state: it ends where the incident stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerts.closing import resolve_by_person
from alerts.notifiers import build
from alerts.records import Message
from alerts.schedule import Reply
from alerts.settings import AlertSettings
from detectors.records import Deployment
from monitor.outgoing.delivery import LEASE, Channel, Channels, deliver_due
from storage.engine import Database, open_database
from storage.migrations import upgrade
from storage.outbox import enqueue
from tests.alerts.build import Story, at, diagnosis
from tests.monitor.vendors import ROUTING_KEY

SETTINGS = AlertSettings(public_url="https://kedge.example")
CHANNELS = Channels({"pd": Channel(build("pagerduty", "pd", {"secret": ROUTING_KEY}))})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    upgrade(opened)
    yield opened
    opened.close()


@dataclass
class Standing:
    """A clock that a test moves."""

    instant: datetime = datetime(2026, 1, 10, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()


@dataclass
class Pager:
    """What it heard, in order. The process that pages is stopped first, and `meanwhile` is done."""

    meanwhile: Callable[[], None]
    dies: bool
    heard: list[str] = field(default_factory=list)
    stopped: bool = False

    def send(self, prepared: Any, *, allowed: Any = ()) -> Reply:
        action = json.loads(prepared.body)["event_action"]
        first = action == "trigger" and not self.stopped
        if first:
            self.stopped = True
            self.meanwhile()
        self.heard.append(action)
        if first and self.dies:
            raise KeyboardInterrupt  # nothing that comes after the send is done
        return Reply(202)


def put(database: Database, clock: Standing, *messages: Message) -> None:
    with database.write() as session:
        for message in messages:
            enqueue(session, message, ["pd"], clock.now())


def paged_behind_its_end(database: Database, clock: Standing, *, dies: bool) -> Pager:
    """The page of an incident leaves after another process has sent that it is over."""
    story = Story(Deployment("flights", "OO"), SETTINGS)
    story.see(0, diagnosis())
    over = resolve_by_person(story.only, by="bob", now=at(2), settings=SETTINGS)

    def the_other_process() -> None:
        put(database, clock, *over.messages)
        deliver_due(database, CHANNELS, client=pager, clock=clock)

    pager = Pager(the_other_process, dies)
    put(database, clock, story.messages[0])
    return pager


def test_a_page_that_leaves_behind_the_end_is_followed_by_the_end_again(database: Database) -> None:
    clock = Standing()
    pager = paged_behind_its_end(database, clock, dies=False)
    deliver_due(database, CHANNELS, client=pager, clock=clock)
    assert pager.heard == ["resolve", "trigger", "resolve"]
    deliver_due(database, CHANNELS, client=pager, clock=clock)
    assert len(pager.heard) == 3


def test_so_it_is_when_the_process_dies_before_it_can_say_what_it_did(database: Database) -> None:
    clock = Standing()
    pager = paged_behind_its_end(database, clock, dies=True)
    with pytest.raises(KeyboardInterrupt):
        deliver_due(database, CHANNELS, client=pager, clock=clock)
    assert pager.heard == ["resolve", "trigger"]
    clock.instant += 2 * LEASE
    deliver_due(database, CHANNELS, client=pager, clock=clock)
    assert pager.heard == ["resolve", "trigger", "resolve"]
    deliver_due(database, CHANNELS, client=pager, clock=clock)
    assert len(pager.heard) == 3
