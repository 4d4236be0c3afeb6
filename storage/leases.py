"""Who does a job now: one row a job, whose epoch makes a process that slept too long harmless.

A process takes the lease, works, and checks the epoch in the very transaction that writes what
came of it. If it was stopped meanwhile, however long, and another has taken over, that check
fails and nothing is written. Times only decide when a lease may be taken from a process that
seems dead; that two work at once is wasteful, and never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from storage.engine import insert_into, rows_changed
from storage.tables import LeaseRow


class LostLeaseError(RuntimeError):
    """Another process does this job now; what this one was about to write is not written."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(
            f"the lease of {lease.job!r} is no longer at epoch {lease.epoch}: another process has "
            "taken the job; nothing was written"
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """A job held by one process. `done`: the change number its last holder had worked through."""

    job: str
    holder: str
    epoch: int
    held_until: datetime | None
    done: int


def take_lease(
    session: Session, job: str, holder: str, *, now: datetime, length: timedelta
) -> Lease | None:
    """The lease of a job, until `now + length`; None while another process holds it.

    Of several that ask at once one gets it, and none waits for another. A lease that ends
    further ahead than two lengths was taken before the clock was set back, and is free.
    """
    known = insert_into(session, LeaseRow).values(job=job, holder="", epoch=0, done=0)
    if session.scalar(select(LeaseRow.job).where(LeaseRow.job == job)) is None:
        session.execute(known.on_conflict_do_nothing())
    ends = LeaseRow.held_until
    free = or_(ends.is_(None), ends <= now, ends > now + 2 * length)
    found = session.execute(
        select(LeaseRow.epoch, LeaseRow.done)
        .where(LeaseRow.job == job, free)
        .with_for_update(skip_locked=True)
    ).first()
    if found is None:
        return None
    lease = Lease(job, holder, found.epoch + 1, now + length, found.done)
    claim = (
        update(LeaseRow)
        .where(LeaseRow.job == job, LeaseRow.epoch == found.epoch, free)
        .values(holder=holder, epoch=lease.epoch, held_until=lease.held_until)
    )
    return lease if rows_changed(session, claim) == 1 else None


def hold_lease(session: Session, lease: Lease) -> None:
    """Make this transaction fail unless the lease is still ours; nobody takes it before it ends.

    Raises:
        LostLeaseError: another process has taken the job since.
    """
    query = (
        select(LeaseRow.epoch)
        .where(LeaseRow.job == lease.job, LeaseRow.epoch == lease.epoch)
        .with_for_update()
    )
    if session.scalar(query) is None:
        raise LostLeaseError(lease)


def extend_lease(session: Session, lease: Lease, *, now: datetime, length: timedelta) -> Lease:
    """The same lease until `now + length`; LostLeaseError if another process has taken it."""
    longer = update(LeaseRow).where(_ours(lease)).values(held_until=now + length)
    if rows_changed(session, longer) != 1:
        raise LostLeaseError(lease)
    return replace(lease, held_until=now + length)


def release_lease(session: Session, lease: Lease, *, done: int | None = None) -> bool:
    """Let the next process have it at once, and note how far the work went; False if lost."""
    values = {"held_until": None} | ({} if done is None else {"done": done})
    return rows_changed(session, update(LeaseRow).where(_ours(lease)).values(**values)) == 1


def list_leases(session: Session) -> tuple[Lease, ...]:
    """Every job that was ever leased, by name."""
    return tuple(
        Lease(row.job, row.holder, row.epoch, row.held_until, row.done)
        for row in session.scalars(select(LeaseRow).order_by(LeaseRow.job))
    )


def _ours(lease: Lease):  # type: ignore[no-untyped-def]
    return (LeaseRow.job == lease.job) & (LeaseRow.epoch == lease.epoch)
