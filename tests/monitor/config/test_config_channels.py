"""A channel that cannot work stops the start, in one line that says what would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.config import Config, parse_config
from monitor.errors import InputError
from monitor.process.daemon import open_channels

WHSEC = "whsec_" + "QUJD" * 8
SOUND: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://x.example", "secret_env": "S"},
    "slack": {"secret_env": "S"},
    "pagerduty": {"secret_env": "S"},
    "alertmanager": {"url": "https://x.example"},
    "email": {"host": "h", "sender": "a@b.example", "to": ["c@d.example"]},
    "apprise": {"secret_env": "S"},
    "console": {},
}
SECRETS = {
    "webhook": WHSEC,
    "slack": "https://hooks.slack.example/x",
    "pagerduty": "0" * 32,
    "apprise": "ntfy://topic",
}


def one(kind: str, **options: Any) -> Config:
    channel = {"name": "ops", "kind": kind, **options}
    return parse_config({"channels": [channel]}, source="kedge.toml")


@pytest.mark.parametrize("kind", SOUND)
def test_the_least_that_a_kind_needs_is_enough(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", SECRETS.get(kind, ""))
    assert list(open_channels(one(kind, **SOUND[kind])).by_name) == ["ops"]


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("slak", {}, "'slak' is not a kind of channel.*Did you mean 'slack'"),
        ("console", {"url": "https://x"}, "console has no url"),
        ("slack", {"secret_env": "S", "format": "cloudevents"}, "slack has no format"),
        ("slack", {}, "holds the URL of the incoming webhook"),
        ("pagerduty", {}, "holds the integration key"),
        ("webhook", {"url": "https://x", "secret_env": "S", "secret_file": "f"}, "one of them"),
        ("webhook", {"secret_env": "S"}, "needs url"),
        ("alertmanager", {}, "needs url"),
        ("email", {"host": "h"}, "needs sender"),
        ("console", {"rate": "often"}, "'often' is no rate"),
        ("console", {"allow_networks": ["10.0.0.0"], "rates": "1/s"}, "Did you mean 'rate'"),
        ("email", {**SOUND["email"], "tls": "startls"}, "Did you mean 'starttls'"),
    ],
)
def test_what_cannot_work_is_said(kind: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        one(kind, **options)
    assert "\n" not in str(caught.value)


def test_a_secret_that_is_missing_or_wrong_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("S", raising=False)
    with pytest.raises(InputError, match="environment variable S holds no secret"):
        open_channels(one("pagerduty", secret_env="S"))
    monkeypatch.setenv("S", "hunter2-hunter2")
    with pytest.raises(InputError) as caught:
        open_channels(one("pagerduty", secret_env="S"))
    assert "hunter2" not in str(caught.value)
    file = tmp_path / "secret"
    file.write_text("0" * 32 + "\n")
    assert open_channels(one("pagerduty", secret_file=str(file)))


def test_a_kind_from_an_installed_package_gets_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from alerts import notifiers

    point = EntryPoint(
        "shout", "tests.monitor.config.test_config_channels:shout", "kedge.notifiers"
    )

    def installed(*, group: str, name: str = "") -> list[EntryPoint]:
        return [point] if group == "kedge.notifiers" and name in {"", "shout"} else []

    monkeypatch.setattr(notifiers, "entry_points", installed)
    monkeypatch.setenv("S", "quiet")
    opened = open_channels(one("shout", secret_env="S", options={"volume": 11}))
    assert opened.by_name["ops"].notifier.name == "ops volume=11 quiet"


def shout(name: str, options: dict[str, Any]) -> Any:
    """What such a package brings."""
    from alerts.notifiers.console import Console

    return Console(f"{name} volume={options['volume']} {options['secret']}")
