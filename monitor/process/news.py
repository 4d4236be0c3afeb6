"""What other processes have changed since this one last looked: two small tables, read often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.changes import PRUNED, REFERENCES, read_changes, rows_of
from storage.deployments import list_models
from storage.engine import Database
from storage.leases import list_leases


@dataclass(frozen=True, slots=True)
class News:
    """What is to be read again, and which models got rows that nobody has checked yet."""

    references: bool = False
    pruned: bool = False
    due: frozenset[str] = frozenset()


def check_job(model: str) -> str:
    """The job of checking a model, as leases name it."""
    return f"check {model}"


@dataclass(slots=True, eq=False)
class Noticed:
    """How far this process has heard. One thread looks at a time."""

    database: Database
    _numbers: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.database.read() as session:
            self._numbers = read_changes(session)

    def look(self) -> News:
        """What is new since the last look. On SQLite rows are not counted: we wrote them."""
        with self.database.read() as session:
            numbers = read_changes(session)
            due: set[str] = set()
            if not self.database.is_sqlite:
                done = {lease.job: lease.done for lease in list_leases(session)}
                due = {
                    model
                    for model in list_models(session)
                    if due_number(numbers, model) > done.get(check_job(model), 0)
                }
        before, self._numbers = self._numbers, numbers
        return News(
            references=numbers.get(REFERENCES) != before.get(REFERENCES),
            pruned=numbers.get(PRUNED) != before.get(PRUNED),
            due=frozenset(due),
        )

    def number_of(self, model: str) -> int:
        """What a check that begins now will have seen of a model."""
        with self.database.read() as session:
            return due_number(read_changes(session), model)


def due_number(numbers: Mapping[str, int], model: str) -> int:
    """Grows with every batch of a model, and when any reference changes."""
    return numbers.get(rows_of(model), 0) + numbers.get(REFERENCES, 0)
