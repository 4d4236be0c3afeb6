"""A real daemon process: what it tells systemd, how it reloads, and how it leaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from monitor.process.daemon import Service
from tests.end_to_end.test_daemon_is_replay import MODEL, FixedClock
from tests.sources import ROOT
from tests.trust.test_two_daemons import daemon

LONGEST_S = 60.0
"""How long a slow machine may take for anything here; nothing waits that long on a fast one."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def next_but(listener: socket.socket, *passed_over: bytes) -> bytes:
    """The next state that is none of these."""
    while (state := listener.recv(200)) in passed_over:
        pass
    return state


def test_a_daemon_tells_that_it_lives_reloads_whole_and_leaves_in_time(tmp_path: Path) -> None:
    """Open connections do not keep it, a second daemon is refused, the exit code is 0."""
    port = free_port()
    config = tmp_path / "kedge.toml"
    config.write_text(
        f"[service]\nport = {port}\ndatabase = 'sqlite:///{tmp_path / 'kedge.db'}'\n"
        "check_every = '1s'\n[models.m]\n"
    )
    command = [sys.executable, "-m", "monitor", "run", "--config", str(config)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(LONGEST_S)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "30000000",
        }
        environment.pop("WATCHDOG_PID", None)
        with (tmp_path / "log").open("w") as written:
            running = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=written, stderr=written
            )
        try:
            assert next_but(listener, b"WATCHDOG=1") == b"READY=1"
            assert listener.recv(200) == b"WATCHDOG=1"
            url = f"http://127.0.0.1:{port}"
            second = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert second.returncode == 1
            assert f"is in use by process {running.pid}; stop that one first" in second.stderr
            assert len(second.stderr.splitlines()) == 1

            config.write_text(config.read_text() + "[models.n]\n[servce]\n")
            running.send_signal(signal.SIGHUP)
            assert next_but(listener, b"WATCHDOG=1").startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert next_but(listener, b"WATCHDOG=1") == b"READY=1"
            with httpx2.Client(base_url=url, timeout=LONGEST_S) as client:
                assert [m["name"] for m in client.get("/v1/models").json()["models"]] == ["m"]
                config.write_text(config.read_text().replace("[servce]\n", ""))
                running.send_signal(signal.SIGHUP)
                assert next_but(listener, b"WATCHDOG=1").startswith(b"RELOADING=1")
                assert next_but(listener, b"WATCHDOG=1") == b"READY=1"
                assert [m["name"] for m in client.get("/v1/models").json()["models"]] == [
                    "m",
                    "n",
                ]
                half = socket.create_connection(("127.0.0.1", port))
                half.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
                running.send_signal(signal.SIGTERM)
                assert next_but(listener, b"WATCHDOG=1") == b"STOPPING=1"
                assert running.wait(LONGEST_S) == 0
                half.close()
        finally:
            running.kill()
            running.wait()
    assert "config.refused" in (tmp_path / "log").read_text()


def test_a_check_that_hangs_is_no_longer_a_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs: list[float] = []
    go_on, hangs = threading.Event(), threading.Event()
    running = daemon(f"sqlite:///{tmp_path / 'kedge.db'}")
    running.alive = lambda: signs.append(time.monotonic())

    def hang(*_: Any, **__: Any) -> int:
        hangs.set()
        go_on.wait(LONGEST_S)
        return 0

    running.check_due()
    assert len(signs) >= 2
    monkeypatch.setattr(type(running.runner), "check_model", hang)
    running._dirty.add(MODEL)
    checking = threading.Thread(target=running.check_due)
    checking.start()
    assert hangs.wait(LONGEST_S)
    before = len(signs)
    time.sleep(0.05)
    assert len(signs) == before
    go_on.set()
    checking.join()
    assert len(signs) == before + 1
    running.stop()


def test_a_model_whose_check_failed_is_checked_again_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it failed of: no row has to come first, and no hot loop is made of it."""
    clock = SteppedClock()
    running = daemon(f"sqlite:///{tmp_path / 'kedge.db'}", clock=clock)
    looked: list[float] = []

    def check_model(*_: Any, **__: Any) -> int:
        looked.append(clock.seconds)
        if len(looked) <= 2:
            raise ZeroDivisionError
        return 0

    monkeypatch.setattr(type(running.runner), "check_model", check_model)
    running._dirty.add(MODEL)
    for _ in range(60):
        with suppress(ZeroDivisionError):
            running.check_due()
        clock.seconds += 1.0
    assert looked == [0.0, 10.0, 30.0]
    running.stop()


class SteppedClock(FixedClock):
    """A monotonic clock that is moved by hand."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_one_model_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = daemon(f"sqlite:///{tmp_path / 'kedge.db'}")
    checked: list[str] = []

    def check(_: Service, model: str) -> None:
        checked.append(model)
        if model == "a":
            raise ZeroDivisionError

    monkeypatch.setattr(Service, "check", check)
    running._dirty.update({"a", "b"})
    with pytest.raises(ZeroDivisionError):
        running.check_due()
    assert checked == ["a", "b"]
    running.stop()
