"""Mappings over HTTP, on pages and from the terminal: proposed, looked at, decided once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from structlog.testing import capture_logs

from detectors.records import Categories, ColumnSpec, Kind, Schema, Task, Window
from storage.outbox import list_messages
from storage.references import Role, add_reference
from tests.monitor.api.asking import HOSTILE, World, add_domain, world
from tests.monitor.api.test_pages import Page
from tests.monitor.serving import NOW

SCHEMA = Schema(
    Task.BINARY, (ColumnSpec("income", Kind.NUMERIC), ColumnSpec("aisle", Kind.CATEGORICAL))
)
CENTS = {"domain": "VT", "column": "income", "scale": 100.0}
VEG = {
    "domain": "VT",
    "column": "aisle",
    "category": "Vegetables",
    "domain_category": "Veg",
}


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, credit=SCHEMA, fraud=None) as running:
        add_domain(running, tick_us=1)
        window = Window(
            rows=3,
            numeric={"income": np.array([1_000.0, 2_000.0, 3_000.0])},
            categorical={
                "aisle": Categories(np.array([0, 1, 0], np.int32), ("Vegetables", "Fruit"))
            },
        )
        with running.database.write() as session:
            add_reference(session, "credit", None, Role.SOURCE, window, SCHEMA, NOW)
        yield running


def propose(asked: World, *lines: dict[str, Any], model: str = "credit") -> Any:
    return asked.post("/v1/mappings", {"model": model, "by": "ann", "mappings": list(lines)})


def verification(asked: World) -> tuple[str, str]:
    (line,) = asked.get("/v1/models/credit/domains").json()["domains"]
    return line["verification"], line["state"]


def test_what_is_imported_waits_and_holds_the_domain_at_unverified(asked: World) -> None:
    assert verification(asked) == ("verified", "ok")
    done = propose(asked, CENTS, VEG).json()
    assert [line["words"] for line in done["added"]] == [
        "`income` is the source's `income` × 100",
        "`Veg` of `aisle` is the source's `Vegetables`",
    ]
    assert verification(asked) == ("unverified", "watch")
    for line in done["added"]:
        deed = {"by": "bob", "reason": "asked the partner"}
        approved = asked.post(f"/v1/mappings/{line['id']}/approve", deed).json()
        assert (approved["status"], approved["decided_by"]) == ("approved", "bob")
        assert approved["reason"] == "asked the partner"
    assert verification(asked) == ("verified", "ok")


def test_the_review_is_asked_for_in_the_same_transaction_and_once(asked: World) -> None:
    propose(asked, CENTS, VEG)
    again = propose(asked, CENTS, VEG).json()
    assert (again["added"], again["unchanged"]) == ([], 2)
    with asked.database.read() as session:
        (message,) = list_messages(session, "")
    assert message.type.value == "mapping.review_requested"
    assert len(message.body["data"]["mappings"]) == 2
    propose(asked, {**CENTS, "scale": 1_000.0})
    with asked.database.read() as session:
        assert len(list_messages(session, "")) == 2


@pytest.mark.parametrize(
    ("line", "told", "hint"),
    [
        ({"column": "incme", "scale": 2}, "the source has no column 'incme'", "'income'?"),
        ({"column": "income", "domain_column": "incom"}, "the domain has no column", "'income'?"),
        (
            {"column": "aisle", "category": "Vegetable", "domain_category": "Veg"},
            "no category of 'aisle' 'Vegetable'",
            "'Vegetables'?",
        ),
        ({"column": "aisle", "category": "Fruit"}, "category and domain_category", ""),
        ({"column": "aisle", "scale": 2}, "'aisle' holds words", "numbers"),
        ({"column": "income", "scale": 0}, "scale must be a number", ""),
        ({"column": "income", "absent": True, "scale": 3}, "absent leaves nothing", ""),
        ({"column": "income", "category": "a", "domain_category": "b"}, "holds numbers", ""),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_what_there_is_and_nothing_is_stored(
    asked: World, line: dict[str, Any], told: str, hint: str
) -> None:
    reply = propose(asked, VEG, {"domain": "VT", **line})
    assert reply.status_code == 422
    assert told in reply.json()["error"]
    assert hint in f"{reply.json()['error']} {reply.json()['hint']}"
    assert asked.get("/v1/mappings").json() == {"mappings": []}
    with asked.database.read() as session:
        assert list_messages(session, "") == ()


def test_unknown_models_domains_and_ids_are_refused_by_name(asked: World) -> None:
    assert propose(asked, CENTS, model="credits").status_code == 404
    assert "Did you mean" in propose(asked, CENTS, model="credits").json()["hint"]
    typo = propose(asked, {**CENTS, "domain": "VTT"})
    assert (typo.status_code, typo.json()["hint"]) == (422, "Did you mean 'VT'?")
    assert propose(asked, CENTS, CENTS).json()["error"].startswith("VT: column 'income' is mapped")
    deed = {"by": "bob", "reason": "x"}
    assert asked.post("/v1/mappings/map_9/approve", deed).status_code == 404
    assert asked.post("/v1/mappings/map_9/approve", {"by": "bob"}).status_code == 422


def test_of_people_who_decide_at_once_one_wins_and_the_others_are_told(asked: World) -> None:
    (line,) = propose(asked, CENTS).json()["added"]
    replies: list[Any] = []
    start = threading.Barrier(5)

    def decide(number: int) -> None:
        deed = {"by": f"p{number}", "reason": "sure"}
        start.wait()
        verb = "approve" if number % 2 else "reject"
        replies.append(asked.post(f"/v1/mappings/{line['id']}/{verb}", deed))

    people = [threading.Thread(target=decide, args=(number,)) for number in range(5)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409, 409]
    winner = next(r.json() for r in replies if r.status_code == 200)
    kept = asked.get(f"/v1/mappings/{line['id']}").json()
    assert (kept["status"], kept["decided_by"]) == (winner["status"], winner["decided_by"])
    assert f"by {winner['decided_by']}" in next(
        r.json()["error"] for r in replies if r.status_code == 409
    )


def test_a_mapping_is_shown_side_by_side_and_hostile_names_stay_text(asked: World) -> None:
    (line,) = propose(asked, {**VEG, "domain_category": HOSTILE}).json()["added"]
    page = Page(asked.get(f"/mappings/{line['id']}").text)
    assert "source: aisle" in page.words
    assert "66.7 %" in page.words
    assert "no such column in the rows" in page.words
    assert f"kedge mapping approve {line['id']}" in page.words
    assert "<script>" in page.words
    assert "script" not in {tag for tag, _ in page.tags}
    listed = Page(asked.get("/mappings?status=proposed").text)
    assert f"/mappings/{line['id']}" in listed.links()
    assert asked.get("/mappings/map_9").status_code == 404


def test_a_file_goes_in_and_comes_out_as_it_was(
    asked: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the terminal: import, list, approve, export, import again."""
    from tests.monitor.cli.test_talking import Terminal, listening

    terminal = Terminal(asked, capsys, monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "m.yaml"
    since = "2026-01-02T00:00:00Z"
    lines = [{**VEG}, {**CENTS, "since": since}]
    file.write_text(yaml.safe_dump({"model": "credit", "mappings": lines}))
    with capture_logs(), listening(asked) as url:
        monkeypatch.setenv("KEDGE_URL", url)
        done = terminal.type("mapping", "import", str(file), "--by", "ann")
        assert done.out.startswith("2 to review, 0 as they were")
        listed = json.loads(terminal.type("mapping", "list", "-o", "json").out)["mappings"]
        for line in listed:
            said = terminal.type("mapping", "approve", line["id"], "--by", "bob", "--reason", "ok")
            assert said.out.strip() == f"{line['id']}: approved by bob"
        late = terminal.type("mapping", "reject", listed[0]["id"], "--reason", "no")
        assert (late.code, late.err.count("\n")) == (1, 1)
        assert "approved by bob" in late.err
        assert "ok" in terminal.type("mapping", "show", listed[0]["id"]).out
        written = terminal.type("mapping", "export", "--model", "credit").out
        assert yaml.safe_load(written) == {"model": "credit", "mappings": lines}
        (tmp_path / "again.yaml").write_text(written)
        again = terminal.type("mapping", "import", str(tmp_path / "again.yaml"), "--by", "ann")
        assert again.out.strip() == "0 to review, 2 as they were"
        (tmp_path / "bad.yaml").write_text("mappings: [{")
        bad = terminal.type("mapping", "import", str(tmp_path / "bad.yaml"))
        assert (bad.code, bad.err.count("\n")) == (1, 1)
