"""`kedge token` on a database of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.config import parse_config
from monitor.errors import NotAllowedError
from monitor.process.door import anonymous_words, refuse_open_door, refuse_weak_token
from tests.monitor.cli.test_mistakes import typed


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "kedge.toml"
    file.write_text(f'[service]\ndatabase = "sqlite:///{tmp_path}/kedge.db"\n')
    return str(file)


def test_a_token_is_made_listed_and_revoked(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kedge(*words: str) -> tuple[int, str, str]:
        return typed(["token", *words, "--config", config], capsys, monkeypatch)

    made = kedge("create", "--name", "scorer", "--scope", "ingest", "--model", "cre*")
    code, out, err = made
    assert (code, err.count("\n")) == (0, 1)
    shown = out.strip()
    assert shown.startswith("kdg_")
    identity = shown.split("_")[1]
    assert identity in err

    code, out, _ = kedge("list", "-o", "json")
    (line,) = json.loads(out)["tokens"]
    assert (line["id"], line["name"], line["state"]) == (identity, "scorer", "live")
    assert (line["scopes"], line["models"], line["domains"]) == (["ingest"], ["cre*"], [])
    code, out, _ = kedge("list")
    assert shown.split("_", 2)[2] not in out
    assert "scorer" in out

    assert kedge("revoke", identity)[1] == f"{identity}: revoked\n"
    assert kedge("revoke", identity)[1] == f"{identity}: was revoked before\n"
    assert json.loads(kedge("list", "-o", "json")[1])["tokens"][0]["state"] == "revoked"
    code, _, err = kedge("revoke", "nothing")
    assert code == 2
    assert "no token has the id 'nothing'" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "x", "--scope", "admin", "--model", "m"], "cannot be bound"),
        (["--name", "\n", "--scope", "read"], "--name is empty"),
        (["--name", "x", "--scope", "read", "--expires", "soon"], "is no duration"),
        (["--name", "x", "--scope", "root"], "'root' is not one of"),
        (["--scope", "read"], "Missing option '--name'"),
    ],
)
def test_a_token_that_cannot_be_made_is_one_line(
    config: str,
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = typed(["token", "create", *words, "--config", config], capsys, monkeypatch)
    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("hunter2", "7 characters"),
        ("x" * 40, "repeats"),
        ("changeme-changeme-changeme-1234", "word of examples"),
        ("my-Password-is-longer-than-20", "word of examples"),
    ],
)
def test_a_weak_shared_token_stops_the_start(
    token: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDGE_TOKEN", token)
    with pytest.raises(NotAllowedError, match=told) as refused:
        refuse_weak_token(parse_config({}, source="test"))
    assert token not in str(refused.value)


def test_a_good_shared_token_or_none_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    refuse_weak_token(parse_config({}, source="test"))
    monkeypatch.setenv("KEDGE_TOKEN", "q7Zt9vK2mXc4Lw8RbN1yHd6F")
    refuse_weak_token(parse_config({}, source="test"))


def test_a_service_that_others_reach_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    everywhere = parse_config({"service": {"host": "0.0.0.0"}}, source="test")
    with pytest.raises(NotAllowedError, match="kedge token create"):
        refuse_open_door(everywhere, tokens=False)
    refuse_open_door(everywhere, tokens=True)
    refuse_open_door(parse_config({}, source="test"), tokens=False)
    monkeypatch.setenv("KEDGE_TOKEN", "q7Zt9vK2mXc4Lw8RbN1yHd6F")
    refuse_open_door(everywhere, tokens=False)


def test_an_anonymous_service_says_so_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    config = parse_config({"service": {"public_url": "https://kedge.example"}}, source="test")
    words = anonymous_words(config, tokens=False)
    assert "127.0.0.1:8321" in words
    assert "proxy of https://kedge.example" in words
    assert anonymous_words(config, tokens=True) == ""
    monkeypatch.setenv("KEDGE_TOKEN", "q7Zt9vK2mXc4Lw8RbN1yHd6F")
    assert anonymous_words(config, tokens=False) == ""
