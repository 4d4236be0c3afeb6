"""A storm of alerts through a receiver that fails three times in ten, in twelve ways, in small."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.trust.delivery_storm import (
    WAYS,
    HandClock,
    Storm,
    run_down,
    run_storm,
    storm_database,
)
from storage.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = storm_database(f"sqlite:///{tmp_path / 'storm.db'}")
    yield opened
    opened.close()


def test_every_alert_arrives_through_a_receiver_that_fails_in_twelve_ways(
    database: Database,
) -> None:
    """Once each under one body; half of them in minutes: a fixed hold would take the hour."""
    storm = run_storm(database, 150, seed=3, deadline_s=0.15)
    assert (storm.delivered, storm.dead, storm.bodies) == (150, 0, 1)
    # A slow machine may cut off replies that were on their way: those are sent again.
    assert storm.duplicates <= 15
    assert set(storm.ways) == {*WAYS, ""}
    assert storm.median_h < 0.1


def test_a_receiver_that_is_away_for_three_days_loses_nothing(database: Database) -> None:
    """The schedule ends after a day: what it gave up is in sight and goes out when replayed."""
    storm = run_down(database, 12, timedelta(hours=72))
    assert storm.dead_before_replay == 12
    assert (storm.delivered, storm.duplicates, storm.dead) == (12, 0, 0)
    assert storm.attempts == 12 * 8 + 12


def test_behind_many_alerts_a_receiver_that_is_away_is_called_once_a_minute(
    database: Database,
) -> None:
    """Holding costs no attempts, so that what a long queue holds is still there afterwards."""
    storm = run_down(database, 300, timedelta(hours=2))
    assert storm.dead_before_replay == 0
    assert storm.delivered == 300
    assert 100 < storm.attempts - 300 < 130


def test_the_storm_would_tell_of_a_loss_and_of_a_changed_body() -> None:
    """Else the tests above would prove nothing."""
    lost = Storm(10, 9, 1, 20, 0, 1, 2, timedelta(), 0.0)
    assert [words.split()[0] for words in lost.problems()] == ["1", "1", "an", "1"]
    assert HandClock().now() == HandClock().now()
