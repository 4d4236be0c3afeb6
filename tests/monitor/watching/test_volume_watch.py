"""A day's rows in the pipeline: a ticket where they fall or rise by a factor, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import DAY_US, HOUR_US, Finding, Mode, Settings, Tier, Window, to_us
from detectors.summary import TickSummary
from detectors.sums import ALL_ROWS, Sum
from detectors.volume import VOLUME
from monitor.replaying.replay import DomainReplay, replay
from monitor.watching.progress import Progress
from monitor.watching.standing import followed_streams
from monitor.watching.volume_watch import VolumeWatch, open_volume_watch, step_volume_watch
from tests.end_to_end.histories import START_US, as_table, history

SETTINGS = Settings(tick_us=6 * HOUR_US, label_delay_us=DAY_US)
TICK_US = 6 * HOUR_US
REFERENCE_DAYS, FALLS_DAY, BACK_DAY = 28, 32, 40
A_DAY = 240


def told(domain: DomainReplay) -> list[Finding]:
    return [f for f in domain.findings if f.stream == VOLUME]


@pytest.fixture(scope="module")
def both() -> dict[str, DomainReplay]:
    """North loses five sixths of its rows for eight days; south keeps all."""
    reference = as_table(history(days=REFERENCE_DAYS, rows_a_day=A_DAY, seed=1))
    log = history(days=20, rows_a_day=A_DAY, seed=2, first_day=REFERENCE_DAYS)
    day = (log.column("ts").cast(pa.int64()).to_numpy() - START_US) // DAY_US
    hit = (day >= FALLS_DAY) & (day < BACK_DAY)
    hit &= np.array(log.column("domain").to_pylist()) == "north"
    kept = ~hit | (np.random.default_rng(5).random(len(day)) < 1 / 6)
    result = replay(
        reference, as_table(log.filter(pa.array(kept)), like=reference), SETTINGS, model="m"
    )
    return {one.deployment.domain: one for one in result.domains}


@pytest.fixture(scope="module")
def fallen(both: dict[str, DomainReplay]) -> DomainReplay:
    return both["north"]


def even(days: int, a_day: int = A_DAY) -> Window:
    """A reference of rows by the clock."""
    ts = START_US + np.arange(days * a_day, dtype=np.int64) * (DAY_US // a_day)
    return Window(rows=len(ts), ts_us=ts)


def opened(like: DomainReplay, reference: Window, **settings: object) -> VolumeWatch | None:
    watch = replace(like.watch, settings=replace(SETTINGS, **settings))  # type: ignore[arg-type]
    return open_volume_watch(watch, reference)


def stepped(
    like: DomainReplay, volume: VolumeWatch, rows_a_tick: Sequence[int], *, first_us: int
) -> list[Finding]:
    """Findings of base ticks with so many rows, one after another."""
    found = []
    for place, rows in enumerate(rows_a_tick):
        start_us = first_us + place * TICK_US
        sums = np.zeros(len(Sum))
        sums[[Sum.ROWS, Sum.WEIGHT, Sum.WEIGHT2]] = rows
        slices = {ALL_ROWS: sums} if rows else {}
        tick = TickSummary("", start_us, start_us + TICK_US, slices=slices)
        found += step_volume_watch(like.watch, volume, tick, tick.end_us)
    return found


LIVE_US = START_US + REFERENCE_DAYS * DAY_US
USUAL = A_DAY // 4


def test_five_sixths_of_the_rows_lost_are_a_ticket_in_words(fallen: DomainReplay) -> None:
    first, *later = told(fallen)
    assert first.tier is Tier.TICKET
    assert to_us(first.onset) == START_US + FALLS_DAY * DAY_US
    assert 0 < to_us(first.ts) - START_US - FALLS_DAY * DAY_US <= 3 * DAY_US
    assert first.effect == pytest.approx(np.log(1 / 6), abs=0.4)
    assert first.detail.startswith("rows per day fell to")
    # Back at what the reference had is no news to file a ticket with.
    assert all(f.tier is Tier.LOG for f in later)


def test_a_domain_that_keeps_its_rows_has_no_finding(both: dict[str, DomainReplay]) -> None:
    assert told(both["south"]) == []


def test_the_incident_is_a_pipeline_fault_and_ends_when_the_rows_are_back(
    fallen: DomainReplay,
) -> None:
    (incident,) = [one for one in fallen.incidents if VOLUME in one.streams]
    assert (incident.mode, incident.tier) == (Mode.PIPELINE_FAULT, Tier.TICKET)
    assert any("rows per day fell" in sentence for sentence in incident.evidence)
    assert incident.closed_at is not None
    assert 3 <= (to_us(incident.closed_at) - START_US) / DAY_US - BACK_DAY <= 7


@pytest.mark.parametrize(
    ("share", "factor", "found"), [(0.7, 2.0, False), (0.6, 1.2, True), (0.3, 2.0, True)]
)
def test_the_factor_says_what_matters(
    fallen: DomainReplay, share: float, factor: float, found: bool
) -> None:
    volume = opened(fallen, even(28), volume=factor)
    assert volume is not None
    assert stepped(fallen, volume, [USUAL] * 40, first_us=LIVE_US) == []
    low = stepped(fallen, volume, [int(USUAL * share)] * 60, first_us=LIVE_US + 10 * DAY_US)
    assert bool(low) is found


def test_a_return_is_logged_and_the_next_fall_is_told_again(fallen: DomainReplay) -> None:
    volume = opened(fallen, even(28))
    assert volume is not None
    lost, usual = [USUAL // 6] * 4 * 20, [USUAL] * 4 * 40
    found = stepped(fallen, volume, usual + lost + usual + lost, first_us=LIVE_US)
    assert [f.tier for f in found] == [Tier.TICKET, Tier.LOG, Tier.TICKET]
    assert found[1].detail.endswith("as in the reference again")


def test_a_reference_that_is_a_sample_is_asked_about_once_and_files_nothing(
    fallen: DomainReplay,
) -> None:
    """What the first days brought is usual from then on, and a fall from it is a ticket."""
    volume = opened(fallen, even(28))
    assert volume is not None
    (first,) = stepped(fallen, volume, [USUAL * 6] * 4 * 40, first_us=LIVE_US)
    assert first.tier is Tier.LOG
    assert first.detail.endswith("is the reference a sample of its rows?")
    fall = stepped(fallen, volume, [USUAL] * 4 * 10, first_us=LIVE_US + 40 * DAY_US)
    assert [f.tier for f in fall] == [Tier.TICKET]


def test_a_fall_after_a_slow_start_is_a_ticket_though_evidence_began_on_the_first_day(
    fallen: DomainReplay,
) -> None:
    """Days at seven tenths are inside the margin; the fall after them is no sampled reference."""
    volume = opened(fallen, even(28))
    assert volume is not None
    slow, lost = [USUAL * 7 // 10] * 4 * 3, [USUAL // 6] * 4 * 20
    found = stepped(fallen, volume, slow + lost, first_us=LIVE_US)
    assert to_us(found[0].onset) == LIVE_US
    assert [f.tier for f in found] == [Tier.TICKET]


def test_days_that_are_not_whole_and_days_without_rows_are_not_judged(
    fallen: DomainReplay,
) -> None:
    """Watched from noon on, with four days of silence, and cut in the last day."""
    volume = opened(fallen, even(28))
    assert volume is not None
    ticks = [USUAL] * 2 + [USUAL] * 4 + [0] * 16 + [USUAL] * 4 + [1] * 3
    assert stepped(fallen, volume, ticks, first_us=LIVE_US + DAY_US // 2) == []
    judged = [(start - LIVE_US) / DAY_US for start, _ in volume.recent]
    assert judged == [1, 6]


def test_what_it_cannot_judge_it_does_not_follow(fallen: DomainReplay) -> None:
    assert opened(fallen, even(13)) is None
    assert opened(fallen, even(28), volume=0.0) is None
    assert opened(fallen, even(28), tick_us=None, tick_rows=200) is None
    assert opened(fallen, replace(even(28), ts_us=None)) is None
    assert open_volume_watch(replace(fallen.watch, own_reference=False), even(28)) is None
    assert open_volume_watch(fallen.watch, None) is None


def test_it_is_followed_like_any_stream_and_survives_a_restart(fallen: DomainReplay) -> None:
    progress = fallen.progress
    (line,) = [one for one in followed_streams(progress) if one["stream"] == VOLUME]
    assert (line["tier"], line["weight"]) == ("ticket", 0.1)
    volume, again = progress.volume_watch, Progress.from_bytes(progress.to_bytes()).volume_watch
    assert volume is not None
    assert again is not None
    assert again.extras() == volume.extras()
    assert again.clock.bank.to_bytes() == volume.clock.bank.to_bytes()
    assert again.clock.bank.gate_share == volume.clock.bank.gate_share < 1.0
