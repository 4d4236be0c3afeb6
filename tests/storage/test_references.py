import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from detectors.records import ColumnSpec, Deployment, Kind, Schema, Task, Window
from storage import references
from storage.deployments import UnknownModelError
from storage.engine import Database
from storage.references import (
    Reference,
    ReferenceStateError,
    ReferenceStatus,
    Role,
    UnknownReferenceError,
    active_reference,
    add_reference,
    approve,
    get_reference,
    list_references,
    load_profile,
    load_reference_rows,
    promote,
    save_profile,
)
from storage.tables import ReferenceRow
from tests.storage.rows import DAY, START, START_US, VERMONT, assert_same_bits, events, known_model

SCHEMA = Schema(
    task=Task.BINARY,
    columns=(ColumnSpec("x", Kind.NUMERIC), ColumnSpec("job ☃", Kind.CATEGORICAL)),
    slices=(("origin",), ("origin", "engine")),
    has_baseline=False,
    embedding_dim=3,
)


def add(
    database: Database,
    window: Window | None = None,
    domain: str | None = "VT",
    role: Role = Role.ONBOARDING,
    *,
    activate: bool = True,
) -> Reference:
    with database.write() as session:
        given = events([0, 5]) if window is None else window
        return add_reference(
            session, "credit", domain, role, given, SCHEMA, START, note="n", activate=activate
        )


def test_rows_and_schema_come_back_as_added(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "CHUNK_ROWS", 4)
    known_model(database)
    window = events(list(range(11)), score=np.linspace(0, 1, 11))
    added = add(database, window)
    with database.read() as session:
        stored = get_reference(session, added.id)
        assert_same_bits(load_reference_rows(session, added.id), window)
        assert_same_bits(load_reference_rows(session, added.id, 6), window.take(slice(0, 6)))
        assert load_reference_rows(session, added.id, 0).rows == 0
    assert stored == added
    assert stored.schema == SCHEMA
    assert (stored.rows, stored.since_us, stored.until_us) == (11, START_US, START_US + 10)


def test_a_new_version_retires_the_one_before_and_keeps_its_rows(database: Database) -> None:
    known_model(database)
    first, second = add(database, events([1])), add(database, events([2, 3]))
    assert (first.version, second.version) == (1, 2)
    with database.read() as session:
        found = list_references(session, "credit")
        assert [reference.status for reference in found] == ["retired", "active"]
        assert active_reference(session, VERMONT, Role.ONBOARDING) == second
        assert load_reference_rows(session, first.id).numeric["x"].tolist() == [1]
        assert active_reference(session, VERMONT, Role.RECENT) is None


def test_a_retired_version_can_be_brought_back(database: Database) -> None:
    known_model(database)
    first, second = add(database), add(database)
    with database.write() as session:
        assert promote(session, first.id, START + DAY).status is ReferenceStatus.ACTIVE
    with database.read() as session:
        assert get_reference(session, second.id).retired_at == START + DAY
        active = active_reference(session, VERMONT, Role.ONBOARDING)
        assert active is not None
        assert active.id == first.id


def test_a_pending_reference_waits_for_a_person(database: Database) -> None:
    known_model(database)
    added = add(database, activate=False)
    with database.read() as session:
        assert active_reference(session, VERMONT, Role.ONBOARDING) is None
    with database.write() as session:
        approved = approve(session, added.id, "ada", START + DAY)
        assert approved.status is ReferenceStatus.ACTIVE
        assert (approved.approved_by, approved.approved_at) == ("ada", START + DAY)
    with (
        pytest.raises(ReferenceStateError, match="is active; only a pending one"),
        database.write() as session,
    ):
        approve(session, added.id, "ada", START)


def test_a_domain_without_its_own_is_compared_with_the_one_for_every_domain(
    database: Database,
) -> None:
    known_model(database)
    general = add(database, domain=None, role=Role.SOURCE)
    own = add(database, domain="VT", role=Role.SOURCE)
    with database.read() as session:
        assert active_reference(session, VERMONT, Role.SOURCE) == own
        assert active_reference(session, Deployment("credit", "NH"), Role.SOURCE) == general
        assert general.domain is None
        found = list_references(session, "credit", "NH")
        assert found == (general,)


def test_the_database_itself_refuses_two_active_versions_of_a_role(database: Database) -> None:
    known_model(database)
    add(database)
    second = add(database, activate=False)
    with pytest.raises(IntegrityError), database.write() as session:
        session.get_one(ReferenceRow, second.id).status = "active"


def test_a_profile_is_kept_by_fingerprint_and_never_overwritten(database: Database) -> None:
    known_model(database)
    added = add(database)
    with database.write() as session:
        assert load_profile(session, added.id) is None
        save_profile(session, added.id, "one", b"\x00first", START)
        save_profile(session, added.id, "one", b"other", START)
        save_profile(session, added.id, "two", b"second", START + DAY)
    with database.read() as session:
        assert load_profile(session, added.id, "one") == b"\x00first"
        assert load_profile(session, added.id) == b"second"
        assert load_profile(session, added.id, "three") is None


def test_what_cannot_be_a_reference_is_refused(database: Database) -> None:
    with pytest.raises(UnknownModelError):
        add(database)
    known_model(database)
    with pytest.raises(ValueError, match="without rows"):
        add(database, Window(rows=0))
    with (
        pytest.raises(UnknownReferenceError, match="no reference 99"),
        database.read() as session,
    ):
        get_reference(session, 99)
