"""`--inject`: what is read, what is refused, and that rows change as asked and no others."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.records import DAY_US, Categories, Kind, Schema, Task, Window, to_us
from detectors.records import ColumnSpec as Column
from monitor.errors import InputError, UsageError
from monitor.replaying.injecting import Placed, inject
from monitor.replaying.injection import Injection, Moment, parse_injection

DAY0 = 1_750_000_000_000_000 // DAY_US * DAY_US
SCHEMA = Schema(Task.BINARY, (Column("income", Kind.NUMERIC), Column("plan", Kind.CATEGORICAL)))
ROWS = 4000


def log(*, timed: bool = True) -> Window:
    """Ten days of two domains in turn."""
    rng = np.random.default_rng(1)
    score = rng.uniform(0.05, 0.95, ROWS)
    return Window(
        rows=ROWS,
        ts_us=DAY0 + np.arange(ROWS, dtype=np.int64) * (10 * DAY_US // ROWS) if timed else None,
        score=score,
        label=(rng.random(ROWS) < score).astype(float),
        numeric={"income": rng.normal(50, 8, ROWS), "age": rng.normal(40, 10, ROWS)},
        categorical={
            "plan": Categories(
                rng.choice(3, ROWS, p=[0.6, 0.3, 0.1]).astype(np.int32), ("free", "pro", "team")
            )
        },
        domain=Categories((np.arange(ROWS) % 2).astype(np.int32), ("north", "south")),
    )


def put(spec: str, window: Window | None = None) -> tuple[Window, Placed]:
    window = log() if window is None else window
    changed, (placed,) = inject(window, window, SCHEMA, [parse_injection(spec)])
    return changed, placed


def test_a_spec_is_read_with_its_end_and_domain_and_colons_of_the_column() -> None:
    found = parse_injection("a:b:unit:100@2026-05-01..2026-05-08T06:00Z@north")
    assert (found.column, found.kind, found.size, found.domain) == ("a:b", "unit", 100.0, "north")
    assert found.since.at_us is not None
    assert found.until is not None
    assert found.until.at_us is not None
    assert found.until.at_us - found.since.at_us == 7.25 * DAY_US
    assert parse_injection("x:drop@50%").since == Moment(share=0.5)
    assert parse_injection("x:nulls:0.2@+20d").since == Moment(after_us=20 * DAY_US)
    assert parse_injection("x:swap:pro,team@row500").names == ("pro", "team")
    assert parse_injection("x:swap@row500").since == Moment(row=500)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("income:shift:0.5", "write column:kind:size@time"),
        ("income:shft:0.5@+1d", "Did you mean 'shift'"),
        ("income:shift:big@+1d", "reference standard deviations"),
        ("income:shift:nan@+1d", "reference standard deviations"),
        ("income:shift:inf@+1d", "reference standard deviations"),
        ("income:nulls:1.5@+1d", "above 0 and at most 1"),
        ("income:drop:2@+1d", "drop takes no size"),
        ("label:odds:-1@+1d", "above 0"),
        ("income:shift:1@tomorrow", "give 2026-05-01"),
        ("income:shift:1@+1fortnight", "fortnight"),
        (":shift:1@+1d", "name a column"),
    ],
)
def test_a_wrong_spec_says_what_would_do(spec: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_injection(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("incom:shift:1@+1d", "Did you mean 'income'"),
        ("income:shift:1@+1d@nort", "Did you mean 'north'"),
        ("income:shift:1@2031-01-01", "no row of the log lies there"),
        ("plan:shift:1@+1d", "not for categories"),
        ("income:unseen:1@+1d", "not for a number"),
        ("plan:swap:pro,teem@+1d", "Did you mean 'team'"),
        ("plan:swap:pro@+1d", "two different values"),
        ("income:swap@+1d", "swapped with another column: age"),
        ("label:scale:2@+1d", "labels take odds, flip and nulls"),
        ("score:shift:2@+1d", "scores take bias"),
    ],
)
def test_an_injection_that_does_not_fit_the_log_is_refused(spec: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        put(spec)


def test_only_rows_of_the_domain_between_the_two_moments_change() -> None:
    before = log()
    after, placed = put("income:shift:1@+2d..+5d@south", before)
    assert before.ts_us is not None
    assert before.domain is not None
    day = (before.ts_us - DAY0) / DAY_US
    inside = (day >= 2) & (day < 5) & (before.domain.codes == 1)
    moved = after.numeric["income"] - before.numeric["income"]
    assert moved[inside] == pytest.approx(np.std(before.numeric["income"]))
    assert not moved[~inside].any()
    assert placed.rows == {"south": int(inside.sum())}
    assert placed.first_row == {"south": int((day[before.domain.codes == 1] < 2).sum())}
    assert placed.since_us == DAY0 + 2 * DAY_US


def test_numbers_are_shifted_scaled_multiplied_emptied_and_swapped_as_asked() -> None:
    before = log().numeric["income"]
    mean, sd = before.mean(), before.std()
    half = np.arange(ROWS) >= ROWS // 2

    def income(spec: str) -> np.ndarray:
        found = put(spec)[0].numeric["income"]
        assert np.array_equal(found[~half], before[~half])
        return found[half]

    assert income("income:shift:-0.5@row2000") == pytest.approx(before[half] - 0.5 * sd)
    assert income("income:scale:2@row2000").std() == pytest.approx(2 * before[half].std())
    assert income("income:scale:2@row2000").mean() == pytest.approx(
        mean + 2 * (before[half].mean() - mean)
    )
    assert income("income:unit:100@row2000") == pytest.approx(100 * before[half])
    assert np.isnan(income("income:drop@row2000")).all()
    assert np.isnan(income("income:nulls:0.25@row2000")).mean() == pytest.approx(0.25, abs=0.03)
    assert (income("income:zero-fill:0.1@row2000") == 0).mean() == pytest.approx(0.1, abs=0.02)
    both = put("income:swap:age@row2000")[0].numeric
    assert np.array_equal(both["income"][half], log().numeric["age"][half])
    assert np.array_equal(both["age"][half], before[half])


def test_categories_are_swapped_emptied_and_replaced_by_one_never_seen() -> None:
    before = log().categorical["plan"].strings()
    half = np.arange(ROWS) >= ROWS // 2
    turned = {"free": "pro", "pro": "free", "team": "team"}
    swapped = put("plan:swap@row2000")[0].categorical["plan"].strings()
    assert list(swapped[half]) == [turned[value] for value in before[half]]
    assert list(swapped[~half]) == list(before[~half])
    unseen = put("plan:unseen:0.3@row2000")[0].categorical["plan"].strings()[half]
    new = [value for value in unseen if value not in turned]
    assert len(new) / half.sum() == pytest.approx(0.3, abs=0.03)
    assert None not in put("plan:unseen:0.3@row2000")[0].categorical["plan"].strings()
    assert set(put("plan:drop@row2000")[0].categorical["plan"].strings()[half]) == {None}


def test_odds_of_the_labels_are_what_was_asked_at_every_score() -> None:
    """Odds of a label given its score times 1.65, by the definition, in thirds of the score."""
    window = log()
    repeated = window.take(np.tile(np.arange(ROWS), 10))
    after, _ = put("label:odds:1.65@row0", repeated)
    assert repeated.label is not None
    assert after.label is not None
    assert repeated.score is not None
    for low, high in ((0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        own = (repeated.score >= low) & (repeated.score < high)
        p = repeated.score[own]
        expected = float(np.mean(1.65 * p / (1 - p + 1.65 * p)))
        # Labels of the log itself stray from their scores by chance; the change must not.
        strayed = float(repeated.label[own].mean() - p.mean())
        assert after.label[own].mean() == pytest.approx(expected + strayed, abs=0.02)
    fewer, _ = put("label:odds:0.5@row0", repeated)
    assert fewer.label is not None
    assert fewer.label.mean() < repeated.label.mean() - 0.1


def test_a_score_bias_is_in_log_odds_and_flips_turn_labels_round() -> None:
    before = log()
    after, _ = put("score:bias:0.3@row0")
    assert before.score is not None
    assert after.score is not None
    logit = np.log(after.score / (1 - after.score)) - np.log(before.score / (1 - before.score))
    assert logit == pytest.approx(0.3)
    turned, _ = put("label:flip:0.2@row0")
    assert before.label is not None
    assert turned.label is not None
    assert (turned.label != before.label).mean() == pytest.approx(0.2, abs=0.02)


def test_the_same_injection_is_the_same_rows_and_a_second_draws_others() -> None:
    spec = parse_injection("income:nulls:0.5@row0")
    first, _ = inject(log(), log(), SCHEMA, [spec])
    again, _ = inject(log(), log(), SCHEMA, [spec])
    both, _ = inject(log(), log(), SCHEMA, [spec, spec])
    gone = np.isnan(first.numeric["income"])
    assert np.array_equal(gone, np.isnan(again.numeric["income"]))
    assert np.isnan(both.numeric["income"]).mean() == pytest.approx(0.75, abs=0.03)


def test_rows_without_times_are_counted() -> None:
    untimed = log(timed=False)
    after, placed = put("income:drop@75%", untimed)
    assert np.isnan(after.numeric["income"]).sum() == ROWS // 4
    assert placed.since_us is None
    assert placed.first_row == {"north": ROWS * 3 // 8, "south": ROWS * 3 // 8}
    with pytest.raises(InputError, match="the log has no times"):
        put("income:drop@+2d", untimed)


def test_an_instant_without_a_zone_is_utc() -> None:
    found: Injection = parse_injection("x:shift:1@2026-05-01")
    assert found.since.at_us == to_us(datetime(2026, 5, 1, tzinfo=UTC))
