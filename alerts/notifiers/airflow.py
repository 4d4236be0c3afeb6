"""Airflow 3: an approved retraining triggers a DAG run whose id is that of the request.

The id is deterministic, so a repeat is answered 409 by Airflow: the run is there already, which is
what was wanted. `logical_date` must be given and may be null. A run id may not hold "/" or "..";
ours is letters, digits and "_".
https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from alerts.bodies import encode
from alerts.notifiers.base import ChannelError, Nothing, Outgoing, http_url, known, required
from alerts.records import Message, MessageType

OPTIONS = frozenset({"url", "secret"})
EXISTS = 409


@dataclass(frozen=True, slots=True)
class Airflow:
    """Posts to `…/api/v2/dags/DAG/dagRuns` with a bearer token."""

    name: str
    url: str
    token: str = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `url` and `secret`, a token of the API; raises ChannelError."""
        known(options, OPTIONS, name)
        url = http_url(required(options, "url", name), name)
        if "/api/v2/dags/" not in url or not url.endswith("/dagRuns"):
            msg = (
                f"channel {name!r}: url must end in /api/v2/dags/DAG/dagRuns, as in "
                "http://airflow:8080/api/v2/dags/retrain/dagRuns"
            )
            raise ChannelError(msg)
        return cls(name, url, required(options, "secret", name))

    def prepare(self, message: Message, now: datetime) -> Outgoing | Nothing:
        if message.type is not MessageType.RETRAINING_APPROVED:
            return Nothing("only approved retraining requests start a DAG")
        data = message.body.get("data", {})
        body = {
            "dag_run_id": f"kedge__{data.get('id', message.id)}",
            "logical_date": None,
            "conf": data,
            "note": str(data.get("headline", ""))[:1_000],
        }
        headers = {
            "accept": "application/json",
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json; charset=utf-8",
        }
        return Outgoing(self.url, headers, encode(body), accepted=frozenset({EXISTS}))
