"""Signals at a running daemon."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.errors import InputError
from monitor.process import serve as module
from monitor.process.daemon import Service


@pytest.mark.parametrize(
    ("broken", "told"),
    [(None, "no such configuration file"), ("x = [", "not valid TOML"), ("[servce]", "Did you")],
    ids=["gone", "no TOML", "a typo"],
)
def test_a_reload_that_cannot_be_used_keeps_the_old_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None, told: str
) -> None:
    """Also where it is the default file: none at a reload is a mistake, not the defaults."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "kedge.toml"
    file.write_text("[models.m]\n")
    handlers: dict[int, Callable[[int, None], None]] = {}
    services: list[Service] = []

    def opened(*given: Any, **named: Any) -> Service:
        services.append(Service(*given, **named))
        return services[0]

    def meanwhile(*_: object, **__: object) -> None:
        file.unlink() if broken is None else file.write_text(broken)
        handlers[signal.SIGHUP](signal.SIGHUP, None)
        for thread in threading.enumerate():
            if thread.name == "reload":
                thread.join()

    monkeypatch.setattr(module, "Service", opened)
    monkeypatch.setattr(module, "configure_logging", lambda _: None)
    monkeypatch.setattr("monitor.process.serve.signal.signal", handlers.__setitem__)
    monkeypatch.setattr("monitor.process.serve.Server.run", meanwhile)
    with capture_logs() as logs:
        module.serve(None)

    (refused,) = [line for line in logs if line["event"] == "config.refused"]
    assert told in refused["reason"]
    assert set(services[0].config.models) == {"m"}


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "configure_logging", lambda _: None)
    monkeypatch.setattr("monitor.process.serve.signal.signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs():
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}; free it"):
            module.serve(None, port=port)
