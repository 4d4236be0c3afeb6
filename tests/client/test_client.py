"""The client against a real daemon, and against one that behaves as badly as daemons can."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from detectors.records import Deployment, Window
from kedge_client import Client, Stats
from storage.inbox import read_window
from tests.client.scripted import scripted
from tests.monitor.api.asking import World, world
from tests.monitor.receiver import closed_port
from tests.monitor.serving import NOW
from tests.sources import ROOT

QUICK: dict[str, Any] = {"model": "credit", "every_s": 0.02, "backoff_s": (0.01, 0.05)}
EARLIER = NOW - timedelta(hours=2)


@contextmanager
def listening(running: World) -> Iterator[str]:
    """The application behind a socket; the address."""
    server = uvicorn.Server(uvicorn.Config(running.app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    with world(tmp_path_factory.mktemp("daemon")) as running, listening(running) as url:
        yield running, url


def stored(running: World, domain: str) -> Window:
    with running.database.read() as session:
        return read_window(
            session, Deployment("credit", domain), -(2**62), 2**62, include_late=True
        )


def settled(stats: Stats) -> int:
    return stats.accepted + stats.duplicate + stats.sampled_out + stats.rejected + stats.dropped


# ---- a real daemon


def test_events_and_labels_arrive_and_are_joined(daemon: tuple[World, str]) -> None:
    running, url = daemon
    with Client(url, domain="joined", version="7", **QUICK) as kedge:
        ids = [kedge.log(features={"age": 20 + at}, score=at / 100, ts=EARLIER) for at in range(50)]
        for at, event_id in enumerate(ids):
            kedge.label(event_id, at % 2, ts=NOW)
        assert kedge.flush()
    assert len(set(ids)) == 50
    window = stored(running, "joined")
    assert window.rows == 50
    assert window.score is not None
    assert window.label is not None
    by_score = sorted(zip(window.score.tolist(), window.label.tolist(), strict=True))
    assert by_score == [(at / 100, at % 2) for at in range(50)]
    assert window.numeric["age"].sum() == sum(range(20, 70))
    assert kedge.stats.accepted == 100
    assert kedge.stats.waiting == 0


def test_an_id_sent_again_changes_nothing(daemon: tuple[World, str]) -> None:
    running, url = daemon
    row = {"id": "same", "features": {"age": 1}, "score": 0.5, "ts": EARLIER, "domain": "again"}
    with Client(url, **QUICK) as kedge:
        for _ in range(2):
            assert kedge.log(row) == "same"
            assert kedge.flush()
    assert stored(running, "again").rows == 1
    assert (kedge.stats.accepted, kedge.stats.duplicate) == (1, 1)


def test_rows_the_daemon_refuses_are_counted_and_the_others_kept(
    daemon: tuple[World, str],
) -> None:
    """A score of 7 is no probability, and now is long after the clock of this daemon."""
    running, url = daemon
    with Client(url, domain="partly", **QUICK) as kedge:
        kedge.log(features={"age": 1}, score=7, ts=EARLIER)
        kedge.log(features={"age": 1}, score=0.7)
        kedge.log(features={"age": 1}, score=0.7, ts=EARLIER)
    assert stored(running, "partly").rows == 1
    assert (kedge.stats.accepted, kedge.stats.rejected) == (1, 2)


def test_an_unknown_model_is_tried_again_and_said(
    daemon: tuple[World, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may still add it to the configuration; what waits is bounded."""
    _, url = daemon
    with caplog.at_level(logging.WARNING), Client(url, **{**QUICK, "model": "nobody"}) as kedge:
        kedge.log(score=0.5)
        assert not kedge.flush(0.2)
        assert kedge.stats.failures > 1
        stats = kedge.close(0.0)
    assert (stats.dropped, stats.waiting) == (1, 0)
    assert "404 unknown model 'nobody'" in stats.last_error
    assert sum("404" in line for line in caplog.messages) == 1  # once a minute, not each time


def test_it_serves_coroutines(daemon: tuple[World, str]) -> None:
    running, url = daemon

    async def serve() -> Stats:
        async with Client(url, domain="async", **QUICK) as kedge:
            kedge.log(features={"age": 3}, score=0.25, ts=EARLIER)
            assert await kedge.aflush()
        return kedge.stats

    assert asyncio.run(serve()).accepted == 1
    assert stored(running, "async").rows == 1


# ---- one that fails


@pytest.mark.parametrize(
    "answers",
    [
        ("503 Retry-After: 0",),
        ("500", "429"),
        ("reset",),
        ("401", "308 Location: /x"),
        ("hang up",),
    ],
    ids=" ".join,
)
def test_the_same_bytes_come_again_until_they_are_taken(answers: tuple[str, ...]) -> None:
    with scripted(*answers) as away:
        with Client(away.url, **QUICK) as kedge:
            first = kedge.log(score=0.5, features={"x": 1})
            assert kedge.flush()
            second = kedge.log(score=0.5)
            assert kedge.flush()
        assert away.ids() == [first, second]
        if answers != ("hang up",):
            assert len(set(away.bodies)) == 2
            assert len(away.bodies) == len(answers) + 2
    assert settled(kedge.stats) == kedge.stats.accepted == 2


def test_a_batch_that_is_too_large_is_halved_until_it_fits() -> None:
    with scripted("413", "413") as strict:
        with Client(strict.url, **QUICK) as kedge:
            ids = [kedge.log(score=0.5) for _ in range(8)]
            assert kedge.flush()
        assert sorted(strict.ids()) == sorted(ids)
        assert len(strict.bodies) >= 5
    assert kedge.stats.accepted == 8


def test_what_would_be_refused_again_is_not_sent_again() -> None:
    with scripted("400") as strict:
        with Client(strict.url, **QUICK) as kedge:
            kedge.log(score=0.5)
            assert kedge.flush()
            good = kedge.log(score=0.5)
        assert strict.ids() == [good]
    assert (kedge.stats.rejected, kedge.stats.accepted) == (1, 1)


@pytest.mark.parametrize("drop", ["newest", "oldest"])
def test_a_full_queue_drops_as_told_and_never_waits(drop: Any) -> None:
    """The daemon takes a batch and says nothing; 25 rows come while there is room for 10."""
    with scripted("silent") as silent:
        kedge = Client(
            silent.url, **{**QUICK, "every_s": 0.0}, batch_rows=1, most_rows=10, drop=drop
        )
        stuck = kedge.log(score=0.5)
        while not silent.requests:
            time.sleep(0.002)
        ids = [kedge.log(score=0.5) for _ in range(25)]
        assert kedge.stats.dropped == 15
        silent.released.set()
        assert kedge.flush()
        kedge.close()
        kept = ids[:10] if drop == "newest" else ids[15:]
        assert silent.ids() == [stuck, *kept]
    assert settled(kedge.stats) == kedge.stats.logged == 26


def test_bytes_are_bounded_too() -> None:
    kedge = Client(f"http://127.0.0.1:{closed_port()}", **QUICK, most_bytes=10_000)
    for _ in range(100):
        kedge.log(features={"text": "x" * 1_000})
    stats = kedge.close(0.0)
    assert 85 <= stats.dropped <= 100
    assert stats.waiting == 0


def test_nothing_a_caller_passes_raises() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop

    class Odd:
        def __str__(self) -> str:
            msg = "no text"
            raise RuntimeError(msg)

    with scripted() as daemon:
        with Client(daemon.url, **QUICK) as kedge:
            assert kedge.log(loop) == ""
            assert kedge.log(features={"x": Odd()}) == ""
            assert kedge.log(7) == ""  # type: ignore[arg-type]
            assert kedge.log(ts="whenever", id=7) == "7"
            kedge.label("7", Odd())  # type: ignore[arg-type]
            kedge.log(features={"x": "\ud800"})
        assert kedge.log(score=0.5) != ""  # closed: counted, not raised
    stats = kedge.stats
    assert (stats.unreadable, stats.accepted, stats.logged, stats.waiting) == (4, 2, 7, 0)
    assert stats.dropped == 5


def test_a_close_gives_up_a_request_that_hangs(tmp_path: Path) -> None:
    with scripted("silent") as silent:
        kedge = Client(silent.url, **QUICK, spill_dir=tmp_path)
        kedge.log(score=0.5)
        while not silent.requests:
            time.sleep(0.002)
        stats = kedge.close(0.1)
    assert (stats.spilled, stats.waiting, stats.dropped) == (1, 1, 0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "kedge:8321"}, "http://127.0.0.1:8321"),
        ({"model": ""}, "model is empty"),
        ({"batch_rows": 0}, "from 1 to"),
        ({"drop": "all"}, "'newest' or 'oldest'"),
    ],
)
def test_a_wrong_setting_stops_the_start(settings: dict[str, Any], told: str) -> None:
    given = {"url": "http://127.0.0.1:1", "model": "m", **settings}
    with pytest.raises(ValueError, match=told):
        Client(given.pop("url"), **given)


# ---- disk


def away(tmp_path: Path, **settings: Any) -> Client:
    """A client whose daemon is not there, with a folder to spill to."""
    return Client(
        f"http://127.0.0.1:{closed_port()}", **{**QUICK, **settings}, spill_dir=tmp_path / "spill"
    )


def test_what_waits_on_disk_is_sent_by_the_next_process(
    tmp_path: Path, daemon: tuple[World, str]
) -> None:
    """And not while its writer lives: the lock says so."""
    running, url = daemon
    first = away(tmp_path, domain="spilled", batch_rows=10)
    for at in range(25):
        first.log(features={"age": at}, score=0.5, ts=EARLIER)
    while first.stats.spilled < 20:
        time.sleep(0.005)
    with Client(url, **QUICK, spill_dir=tmp_path / "spill") as second:
        second.log(features={"age": 1}, score=0.5, ts=EARLIER, domain="other")
        assert second.flush()
    assert stored(running, "spilled").rows == 0

    stats = first.close(0.0)
    assert (stats.spilled, stats.dropped, stats.waiting) == (25, 0, 25)
    with Client(url, **QUICK, spill_dir=tmp_path / "spill") as third:
        third.log(features={"age": 1}, score=0.5, ts=EARLIER, domain="other")
        assert third.flush()
    assert stored(running, "spilled").rows == 25
    assert third.stats.accepted == 26
    assert list((tmp_path / "spill").iterdir()) == []


def test_the_disk_is_bounded(tmp_path: Path) -> None:
    kedge = away(tmp_path, spill_bytes=2_000, batch_rows=10, most_rows=20)
    for at in range(400):
        kedge.log(features={"x": at}, score=0.5)
        if at % 10 == 9:
            time.sleep(0.002)
    stats = kedge.close(0.0)
    files = [file.stat().st_size for file in (tmp_path / "spill").glob("*.gz")]
    assert 0 < sum(files) <= 2_000
    assert stats.dropped + stats.spilled == 400
    assert stats.dropped > 0


# ---- processes

SCRIPT = """
import os, sys
from kedge_client import Client

kedge = Client(sys.argv[1], model="credit", every_s=0.02)
"""


def run(url: str, body: str) -> list[str]:
    code = SCRIPT + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, url],
        env={"PYTHONPATH": str(ROOT / "client")},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_process_that_ends_without_closing_still_sends() -> None:
    with scripted() as daemon:
        said = run(daemon.url, "print(kedge.log(score=0.5))")
        assert daemon.ids() == said


def test_a_fork_sends_every_row_once_and_both_go_on() -> None:
    """Rows that waited at the fork are the parent's; the child dials a connection of its own."""
    with scripted() as daemon:
        said = run(
            daemon.url,
            """
            print(kedge.log(score=0.5)); kedge.flush()
            print(kedge.log(score=0.5), flush=True)
            child = os.fork()
            print(*(kedge.log(score=0.5) for _ in range(3)), flush=True)
            kedge.close()
            assert kedge.stats.dropped == kedge.stats.waiting == 0
            if child:
                assert os.waitpid(child, 0)[1] == 0
            else:
                os._exit(0)
            """,
        )
        assert len(said) == 8
        assert sorted(daemon.ids()) == sorted(said)


def test_the_requests_are_what_the_daemon_documents() -> None:
    with scripted() as daemon:
        kedge = Client(f"{daemon.url}/behind/proxy", **{**QUICK, "model": "a b"}, token="kdg_x_y")
        kedge.log(id="e", score=0.5)
        kedge.flush()
        kedge.close()
        ((path, headers),) = daemon.requests
    assert path == "/behind/proxy/v1/events?model=a%20b"
    assert headers["Authorization"] == "Bearer kdg_x_y"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["Content-Encoding"] == "gzip"
