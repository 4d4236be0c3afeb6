"""A fifth of the batches sent twice, in any order: statistics are the same to the last bit."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select

from benchmarks.trust.faulty import Faults
from benchmarks.trust.simulation import Simulation, simulation
from benchmarks.trust.stories import MODEL, Story
from storage.tables import SummaryRow


def summaries(simulated: Simulation, story: Story, order: random.Random | None) -> dict[str, bytes]:
    """Every stored summary after the story; `order` None: each batch once, as it was made."""
    world = simulated.world(story, random.Random(0), Faults())
    for pieces, labels in story.days:
        sent = list(pieces)
        if order is not None:
            sent += [piece for piece in pieces if order.random() < 0.2]
            order.shuffle(sent)
        for piece in sent:
            world.push(piece)
        world.label(labels)
        if order is not None:
            world.label(labels)
        world.check()
    world.service().flush(MODEL)
    with world.service().database.read() as session:
        rows = session.scalars(select(SummaryRow)).all()
        found = {f"{row.clock} {row.start_us}": row.body for row in rows}
    world.close()
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_duplicates_in_any_order_change_no_bit(seed: int) -> None:
    with simulation() as simulated:
        story = simulated.story("both")
        clean = summaries(simulated, story, None)
        assert len(clean) > 4
        assert summaries(simulated, story, random.Random(seed)) == clean
