"""What people do in the demo, over HTTP like anybody: approve, reject, retrain, say what serves.

They know what was put in, as an engineer does who has asked the partner. What Kedge then makes of
the result is Kedge's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from detectors.records import Mode
from monitor.demo.faults import Fault
from monitor.demo.service import MODEL, Daemon

ENGINEER = "dana"
PARTNER_SAYS = "asked the airline: its new logger writes kilometres"
GONE_FOR_GOOD = "upstream sends no `hour` any more; version 2 does without"
LABELS_FIRST = "the label rule has changed: training would learn the new rule backwards"
ROWS_SOUND = "the rows are sound but for `hour`: re-fit without it"


@dataclass(frozen=True, slots=True)
class Deed:
    """One decision of a person; `words` tell what and why."""

    domain: str
    kind: str
    id: str
    words: str


def decide_mappings(daemon: Daemon, faults: Sequence[Fault]) -> list[Deed]:
    """Approve what is proposed for a column that is known to have changed, with the reason."""
    reasons = {
        (f.domain, f.column): PARTNER_SAYS if f.spoil_log is not None else GONE_FOR_GOOD
        for f in faults
        if f.column
    }
    deeds = []
    asked = daemon.get("/v1/mappings", model=MODEL, status="proposed")["mappings"]
    for mapping in asked:
        reason = reasons.get((mapping["domain"], mapping["entry"]["column"]))
        if reason is None:
            continue
        place = f"/v1/mappings/{mapping['id']}/approve"
        daemon.post(place, {"by": ENGINEER, "reason": reason})
        deeds.append(
            Deed(
                mapping["domain"],
                "mapping",
                mapping["id"],
                f"approves the mapping: {mapping['words']} ({reason})",
            )
        )
    return deeds


def decide_requests(
    daemon: Daemon,
    faults: Sequence[Fault],
    retrain: Callable[[str], str],
    *,
    served_since: datetime,
) -> list[Deed]:
    """Reject what would learn a wrong label; approve, carry out and complete what is right.

    `retrain` trains a new version for a domain and returns its name; from `served_since` it serves.
    """
    modes = {f.domain: f.expected for f in faults}
    deeds = []
    asked = daemon.get("/v1/retraining-requests", status="requested", limit=1000)["requests"]
    for request in sorted(asked, key=lambda r: str(r["requested_at"])):
        domain, place = request["domain"], f"/v1/retraining-requests/{request['id']}"
        what = request["action"]["kind"]
        if modes.get(domain) is Mode.LABEL_SEMANTICS:
            daemon.post(f"{place}/reject", {"by": ENGINEER, "note": LABELS_FIRST})
            words = f"rejects ‹{what}›: {LABELS_FIRST}"
        elif modes.get(domain) is Mode.FEATURE_ABSENT and request["mode"] == Mode.FEATURE_ABSENT:
            daemon.post(f"{place}/approve", {"by": ENGINEER, "note": ROWS_SOUND})
            daemon.post(f"{place}/start", {"by": ENGINEER})
            version = retrain(domain)
            done = {"by": ENGINEER, "version": version, "served_since": served_since.isoformat()}
            daemon.post(f"{place}/complete", done)
            words = f"approves ‹{what}›: {ROWS_SOUND}; version {version} serves from now on"
        else:
            continue
        deeds.append(Deed(domain, "request", request["id"], words))
    return deeds


def told_about(messages: Sequence[dict[str, Any]], deed: Deed) -> list[str]:
    """Types of the webhooks that are about the object of a deed, as they came."""
    return [str(message["type"]) for message in messages if message["data"]["id"] == deed.id]
