"""Source and domain side by side: what a person looks at before saying yes or no to a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from detectors.records import DAY_US, Deployment, MappingEntry, Schema, Task, Window
from monitor.mapping.files import Known, known_of
from storage.deployments import get_deployment
from storage.inbox import read_window
from storage.references import Reference, Role, active_reference, load_reference_rows

REFERENCE_ROWS = 200_000
DOMAIN_DAYS = 30
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
SHOWN_VALUES = 12
NO_SCHEMA = Schema(Task.BINARY, (), has_score=False, has_baseline=False)


def known_names(session: Session, deployment: Deployment) -> Known:
    """Every column and category that a mapping of this deployment may name."""
    found = _reference(session, deployment)
    if found is None:
        return known_of(NO_SCHEMA, None, None)
    source = load_reference_rows(session, found.id, REFERENCE_ROWS)
    return known_of(found.schema, source, _domain_rows(session, deployment))


def side_by_side(session: Session, deployment: Deployment, entry: MappingEntry) -> dict[str, Any]:
    """The column in the reference and in the domain's last 30 days, raw; None where not there."""
    found = _reference(session, deployment)
    source = None if found is None else load_reference_rows(session, found.id, REFERENCE_ROWS)
    domain = _domain_rows(session, deployment)
    return {
        "source": profile_of(source, entry.column),
        "domain": profile_of(domain, entry.here),
    }


def profile_of(window: Window | None, column: str) -> dict[str, Any] | None:
    """Rows, share of nulls, and quantiles of numbers or the commonest words with their shares."""
    if window is None or not window.rows:
        return None
    if column in window.numeric:
        values = window.numeric[column]
        filled = values[np.isfinite(values)]
        quantiles = np.quantile(filled, LEVELS).tolist() if len(filled) else []
        return {
            "rows": window.rows,
            "null_share": 1.0 - len(filled) / window.rows,
            "lines": [
                (f"{100 * level:g} %", f"{value:,.6g}")
                for level, value in zip(LEVELS, quantiles, strict=False)
            ],
        }
    if column in window.categorical:
        words = window.categorical[column]
        counts = np.bincount(words.codes + 1, minlength=len(words.values) + 1)
        shares: Mapping[str, float] = {
            value: float(count) / window.rows
            for value, count in zip(words.values, counts[1:], strict=True)
            if count
        }
        shown = sorted(shares, key=lambda value: (-shares[value], value))[:SHOWN_VALUES]
        return {
            "rows": window.rows,
            "null_share": float(counts[0]) / window.rows,
            "lines": [(value, f"{100 * shares[value]:.3g} %") for value in shown],
        }
    return None


def _reference(session: Session, deployment: Deployment) -> Reference | None:
    return active_reference(session, deployment, Role.ONBOARDING) or active_reference(
        session, deployment, Role.SOURCE
    )


def _domain_rows(session: Session, deployment: Deployment) -> Window | None:
    state = get_deployment(session, deployment)
    if state is None or state.last_event_us is None:
        return None
    until_us = state.last_event_us + 1
    return read_window(
        session, deployment, until_us - DOMAIN_DAYS * DAY_US, until_us, include_late=True
    )
