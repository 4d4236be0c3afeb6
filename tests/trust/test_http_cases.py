"""Every route of the OpenAPI under requests that fit it and requests that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.monitor.api.asking import (
    add_domain,
    add_finding,
    add_incident,
    add_message,
    add_reference_window,
    add_retraining,
    world,
)
from tests.trust.http_cases import put_generated

EXAMPLES = 2


def test_no_generated_request_is_answered_with_a_failure_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEDGE_TOKEN", raising=False)
    # Tokens that the cases make would end being anonymous, and with it most of the cases.
    monkeypatch.setattr("monitor.api.door.any_token", lambda _: False)
    with world(tmp_path) as running:
        add_domain(running, tick_us=1)
        add_incident(running)
        add_finding(running, 3)
        add_retraining(running)
        add_message(running, dead=True)
        add_reference_window(running)
        ended = put_generated(running, examples=EXAMPLES, start=11)
    assert sum(ended.values()) > 100
    assert ended["422"] > 10
    assert sum(count for status, count in ended.items() if status < "300") > 8
