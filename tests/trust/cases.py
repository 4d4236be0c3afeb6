"""Generated bodies and configurations, and what must hold of each: a batch, or a refusal in words.

A case is a good body that was cut, doubled, flipped and sprinkled with words that parsers trip
over. The seed and the number of a case make it again. Everything runs in this process, without
HTTP, so that a million cases take minutes.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from detectors.records import ColumnSpec, Kind, Schema, Task
from monitor.api.decode_arrow import decode_arrow_events, decode_arrow_labels, read_stream
from monitor.api.decode_json import decode_json_events, decode_json_labels, learn_json_schema
from monitor.api.errors import RequestRefusedError
from monitor.api.json_rows import model_of
from monitor.api.learn_schema import learn_arrow_schema
from monitor.api.limits import Body, IngestLimits, inflate
from monitor.config import parse_config
from monitor.errors import InputError
from monitor.intake.batches import EventBatch, LabelBatch

LIMITS = IngestLimits(compressed_bytes=1 << 20, inflated_bytes=1 << 20, rows=500, columns=60)
NOW_US = 1_768_003_200_000_000  # 2026-01-10
SCHEMA = Schema(
    Task.BINARY,
    (ColumnSpec("age", Kind.NUMERIC), ColumnSpec("job", Kind.CATEGORICAL)),
    has_score=True,
    has_baseline=False,
)
KINDS = ("json", "ndjson", "arrow", "labels", "arrow labels", "learn", "learn arrow", "config")
UNSAFE = re.compile(r"[\x00-\x1f\x7f]")

# What parsers trip over.
WORDS = [
    b"NaN", b"-Infinity", b"1e999", b"-0.0", b"1e-999", b"9" * 400, b"true", b"null", b"{}", b"[]",
    b"[" * 2_000, b"]" * 50, b'{"a":' * 500, b'"', b"\\", b"\\u0000", b"\\ud800", b"\x00", b"\xff",
    b"\xef\xbb\xbf", b"\xc0\x80", b"\xed\xa0\x80", "\u202e".encode(), b"\r\n", b"\n\n", b",", b":",
    b'"id"', b'"features"', b'"ts"', b'"2026-13-45T99:99:99Z"', b'"0000-00-00T00:00:00Z"',
    b'"9999-12-31T23:59:59.999999999Z"', b'"1"', b'"<script>"', b"'; DROP TABLE x;",
    b"x" * 1_100,
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"[[", b"]]", b"= ",
    b"1979-05-27",
    b'"""', b"inf", b"0x_1", b"\t", b"#",
]  # fmt: skip
VALUES = [
    b"null", b"true", b"false", b"0", b"-1", b"1e308", b"1e309", b"NaN", b"-0.0", b"0.1e-400", b"2",
    b"9007199254740993", b"1" + b"0" * 400, b"[]", b"{}", b"[1]", b'[[["a"]]]', b'{"a":1}', b'""',
    b'"\\u0000"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"a\\nb"', b'"' + b"y" * 1_001 + b'"',
    b'"NaN"',
    b'"Infinity"', b'"2026-01-09"', b'"2026-01-09T00:00:00"', b'"2026-01-09T00:00:00+25:00"',
    b'"2200-01-01T00:00:00Z"', b'"1600-01-01T00:00:00Z"', b'"2026-02-30T00:00:00Z"', b'"\xff"',
]  # fmt: skip
# A value in the place of another: the body stays JSON, the row may not stay good.
_A_VALUE = re.compile(rb'(?<=: )("[^"]*"|-?[0-9.]+|null|true)')


@dataclass(frozen=True, slots=True)
class Case:
    """One input. `zipped`: it comes gzipped, perhaps damaged after."""

    kind: str
    body: bytes
    zipped: bool = False


def make_case(seed: int, number: int) -> Case:
    """Case `number` of a seed."""
    rng = random.Random(f"{seed}/{number}")
    kind = KINDS[number % len(KINDS)]
    if "arrow" in kind and rng.random() < 0.25:
        return Case(kind, _stream(odd_table(rng, labels=kind == "arrow labels")))
    body = rng.choice(_good(kind))
    if kind not in {"arrow", "arrow labels", "learn arrow", "config"} and rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 2, 4))):
            body = _revalued(body, rng)
    elif rng.random() < 0.97:
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            body = _mutated(body, rng)
    zipped = kind != "config" and rng.random() < 0.1
    if zipped:
        body = gzip.compress(body, 1, mtime=0)
        if rng.random() < 0.5:
            body = _mutated(body, rng)
    return Case(kind, body, zipped)


def _revalued(body: bytes, rng: random.Random) -> bytes:
    places = list(_A_VALUE.finditer(body))
    if not places:
        return body
    place = rng.choice(places)
    return body[: place.start()] + rng.choice(VALUES) + body[place.end() :]


def _mutated(body: bytes, rng: random.Random) -> bytes:
    at, other = sorted((rng.randrange(len(body) + 1), rng.randrange(len(body) + 1)))
    other = min(other, at + rng.choice((1, 4, 16, 64, 4_096)))
    match rng.randrange(7):
        case 0:
            return body[:at] + rng.randbytes(1) + body[at + 1 :]
        case 1:
            return body[:at] + body[other:]
        case 2:
            return body[:other] + body[at:]
        case 3:
            return body[:at] + rng.choice(WORDS) + body[at:]
        case 4:
            return body[:at] + rng.choice(WORDS) + body[other:]
        case 5:
            return body[:at]
        case _:
            flipped = bytes([body[at] ^ (1 << rng.randrange(8))]) if at < len(body) else b""
            return body[:at] + flipped + body[at + 1 :]


def judge(case: Case) -> str:
    """How a case ended: "kept", "rows refused", or the status of the refusal.

    Raises:
        AssertionError: something got through that must not.
        Exception: anything else is a crash, which over HTTP would be a 500.
    """
    if case.kind == "config":
        return _judge_config(case.body)
    try:
        batch = _decoded(case)
    except RequestRefusedError as refused:
        return _in_words(refused)
    if isinstance(batch, EventBatch):
        _check_events(batch)
    elif isinstance(batch, Schema):
        names = [column.name for column in batch.columns]
        assert all(0 < len(n) <= 200 and not UNSAFE.search(n) and n.encode() for n in names)
    elif isinstance(batch, LabelBatch):
        assert np.isin(batch.label, (0, 1)).all()
        assert len(batch.id_hi) == len(batch.id_lo) == len(batch.label) == len(batch.label_ts_us)
    if isinstance(batch, (EventBatch, LabelBatch)):
        told = json.dumps([asdict(one) for one in batch.refused.shown], ensure_ascii=False)
        assert not any(UNSAFE.search("".join(key)) for key in batch.refused.tallies)
        assert (told + "".join(batch.refused.warnings)).encode()  # a reply can hold it
    refused_rows = isinstance(batch, (EventBatch, LabelBatch)) and batch.refused.total
    return "rows refused" if refused_rows else "kept"


def _in_words(refused: RequestRefusedError) -> str:
    assert refused.status in {400, 413, 415, 422}, refused.status
    assert 0 < len(refused.error) < 2_000
    assert 0 < len(refused.hint) < 2_000
    return str(refused.status)


def _decoded(case: Case) -> Any:
    received = Body([case.body], len(case.body), gzip=case.zipped)
    body = inflate(received, LIMITS)
    match case.kind:
        case "json":
            model_of(body, None)
            return _json_events(body, lines=False)
        case "ndjson":
            return _json_events(body, lines=True)
        case "arrow":
            table = read_stream(body, LIMITS)
            return decode_arrow_events(
                table, model="m", schema=SCHEMA, now_us=NOW_US, limits=LIMITS
            )
        case "labels":
            return decode_json_labels(
                body, model="m", task=Task.BINARY, now_us=NOW_US, limits=LIMITS, lines=False
            )
        case "arrow labels":
            table = read_stream(body, LIMITS)
            return decode_arrow_labels(
                table, model="m", task=Task.BINARY, now_us=NOW_US, limits=LIMITS
            )
        case "learn":
            return learn_json_schema(body, Task.BINARY, LIMITS, lines=False)
        case _:
            return learn_arrow_schema(read_stream(body, LIMITS), Task.BINARY)


def _json_events(body: bytes, *, lines: bool) -> EventBatch:
    return decode_json_events(
        body, model="m", schema=SCHEMA, now_us=NOW_US, limits=LIMITS, lines=lines
    )


def _check_events(batch: EventBatch) -> None:
    """What every kept row has promised to storage."""
    window = batch.window
    rows = window.rows
    assert len(batch.id_hi) == len(batch.id_lo) == rows <= LIMITS.rows
    for numbers in (window.score, window.baseline_score):
        if numbers is not None:
            known = numbers[~np.isnan(numbers)]
            assert len(numbers) == rows
            assert ((known >= 0) & (known <= 1)).all()
    for values in window.numeric.values():
        assert len(values) == rows
        assert not np.isinf(values).any()
    for texts in (window.domain, window.version, window.arm, window.cluster):
        if texts is not None:
            assert all(len(text) <= 200 and not UNSAFE.search(text) for text in texts.values)
            text_bytes = [text.encode() for text in texts.values]  # no lone surrogates
            assert len(text_bytes) == len(texts.values)
    for texts in window.categorical.values():
        assert all(len(text) <= 1_000 and "\x00" not in text for text in texts.values)
        assert all(text.encode() for text in texts.values if text)
        assert ((texts.codes >= -1) & (texts.codes < max(len(texts.values), 1))).all()


def _judge_config(body: bytes) -> str:
    try:
        raw = tomllib.loads(body.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return "no TOML"
    try:
        parse_config(raw, source="kedge.toml")
    except InputError as error:
        said = str(error)
        assert "\n" not in said.strip(), said
        return "refused"
    return "kept"


# ---- good inputs


@cache
def _good(kind: str) -> tuple[bytes, ...]:
    return tuple(_MAKERS[kind]())


def _events() -> list[dict[str, Any]]:
    return [
        {
            "id": f"e{number}",
            "ts": f"2026-01-09T{number:02d}:00:00Z",
            "domain": "VT",
            "features": {"age": 20.5 + number, "job": "nurse"},
            "score": 0.25,
        }
        for number in range(4)
    ]


def _full_event() -> dict[str, Any]:
    return {
        **_events()[0],
        "version": "3",
        "baseline_score": 0.5,
        "prediction": 1,
        "arm": "a",
        "weight": 2.0,
        "embedding": [0.5, 1.0],
        "cluster": "c",
        "features": {"age": None, "job": "café", "new": True},
    }


def _json() -> Iterator[bytes]:
    for rows in (_events(), [_full_event()], [_full_event(), *_events()]):
        yield json.dumps({"model": "m", "events": rows}).encode()


def _ndjson() -> Iterator[bytes]:
    for rows in (_events(), [_full_event()]):
        yield "\n".join(map(json.dumps, rows)).encode()


def _labels() -> Iterator[bytes]:
    rows = [{"id": f"e{n}", "label": n % 2, "ts": "2026-01-09T00:00:00Z"} for n in range(4)]
    yield json.dumps({"model": "m", "labels": rows}).encode()


def _stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@cache
def _odd_columns() -> tuple[pa.Array, ...]:
    """Columns of three rows of every type a sender may have, at the edges of their ranges."""
    big, far = 2**63 - 1, 10**18
    return (
        pa.array([1, None, -128], pa.int8()),
        pa.array([0, big, -big], pa.int64()),
        pa.array([0, 2**64 - 1, None], pa.uint64()),
        pa.array(np.array([0.5, np.nan, np.inf], np.float16)),
        pa.array([0.25, np.nan, -np.inf], pa.float32()),
        pa.array([0.25, 1e308, None]),
        pa.array([True, None, False]),
        pa.nulls(3),
        pa.array(["a", "b", None]),
        pa.array(["", "x\x00", "\u202e"], pa.large_string()),
        pa.array(["e1", "e1", "y" * 1_100], pa.string_view()),
        pa.array([b"a", b"\xff", None]),
        pa.array(["2026-01-09T00:00:00Z", "2026-01-09", "soon"]),
        pa.array(["p", None, "p"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["q", None])),
        *(pa.array([0, far, -far], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        *(pa.array([0, big, -big], pa.timestamp(unit, tz="UTC")) for unit in ("s", "us", "ns")),
        pa.array([NOW_US, NOW_US, None], pa.timestamp("us", tz="America/New_York")),
        pa.array([0, 2**31 - 1, None], pa.date32()),
        pa.array([0, 86_400_000, None], pa.date64()),
        pa.array([0, 1, None], pa.time64("us")),
        pa.array([0, 1, None], pa.duration("ns")),
        pa.array([1, 2, None], pa.decimal128(38, 0)),
        pa.array([[0.5, 1.0], [0.5], None]),
        pa.array([[0.5, 1.0], [0.5, np.nan], None], pa.list_(pa.float32(), 2)),
        pa.array([["a"], [], None]),
        pa.array([{"a": 1}, None, {"a": 2}]),
        pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    )


def odd_table(rng: random.Random, *, labels: bool) -> pa.Table:
    """The names we know over types we may not, some of them missing or given twice."""
    names = ["id", "label", "ts"] if labels else [*_full_event(), "age", "job", "new"]
    names = [name for name in names if name != "features" and rng.random() < 0.8]
    names += rng.choices(["id", "age", "", "x\x00y", "n" * 300], k=rng.choice((0, 0, 1, 2)))
    good = {"id": pa.array(["a", "b", "c"]), "label": pa.array([0, 1, 1])}
    good["ts"] = pa.array([NOW_US - 1, NOW_US - 2, NOW_US - 3], pa.timestamp("us", tz="UTC"))
    columns = [
        good[name] if name in good and rng.random() < 0.7 else rng.choice(_odd_columns())
        for name in names
    ]
    return pa.Table.from_arrays(columns, names=names)


def _arrow() -> Iterator[bytes]:
    flat = [{k: v for k, v in e.items() if k != "features"} | e["features"] for e in _events()]
    table = pa.Table.from_pylist(flat)
    ts = table.column("ts").cast(pa.timestamp("us", tz="UTC"))
    table = table.set_column(table.column_names.index("ts"), "ts", ts)
    wide = table.append_column("embedding", pa.array([[0.5, 1.0]] * 4))
    coded = table.set_column(
        table.column_names.index("job"), "job", table.column("job").dictionary_encode()
    )
    for one in (table, wide, coded):
        yield _stream(one)
    yield _stream(table, compression="lz4")
    yield _stream(table, compression="zstd")


def _arrow_labels() -> Iterator[bytes]:
    table = pa.table({"id": ["a", "b"], "label": [0.0, 1.0]})
    yield _stream(table)
    yield _stream(table, compression="lz4")


def _config() -> Iterator[bytes]:
    yield b"""
[service]
host = "127.0.0.1"
port = 8321
retention = "90d"
[models.credit]
task = "binary"
budget = "1 page / 30 d"
tick = "6h"
label_delay = "7d"
slices = [["origin"], ["origin", "engine"]]
[[models.credit.detectors]]
method = "adwin"
signal = "score"
options = { delta = 0.002 }
[[channels]]
name = "ops"
kind = "webhook"
url = "https://hooks.example.com/kedge"
secret_env = "OPS"
allow_networks = ["10.0.4.0/24"]
[[sources]]
name = "drop"
kind = "files"
model = "credit"
path = "/var/lib/predictions"
every = "1min"
columns = { timestamp = "scored_at" }
"""


_MAKERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "json": _json,
    "ndjson": _ndjson,
    "arrow": _arrow,
    "labels": _labels,
    "arrow labels": _arrow_labels,
    "learn": _json,
    "learn arrow": _arrow,
    "config": _config,
}
