"""The fast way and the slow way through a JSON body agree, and neither ever breaks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.records import ColumnSpec, Kind, to_us
from monitor.api import json_rows
from monitor.api.decode_json import decode_json_events
from monitor.api.errors import RequestRefusedError
from monitor.api.json_rows import decode_body, model_of
from monitor.api.limits import IngestLimits
from monitor.api.row_types import event_rows
from monitor.intake.batches import EventBatch, Rejections
from tests.monitor.serving import NOW, SCHEMA, event

LIMITS = IngestLimits()

scalars = (
    st.none() | st.booleans() | st.floats() | st.integers(-(10**30), 10**30) | st.text(max_size=6)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)
times = st.sampled_from(
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00.123456789+01:00",
        "2026-01-01",
        "",
        "2099-01-01T00:00:00Z",
    ]
)
events = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=8) | anything,
        "ts": times | anything,
        "score": st.floats(0, 1) | anything,
        "features": st.fixed_dictionaries({}, optional={"age": scalars, "job": scalars}) | anything,
        "weight": st.floats(0.1, 10) | anything,
        "domain": st.text(max_size=4) | anything,
        "extra": anything,
    },
)
good_events = st.builds(
    lambda i, age, job, score: event(i, features={"age": age, "job": job}, score=score),
    st.integers(0, 99),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.none() | st.floats(0, 1),
)


def decode(body: bytes, **options: Any) -> EventBatch:
    return decode_json_events(
        body, model="m", schema=SCHEMA, now_us=to_us(NOW), limits=LIMITS, **options
    )


def envelope(rows: list[Any]) -> bytes:
    return json.dumps({"model": "m", "events": rows}).encode()


def described(batch: EventBatch) -> list[Any]:
    window = batch.window
    assert window.ts_us is not None
    columns = [
        batch.id_hi.tolist(),
        batch.id_lo.tolist(),
        window.ts_us.tolist(),
        *(repr(column.tolist()) for column in window.numeric.values()),
        *(column.strings().tolist() for column in window.categorical.values()),
        None if window.score is None else repr(window.score.tolist()),
        None if window.domain is None else window.domain.strings().tolist(),
    ]
    return [window.rows, batch.refused.total, columns]


@settings(max_examples=50, deadline=None)
@given(st.lists(good_events, min_size=1, max_size=8))
def test_the_slow_way_gives_the_same_columns_as_the_fast_way(rows: list[dict[str, Any]]) -> None:
    fast = decode(envelope(rows))
    spoilt = [{"id": 5}, *rows]  # one row of a wrong type sends the body the slow way
    slow = decode(envelope(spoilt))

    assert fast.refused.total == 0
    assert slow.refused.total == 1
    assert [fast.rows, described(fast)[2]] == [slow.rows, described(slow)[2]]


@settings(max_examples=50, deadline=None)
@given(st.lists(events, max_size=6))
def test_every_row_of_any_json_is_kept_or_refused_and_each_by_itself(rows: list[Any]) -> None:
    batch = decode(envelope(rows))

    assert batch.rows + batch.refused.total == len(rows)
    alone = [decode(envelope([row])).refused.total for row in rows]
    refused = {rejection.index for rejection in batch.refused.shown}
    assert refused == {i for i, bad in enumerate(alone) if bad}
    assert all(rejection.reason and rejection.remedy for rejection in batch.refused.shown)


@settings(max_examples=50, deadline=None)
@given(st.lists(events, max_size=6))
def test_lines_and_an_envelope_of_the_same_rows_agree(rows: list[Any]) -> None:
    if not rows:
        return
    lines = "\n".join(map(json.dumps, rows)).encode()

    assert described(decode(lines, lines=True)) == described(decode(envelope(rows)))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.booleans())
def test_any_bytes_are_rows_or_a_refusal(noise: bytes, lines: bool) -> None:
    statuses = []
    for body in (
        noise,
        b'{"model":"m","events":[' + noise,
        b'{"events":[{"id":"a"},' + noise + b"]}",
    ):
        try:
            model_of(body, "m")
            statuses.append(202 if decode(body, lines=lines).rows >= 0 else 0)
        except RequestRefusedError as refused:
            statuses.append(refused.status)
    assert set(statuses) <= {202, 400, 413, 422}


@settings(max_examples=100, deadline=None)
@given(good_events, st.integers(0, 400))
def test_a_body_cut_anywhere_is_refused_whole(row: dict[str, Any], cut: int) -> None:
    body = envelope([row, row])
    with pytest.raises(RequestRefusedError) as refused:
        decode(body[: cut % len(body)])
    assert refused.value.status == 400


def test_a_good_body_never_goes_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the slow way")

    monkeypatch.setattr(json_rows, "_decode_one_by_one", never)
    assert decode(envelope([event(i) for i in range(5)])).rows == 5
    assert decode(envelope([event(1, extra=1)])).rows == 1


def test_members_in_any_order_and_a_model_after_the_events() -> None:
    body = b' {"events" : [] , "note": {"a": [1]}, "model" : "m\\u006d"} '

    assert model_of(body, None) == "mm"


def test_the_model_in_body_and_address_must_agree() -> None:
    with pytest.raises(RequestRefusedError, match="name one"):
        model_of(b'{"model":"a","events":[]}', "b")


def test_embeddings_become_rows_of_one_matrix() -> None:
    wide = replace(SCHEMA, embedding_dim=2)
    body = envelope([event(1, embedding=[1.5, 2.5]), event(2), event(3, embedding=[1.0])])
    batch = decode_json_events(body, model="m", schema=wide, now_us=to_us(NOW), limits=LIMITS)

    assert batch.refused.total == 1
    assert batch.window.embedding is not None
    np.testing.assert_array_equal(batch.window.embedding, [[1.5, 2.5], [np.nan, np.nan]])


def test_too_many_rows_are_refused_before_they_are_kept() -> None:
    few = IngestLimits(rows=3)
    rejections = Rejections()
    bodies: list[list[Any]] = [[event(i) for i in range(4)], [{}] * 4]
    for rows in bodies:
        with pytest.raises(RequestRefusedError) as refused:
            decode_body(envelope(rows), event_rows(SCHEMA), few, rejections, lines=False)
        assert refused.value.status == 413


def test_a_feature_name_that_json_cannot_match_is_said() -> None:
    awkward = replace(SCHEMA, columns=(ColumnSpec('a"b', Kind.NUMERIC),))
    with pytest.raises(RequestRefusedError, match="send Arrow"):
        event_rows(awkward)
