"""The two ingest routes over a real database: good rows, repeats, late rows, labels, bad bodies."""

from __future__ import annotations

import gzip
import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from detectors.records import ColumnSpec, Kind, Schema, Task, Window
from monitor.api.limits import IngestLimits
from monitor.intake.batches import EventBatch, no_hashes
from monitor.intake.ingest import ModelIngest
from monitor.intake.sampling import Sampling
from storage.deployments import list_deployments
from storage.rejections import list_rejections
from tests.monitor.serving import NOW, SCHEMA, Service, event, serving

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    write = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_stream(sink, table.schema, options=write) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def as_arrow(events: list[dict[str, Any]]) -> pa.Table:
    flat = [{k: v for k, v in e.items() if k != "features"} | e["features"] for e in events]
    table = pa.Table.from_pylist(flat)
    ts = table.column("ts").cast(pa.timestamp("us", tz="UTC"))
    return table.set_column(table.column_names.index("ts"), "ts", ts)


def counts(reply: Any) -> dict[str, int]:
    body = reply.json()
    return {key: body[key] for key in ("accepted", "duplicate", "sampled_out", "rejected", "late")}


def expected(**given: int) -> dict[str, int]:
    return {"accepted": 0, "duplicate": 0, "sampled_out": 0, "rejected": 0, "late": 0} | given


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", ["json", "ndjson", "arrow", "arrow-zstd"])
def test_every_encoding_stores_the_same_rows(service: Service, form: str, zipped: bool) -> None:
    first = {"baseline_score": 0.5, "head_score": None, "full_score": 0.2}
    second = {"baseline_score": 0.75, "head_score": 0.4, "full_score": 0.1}
    events = [
        event(1, domain="VT", version="3", features={"age": 1, "job": "cook"}) | first,
        event(2, domain="VT", version="3", features={"age": None, "job": None}) | second,
    ]
    body, headers, address = {
        "json": (json.dumps({"model": "m", "events": events}).encode(), JSON, "/v1/events"),
        "ndjson": ("\n".join(map(json.dumps, events)).encode(), NDJSON, "/v1/events?model=m"),
        "arrow": (stream(as_arrow(events)), ARROW, "/v1/events?model=m"),
        "arrow-zstd": (stream(as_arrow(events), compression="zstd"), ARROW, "/v1/events?model=m"),
    }[form]
    if zipped:
        body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
    reply = service.client.post(address, content=body, headers=headers)

    assert reply.status_code == 202, reply.text
    assert counts(reply) == expected(accepted=2)
    window = service.stored("VT")
    assert window.ts_us is not None
    start = int((NOW - timedelta(hours=2)).timestamp()) * 1_000_000
    assert window.ts_us.tolist() == [start + 1_000_000, start + 2_000_000]
    assert window.numeric["age"].tolist() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert window.categorical["job"].strings().tolist() == ["cook", None]
    assert window.score is not None
    assert window.score.tolist() == [0.25, 0.25]
    assert window.baseline_score is not None
    assert window.baseline_score.tolist() == [0.5, 0.75]
    assert window.head_score is not None
    assert window.head_score.tolist() == pytest.approx([np.nan, 0.4], nan_ok=True)
    assert window.full_score is not None
    assert window.full_score.tolist() == [0.2, 0.1]
    assert window.version is not None
    assert window.version.strings().tolist() == ["3", "3"]
    assert window.weight is None


HUGE = "x" * 10_240
BAD_ROWS: list[tuple[str, dict[str, Any], str, str]] = [
    ("number as text", {"features": {"age": "41", "job": "x"}}, "age", "wrong type"),
    ("true as number", {"features": {"age": True, "job": "x"}}, "age", "wrong type"),
    ("list as category", {"features": {"age": 1, "job": ["x"]}}, "job", "wrong type"),
    ("features no object", {"features": [1, 2]}, "features", "wrong type"),
    ("score as text", {"score": "0.5"}, "score", "wrong type"),
    ("score true", {"score": True}, "score", "wrong type"),
    ("score above 1", {"score": 1.5}, "score", "outside [0, 1]"),
    ("score below 0", {"score": -0.01}, "score", "outside [0, 1]"),
    ("baseline above 1", {"baseline_score": 7}, "baseline_score", "outside [0, 1]"),
    ("full above 1", {"full_score": 1.5}, "full_score", "outside [0, 1]"),
    ("weight 0", {"weight": 0}, "weight", "not above 0"),
    ("weight below 0", {"weight": -1.0}, "weight", "not above 0"),
    ("ts without zone", {"ts": "2026-01-01T00:00:00"}, "ts", "not an instant with a zone"),
    ("ts no time", {"ts": "yesterday"}, "ts", "not an instant with a zone"),
    ("ts a day that is none", {"ts": "2026-02-30T00:00:00Z"}, "ts", "not an instant with a zone"),
    ("ts number", {"ts": 1767225600}, "ts", "wrong type"),
    ("ts in the far future", {"ts": "2099-01-01T00:00:00Z"}, "ts", "in the future"),
    ("ts missing", {"ts": ...}, "ts", "missing"),
    ("id missing", {"id": ...}, "id", "missing"),
    ("id empty", {"id": ""}, "id", "empty"),
    ("id number", {"id": 7}, "id", "wrong type"),
    ("id of 10 kB", {"id": HUGE}, "id", "too long"),
    ("id with NUL", {"id": "a\0b"}, "id", "control character"),
    ("id with line break", {"id": "a\nb"}, "id", "control character"),
    ("category of 10 kB", {"features": {"age": 1, "job": HUGE}}, "job", "too long"),
    ("category with NUL", {"features": {"age": 1, "job": "a\0"}}, "job", "control character"),
    ("domain too long", {"domain": HUGE}, "domain", "too long"),
    ("domain with tab", {"domain": "a\tb"}, "domain", "control character"),
]


@pytest.mark.parametrize(
    ("change", "field", "reason"), [row[1:] for row in BAD_ROWS], ids=[row[0] for row in BAD_ROWS]
)
def test_a_bad_row_is_refused_by_name_and_the_rest_is_kept(
    shared: Service, change: dict[str, Any], field: str, reason: str
) -> None:
    first = 3 * [row[1] for row in BAD_ROWS].index(change)
    rows = shared.stored().rows
    reply = shared.post([event(first), event(first + 1, **change), event(first + 2)])

    assert reply.status_code == 202
    assert counts(reply) == expected(accepted=2, rejected=1)
    (rejection,) = reply.json()["rejections"]
    assert (rejection["index"], rejection["field"], rejection["reason"]) == (1, field, reason)
    assert rejection["remedy"]
    assert len(rejection["value"]) <= 120
    assert shared.stored().rows == rows + 2
    with shared.database.read() as session:
        noted = {(entry.column, entry.reason) for entry in list_rejections(session, "m")}
    assert (field, reason) in noted


RAW_VALUES = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400]


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("raw", RAW_VALUES, ids=lambda raw: raw[:12])
def test_numbers_beyond_json_are_refused_row_by_row(shared: Service, raw: str, lines: bool) -> None:
    rows = [json.dumps(event(i, id=f"{raw}{lines}{i}"[-40:])) for i in range(3)]
    rows[1] = rows[1].replace("21.0", raw)
    if lines:
        reply = shared.client.post("/v1/events?model=m", content="\n".join(rows), headers=NDJSON)
    else:
        body = '{"model": "m", "events": [' + ",".join(rows) + "]}"
        reply = shared.client.post("/v1/events", content=body, headers=JSON)

    assert counts(reply) == expected(accepted=2, rejected=1)
    (rejection,) = reply.json()["rejections"]
    assert rejection["index"] == 1
    assert (rejection["field"], rejection["reason"]) == ("age", "not a finite number")


def test_a_row_that_is_not_utf8_is_refused_alone(service: Service) -> None:
    good, bad = (json.dumps(event(i)).encode() for i in (1, 2))
    body = b'{"model":"m","events":[' + bad.replace(b"nurse", b"Z\xfcrich") + b"," + good + b"]}"
    reply = service.client.post("/v1/events", content=body, headers=JSON)

    assert counts(reply) == expected(accepted=1, rejected=1)
    (rejection,) = reply.json()["rejections"]
    assert (rejection["field"], rejection["reason"]) == ("job", "not UTF-8")


def test_a_line_that_is_no_object_is_refused_with_its_beginning(service: Service) -> None:
    lines = [json.dumps(event(1)), '{"id": "e2", "ts":', json.dumps(event(3))]
    reply = service.client.post("/v1/events?model=m", content="\n".join(lines), headers=NDJSON)

    assert counts(reply) == expected(accepted=2, rejected=1)
    (rejection,) = reply.json()["rejections"]
    assert (rejection["index"], rejection["value"]) == (1, '{"id": "e2", "ts":')

    alone = service.client.post("/v1/events?model=m", content="[1]", headers=NDJSON)
    assert alone.status_code == 422
    assert alone.json()["error"] == "row 0: not a JSON object, got '[1]'"


@pytest.mark.parametrize("arrow", [False, True])
def test_a_domain_has_a_name(service: Service, arrow: bool) -> None:
    """An empty one would be a page nobody can open; left out it is `default`."""
    rows = [event(1, domain=""), event(2, domain="VT"), event(3, domain=None)]
    if arrow:
        body = stream(as_arrow(rows))
        reply = service.client.post("/v1/events?model=m", content=body, headers=ARROW)
    else:
        reply = service.post(rows)

    assert counts(reply) == expected(accepted=2, rejected=1)
    (rejection,) = reply.json()["rejections"]
    assert (rejection["index"], rejection["field"], rejection["reason"]) == (0, "domain", "empty")
    with service.database.read() as session:
        assert {d.deployment.domain for d in list_deployments(session)} == {"VT", "default"}


def test_an_arrow_table_without_rows_warns_of_nothing(service: Service) -> None:
    table = as_arrow([event(1)]).slice(0, 0)
    reply = service.client.post("/v1/events?model=m", content=stream(table), headers=ARROW)

    assert (counts(reply), reply.json()["warnings"]) == (expected(), [])


def test_a_batch_without_a_good_row_is_a_422_with_counts(service: Service) -> None:
    reply = service.post([event(1, score=2), event(2, score=3)])

    assert reply.status_code == 422
    assert counts(reply) == expected(rejected=2)
    assert "score" in reply.json()["error"]
    assert "from 0 to 1" in reply.json()["hint"]
    assert service.stored().rows == 0


MANY = {f"f{i}": 1 for i in range(2001)}
DEEP = b'{"model":"credit","events":[{"id":"a","ts":"2026-01-01T00:00:00Z","x":' + b"[" * 100_000
BAD_BODIES: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("empty", b"", JSON, 400, "empty"),
    ("white space", b" \n", JSON, 400, "empty"),
    ("no JSON", b"hello", JSON, 400, "JSON"),
    (
        "truncated",
        json.dumps({"model": "credit", "events": [event(1)]})[:-20].encode(),
        JSON,
        400,
        "JSON",
    ),
    ("trailing", b'{"model":"credit","events":[]} x', JSON, 400, "after its end"),
    ("list", b"[]", JSON, 400, "object"),
    ("no events", b'{"model":"credit"}', JSON, 400, "events"),
    ("events no list", b'{"model":"credit","events":{}}', JSON, 400, "'['"),
    ("invalid UTF-8", b"\xff\xfe{", JSON, 400, "JSON"),
    ("nested deeply", DEEP, JSON, 400, "nested"),
    (
        "2,001 columns",
        json.dumps({"model": "credit", "events": [event(1, features=MANY)]}).encode(),
        JSON,
        422,
        "columns",
    ),
    ("model no text", b'{"model":5,"events":[]}', JSON, 400, "model"),
    ("unknown model", b'{"model":"credot","events":[]}', JSON, 404, "Did you mean 'credit'"),
    ("unknown type", b"a=b", {"content-type": "text/csv"}, 415, "content type"),
    ("no type", b"{}", {}, 415, "content type"),
    ("unknown encoding", b"{}", JSON | {"content-encoding": "br"}, 415, "encoding"),
    ("gzip that is none", b"{}", JSON | {"content-encoding": "gzip"}, 400, "gzip"),
    (
        "truncated gzip",
        gzip.compress(b"{}" * 99)[:-9],
        JSON | {"content-encoding": "gzip"},
        400,
        "truncated",
    ),
    ("empty Arrow", b"", ARROW, 400, "empty"),
    ("no Arrow", b"hello, this is no arrow", ARROW, 400, "Arrow"),
    ("Arrow file", b"ARROW1\0\0" + bytes(99), ARROW, 400, "new_stream"),
    ("truncated Arrow", stream(as_arrow([event(i) for i in range(99)]))[:-60], ARROW, 400, "Arrow"),
    (
        "Arrow text as number",
        stream(pa.table({"id": ["a"], "ts": ["2026-01-01T00:00:00Z"], "age": ["x"]})),
        ARROW,
        422,
        "'age'",
    ),
    ("Arrow without id", stream(pa.table({"ts": ["2026-01-01T00:00:00Z"]})), ARROW, 422, "'id'"),
    (
        "Arrow time without zone",
        stream(pa.table({"id": ["a"], "ts": pa.array([0], pa.timestamp("us"))})),
        ARROW,
        422,
        "zone",
    ),
    (
        "Arrow, 2,001 columns",
        stream(pa.table({name: [1] for name in ("id", "ts", *MANY)})),
        ARROW,
        422,
        "2,001 feature columns",
    ),
    ("Arrow, 300,000 rows", stream(pa.table({"id": pa.nulls(300_000)})), ARROW, 413, "rows"),
    (
        "Arrow, a name twice",
        stream(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["id", "id"])),
        ARROW,
        422,
        "two columns",
    ),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "word"),
    [case[1:] for case in BAD_BODIES],
    ids=[case[0] for case in BAD_BODIES],
)
def test_a_bad_body_is_a_4xx_of_one_line(
    shared: Service, body: bytes, headers: dict[str, str], status: int, word: str
) -> None:
    model = "?model=credit" if headers == ARROW else ""
    reply = shared.client.post(f"/v1/events{model}", content=body, headers=headers)

    assert reply.status_code == status, reply.text
    problem = reply.json()
    assert set(problem) == {"error", "hint"}
    assert "\n" not in problem["error"] + problem["hint"]
    assert word in problem["error"] + problem["hint"]
    with shared.database.read() as session:
        assert not any(d.rows for d in list_deployments(session) if d.deployment.model == "credit")


def test_arrow_refuses_rows_that_are_not_finite_or_have_no_id(service: Service) -> None:
    table = as_arrow([event(i) for i in range(5)])
    age = pa.array([1.0, float("nan"), float("inf"), None, 4.0])
    table = table.set_column(table.column_names.index("age"), "age", age)
    table = table.set_column(0, "id", pa.array(["e0", "e1", "e2", "e3", None]))
    reply = service.client.post("/v1/events?model=m", content=stream(table), headers=ARROW)

    assert counts(reply) == expected(accepted=2, rejected=3)
    shown = [(r["index"], r["field"], r["reason"]) for r in reply.json()["rejections"]]
    finite = "not a finite number"
    assert shown == [(1, "age", finite), (2, "age", finite), (4, "id", "empty")]
    assert service.stored().numeric["age"].tolist() == pytest.approx([1.0, np.nan], nan_ok=True)


def test_extra_and_missing_features_are_warnings(service: Service) -> None:
    rows = [event(i, features={"aeg": 1, "job": "x"}, scor=1) for i in range(3)] + [event(9)]
    reply = service.post(rows)

    assert counts(reply) == expected(accepted=4)
    warnings = "\n".join(reply.json()["warnings"])
    assert (
        "'aeg' is not in the schema and was kept as a new column. Did you mean 'age'?" in warnings
    )
    assert "'scor' is not in the schema and was ignored. Did you mean 'score'?" in warnings
    assert "'age' is missing in 3 of 4 rows" in warnings
    assert np.isnan(service.stored().numeric["age"]).sum() == 3


NEW: list[dict[str, Any]] = [
    {"n": 1, "b": True, "w": "x", "m": 2, "l": [1], "z": None, "h": 1},
    {"n": 2.5, "b": False, "w": "y", "m": "two", "l": 3, "h": 10**400},
    {"n": None, "w": "x" * 1_001, "h": 1},
]


@pytest.mark.parametrize("spoilt", [False, True])
def test_features_that_nobody_declared_are_kept_and_cost_no_row(
    service: Service, spoilt: bool
) -> None:
    """Whether the body decodes as a whole or row by row."""
    rows = [event(i, features={"age": 1, "job": "x"} | new) for i, new in enumerate(NEW)]
    body = {"model": "m", "events": [*rows, *([{"id": 5}] if spoilt else [])]}
    reply = service.client.post("/v1/events", json=body)

    assert counts(reply) == expected(accepted=3, rejected=int(spoilt))
    stored = service.stored()
    assert stored.numeric.keys() == {"age", "h", "n"}
    assert stored.numeric["n"].tolist() == pytest.approx([1.0, 2.5, np.nan], nan_ok=True)
    assert stored.numeric["h"].tolist() == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert stored.categorical.keys() == {"job", "b", "w", "m"}
    assert stored.categorical["b"].strings().tolist() == ["true", "false", None]
    assert stored.categorical["w"].strings().tolist() == ["x", "y", None]
    assert stored.categorical["m"].strings().tolist() == ["2", "two", None]
    warnings = "\n".join(reply.json()["warnings"])
    assert "'n' is not in the schema and was kept as a new column" in warnings
    assert "'l' is not in the schema and was ignored" in warnings


def test_arrow_columns_that_nobody_declared_are_kept_by_their_types(service: Service) -> None:
    table = as_arrow([event(i) for i in range(3)])
    for name, column in {
        "n": pa.array([1.0, float("nan"), float("inf")]),
        "b": pa.array([True, None, False]),
        "w": pa.array(["x", "y\0", "x" * 1_001]),
        "when": pa.array([0, 1, 2], pa.timestamp("us")),
        "nothing": pa.array([None, None, None], pa.float64()),
        "label": pa.array([0, 1, 0]),
        "@score": pa.array([0.1, 0.2, 0.3]),
    }.items():
        table = table.append_column(name, column)
    reply = service.client.post("/v1/events?model=m", content=stream(table), headers=ARROW)

    assert counts(reply) == expected(accepted=3)
    stored = service.stored()
    assert stored.numeric.keys() == {"age", "n"}, "a label is no feature, and a time is no number"
    assert stored.numeric["n"].tolist() == pytest.approx([1.0, np.nan, np.nan], nan_ok=True)
    assert stored.categorical["b"].strings().tolist() == ["true", None, "false"]
    assert stored.categorical["w"].strings().tolist() == ["x", None, None]


@pytest.mark.parametrize(("most", "kept"), [(3, {"x00", "x01", "x02"}), (0, set())])
def test_of_many_new_columns_the_first_by_name_are_kept(
    tmp_path: Path, most: int, kept: set[str]
) -> None:
    new = {f"x{at:02}": at for at in reversed(range(40))}
    with serving(tmp_path, limits=IngestLimits(new_columns=most)) as service:
        service.post([event(1, features={"age": 1, "job": "x"} | new)])
        assert service.stored().numeric.keys() - {"age"} == kept


def test_however_many_names_come_only_so_many_columns_are_kept_at_a_time(tmp_path: Path) -> None:
    """A body at a time a flood would make rows that are read together as wide as all of them."""
    with serving(tmp_path, limits=IngestLimits(new_columns=4)) as service:
        for at in range(10):
            names = {f"r{at}{i}": 1 for i in range(3)} | {"steady": 1, "list": [1]}
            service.post([event(at, features={"age": 1, "job": "x"} | names)])
        stored = service.stored()
        assert stored.numeric.keys() == {"age", "steady", "r00", "r01", "r02"}
        assert stored.numeric["steady"].tolist() == [1.0] * 10


def test_null_is_missing_without_a_warning(service: Service) -> None:
    reply = service.post([event(1, features={"age": None, "job": None})])

    assert reply.json()["warnings"] == []


def test_numbers_and_booleans_in_a_categorical_column_are_read_as_text(service: Service) -> None:
    jobs = [1, 3.0, True, "x", False, 2.5]
    service.post([event(i, features={"age": 1, "job": job}) for i, job in enumerate(jobs)])

    stored = service.stored().categorical["job"].strings().tolist()
    assert stored == ["1", "3", "true", "x", "false", "2.5"]


def test_repeats_change_nothing(service: Service) -> None:
    batch = [event(i) for i in range(50)]
    once = service.post(batch)
    again = service.post(batch)
    inside = service.post([event(50), event(50, score=0.9), event(3, score=0.9)])

    assert counts(once) == expected(accepted=50)
    assert counts(again) == expected(duplicate=50)
    assert counts(inside) == expected(accepted=1, duplicate=2)
    window = service.stored()
    assert window.rows == 51
    assert window.score is not None
    assert set(window.score.tolist()) == {0.25}


def test_the_same_id_of_another_model_is_another_event(service: Service) -> None:
    service.post([event(1)])
    reply = service.post([event(1)], model="credit")

    assert counts(reply) == expected(accepted=1)


def test_a_label_joins_its_event_before_and_after(service: Service) -> None:
    before = service.post([{"id": "e1", "label": 1}], kind="labels")
    service.post([event(1), event(2)])
    after = service.post([{"id": "e2", "label": 0, "ts": NOW.isoformat()}], kind="labels")
    again = service.post([{"id": "e2", "label": 0}], kind="labels")
    changed = service.post([{"id": "e2", "label": 1}], kind="labels")

    assert (before.json()["accepted"], before.json()["waiting"]) == (1, 1)
    assert (after.json()["accepted"], after.json()["waiting"]) == (1, 0)
    assert again.json()["duplicate"] == 1
    assert changed.json()["correction"] == 1
    label = service.stored().label
    assert label is not None
    assert label.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("true", "wrong type"),
        ('"1"', "wrong type"),
        ("null", "wrong type"),
        ("NaN", "not a finite number"),
        ("1e999", "not a finite number"),
        ("0.5", "not 0 or 1"),
        ("2", "not 0 or 1"),
    ],
)
def test_a_label_is_a_strict_number(shared: Service, label: str, reason: str) -> None:
    good = json.dumps({"id": f"good beside {label}", "label": 1})
    body = f'{{"model":"m","labels":[{{"id":"e1","label":{label}}},{good}]}}'
    reply = shared.client.post("/v1/labels", content=body, headers=JSON)

    assert counts(reply) == expected(accepted=1, rejected=1)
    (rejection,) = reply.json()["rejections"]
    assert (rejection["field"], rejection["reason"]) == ("label", reason)


def test_labels_come_as_arrow_too(service: Service) -> None:
    service.post([event(1), event(2), event(3)])
    table = pa.table({"id": ["e1", "e2", "e3"], "label": pa.array([1, 0, None], pa.int8())})
    reply = service.client.post("/v1/labels?model=m", content=stream(table), headers=ARROW)

    assert counts(reply) == expected(accepted=2, rejected=1)
    label = service.stored().label
    assert label is not None
    assert label.tolist() == pytest.approx([1, 0, np.nan], nan_ok=True)


def test_rows_behind_the_watermark_are_late_and_out_of_evidence(service: Service) -> None:
    hour = timedelta(hours=1)
    service.post([event(1, ts=NOW.isoformat())])
    reply = service.post(
        [
            event(2, ts=(NOW - hour).isoformat()),
            event(3, ts=(NOW - hour - timedelta(microseconds=1)).isoformat()),
        ]
    )

    assert counts(reply) == expected(accepted=2, late=1)
    assert service.stored().rows == 3
    assert service.on_time().rows == 2


def test_rows_of_one_batch_are_never_late_against_each_other(service: Service) -> None:
    days = [event(i, ts=(NOW - timedelta(days=i)).isoformat()) for i in range(5)]

    assert counts(service.post(days)) == expected(accepted=5)


def test_a_schema_is_learnt_from_the_first_events(tmp_path: Path) -> None:
    with serving(tmp_path, schema=None) as service:
        features = {"age": 41, "job": "nurse", "member": True, "zip": None}
        first = service.post([event(1, features=features, embedding=[0.5, 1.5])])
        second = service.post([event(2, features={"age": "old", "job": "cook", "member": False})])
        third = service.post([event(3, embedding=[1.0])])

        learnt = Schema(
            Task.BINARY,
            (
                ColumnSpec("age", Kind.NUMERIC),
                ColumnSpec("job", Kind.CATEGORICAL),
                ColumnSpec("member", Kind.CATEGORICAL),
            ),
            has_score=True,
            has_baseline=False,
            embedding_dim=2,
        )
        assert service.models.kept == [("m", learnt)]
        assert counts(first) == expected(accepted=1)
        assert second.json()["rejections"][0]["field"] == "age"
        assert third.json()["rejections"][0]["field"] == "embedding"


def test_sampling_is_exact_by_hash_and_labels_follow(tmp_path: Path) -> None:
    settings = ModelIngest(sampling=Sampling(rate=0.25))
    with serving(tmp_path, settings=settings) as service:
        events = service.post([event(i) for i in range(2000)])
        labels = service.post([{"id": f"e{i}", "label": 1} for i in range(2000)], kind="labels")
        again = service.post([event(i) for i in range(2000)])

        window = service.stored()
        kept = counts(events)["accepted"]
        assert abs(kept - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5
        assert counts(events) == expected(accepted=kept, sampled_out=2000 - kept)
        assert counts(labels) == expected(accepted=kept, sampled_out=2000 - kept)
        assert counts(again) == expected(duplicate=kept, sampled_out=2000 - kept)
        assert window.label is not None
        assert (window.label == 1).all()
        assert window.weight is not None
        assert (window.weight == 4).all()


def test_a_gzip_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    limits = IngestLimits(inflated_bytes=1 << 20)
    with serving(tmp_path, limits=limits) as service:
        bomb = gzip.compress(b" " * (64 << 20))
        headers = JSON | {"content-encoding": "gzip"}
        reply = service.client.post("/v1/events", content=bomb, headers=headers)

        assert reply.status_code == 413
        assert len(bomb) < 100_000


def test_compressed_arrow_is_bounded_by_what_it_declares(tmp_path: Path) -> None:
    limits = IngestLimits(inflated_bytes=1 << 20)
    with serving(tmp_path, limits=limits) as service:
        table = pa.table({"age": np.zeros(150_000)})
        body = stream(table, compression="zstd")
        reply = service.client.post("/v1/events?model=m", content=body, headers=ARROW)

        assert len(body) < 1 << 16
        assert reply.status_code == 413


def test_a_body_longer_than_the_limit_is_413_whatever_it_declares(tmp_path: Path) -> None:
    with serving(tmp_path, limits=IngestLimits(inflated_bytes=1000)) as service:
        chunks = (b" " * 100 for _ in range(20))
        undeclared = service.client.post("/v1/events", content=chunks, headers=JSON)
        declared = service.client.post("/v1/events", content=b" " * 2000, headers=JSON)

        assert (undeclared.status_code, declared.status_code) == (413, 413)


def test_a_regression_score_may_be_any_number_and_may_be_called_prediction(tmp_path: Path) -> None:
    schema = Schema(Task.REGRESSION, SCHEMA.columns)
    with serving(tmp_path, schema=schema) as service:
        service.post([event(1, score=-7.5), event(2, score=..., prediction=1234)])
        score = service.stored().score

        assert score is not None
        assert score.tolist() == [-7.5, 1234.0]


def test_a_category_with_very_many_values_is_kept(service: Service) -> None:
    rows = [event(i, ts=NOW.isoformat(), features={"job": f"job {i}"}) for i in range(20_000)]
    reply = service.post(rows)

    assert counts(reply) == expected(accepted=20_000)
    assert len(service.stored().categorical["job"].values) == 20_000


def test_overload_and_stopping_are_503_with_retry_after(tmp_path: Path) -> None:
    with serving(tmp_path, start=False, max_batches=1) as service:
        window = Window(rows=0, ts_us=np.empty(0, np.int64))
        waiting = EventBatch("m", window, no_hashes(), no_hashes())
        service.ingest.submit_events(waiting)
        full = service.post([event(1)])
        assert service.ingest.stop()
        stopping = service.post([event(1)])

        for reply in (full, stopping):
            assert reply.status_code == 503
            assert reply.headers["retry-after"] == "1"
            assert "again" in reply.json()["hint"]


def test_a_database_that_fails_is_503_and_the_batch_may_be_sent_again(service: Service) -> None:
    with sqlite3.connect(service.database.path or "", isolation_level=None) as other:
        other.execute("ALTER TABLE segments RENAME TO gone")
        failed = service.post([event(1)])
        other.execute("ALTER TABLE gone RENAME TO segments")
        again = service.post([event(1)])
    other.close()

    assert failed.status_code == 503
    assert counts(again) == expected(accepted=1)


def test_the_routes_are_described(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]

    for path in ("/v1/events", "/v1/labels"):
        post = paths[path]["post"]
        assert set(post["requestBody"]["content"]) == {
            *JSON.values(),
            *NDJSON.values(),
            *ARROW.values(),
        }
        assert {"202", "400", "404", "413", "415", "422", "503"} <= set(post["responses"])
