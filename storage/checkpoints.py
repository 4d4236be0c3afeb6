"""Detector state, saved in the same transaction as what it caused. A cache: replay rebuilds it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from detectors.records import Deployment
from storage.engine import insert_into, rows_changed
from storage.tables import CheckpointRow


class StaleCheckpointError(RuntimeError):
    """Another process has saved this deployment since it was loaded. Load again, then check."""

    def __init__(self, deployment: Deployment, epoch: int) -> None:
        super().__init__(
            f"the checkpoint of {deployment} is no longer at epoch {epoch}: another process "
            "has saved it since; nothing was written, load it again"
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a deployment's evidence. `fingerprint` says what settings, reference, code made it.

    `epoch` counts its saves; pass it back to save the next one.
    """

    deployment: Deployment
    epoch: int
    fingerprint: str
    evaluated_until_us: int
    body: bytes


def load_checkpoint(session: Session, deployment: Deployment) -> Checkpoint | None:
    """The saved state of a deployment, or None before its first save."""
    row = session.get(CheckpointRow, (deployment.model, deployment.domain), populate_existing=True)
    if row is None:
        return None
    return Checkpoint(deployment, row.epoch, row.fingerprint, row.evaluated_until_us, row.body)


def save_checkpoint(
    session: Session,
    deployment: Deployment,
    *,
    epoch: int,
    fingerprint: str,
    evaluated_until_us: int,
    body: bytes,
    now: datetime,
) -> int:
    """Replace the state loaded at `epoch` (0: there was none) and return the new epoch.

    Of two processes that loaded the same epoch only one can save. The other gets
    StaleCheckpointError and its whole transaction, findings and messages included, is undone.
    """
    values = {
        "epoch": epoch + 1,
        "fingerprint": fingerprint,
        "evaluated_until_us": evaluated_until_us,
        "saved_at": now,
        "body": body,
    }
    if epoch:
        statement = (
            update(CheckpointRow)
            .where(
                CheckpointRow.model == deployment.model,
                CheckpointRow.domain == deployment.domain,
                CheckpointRow.epoch == epoch,
            )
            .values(**values)
        )
    else:
        statement = insert_into(session, CheckpointRow).values(
            model=deployment.model, domain=deployment.domain, **values
        )
        statement = statement.on_conflict_do_nothing()
    if rows_changed(session, statement) != 1:
        raise StaleCheckpointError(deployment, epoch)
    return epoch + 1


def drop_checkpoint(session: Session, deployment: Deployment) -> None:
    """Forget the state of a deployment; the next check replays its summaries."""
    session.execute(
        delete(CheckpointRow).where(
            CheckpointRow.model == deployment.model, CheckpointRow.domain == deployment.domain
        )
    )
