"""A retraining completed while the daemon runs ends as it does in a replay, at the same instant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from alerts.records import RequestStatus, RetrainingRequest
from detectors.records import DAY_US, Deployment, Tier, to_datetime
from monitor.files.references import add_reference_table
from monitor.replaying.replay import replay_domain
from storage.findings import list_findings
from storage.references import Role, list_references
from storage.retraining import change_status, list_requests
from tests.end_to_end.test_daemon_is_replay import MODEL, FixedClock, push, service
from tests.monitor.watching.test_aftermath import DAYS, SERVED_DAY, SERVED_US, SHOP, as_served
from tests.simulate import START_US, history, table


def what_counts(request: RetrainingRequest) -> RetrainingRequest:
    """A request without who decided when by the wall clock."""
    return replace(request, decided_at=None, decided_by="")


def test_the_daemon_verifies_and_re_bases_as_a_replay_does(tmp_path: Path) -> None:
    past = history(SHOP, days=30, seed=5)
    reference = table(past.drop_columns(["baseline_score"]))
    arrow = history(SHOP, days=DAYS, seed=6, first_day=30).drop_columns(["baseline_score"])
    live = as_served(table(arrow, like=reference).window, "worked")
    at = arrow.column_names.index("score")
    arrow = arrow.set_column(at, "score", pa.array(np.asarray(live.score)))
    arrow = arrow.append_column("id", pa.array([f"e{n}" for n in range(arrow.num_rows)]))
    running = service(f"sqlite:///{tmp_path / 'kedge.db'}")
    add_reference_table(
        running.database,
        reference,
        model=MODEL,
        role=Role.ONBOARDING,
        domain=None,
        slices=(("plan",),),
        now=FixedClock().now(),
    )
    running.ingest.start()
    shop = Deployment(MODEL, "shop")
    for first, last in ((30, SERVED_DAY), (SERVED_DAY, 30 + DAYS + 2)):
        push(running, arrow, START_US + first * DAY_US, START_US + last * DAY_US)
        running.check(MODEL)
        if last == SERVED_DAY:
            with running.database.write() as session:
                (asked,) = list_requests(session, shop)
                change_status(
                    session,
                    asked.id,
                    RequestStatus.COMPLETED,
                    by="ann",
                    now=FixedClock().now(),
                    version="7",
                    served_since=to_datetime(SERVED_US),
                )
    running.flush(MODEL)
    with running.database.read() as session:
        (stored,) = list_requests(session, shop)
        findings = list_findings(session, shop, limit=10_000)
        references = list_references(session, MODEL, "shop")
    settings = running.settings_of(MODEL)
    running.ingest.stop()
    running.database.close()

    told = replay_domain(
        shop,
        replace(reference.schema, slices=(("plan",),)),
        settings,
        reference=replace(reference.window, domain=None),
        pooled=reference.window,
        rows=replace(live, domain=None),
        served={SERVED_US: "7"},
    )
    (expected,) = told.requests
    assert what_counts(stored) == what_counts(expected)
    assert stored.status is RequestStatus.VERIFIED
    assert stored.rebased_at is not None
    recent = [one for one in references if one.role is Role.RECENT]
    (one,) = recent
    span = told.watch.reference_span_us
    assert span is not None
    assert (one.version, one.since_us, one.until_us) == (1, *span)
    pages = [f for f in findings if f.tier is Tier.PAGE and f.ts > to_datetime(SERVED_US)]
    assert pages == []
