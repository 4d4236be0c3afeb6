"""The registry of from-scratch baselines: what each version was trained on. Nothing overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from detectors.records import Deployment
from storage.changes import REFERENCES, note_changes
from storage.deployments import lock_model
from storage.engine import insert_into
from storage.tables import BaselineRow, BaselineStateRow

EVERY_DOMAIN = ""
MOST_POINTS = 1_000

CurvePoints = tuple[tuple[float, ...], ...]


class BaselineSource(StrEnum):
    """Shadow: served elsewhere, scores sent. Trained: by Kedge. Imported: put on record by hand."""

    SHADOW = "shadow"
    TRAINED = "trained"
    IMPORTED = "imported"


class UnknownBaselineError(LookupError):
    """No baseline has this id."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One version. `domain` None: for every domain. A span of None: its times are not known.

    `since_us` to `until_us` are the event times it was trained on, `scores_from_us` the first event
    it scores (None: all). `curve` holds (rows trained on, rows judged, loss, transferred loss) and
    `fine_tuning` (rows, training loss, validation loss) of the transferred model.
    """

    id: int
    model: str
    domain: str | None
    version: int
    source: BaselineSource
    rows: int
    since_us: int | None
    until_us: int | None
    scores_from_us: int | None
    curve: CurvePoints
    fine_tuning: CurvePoints
    note: str
    created_at: datetime


def add_baseline(
    session: Session,
    model: str,
    domain: str | None,
    *,
    source: BaselineSource,
    rows: int,
    since_us: int | None,
    until_us: int | None,
    now: datetime,
    scores_from_us: int | None = None,
    curve: Sequence[Sequence[float]] = (),
    fine_tuning: Sequence[Sequence[float]] = (),
    note: str = "",
    announce: bool = True,
) -> Baseline:
    """Put the next version of a domain's baseline on record.

    UnknownModelError if the model is not registered; ValueError for a record that cannot be: a
    window that ends before it begins, no rows, points of the wrong width or without end. Other
    processes hear of it unless `announce` is false: a baseline that the check itself trains.
    """
    _refuse(rows, since_us, until_us, curve, fine_tuning)
    lock_model(session, model)
    place = (BaselineRow.model == model, BaselineRow.domain == (domain or EVERY_DOMAIN))
    newest = session.scalar(select(func.max(BaselineRow.version)).where(*place)) or 0
    row = BaselineRow(
        model=model,
        domain=domain or EVERY_DOMAIN,
        version=newest + 1,
        source=source,
        rows=rows,
        since_us=since_us,
        until_us=until_us,
        scores_from_us=scores_from_us,
        curve=[list(map(float, point)) for point in curve],
        fine_tuning=[list(map(float, point)) for point in fine_tuning],
        note=note,
        created_at=now,
    )
    session.add(row)
    if announce:
        note_changes(session, [REFERENCES])
    session.flush()
    return _baseline(row)


def _refuse(
    rows: int,
    since_us: int | None,
    until_us: int | None,
    curve: Sequence[Sequence[float]],
    fine_tuning: Sequence[Sequence[float]],
) -> None:
    if rows < 1:
        msg = f"a baseline trained on {rows} rows; give the rows it was trained on, at least 1"
        raise ValueError(msg)
    if since_us is not None and until_us is not None and since_us > until_us:
        msg = "the training window ends before it begins; swap since and until"
        raise ValueError(msg)
    if (since_us is None) != (until_us is None):
        msg = "a training window needs both its ends, since and until"
        raise ValueError(msg)
    for name, points, width in (("curve", curve, 4), ("fine_tuning", fine_tuning, 3)):
        if any(len(point) != width for point in points):
            msg = f"a point of {name} has {width} numbers; one has another count"
            raise ValueError(msg)
        if len(points) > MOST_POINTS:
            msg = f"{len(points):,} points of {name}; {MOST_POINTS:,} are the most that are kept"
            raise ValueError(msg)


def get_baseline(session: Session, baseline_id: int) -> Baseline:
    """One version; UnknownBaselineError."""
    row = session.get(BaselineRow, baseline_id)
    if row is None:
        msg = f"no baseline {baseline_id}; `kedge baseline list` shows those there are"
        raise UnknownBaselineError(msg)
    return _baseline(row)


def list_baselines(
    session: Session, model: str | None = None, domain: str | None = None
) -> tuple[Baseline, ...]:
    """By model, domain and version. With a domain also those for every domain."""
    query = select(BaselineRow).order_by(BaselineRow.model, BaselineRow.domain, BaselineRow.version)
    if model is not None:
        query = query.where(BaselineRow.model == model)
    if domain is not None:
        query = query.where(BaselineRow.domain.in_([domain, EVERY_DOMAIN]))
    return tuple(_baseline(row) for row in session.scalars(query))


def baselines_of(session: Session, deployment: Deployment) -> tuple[Baseline, ...]:
    """The versions a deployment is compared with: its own, or where it has none everybody's."""
    found = list_baselines(session, deployment.model, deployment.domain)
    own = tuple(one for one in found if one.domain == deployment.domain)
    return own or found


def save_state(
    session: Session, deployment: Deployment, *, fingerprint: str, body: bytes, now: datetime
) -> None:
    """Keep the state of a baseline Kedge trains, in the transaction of the check that moved it."""
    values = {"fingerprint": fingerprint, "saved_at": now, "body": body}
    statement = insert_into(session, BaselineStateRow).values(
        model=deployment.model, domain=deployment.domain, **values
    )
    session.execute(
        statement.on_conflict_do_update(index_elements=["model", "domain"], set_=values)
    )


def load_state(session: Session, deployment: Deployment, fingerprint: str) -> bytes | None:
    """The state saved last under this fingerprint, None if there is none."""
    row = session.get(
        BaselineStateRow, (deployment.model, deployment.domain), populate_existing=True
    )
    return None if row is None or row.fingerprint != fingerprint else row.body


def _baseline(row: BaselineRow) -> Baseline:
    return Baseline(
        id=row.id,
        model=row.model,
        domain=row.domain or None,
        version=row.version,
        source=BaselineSource(row.source),
        rows=row.rows,
        since_us=row.since_us,
        until_us=row.until_us,
        scores_from_us=row.scores_from_us,
        curve=tuple(tuple(point) for point in row.curve),
        fine_tuning=tuple(tuple(point) for point in row.fine_tuning),
        note=row.note,
        created_at=row.created_at,
    )
