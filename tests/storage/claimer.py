"""Claims messages in a process of its own; imports little, so that it starts quickly."""

from datetime import UTC, datetime, timedelta
from typing import Any

from storage.engine import open_database
from storage.outbox import claim_next


def claim_all(url: str, start: Any, found: Any) -> None:
    """Claim until nothing is due, and put the ids of what was claimed into a queue."""
    database = open_database(url)
    start.wait()
    names = []
    while True:
        with database.write() as session:
            delivery = claim_next(
                session, now=datetime(2026, 3, 1, tzinfo=UTC), lease=timedelta(minutes=1)
            )
        if delivery is None:
            break
        names.append(delivery.message.id)
    found.put(names)
    database.close()
