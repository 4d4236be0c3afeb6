"""Incidents, findings and diagnoses with only what a test is about spelt out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.lifecycle import decide
from alerts.records import Decision, Incident, Message, RetrainingRequest
from alerts.settings import AlertSettings
from detectors.records import Action, Deployment, Diagnosis, Finding, Mode, Tier

START = datetime(2013, 11, 12, 6, tzinfo=UTC)
OO = Deployment("flights", "OO")
REFIT = Action(
    "re-fit head", "this domain", "days", "loss back at 0.41 within 3 d", retraining=True
)
MAPPING = Action("verify mapping", "column origin", "now", "unseen share below 1 %")


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def finding(hours: float = 0.0, **fields: Any) -> Finding:
    given: dict[str, Any] = {
        "kind": "drift",
        "ts": at(hours),
        "onset": at(hours - 2),
        "stream": "loss.mean",
        "tier": Tier.PAGE,
        "evidence": 1.5,
        "effect": 0.08,
    }
    return Finding(**(given | fields))


def diagnosis(mode: Mode = Mode.CONCEPT_SHIFT, **fields: Any) -> Diagnosis:
    given: dict[str, Any] = {
        "mode": mode,
        "confidence": 0.9,
        "runner_up": Mode.COVARIATE_SHIFT,
        "evidence": ("loss up 0.08 (0.41 → 0.49)",),
        "action": REFIT,
    }
    return Diagnosis(**(given | fields))


@dataclass
class Story:
    """A deployment over time: each `see` is one tick's decision, folded into what is known."""

    deployment: Deployment = OO
    settings: AlertSettings = field(default_factory=AlertSettings)
    incidents: dict[str, Incident] = field(default_factory=dict)
    requests: dict[str, RetrainingRequest] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)

    def see(
        self,
        hours: float,
        found: Diagnosis | None = None,
        *,
        findings: Iterable[Finding] | None = None,
        **fields: Any,
    ) -> Decision:
        decision = decide(
            self.deployment,
            findings=[finding(hours, **fields)] if findings is None else list(findings),
            diagnosis=found,
            open_incidents=[i for i in self.incidents.values() if i.is_open],
            closed_incidents=[i for i in self.incidents.values() if not i.is_open],
            requests=list(self.requests.values()),
            now=at(hours),
            settings=self.settings,
        )
        return self.keep(decision)

    def keep(self, decision: Decision) -> Decision:
        self.incidents |= {incident.id: incident for incident in decision.incidents}
        self.requests |= {request.id: request for request in decision.retraining}
        self.messages.extend(decision.messages)
        return decision

    @property
    def only(self) -> Incident:
        (incident,) = self.incidents.values()
        return incident

    def put(self, **fields: Any) -> None:
        incident = replace(self.only, **fields)
        self.incidents[incident.id] = incident


def kinds(decision: Decision) -> list[str]:
    return [message.type.value for message in decision.messages]


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]
