"""What systemd is told, on a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor.process.systemd import ServiceManager


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and how NOTIFY_SOCKET names it."""
    named = str(tmp_path / "notify")
    if request.param == "abstract":
        named = f"@kedge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + named[1:] if named.startswith("@") else named)
        listener.settimeout(5)
        yield listener, named


def test_every_state_arrives_as_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
    told = ServiceManager.of(environment, pid=7)
    told.ready()
    told.alive()
    told.reloading(12.5)
    told.stopping()
    assert [listener.recv(100) for _ in range(4)] == [
        b"READY=1",
        b"WATCHDOG=1",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"STOPPING=1",
    ]


def test_a_watchdog_that_waits_for_another_process_is_not_fed(
    manager: tuple[socket.socket, str],
) -> None:
    listener, address = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}
    told = ServiceManager.of(environment, pid=7)
    told.alive()
    told.ready()
    assert listener.recv(100) == b"READY=1"


def test_without_a_manager_nothing_is_sent_and_a_gone_one_is_only_logged(tmp_path: Path) -> None:
    with capture_logs() as logs:
        ServiceManager.of({}, pid=1).ready()
        assert logs == []
        ServiceManager(str(tmp_path / "gone")).ready()
    assert [line["event"] for line in logs] == ["systemd.not_told"]
