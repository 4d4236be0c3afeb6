"""The demo says what was found under which name, and what was not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitor.demo.faults import FAULTS
from monitor.demo.story import answer_to

*_, HOUR_LOST = FAULTS


def incident(mode: str, opened_day: int, **changes: Any) -> dict[str, Any]:
    """A paging incident of US, opened some days after the fault, unless told otherwise."""
    opened = (HOUR_LOST.since + timedelta(days=opened_day)).isoformat().replace("+00:00", "Z")
    return {
        "domain": "US",
        "tier": "page",
        "mode": mode,
        "columns": ["hour"],
        "opened_at": opened,
        "updated_at": opened,
        "closed_at": None,
        "history": [{"at": opened, "what": "opened", "by": "", "words": ""}],
        **changes,
    }


@pytest.mark.parametrize(
    ("incidents", "answer"),
    [
        ([incident("source feature absent", 1)], "found"),
        ([incident("concept shift", 2), incident("source feature absent", 3)], "found"),
        ([incident("concept shift", 1)], "seen"),
        ([incident("source feature absent", 1, columns=["precip"])], "seen"),
        ([], "missed"),
        ([incident("source feature absent", 1, tier="ticket")], "missed"),
        ([incident("source feature absent", 1, domain="DL")], "missed"),
        ([incident("source feature absent", -9)], "missed"),
    ],
    ids=[
        "named rightly",
        "named rightly beside another",
        "named otherwise",
        "the name is right, the column is not",
        "nothing",
        "only a ticket",
        "in another domain",
        "over before the fault",
    ],
)
def test_a_fault_is_found_seen_or_missed(incidents: list[dict[str, Any]], answer: str) -> None:
    """Found: paged under its right name, after it was put in. Seen: paged under another."""
    assert answer in answer_to(HOUR_LOST, incidents)


def test_the_day_of_the_right_name_is_given() -> None:
    assert "on 17 Oct" in answer_to(HOUR_LOST, [incident("source feature absent", 2)])


def test_the_day_is_that_of_the_page_under_its_present_name() -> None:
    """A ticket that was renamed and escalated later is not dated back to its opening."""
    history = [
        {"at": "2013-10-02T00:00:00Z", "what": "opened", "by": "", "words": ""},
        {"at": "2013-10-20T00:00:00Z", "what": "escalated", "words": "was a ticket, now a page"},
        {
            "at": "2013-10-21T00:00:00Z",
            "what": "renamed",
            "words": "was benign drift, now concept shift",
        },
        {"at": "2013-10-30T00:00:00Z", "what": "updated", "words": ""},
    ]
    told = incident("concept shift", 0, history=history, updated_at="2013-10-30T00:00:00Z")
    assert "paged as concept shift (21 Oct)" in answer_to(HOUR_LOST, [told])
