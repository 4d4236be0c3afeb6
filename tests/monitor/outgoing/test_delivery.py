"""At least once, under a constant id, whatever the receiver does; every attempt is written down."""

from __future__ import annotations

import io
import itertools
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from alerts.notifiers import Letter, Outgoing, Relayed, build
from alerts.records import Attempt, Message, Outcome
from alerts.schedule import Reply
from alerts.signature import Key, verify
from monitor.outgoing.addresses import Network, parse_networks
from monitor.outgoing.delivery import LEASE, Channel, Channels, deliver_due
from monitor.outgoing.outbound import GuardedClient
from monitor.outgoing.sending import Sender
from storage.channels import (
    ChannelState,
    channel_state,
    close_channel,
    enable_channel,
    hold_channel,
)
from storage.engine import Database, open_database
from storage.migrations import upgrade
from storage.outbox import (
    channels_due,
    claim_next,
    dead_letters,
    delivery_log,
    enqueue,
    next_due_at,
    replay_dead,
    waiting_count,
)
from storage.tables import MessageRow
from tests.alerts.build import Story, at, diagnosis
from tests.monitor.receiver import Receiver, closed_port, receiving

SECRET = "whsec_" + "QUJD" * 8
LOOPBACK = parse_networks(["127.0.0.0/8"])
START = datetime(2026, 1, 1, tzinfo=UTC)


Prepared = Outgoing | Letter | Relayed


@dataclass
class HandClock:
    """Stands still until moved; durations are real."""

    instant: datetime = START

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class Scripted:
    """A client that answers from a list, then 200; it remembers what it sent."""

    replies: list[Reply] = field(default_factory=list)
    sent: list[Outgoing] = field(default_factory=list)

    def send(self, prepared: Prepared, *, allowed: Sequence[Network] = ()) -> Reply:
        assert isinstance(prepared, Outgoing)
        self.sent.append(prepared)
        return self.replies.pop(0) if self.replies else Reply(200)

    @property
    def ids(self) -> list[str]:
        return [outgoing.headers["webhook-id"] for outgoing in self.sent]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'kedge.db'}")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def channels(*names: str, url: str = "https://receiver.example/") -> Channels:
    options = {"url": url, "secret": SECRET}
    return Channels({n: Channel(build("webhook", n, options), LOOPBACK) for n in names or ("ops",)})


def real_client(clock: HandClock, deadline_s: float = 10.0) -> Sender:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return Sender(GuardedClient(clock, deadline_s=deadline_s, ssl_context=context))


def messages(count: int) -> list[Message]:
    story = Story()
    (first, *_) = story.see(0, diagnosis()).messages
    return [replace(first, id=f"msg_{i:04}", created_at=at(i)) for i in range(count)]


def put(database: Database, count: int = 1, to: Sequence[str] = ("ops",)) -> list[Message]:
    made = messages(count)
    with database.write() as session:
        for message in made:
            enqueue(session, message, to, START)
    return made


def log_of(database: Database, message: Message) -> tuple[Attempt, ...]:
    with database.read() as session:
        return delivery_log(session, message.id)


def waiting(database: Database) -> int:
    with database.read() as session:
        return waiting_count(session)


def run_until_quiet(
    database: Database, to: Channels, client: Sender | Scripted, clock: HandClock
) -> None:
    """Deliver what is due, jump to when the next is due, again and again."""
    for _ in range(500):
        deliver_due(database, to, client=client, clock=clock)
        with database.read() as session:
            due = next_due_at(session)
        if due is None:
            return
        clock.instant = max(clock.instant, due)
    pytest.fail("deliveries never came to an end")


def test_all_arrive_through_a_receiver_that_fails_in_every_way(
    database: Database, clock: HandClock
) -> None:
    """Ids stay the same over retries, each attempt is freshly signed, all finally arrive."""
    failures = [
        "500",
        "429 Retry-After: 120",
        "503 Retry-After: nonsense",
        "302 Location: http://169.254.169.254/",
        "404",
        "502",
        "garbage",
        "close",
        "endless-head",
        "504",
    ]
    hanging = ["drip-head", "silent"]
    made = put(database, 20)
    script = list(itertools.chain(failures, failures, hanging, ["200"] * 15))
    random.Random(7).shuffle(script)
    client = real_client(clock, deadline_s=1.0)
    with receiving() as receiver:
        receiver.script.extend(script)
        run_until_quiet(database, channels(url=receiver.url), client, clock)

    with database.read() as session:
        assert dead_letters(session) == ()
    delivered = [r for r in receiver.requests if r.answered == "200"]
    ids = [r.headers["webhook-id"] for r in delivered]
    assert sorted(ids) == [m.id for m in made]
    attempts = Counter(r.headers["webhook-id"] for r in receiver.requests)
    assert sum(attempts.values()) == 20 + 22
    key = Key.parse(SECRET)
    for request in receiver.requests:
        then = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
        verify([key], request.headers, request.body, now=then)
    bodies = {r.body for r in receiver.requests}
    assert len(bodies) == 1
    for message in made:
        lines = log_of(database, message)
        assert len(lines) == attempts[message.id]
        assert [line.attempt for line in lines] == list(range(len(lines)))
        assert [line.outcome for line in lines] == [Outcome.RETRY] * (len(lines) - 1) + [
            Outcome.DELIVERED
        ]
        stamps = [
            r.headers["webhook-timestamp"]
            for r in receiver.requests
            if r.headers["webhook-id"] == message.id
        ]
        assert stamps == [str(int(line.at.timestamp())) for line in lines]


def test_a_message_nobody_takes_is_a_dead_letter_after_eight_attempts(
    database: Database, clock: HandClock
) -> None:
    (message,) = put(database)
    client = Scripted([Reply(500)] * 8)
    run_until_quiet(database, channels(), client, clock)
    assert client.ids == [message.id] * 8
    with database.read() as session:
        (letter,) = dead_letters(session)
    assert (letter.attempts, letter.message) == (8, message)
    assert "given up after 8 attempts" in letter.last_error
    assert timedelta(hours=22) < clock.instant - START < timedelta(hours=34)

    with database.write() as session:
        replay_dead(session, clock.now())
    deliver_due(database, channels(), client=client, clock=clock)
    assert client.ids == [message.id] * 9
    assert log_of(database, message)[-1].outcome is Outcome.DELIVERED


def test_a_receiver_that_does_not_answer_is_called_once_not_for_every_message(
    database: Database, clock: HandClock
) -> None:
    put(database, 30, to=("down", "up"))
    down = f"http://127.0.0.1:{closed_port()}/"
    with receiving() as receiver:
        both = Channels(
            {**channels("up", url=receiver.url).by_name, **channels("down", url=down).by_name}
        )
        client = real_client(clock)
        done = deliver_due(database, both, client=client, clock=clock)
    assert len(receiver.requests) == 30
    assert done.counts[Outcome.RETRY] == 1
    assert done.attempts == 31
    assert waiting(database) == 30


def test_holding_a_channel_costs_its_messages_no_attempt(
    database: Database, clock: HandClock
) -> None:
    made = put(database, 3)
    client = Scripted([Reply(429, retry_after="600")])
    deliver_due(database, channels(), client=client, clock=clock)
    assert len(client.sent) == 1
    clock.instant += timedelta(seconds=599)
    assert deliver_due(database, channels(), client=client, clock=clock).attempts == 0
    clock.instant += timedelta(seconds=1)
    assert deliver_due(database, channels(), client=client, clock=clock).attempts == 3
    numbers = sorted(len(log_of(database, message)) for message in made)
    assert numbers == [1, 1, 2]


def test_410_disables_the_channel_until_somebody_enables_it(
    database: Database, clock: HandClock
) -> None:
    first = put(database, 3, to=("ops", "other"))
    both = channels("ops", "other")

    @dataclass
    class Gone(Scripted):
        def send(self, prepared: Prepared, *, allowed: Sequence[Network] = ()) -> Reply:
            super().send(prepared)
            return Reply(410) if len(self.sent) == 1 else Reply(200)

    client = Gone()
    done = deliver_due(database, both, client=client, clock=clock)
    wanted = {Outcome.DELIVERED: 3, Outcome.DISABLED: 1}
    assert done.counts == dict.fromkeys(Outcome, 0) | wanted
    with database.read() as session:
        state = channel_state(session, "ops")
        assert {letter.message.id for letter in dead_letters(session)} == {m.id for m in first}
    assert state.disabled_at == clock.now()
    assert "answered 410" in state.disabled_words

    later = replace(messages(1)[0], id="msg_later")
    with database.write() as session:
        enqueue(session, later, ["ops"], clock.now())
    assert deliver_due(database, both, client=client, clock=clock).attempts == 0
    with database.read() as session:
        assert later.id in {letter.message.id for letter in dead_letters(session)}
    # Replaying alone brings nothing: the channel is still disabled, for every process.
    with database.write() as session:
        assert replay_dead(session, clock.now(), channel="ops") == 4
    assert deliver_due(database, channels("ops"), client=client, clock=clock).attempts == 0
    with database.write() as session:
        assert enable_channel(session, "ops")
        assert not enable_channel(session, "ops")
        assert replay_dead(session, clock.now(), channel="ops") == 4
    assert deliver_due(database, both, client=client, clock=clock).attempts == 4
    assert waiting(database) == 0


@pytest.mark.parametrize(
    ("reply", "words"),
    [(Reply(error="refused: loopback", permanent=True), "refused: loopback")],
)
def test_a_refusal_is_a_dead_letter_at_once(
    database: Database, clock: HandClock, reply: Reply, words: str
) -> None:
    (message,) = put(database)
    deliver_due(database, channels(), client=Scripted([reply]), clock=clock)
    with database.read() as session:
        (letter,) = dead_letters(session)
    assert (letter.last_error, letter.attempts) == (words, 1)
    assert log_of(database, message)[0].next_at is None


def test_a_channel_that_is_not_configured_makes_dead_letters_not_silence(
    database: Database, clock: HandClock
) -> None:
    put(database, 1, to=("gone", "ops"))
    client = Scripted()
    done = deliver_due(database, channels("ops"), client=client, clock=clock)
    assert (done.counts[Outcome.DEAD], done.counts[Outcome.DELIVERED]) == (1, 1)
    with database.read() as session:
        assert "not configured" in dead_letters(session)[0].last_error


def test_a_notifier_that_crashes_stops_nothing_and_tells_no_secret(
    database: Database, clock: HandClock
) -> None:
    class Broken:
        name = "broken"

        def prepare(self, message: Message, now: datetime) -> Outgoing:
            msg = "token s3cret is wrong"
            raise RuntimeError(msg)

    made = put(database, 2, to=("broken", "ops"))
    both = Channels({**channels("ops").by_name, "broken": Channel(Broken())})
    client = Scripted()
    with capture_logs() as logs:
        done = deliver_due(database, both, client=client, clock=clock)
    assert client.ids == [m.id for m in made]
    assert done.counts[Outcome.RETRY] == 1
    assert "s3cret" not in str(logs)
    (failed,) = [line for m in made for line in log_of(database, m) if line.channel == "broken"]
    assert failed.words.startswith("the notifier failed with RuntimeError in prepare, line ")


def test_a_crash_between_sending_and_marking_sends_again_under_the_same_id(
    database: Database, clock: HandClock
) -> None:
    (message,) = put(database)

    @dataclass
    class Dies(Scripted):
        def send(self, prepared: Prepared, *, allowed: Sequence[Network] = ()) -> Reply:
            super().send(prepared)
            raise KeyboardInterrupt

    dying = Dies()
    with pytest.raises(KeyboardInterrupt):
        deliver_due(database, channels(), client=dying, clock=clock)
    client = Scripted()
    assert deliver_due(database, channels(), client=client, clock=clock).attempts == 0
    clock.instant += LEASE
    assert deliver_due(database, channels(), client=client, clock=clock).attempts == 1
    assert dying.ids == client.ids == [message.id]


def test_a_process_that_lost_its_lease_marks_nothing(database: Database, clock: HandClock) -> None:
    (message,) = put(database)

    @dataclass
    class Slow(Scripted):
        def send(self, prepared: Prepared, *, allowed: Sequence[Network] = ()) -> Reply:
            clock.instant += LEASE
            with database.write() as session:
                assert claim_next(session, now=clock.now(), lease=LEASE) is not None
            return super().send(prepared)

    with capture_logs() as logs:
        deliver_due(database, channels(), client=Slow(), clock=clock)
    assert "delivery.lost" in [line["event"] for line in logs]
    assert log_of(database, message) == ()
    assert waiting(database) == 1


def test_several_threads_send_each_message_once(database: Database, clock: HandClock) -> None:
    made = put(database, 40)
    client = Scripted()
    threads = [
        threading.Thread(
            target=deliver_due,
            args=(database, channels()),
            kwargs={"client": client, "clock": clock},
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(client.ids) == [m.id for m in made]
    assert waiting(database) == 0


def test_the_console_is_a_channel_like_any_other(database: Database, clock: HandClock) -> None:
    (message,) = put(database, to=("terminal",))
    to = Channels({"terminal": Channel(build("console", "terminal", {}))})
    out = io.StringIO()
    deliver_due(database, to, client=Scripted(), clock=clock, console=out)
    assert out.getvalue().startswith("[PAGE] incident.opened · high")
    assert message.id in out.getvalue()

    put_again = replace(message, id="msg_again")
    with database.write() as session:
        enqueue(session, put_again, ["terminal"], START)
    out.close()
    deliver_due(database, to, client=Scripted(), clock=clock, console=out)
    assert "console failed with ValueError" in log_of(database, put_again)[0].words


def test_a_pass_ends_at_its_limit_and_when_told_to(database: Database, clock: HandClock) -> None:
    put(database, 5)
    client = Scripted()
    assert deliver_due(database, channels(), client=client, clock=clock, limit=2).attempts == 2
    stopped = deliver_due(database, channels(), client=client, clock=clock, stop=lambda: True)
    assert stopped.attempts == 0
    stop_after_one = iter([False, True])
    done = deliver_due(
        database, channels(), client=client, clock=clock, stop=lambda: next(stop_after_one)
    )
    assert done.attempts == 1


def test_a_body_changed_in_storage_is_signed_as_it_is_sent(
    database: Database, clock: HandClock
) -> None:
    """The signature is made over the bytes of this attempt, not over what once was."""
    put(database)
    with database.write() as session:
        session.execute(update(MessageRow).values(body='{"type":"x","data":{"é":"→"}}'))
    client = Scripted()
    deliver_due(database, channels(), client=client, clock=clock)
    (outgoing,) = client.sent
    assert outgoing.body == '{"type":"x","data":{"é":"→"}}'.encode()
    verify([Key.parse(SECRET)], outgoing.headers, outgoing.body, now=clock.now())


def test_logs_of_a_pass_hold_no_url_and_no_secret(database: Database, clock: HandClock) -> None:
    put(database)
    url = f"http://127.0.0.1:{closed_port()}/s3cret-token"
    client = real_client(clock)
    with capture_logs() as logs:
        deliver_due(database, channels(url=url), client=client, clock=clock)
    assert [line["event"] for line in logs] == ["message.failed"]
    assert datetime.fromisoformat(logs[0]["next_at"]) > clock.now()
    assert "s3cret" not in str(logs)
    assert "QUJD" not in str(logs)


def test_holding_and_closing_leave_a_claimed_delivery_and_other_channels_alone(
    database: Database,
) -> None:
    put(database, 3, to=("ops", "other"))
    with database.write() as session:
        claimed = claim_next(session, now=START, lease=LEASE)
        assert claimed is not None
        until = START + timedelta(minutes=5)
        hold_channel(session, "ops", until=until)
        hold_channel(session, "ops", until=START)
        assert channel_state(session, "ops") == ChannelState("ops", 2, until)
        assert channels_due(session, START) == ("other",)
        assert channels_due(session, until) == ("ops", "other")
        assert close_channel(session, "ops", now=START, words="disabled") == 2
        letters = dead_letters(session)
    assert claimed.channel == "ops"
    assert {(letter.channel, letter.last_error) for letter in letters} == {("ops", "disabled")}
    assert claimed.message.id not in {letter.message.id for letter in letters}
    assert waiting(database) == 4


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def test_the_guard_stands_in_the_way_unless_the_channel_allows_the_network(
    database: Database, clock: HandClock, receiver: Receiver
) -> None:
    put(database, 1, to=("inside", "outside"))
    options = {"url": receiver.url, "secret": SECRET}
    to = Channels(
        {
            "inside": Channel(build("webhook", "inside", options), LOOPBACK),
            "outside": Channel(build("webhook", "outside", options)),
        }
    )
    client = real_client(clock)
    deliver_due(database, to, client=client, clock=clock)
    assert len(receiver.requests) == 1
    with database.read() as session:
        (letter,) = dead_letters(session)
    assert letter.channel == "outside"
    assert "127.0.0.1, this host (loopback)" in letter.last_error
