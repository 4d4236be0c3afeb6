from __future__ import annotations

from typing import Any

import pytest

from detectors.records import DAY_US, Deployment
from storage.baselines import (
    BaselineSource,
    UnknownBaselineError,
    add_baseline,
    baselines_of,
    get_baseline,
    list_baselines,
    load_state,
    save_state,
)
from storage.deployments import UnknownModelError
from storage.engine import Database
from tests.storage.rows import START as NOW
from tests.storage.rows import known_model

VT = Deployment("credit", "VT")


@pytest.fixture(autouse=True)
def model(database: Database) -> None:
    known_model(database)


def add(database: Database, domain: str | None = "VT", **given: Any) -> int:
    with database.write() as session:
        fields = {
            "source": BaselineSource.IMPORTED,
            "rows": 900,
            "since_us": 0,
            "until_us": 9 * DAY_US,
            "now": NOW,
            **given,
        }
        return add_baseline(session, "credit", domain, **fields).id


def test_versions_count_up_within_a_domain_and_nothing_is_overwritten(database: Database) -> None:
    first = add(database, rows=500, note="before")
    add(database, domain="NY")
    add(database, rows=700, curve=[[500, 80, 0.5, 0.45]], fine_tuning=[[500, 0.4, 0.5]])
    with database.read() as session:
        versions = list_baselines(session, "credit", "VT")
        assert [(b.version, b.rows) for b in versions] == [(1, 500), (2, 700)]
        assert versions[1].curve == ((500.0, 80.0, 0.5, 0.45),)
        assert versions[1].fine_tuning == ((500.0, 0.4, 0.5),)
        assert get_baseline(session, first) == versions[0]
        assert versions[0].created_at == NOW


def test_a_domain_of_its_own_comes_before_the_one_for_all(database: Database) -> None:
    add(database, domain=None, rows=5_000)
    with database.read() as session:
        assert [b.rows for b in baselines_of(session, VT)] == [5_000]
    add(database, rows=800)
    with database.read() as session:
        assert [b.rows for b in baselines_of(session, VT)] == [800]
        assert [b.domain for b in list_baselines(session)] == [None, "VT"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rows": 0}, "at least 1"),
        ({"since_us": 5, "until_us": 4}, "ends before it begins"),
        ({"until_us": None}, "needs both its ends"),
        ({"curve": [[1, 2, 3]]}, "a point of curve has 4 numbers"),
        ({"fine_tuning": [[1, 2, 3]] * 1_001}, "1,000 are the most"),
    ],
)
def test_a_record_that_cannot_be_is_refused(
    database: Database, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        add(database, **given)


def test_an_unknown_model_or_id_is_said(database: Database) -> None:
    with pytest.raises(UnknownModelError), database.write() as session:
        add_baseline(
            session,
            "other",
            None,
            source=BaselineSource.SHADOW,
            rows=1,
            since_us=None,
            until_us=None,
            now=NOW,
        )
    with database.read() as session, pytest.raises(UnknownBaselineError, match="no baseline 99"):
        get_baseline(session, 99)


def test_a_state_is_given_back_under_its_own_fingerprint_only(database: Database) -> None:
    with database.write() as session:
        save_state(session, VT, fingerprint="a", body=b"one", now=NOW)
        save_state(session, VT, fingerprint="b", body=b"two", now=NOW)
    with database.read() as session:
        assert load_state(session, VT, "b") == b"two"
        assert load_state(session, VT, "a") is None
        assert load_state(session, Deployment("credit", "NY"), "b") is None
