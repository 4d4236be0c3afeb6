"""The demo's daemon: a configuration that holds, its own port, and an end in every case."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from detectors.records import DAY_US, HOUR_US
from monitor.config import load_config
from monitor.demo import service
from monitor.demo.calendar import FULL
from monitor.demo.run import run_demo
from monitor.demo.service import (
    MODEL,
    SECRET_ENV,
    DemoError,
    config_text,
    new_secret,
    running_daemon,
    usable_port,
)
from monitor.errors import UsageError


def test_the_generated_configuration_is_what_the_demo_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kedge.toml"
    file.write_text(config_text(tmp_path, FULL, port=4711, webhook_url="http://127.0.0.1:1/x"))
    config = load_config(file)
    settings = config.models[MODEL].settings()
    assert (config.service.port, config.service.is_loopback) == (4711, True)
    assert (settings.tick_us, settings.lateness_us) == (DAY_US, 6 * HOUR_US)
    assert settings.label_delay_us == 2 * DAY_US
    assert settings.review_us == 121 * DAY_US
    assert config.models[MODEL].source_domain == "UA"
    secret = new_secret()
    monkeypatch.setenv(SECRET_ENV, secret)
    assert config.channels[0].secret() == secret


def test_a_port_in_use_is_refused_before_anything_starts() -> None:
    """Otherwise the demo would talk to whoever listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(UsageError, match=f"--port {port}"):
            usable_port(port)
    assert usable_port(None) > 0


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    from rich.console import Console

    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="something in it"):
        run_demo(Console(quiet=True), keep=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_daemon_that_cannot_start_is_reported_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "config_text", lambda *_args, **_named: "[service]\nprot = 1\n")
    with (
        pytest.raises(DemoError, match=r"exit code 2|exit code 1.*prot"),
        running_daemon(
            tmp_path, FULL, port=usable_port(None), webhook_url="http://x", secret=new_secret()
        ),
    ):
        raise AssertionError("it started")
