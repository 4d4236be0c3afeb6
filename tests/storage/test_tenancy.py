"""A fenced session finds what belongs to its tenant, whatever is asked of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from detectors.records import Deployment
from storage.deployments import list_deployments, list_models, register_deployment, register_model
from storage.engine import Database
from storage.tables import Base, BrowserSessionRow, DeploymentRow, TokenRow
from storage.tenancy import EVERYTHING, Tenant, fence
from storage.tokens import Scope, create_token, list_tokens
from tests.monitor.serving import NOW

NAMES = ["credit", "Credit", "cred", "credit2", "a*b", "a[b]", "a?c", "a%c", "a_c", "a\\c", "abc"]
PATTERNS = ["credit", "cred*", "*t", "*", "a*", "a*c", "a[b]", "a?c", "a%c", "a_c", "a\\*", "*[*"]

ROWS = sorted((m.class_ for m in Base.registry.mappers), key=lambda row: row.__name__)


def with_everything(database: Database) -> None:
    with database.write() as session:
        for model in NAMES:
            register_model(session, model, NOW)
            for domain in NAMES:
                register_deployment(session, Deployment(model, domain), NOW)


def by_definition(name: str, pattern: str) -> bool:
    wanted = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(wanted, name, re.DOTALL) is not None


@given(st.text("ab*[?", max_size=8), st.text("ab*[?", max_size=6))
def test_a_pattern_means_what_the_regular_expression_means(name: str, pattern: str) -> None:
    assert Tenant((pattern,)).has_model(name) == by_definition(name, pattern)


def test_sql_and_python_agree_on_every_name_and_pattern(database: Database) -> None:
    """GLOB, LIKE and our own matching: every wildcard of one is a plain sign for the others."""
    with_everything(database)
    for pattern in PATTERNS:
        tenant = Tenant((pattern,), (pattern,))
        wanted = {
            Deployment(model, domain)
            for model in NAMES
            for domain in NAMES
            if by_definition(model, pattern) and by_definition(domain, pattern)
        }
        every = [Deployment(model, domain) for model in NAMES for domain in NAMES]
        assert {each for each in every if tenant.has(each.model, each.domain)} == wanted
        with database.read() as session:
            fence(session, tenant)
            assert {state.deployment for state in list_deployments(session)} == wanted, pattern
            assert set(list_models(session)) == {d.model for d in wanted}


def test_names_and_patterns_are_joined_by_or(database: Database) -> None:
    with_everything(database)
    with database.read() as session:
        fence(session, Tenant(("abc", "cre*"), ("a_c",)))
        found = {state.deployment for state in list_deployments(session)}
    models = ("abc", "credit", "cred", "credit2")
    assert found == {Deployment(model, "a_c") for model in models}


def test_counting_and_fetching_by_key_are_fenced_too(database: Database) -> None:
    with_everything(database)
    with database.read() as session:
        fence(session, Tenant(("credit",), ("abc",)))
        assert session.scalar(select(func.count()).select_from(DeploymentRow)) == 1
        assert session.get(DeploymentRow, ("credit", "cred")) is None
        assert session.get(DeploymentRow, ("credit", "abc")) is not None


def test_a_session_without_bounds_finds_everything(database: Database) -> None:
    with_everything(database)
    with database.read() as session:
        fence(session, EVERYTHING)
        assert len(list_deployments(session)) == len(NAMES) ** 2


def test_tables_that_belong_to_no_model_are_closed_to_a_tenant(database: Database) -> None:
    with database.write() as session:
        create_token(session, name="x", scopes=[Scope.READ], tenant=EVERYTHING, now=NOW, by="")
    with database.read() as session:
        fence(session, Tenant(("*",)))
        assert list_tokens(session) == ()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_every_table_is_fenced(sqlite: Database, row: Any) -> None:
    """Whatever a table is: its SELECT names the tenant's model, or finds nothing."""
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(sqlite.reader, "before_cursor_execute", note)
    with sqlite.read() as session:
        fence(session, Tenant(("only-mine",)))
        session.execute(select(row)).all()
    condition = statements[-1].partition("WHERE")[2]
    closed = "0 = 1" in condition
    assert closed or re.search(r"(model|name) IN \(", condition), condition
    if row in {TokenRow, BrowserSessionRow}:
        assert closed
