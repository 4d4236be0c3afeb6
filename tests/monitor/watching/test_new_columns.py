"""Columns and categories that the reference did not have: born young, told late, let go of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from detectors.newcomers import MOST, SHARE, Born
from detectors.records import (
    DAY_US,
    HOUR_US,
    BoolArray,
    Categories,
    ColumnSpec,
    Deployment,
    Finding,
    Kind,
    Maturity,
    Schema,
    Settings,
    Task,
    Tier,
    Window,
)
from monitor.rows.held import FileRows
from monitor.watching.day_words import by_day_json
from monitor.watching.newcomer_words import newcomer_words
from monitor.watching.pipeline import evaluate, open_progress
from monitor.watching.progress import Progress
from monitor.watching.standing import followed_streams
from monitor.watching.watch import Watch, open_watch

START_US = 20_454 * DAY_US
SCHEMA = Schema(
    task=Task.BINARY,
    columns=(ColumnSpec("age", Kind.NUMERIC), ColumnSpec("channel", Kind.CATEGORICAL)),
    has_score=True,
    has_label=False,
)
SETTINGS = Settings(tick_us=6 * HOUR_US)
COMES = 3.5
"""Noon of a day: the first day that has a newcomer is a half one."""
JOINS = 5
"""It joins at the end of the day after, which is its reference."""
ROWS = 600


@dataclass(frozen=True)
class World:
    """Rows in which `promo` (number) or `tier` (words) come, or the channel "chat"."""

    new: tuple[str, ...] = ()
    chat: float = 0.0
    shift_day: float = 1e9
    gone_day: float = 1e9
    flood: int = 0
    odd_day: float = 0.0
    seed: int = 2

    def rows(self, first_day: int, days: int) -> Window:
        rng = np.random.default_rng((self.seed, first_day + 100))
        n = ROWS * days
        day = np.sort(first_day + days * rng.random(n))
        here = (day >= COMES) & (day < self.gone_day)
        later = day >= self.shift_day
        numeric = {"age": rng.normal(40.0, 10.0, n)}
        categorical = {"channel": self._channels(rng, here, later)}
        if "promo" in self.new:
            drawn = rng.normal(5.0, 2.0, n) + 2.0 * later + self.odd_day * (day < JOINS)
            numeric["promo"] = np.where(here, drawn, np.nan)
        if "tier" in self.new:
            gold = rng.random(n) < np.where(later, 0.6, 0.3)
            codes = np.where(here, gold, -1).astype(np.int32)
            categorical["tier"] = Categories(codes, ("basic", "gold"))
        for at in range(self.flood):
            numeric[f"x{at:04}"] = np.where(here, 1.0 + 0.1 * rng.random(n), np.nan)
        return Window(
            rows=n,
            ts_us=START_US + (day * DAY_US).astype(np.int64),
            score=np.clip(rng.normal(0.4, 0.1, n), 0.0, 1.0),
            numeric=numeric,
            categorical=categorical,
        )

    def _channels(self, rng: np.random.Generator, here: BoolArray, later: BoolArray) -> Categories:
        n = len(here)
        codes = rng.integers(0, 2, n).astype(np.int32)
        share = np.where(later, 3.0 * self.chat, self.chat) * here
        codes[rng.random(n) < share] = 2
        return Categories(codes, ("phone", "web", "chat"))


def opened(settings: Settings = SETTINGS) -> tuple[Watch, Progress]:
    reference = World(seed=1).rows(-30, 30)
    reference = replace(
        reference,
        categorical={
            "channel": Categories(reference.categorical["channel"].codes, ("phone", "web"))
        },
    )
    watch = open_watch(
        Deployment("m", "d"), SCHEMA, settings, reference=reference, own_reference=True
    )
    return watch, open_progress(watch, reference)


def followed(
    world: World, days: int, stops: Sequence[int] = (), *, through_bytes: bool = False
) -> tuple[Progress, list[Finding]]:
    """Progress after so many days and all findings; with stops, saved and read back at each."""
    watch, progress = opened()
    log = FileRows(world.rows(0, days))
    found: list[Finding] = []
    for stop in (*stops, end_of(days)):
        for seen in evaluate(watch, progress, log, watermark_us=stop):
            found += seen.findings
        if through_bytes:
            progress = Progress.from_bytes(progress.to_bytes())
    return progress, found


def end_of(day: int) -> int:
    return START_US + day * DAY_US


def day_of(finding: Finding) -> float:
    return (finding.ts.timestamp() * 1e6 - START_US) / DAY_US


def staked(progress: Progress, tier: Tier) -> float:
    """What all streams of a tier may bet together."""
    assert progress.newcomers is not None
    clocks = [progress.feature, progress.label, *progress.newcomers.clocks]
    return sum(
        float(clock.bank.plan.weight[at])
        for clock in clocks
        for at, spec in enumerate(clock.bank.specs)
        if spec.stream.tier is tier
    )


def test_a_new_column_is_watched_from_its_first_whole_day_and_a_shift_of_it_is_a_ticket() -> None:
    world = World(new=("promo", "tier"), shift_day=25.0)
    progress, found = followed(world, 35)
    assert progress.newcomers is not None
    by_name = {one.name: one for one in progress.newcomers.joined}
    assert {(one.name, one.since_us) for one in by_name.values()} == {
        ("promo", end_of(JOINS)),
        ("tier", end_of(JOINS)),
    }
    for name, stream in (("promo", "column.location:promo"), ("tier", "column.mix:tier")):
        mine = [one for one in found if one.column == name]
        assert stream in {one.stream for one in mine}
        assert {one.tier for one in mine} == {Tier.TICKET}, "what only moves wakes nobody"
        assert 25.0 <= day_of(mine[0]) <= 30.0
        assert "a new column, followed since" in mine[0].detail
    assert staked(progress, Tier.TICKET) == pytest.approx(1.0)
    assert progress.feature.bank.ticket_share == pytest.approx(1.0 - SHARE)
    assert progress.feature.bank.page_share == 1.0, "pages are not theirs to share"


def test_a_new_column_that_stays_as_it_began_says_nothing() -> None:
    """Its first day is a half one and brings it from nothing: that is no shift of it."""
    alarms = 0
    for seed in range(4):
        progress, found = followed(World(new=("promo", "tier"), seed=seed + 10), 40)
        assert progress.newcomers is not None
        assert len(progress.newcomers.joined) == 2
        alarms += sum(one.tier is not Tier.LOG for one in found if one.column in ("promo", "tier"))
    # A tenth of ten tickets a month in 4 x 35 days is 4.7 at most; these streams are fair.
    assert alarms <= 1


def test_nothing_is_bet_on_a_new_column_before_48_hours_and_all_of_it_after_14_days() -> None:
    states = {}
    watch, progress = opened(replace(SETTINGS, tick_us=HOUR_US))
    log = FileRows(World(new=("promo",)).rows(0, 22))
    for day in range(1, 23):
        for _ in evaluate(watch, progress, log, watermark_us=end_of(day)):
            pass
        assert progress.newcomers is not None
        for one in progress.newcomers.joined:
            bank = one.clocks["feature"].bank
            states[day] = (one.maturity, float(bank.wealth.sum()))
    assert states[JOINS] == (Maturity.WARMING, 0.0)
    assert states[JOINS + 1][0] is Maturity.PROVISIONAL
    assert states[JOINS + 2][1] > 0.0
    assert states[JOINS + 12][0] is Maturity.PROVISIONAL
    assert states[JOINS + 13][0] is Maturity.GUARANTEED
    words = newcomer_words(progress.newcomers)
    assert words.startswith("1 column that the reference lacks is followed too (promo since ")
    assert words.endswith(", guaranteed)")
    told = by_day_json(progress, SETTINGS)["newcomers"]["columns"]["promo"]
    assert told["state"] == "guaranteed"
    assert told["days"] == pytest.approx(18.0)


def test_a_shift_in_the_second_week_is_a_provisional_ticket() -> None:
    _, found = followed(World(new=("promo",), shift_day=10.0), 20)
    mine = [one for one in found if one.column == "promo" and one.tier is Tier.TICKET]
    assert mine
    assert 10.0 <= day_of(mine[0]) <= 16.0
    assert mine[0].detail.endswith(", provisional)")


def test_the_first_14_days_are_what_a_change_is_told_against() -> None:
    """Not its first day alone, which was unlike the others."""
    progress, _ = followed(World(new=("promo",), odd_day=2.0), 30)
    assert progress.newcomers is not None
    (one,) = progress.newcomers.joined
    clock = one.clocks["feature"]
    at = next(i for i, s in enumerate(clock.bank.specs) if s.stream.statistic == "location")
    history = clock.bank.history
    starts = np.concatenate([part.starts_us for part in history])
    y = np.concatenate([part.y for part in history])[:, at]
    first = starts < end_of(JOINS - 1 + 14)
    assert clock.level[at] == pytest.approx(y[first].mean(), abs=0.03)
    assert clock.level[at] < y[:4].mean() - 0.5


def test_the_same_is_said_however_time_moves_and_through_the_checkpoint() -> None:
    world = World(new=("promo", "tier"), chat=0.05, shift_day=20.0)
    whole, at_once = followed(world, 26)
    assert any(one.column == "promo" for one in at_once)
    odd = range(START_US, end_of(26), 41 * HOUR_US)
    in_steps_progress, in_steps = followed(world, 26, odd, through_bytes=True)
    assert in_steps == at_once
    assert in_steps_progress.to_bytes() == whole.to_bytes()


def test_a_category_is_followed_by_its_share_once_a_day_brings_enough_of_it() -> None:
    progress, found = followed(World(chat=0.12, shift_day=25.0), 36)
    assert progress.newcomers is not None
    (one,) = progress.newcomers.joined
    assert (one.key.born, one.name) == (Born.CATEGORY, "channel=chat")
    assert one.since_us == end_of(JOINS)
    mine = [f for f in found if f.stream == "column.value_share:channel@channel=chat"]
    assert mine
    assert mine[0].tier is Tier.TICKET
    assert 25.0 <= day_of(mine[0]) <= 30.0
    assert mine[0].detail.startswith("share of channel=chat 1")
    assert "a new category, followed since" in mine[0].detail
    unseen = [f for f in found if f.stream == "column.unseen_share:channel"]
    assert unseen, "that there is something unseen is told as before"
    assert staked(progress, Tier.TICKET) == pytest.approx(1.0)


def test_a_category_that_hardly_comes_stays_among_what_is_unseen() -> None:
    progress, _ = followed(World(chat=0.01), 20)
    assert progress.newcomers is not None
    assert not progress.newcomers.joined


def test_a_column_that_stays_away_is_told_then_leaves_and_gives_back_what_it_had() -> None:
    world = World(new=("promo",), chat=0.15, gone_day=22.0)
    watch, progress = opened()
    log = FileRows(world.rows(0, 52))
    found: list[Finding] = []
    for day in range(1, 53):
        for seen in evaluate(watch, progress, log, watermark_us=end_of(day)):
            found += seen.findings
        assert staked(progress, Tier.TICKET) == pytest.approx(1.0), "on every day"
        assert progress.newcomers is not None
        if JOINS <= day <= 49:
            assert len(progress.newcomers.joined) == 2
    gone = [f for f in found if f.stream == "column.null_share:promo" and f.tier is Tier.TICKET]
    assert 1 <= len(gone) <= 3, "again after a week of silence, while it is followed"
    assert 22.0 <= day_of(gone[0]) <= 27.0
    assert progress.newcomers is not None
    assert (progress.newcomers.joined, progress.newcomers.left) == ([], 2)
    older = progress.feature.bank
    assert older.plan.weight.tolist() == [spec.weight for spec in older.specs]


def test_newcomers_are_described_beside_the_streams_of_the_reference() -> None:
    progress, _ = followed(World(new=("promo",), chat=0.15), 12)
    lines = {line["stream"]: line for line in followed_streams(progress)}
    older = lines["column.location:age"]
    assert (older["tick"], older["promise"], older["since"]) == ("6 h", "guaranteed", None)
    for stream in ("column.location:promo", "column.value_share:channel@channel=chat"):
        mine = lines[stream]
        assert (mine["tick"], mine["promise"]) == ("6 h", "provisional")
        assert mine["since"].startswith("2026-01-06T00:00:00")
        assert mine["followed"] == "tick"
    tickets = [line["weight"] for line in lines.values() if line["tier"] == "ticket"]
    # Label delays and volume have a share of their own beside it; here only volume is followed.
    volume = sum(line["weight"] for name, line in lines.items() if name.startswith("rows."))
    slow = sum(line["weight"] for name, line in lines.items() if name.endswith("~slow"))
    assert sum(tickets) - volume - slow == pytest.approx(1.0)


def test_a_flood_of_columns_takes_no_more_than_its_share_and_no_more_are_followed() -> None:
    progress, found = followed(World(new=("promo",), flood=300), 12)
    assert progress.newcomers is not None
    assert len(progress.newcomers.joined) == MOST
    assert staked(progress, Tier.TICKET) == pytest.approx(1.0)
    assert progress.feature.bank.ticket_share == pytest.approx(1.0 - SHARE)
    assert "281 more are not: at most 20 are" in newcomer_words(progress.newcomers)
    assert not [one for one in found if one.tier is Tier.PAGE]


def test_a_flood_of_names_beyond_what_is_counted_brings_none_and_is_forgotten() -> None:
    progress, _ = followed(World(flood=1_100), 8)
    assert progress.newcomers is not None
    assert not progress.newcomers.joined
    assert len(progress.newcomers.extras()["tally"]["counts"]) == 0
