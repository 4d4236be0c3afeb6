"""A world with two tenants, and a valid request for every route that the OpenAPI describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from alerts.mappings import next_versions
from alerts.records import (
    Attempt,
    Message,
    MessageType,
    Outcome,
    RetrainingRequest,
    Severity,
    message_id,
    request_id,
)
from detectors.records import Deployment, MappingEntry, MappingProposal, Mode, Tier, Window
from storage.deployments import register_model
from storage.mappings import add_versions
from storage.outbox import claim_next, enqueue, mark_failed
from storage.references import Role, add_reference
from storage.retraining import add_request
from storage.tenancy import Tenant
from storage.tokens import Scope, create_token
from tests.monitor.api.asking import (
    ACTION,
    SCHEMA,
    World,
    add_domain,
    add_incident,
    world,
)
from tests.monitor.serving import NOW

MINE = Deployment("credit", "minedom")
SIBLING = Deployment("credit", "theirsib")
THEIRS = Deployment("theirmodel", "theirdom")
MARK = "their"
"""In every name of the other tenant, and in none of ours."""
OWN = Tenant(("credit",), ("mine*",))


@dataclass
class Tenants:
    """The running world, tokens by name, and the objects of each deployment by parameter."""

    world: World
    tokens: dict[str, str] = field(default_factory=dict)
    objects: dict[Deployment, dict[str, str]] = field(default_factory=dict)

    def ask(self, token: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        authorization = {"authorization": f"Bearer {self.tokens[token]}", **headers}
        return self.world.client.request(method, path, json=body, headers=authorization)


@contextmanager
def two_tenants(folder: Path) -> Iterator[Tenants]:
    """Models `credit` (ours in one domain) and `theirmodel`; a token for each scope and bound."""
    models = {"credit": SCHEMA, "theirmodel": SCHEMA}
    with world(folder, None, **models) as running:
        tenants = Tenants(running)
        with running.database.write() as session:
            for scope in Scope:
                for bound in (False, True):
                    if bound and scope is Scope.ADMIN:
                        continue
                    _, text = create_token(
                        session,
                        name=f"{scope}{' bound' if bound else ''}",
                        scopes=[scope],
                        tenant=OWN if bound else Tenant(),
                        now=NOW,
                        by="test",
                    )
                    tenants.tokens[f"{scope}{' bound' if bound else ''}"] = text
            register_model(session, "theirmodel", NOW)
        for deployment in (MINE, SIBLING, THEIRS):
            tenants.objects[deployment] = _objects(running, deployment)
        yield tenants


def _objects(running: World, deployment: Deployment) -> dict[str, str]:
    """One object of each kind, named as the parameters of routes name them."""
    add_domain(running, deployment, tick_us=1)
    incident = add_incident(running, deployment)
    at = NOW - timedelta(days=1)
    asked = RetrainingRequest(
        id=request_id(deployment, ACTION.kind, at),
        deployment=deployment,
        incident_id=incident.id,
        mode=Mode.CONCEPT_SHIFT,
        action=ACTION,
        reason="loss is up",
        requested_at=at,
        since=at,
        until=NOW,
        rows=8,
    )
    message = Message(
        id=message_id(incident.id, MessageType.OPENED, 1),
        type=MessageType.OPENED,
        deployment=deployment,
        incident_id=incident.id,
        tier=Tier.PAGE,
        severity=Severity.HIGH,
        body={"type": "incident.opened"},
        created_at=NOW,
    )
    window = Window(rows=2, numeric={"age": np.array([1.0, 2.0])})
    (mapping,) = next_versions(
        deployment, (), [MappingProposal(MappingEntry("age", scale=2.0), "seen")], at=NOW
    )
    with running.database.write() as session:
        add_request(session, asked)
        add_versions(session, [mapping])
        enqueue(session, message, ["ops"], NOW - timedelta(minutes=5))
        reference = add_reference(
            session, deployment.model, deployment.domain, Role.ONBOARDING, window, SCHEMA, NOW
        )
    with running.database.write() as session:
        delivery = claim_next(session, now=NOW, lease=timedelta(minutes=1))
        assert delivery is not None
        attempt = Attempt(message.id, "ops", 0, NOW, Outcome.DEAD, status=404, words="404")
        mark_failed(session, delivery, attempt)
    return {
        "model": deployment.model,
        "domain": deployment.domain,
        "incident_id": incident.id,
        "request_id": asked.id,
        "reference_id": str(reference.id),
        "message_id": message.id,
        "mapping_id": mapping.id,
        "column": "age",
        "stream": "score.mean",
    }


@dataclass(frozen=True)
class Route:
    """A route as the OpenAPI describes it."""

    method: str
    path: str
    described: Mapping[str, Any]

    @property
    def parameters(self) -> list[str]:
        return [p["name"] for p in self.described.get("parameters", []) if p["in"] == "path"]

    def address(self, objects: Mapping[str, str]) -> str:
        path = self.path
        for name in self.parameters:
            path = path.replace(f"{{{name}}}", quote(objects.get(name, "nothing"), safe=""))
        asked = [p for p in self.described.get("parameters", []) if p["in"] == "query"]
        needed = "&".join(f"{p['name']}=x" for p in asked if p.get("required"))
        return f"{path}?{needed}" if needed else path

    def body(self, schemas: Mapping[str, Any], objects: Mapping[str, str]) -> Any:
        """The smallest body that the schema allows, about these objects."""
        content = self.described.get("requestBody", {}).get("content", {})
        given = content.get("application/json")
        if given is None:
            return None
        if self.path in {"/v1/events", "/v1/labels"}:
            return _rows(self.path, objects)
        if self.path.endswith(("/anchors", "/probe", "/probe/scores")):
            role = {"anchors": "embedding", "probe": "label"}.get(self.path.split("/")[-1], "score")
            return {"rows": [{"id": "p1", role: [1.0] if role == "embedding" else 1}]}
        if self.path.endswith(("/silence", "/silences")):
            until = (NOW + timedelta(hours=1)).isoformat()
            one = {"models": [objects["model"]]} if self.path.endswith("s") else {}
            return {"by": "ann", "reason": "x", "until": until, **one}
        return sample(given["schema"], schemas, objects)


def _rows(path: str, objects: Mapping[str, str]) -> Any:
    ts = (NOW - timedelta(hours=1)).isoformat()
    if path == "/v1/labels":
        return {"model": objects["model"], "labels": [{"id": "e1", "label": 1, "ts": ts}]}
    row = {"id": f"e-{objects['domain']}", "ts": ts, "domain": objects["domain"]}
    return {"model": objects["model"], "events": [{**row, "features": {"age": 4}, "score": 0.5}]}


def routes_of(openapi: Mapping[str, Any]) -> list[Route]:
    return [
        Route(method.upper(), path, described)
        for path, methods in openapi["paths"].items()
        for method, described in methods.items()
    ]


def sample(
    schema: Mapping[str, Any], schemas: Mapping[str, Any], objects: Mapping[str, str]
) -> Any:
    """The smallest value that a JSON schema allows; a property named like an object is that."""
    if "$ref" in schema:
        return sample(schemas[schema["$ref"].rpartition("/")[2]], schemas, objects)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return sample(schema[key][0], schemas, objects)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            wanted = {*schema.get("required", []), *({"by", "note"} & set(properties))}
            return {
                name: objects[name]
                if name in objects
                else sample(properties[name], schemas, objects)
                for name in sorted(wanted)
            }
        case "array":
            least = max(1, schema.get("minItems", 0))
            return [sample(schema["items"], schemas, objects)] * least
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case "null":
            return None
    if schema.get("format") == "date-time":
        return (NOW + timedelta(days=1)).isoformat()
    return "x" * max(1, schema.get("minLength", 1))
