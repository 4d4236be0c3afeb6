"""Names in an address that must exist: 404 with the nearest known name where they do not."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from alerts.plain import name
from detectors.records import Deployment
from monitor.api.access import asking
from monitor.api.errors import RequestRefusedError
from monitor.config import Config
from monitor.errors import did_you_mean, shortened
from storage.deployments import DeploymentState, list_deployments, list_models


def known_models(session: Session, config: Config) -> tuple[str, ...]:
    """The tenant's models: configured ones first, then those only the database remembers."""
    stored = [model for model in list_models(session) if model not in config.models]
    tenant = asking().tenant
    return tuple(model for model in (*config.models, *stored) if tenant.has_model(model))


def find_model(session: Session, config: Config, model: str) -> str:
    """The model's name; RequestRefusedError 404 with the nearest known one."""
    known = known_models(session, config)
    if model not in known:
        raise unknown("model", model, known)
    return model


def find_domain(
    session: Session, config: Config, model: str, domain: str
) -> tuple[Deployment, DeploymentState]:
    """A deployment and its state; RequestRefusedError 404 with the nearest known name."""
    find_model(session, config, model)
    states = {state.deployment.domain: state for state in list_deployments(session, model)}
    if domain not in states:
        raise unknown(f"domain of model '{name(model)}'", domain, tuple(states))
    return Deployment(model, domain), states[domain]


def unknown(what: str, given: str, known: Sequence[str]) -> RequestRefusedError:
    """A 404 that says what there is."""
    shown = [name(text) for text in known]
    there_is = f"there is: {shortened(shown)}" if shown else "there is none yet"
    return RequestRefusedError(
        404, f"no {what} '{name(given)}'", f"{there_is}.{did_you_mean(name(given), shown)}"
    )
