"""Imported for its effect: what Kedge imports late, and compiles at first use, is there."""

from __future__ import annotations

import structlog

import monitor.cli.run
import monitor.process.serve
from detectors.records import DAY_US, Settings
from monitor.replaying.replay import replay
from tests.end_to_end.histories import as_table, history

__all__ = ["monitor"]


def warm() -> None:
    """Run a small history in which something happens."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    reference = as_table(history(days=20, rows_a_day=60, seed=1))
    log = history(days=15, rows_a_day=60, seed=2, first_day=20, fault_day=23)
    settings = Settings(tick_us=DAY_US, label_delay_us=DAY_US, review_us=30 * DAY_US)
    replay(reference, as_table(log, like=reference), settings, model="warm")
    structlog.reset_defaults()


warm()
