"""Log lines: one event a line, in UTC, without secrets and local variables."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import structlog

from monitor.telemetry import configure_logging, scrubbed


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_is_one_json_object_with_an_instant_in_utc(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", json=True)
    structlog.get_logger("a.b").info("window.checked", rows=5, text="two\nlines")
    logging.getLogger("library").warning("plain %s", "words")
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["rows"], ours["level"]) == ("window.checked", 5, "info")
    assert datetime.fromisoformat(str(ours["at"])).utcoffset() == timedelta(0)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == (
        "plain words",
        "warning",
        "library",
    )


def test_below_the_level_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", json=True)
    structlog.get_logger().info("not.this")
    structlog.get_logger().warning("this.one")
    assert [line["event"] for line in lines(capsys)] == ["this.one"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_has_no_local_variables_and_no_secret(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    configure_logging("info", json=as_json)

    def fails() -> None:
        hidden_local = "row of a customer"  # noqa: F841  # what must not be shown
        raise ValueError("cannot reach postgres://kedge:hunter2@db/kedge")

    try:
        fails()
    except ValueError:
        structlog.get_logger().exception("job.failed")
        logging.getLogger("library").exception("also failed")
    said = capsys.readouterr().err
    assert said.count("ValueError") >= 2
    assert "fails" in said
    assert "row of a customer" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:p%40ss@db:5432/k", "postgresql+psycopg://me:***@db:5432/k"),
        ("https://hook.example/x?token=abc&room=7", "https://hook.example/x?token=***&room=7"),
        ("GET /v1?a=1&api_key=abc HTTP/1.1", "GET /v1?a=1&api_key=*** HTTP/1.1"),
        ("signed with whsec_c2VjcmV0c2VjcmV0", "signed with whsec_***"),
        ("Authorization: Bearer kdg_1_abcdef", "Authorization: Bearer ***"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/***"),
        ("https://example.org/a:b@c", "https://example.org/a:b@c"),
        ("key=value monkey=1", "key=value monkey=1"),
    ],
)
def test_secrets_are_taken_out_of_texts_and_nothing_else(text: str, shown: str) -> None:
    assert scrubbed(text) == shown


def test_secrets_are_found_by_key_and_inside_nested_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", json=True)
    structlog.get_logger().info(
        "channel.opened",
        api_token="abc",
        tokens=3,
        options={"secret": "s3", "urls": ["http://u:pw@h/"]},
    )
    (line,) = lines(capsys)
    assert line["api_token"] == "***"
    assert line["tokens"] == 3
    assert line["options"] == {"secret": "***", "urls": ["http://u:***@h/"]}


def test_configuring_again_does_not_say_everything_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", json=True)
    configure_logging("info", json=True)
    structlog.get_logger().info("once")
    assert len(lines(capsys)) == 1
