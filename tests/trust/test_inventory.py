"""A route that came, went or changed is seen: `inventory.txt` has to change with it."""

from __future__ import annotations

from pathlib import Path

from tests.monitor.api.asking import world
from tests.trust.inventory import inventory

KNOWN = Path(__file__).with_name("inventory.txt")


def test_what_the_service_offers_is_what_was_reviewed(tmp_path: Path) -> None:
    with world(tmp_path) as running:
        now = inventory(running.app)
    known = KNOWN.read_text(encoding="utf-8").splitlines()
    changed = [f"- {line}" for line in known if line not in now]
    changed += [f"+ {line}" for line in now if line not in known]
    remedy = "if that is meant: python -m tests.trust.inventory > tests/trust/inventory.txt"
    assert changed == [], f"routes changed; {remedy}"


def test_every_route_that_programs_use_is_described(tmp_path: Path) -> None:
    with world(tmp_path) as running:
        silent = [line for line in inventory(running.app) if "(not in the OpenAPI)" in line]
    assert [line for line in silent if " /v1/" in line] == []
