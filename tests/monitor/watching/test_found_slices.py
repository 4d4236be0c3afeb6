"""Slices nobody declared: found while it runs, followed from the next tick, let go when quiet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.discovery import MOST_SLICES
from detectors.records import (
    DAY_US,
    Categories,
    ColumnSpec,
    Deployment,
    Finding,
    Kind,
    Schema,
    Settings,
    Task,
    Tier,
    Window,
    to_us,
)
from detectors.slice_search import moved_slices
from monitor.rows.held import FileRows
from monitor.watching.forecast_watch import followed_slices
from monitor.watching.pipeline import evaluate, open_progress
from monitor.watching.progress import Progress
from monitor.watching.watch import Watch, open_watch

START_US = 20_001 * DAY_US
"""Three days after a week boundary of the clock."""
SCHEMA = Schema(
    Task.BINARY,
    tuple(ColumnSpec(name, Kind.CATEGORICAL) for name in ("job", "plan", "town")),
    has_baseline=False,
)
SETTINGS = Settings(tick_us=DAY_US, label_delay_us=DAY_US)
ODD = "job=b,plan=c"


def applicants(
    days: range, seed: int, *, shift: float = 0.0, changed: range = range(0), a_day: int = 250
) -> Window:
    """In `changed` days the log odds of the slice `ODD`, a twelfth of the rows, move by `shift`."""
    rng = np.random.default_rng(seed)
    count = len(days) * a_day
    day = np.repeat(np.array(days), a_day)
    words = ("a", "b", "c")
    columns = {
        "job": Categories(rng.integers(0, 3, count).astype(np.int32), words),
        "plan": Categories(rng.integers(0, 3, count).astype(np.int32), words),
        "town": Categories(rng.integers(0, 3, count).astype(np.int32), words),
    }
    z = rng.normal(-0.3, 1.0, count)
    inside = (columns["job"].codes == 1) & (columns["plan"].codes == 2)
    moved = np.where(inside & np.isin(day, changed), shift, 0.0)
    label = (rng.random(count) < 1 / (1 + np.exp(-z - moved))).astype(np.float64)
    return Window(
        rows=count,
        ts_us=START_US
        + day * DAY_US
        + np.sort(rng.integers(0, DAY_US, (len(days), a_day))).ravel(),
        score=1 / (1 + np.exp(-z)),
        label=label,
        categorical=columns,
    )


@pytest.fixture(scope="module")
def watch() -> Watch:
    return open_watch(
        Deployment("m", "d"),
        SCHEMA,
        SETTINGS,
        reference=applicants(range(35), 1),
        own_reference=True,
    )


def findings(watch: Watch, live: Window, *, stops: int = 1) -> tuple[list[Finding], Progress]:
    progress, rows = open_progress(watch, watch.reference), FileRows(live)
    assert live.ts_us is not None
    first, last = int(live.ts_us[0]), int(live.ts_us[-1]) + 1
    found: list[Finding] = []
    for stop in np.linspace(first, last, stops + 1)[1:].astype(np.int64).tolist():
        for one in evaluate(watch, progress, rows, watermark_us=stop, flush=stop == last):
            found += one.findings
        kept = progress.cohort_days
        progress = Progress.from_bytes(progress.to_bytes())
        progress.cohort_days = kept
    return found, progress


def pages(found: list[Finding]) -> list[Finding]:
    return [f for f in found if f.slice and f.tier is Tier.PAGE]


def test_a_slice_nobody_named_is_found_followed_and_paged_on_later_rows(watch: Watch) -> None:
    live = applicants(range(35, 80), 2, shift=1.0, changed=range(42, 80))
    found, progress = findings(watch, live)
    assert {one.slice for one in pages(found)} <= {ODD, "job=b", "plan=c"}
    first = next(one for one in pages(found) if one.slice == ODD)
    assert first.stream == f"calibration.by_cluster@{ODD}"
    assert first.effect == pytest.approx(1.0, abs=0.4)
    assert "a slice that a search found on" in first.detail
    (told,) = [one for one in followed_slices(watch, progress.forecast_watch) if one["name"] == ODD]
    assert to_us(first.ts) > START_US + 42 * DAY_US
    assert told["since"] < first.ts.isoformat()
    assert findings(watch, live, stops=4)[0] == found


def test_rows_that_were_searched_say_nothing_in_the_test(watch: Watch) -> None:
    """The slice is off only before the search that finds it: proposed, and never paged."""
    weeks = -(-(START_US + 49 * DAY_US) // (7 * DAY_US)) * 7 - START_US // DAY_US
    live = applicants(range(35, 90), 3, shift=1.5, changed=range(weeks - 7, weeks))
    found, progress = findings(watch, live)
    assert pages(found) == []
    assert progress.forecast_watch is not None
    proposed = {slot.name for slot in progress.forecast_watch.slots if slot is not None}
    assert ODD in proposed | set(progress.forecast_watch.shelved)


def test_slices_without_evidence_are_let_go_and_not_proposed_at_once(watch: Watch) -> None:
    live = applicants(range(35, 110), 4, shift=1.5, changed=range(40, 47))
    _, progress = findings(watch, live)
    assert progress.forecast_watch is not None
    assert progress.forecast_watch.shelved
    alive = {one["name"] for one in followed_slices(watch, progress.forecast_watch)}
    assert not alive & set(progress.forecast_watch.shelved)
    assert len(alive) <= MOST_SLICES


def test_the_weight_of_what_is_found_is_kept_free_for_it(watch: Watch) -> None:
    kept = sum(spec.weight for spec in (*watch.label_specs, *watch.forecast_specs))
    assert kept == pytest.approx(2 / 3 - 0.1)
    plain = open_watch(
        Deployment("m", "d"),
        replace(SCHEMA, columns=()),
        SETTINGS,
        reference=applicants(range(35), 1),
        own_reference=True,
    )
    both = (*plain.label_specs, *plain.forecast_specs)
    assert sum(spec.weight for spec in both) == pytest.approx(2 / 3)


def test_a_slice_that_was_as_far_off_in_the_reference_is_not_proposed() -> None:
    was = applicants(range(35), 5, shift=1.2, changed=range(35))
    watch = open_watch(Deployment("m", "d"), SCHEMA, SETTINGS, reference=was, own_reference=True)
    now = applicants(range(35, 63), 6, shift=1.2, changed=range(35, 63))
    names = [one.name for one in moved_slices(now, was, watch.profile, known=frozenset())]
    assert ODD not in names[:3]
    fresh = applicants(range(35), 5)
    other = open_watch(Deployment("m", "d"), SCHEMA, SETTINGS, reference=fresh, own_reference=True)
    first = moved_slices(now, fresh, other.profile, known=frozenset())[0]
    assert first.name == ODD
    assert moved_slices(now, fresh, other.profile, known=frozenset({ODD}))[0].name != ODD
