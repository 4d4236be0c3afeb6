"""A JSON or NDJSON body as typed rows, keeping every good row of a body that has bad ones.

The whole body is decoded at once; only when that fails is it walked row by row, each row put
to the same decoder, and the ordinary parser asked why. So the two ways cannot disagree about a
row, and the price of explaining is paid only by bodies that need it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from json import JSONDecoder
from typing import Any

import msgspec
import numpy as np

from detectors.records import IntArray
from monitor.api.errors import RequestRefusedError
from monitor.api.limits import IngestLimits
from monitor.api.row_types import RowType
from monitor.errors import did_you_mean
from monitor.intake.batches import Rejections, refusal

_LEAST_ROW_BYTES = len('{"id":"","ts":""}')
_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\n\r]*")
_HEAD = re.compile(rb'\s*\{\s*"model"\s*:\s*"([^"\\\x00-\x1f]{1,200})"')
_PLACE = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_EXPECTED = re.compile(r"^Expected `([^`]*)`")
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Rows:
    """Typed rows, their positions in the body (n,), and the names of members nobody asked for.

    `unknown` (n,) holds the features among these, row by row, raw or parsed; () where there are
    none.
    """

    rows: list[Any]
    row_numbers: IntArray
    extra: tuple[str, ...]
    unknown: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class _Text:
    """A value the wire carried that is no JSON value Kedge takes: NaN, Infinity, 1e999."""

    text: str

    def __str__(self) -> str:
        return self.text


def model_of(body: bytes, asked: str | None) -> str:
    """The model a JSON body is for: its `model` member, or `?model=`.

    Raises:
        RequestRefusedError: 400 if neither says, if they differ, or the body is no JSON object.
    """
    _refuse_empty(body, 'send {"model": "NAME", …} with events or labels')
    head = _HEAD.match(body[:1024])
    if head is not None:
        try:
            named: str | None = head[1].decode()
        except UnicodeDecodeError:
            named = None
    else:
        named = _named_anywhere(body)
    if named is None and asked is None:
        raise RequestRefusedError(
            400, "no model is named", 'send {"model": "NAME", …} or add ?model=NAME to the address'
        )
    if named is not None and asked is not None and named != asked:
        raise RequestRefusedError(
            400, f"the body names model '{named[:80]}', the address '{asked[:80]}'", "name one"
        )
    return named or asked or ""


def _refuse_empty(body: bytes, hint: str) -> None:
    if not body.strip():
        raise RequestRefusedError(400, "the body is empty", hint)


class _Named(msgspec.Struct, gc=False):
    model: str | None = None


def _named_anywhere(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Named).model
    except msgspec.ValidationError as error:
        raise RequestRefusedError(
            400, f"the body is not an envelope ({error})", 'send {"model": "NAME", "events": […]}'
        ) from None
    except _DECODE_ERRORS:
        for _, key, value in _Scanner(_as_text(body)).members(array_key=""):
            if key == "model":
                return value if isinstance(value, str) else None
        return None


def decode_body(
    body: bytes, row_type: RowType, limits: IngestLimits, rejections: Rejections, *, lines: bool
) -> Rows:
    """Every row of a body that has the right types; the others go to `rejections`.

    `lines` reads one object a line (NDJSON), else one envelope.

    Raises:
        RequestRefusedError: 400 where the body as a whole cannot be read, 413 too many rows,
            422 too many columns.
    """
    body = body.removeprefix(_BOM)
    if not body.strip(b" \t\r\n"):
        raise RequestRefusedError(
            400, "the body is empty", _example(row_type.envelope_key, lines=lines)
        )
    if len(body) > limits.rows * _LEAST_ROW_BYTES:  # else it cannot hold too many
        _bound_rows(body.count(b'"id"'), limits)
    rows = _decode_whole(body, row_type, lines=lines, strict=True)
    extra: tuple[str, ...] = ()
    unknown: list[dict[str, Any]] = []
    if rows is None:
        rows = _decode_whole(body, row_type, lines=lines, strict=False)
        if rows is None:
            return _decode_one_by_one(body, row_type, limits, rejections, lines=lines)
        try:
            extra, unknown = _extra_members(body, row_type, limits, lines=lines)
        except _DECODE_ERRORS:  # a name that nobody asked for and that is no text
            return _decode_one_by_one(body, row_type, limits, rejections, lines=lines)
    _bound_rows(len(rows), limits)
    return Rows(rows, np.arange(len(rows), dtype=np.int64), extra, unknown)


def _decode_whole(body: bytes, row_type: RowType, *, lines: bool, strict: bool) -> list[Any] | None:
    try:
        if lines:
            decoder = row_type.strict_row if strict else row_type.lenient_row
            return list(decoder.decode_lines(body))
        rows: list[Any] = (row_type.strict if strict else row_type.lenient).decode(body).rows
    except _DECODE_ERRORS:
        return None
    return rows


def _bound_rows(rows: int, limits: IngestLimits) -> None:
    if rows > limits.rows:
        raise RequestRefusedError(
            413, f"more than {limits.rows:,} rows in one body", "split the batch"
        )


def sample_rows(body: bytes, key: str, rows: int, *, lines: bool) -> list[dict[str, Any]]:
    """The first rows of a body as plain dicts, whatever their types.

    Raises:
        RequestRefusedError: 400 where the body as a whole cannot be read.
    """
    body = body.removeprefix(_BOM)
    parts = _split_lines(body) if lines else _split_envelope(body, key)
    return [parsed for _, parsed in islice(parts, rows) if isinstance(parsed, dict)]


def bound_columns(columns: int, limits: IngestLimits) -> None:
    """Refuse a body with too many feature columns (422)."""
    if columns > limits.columns:
        raise RequestRefusedError(
            422,
            f"{columns:,} feature columns; at most {limits.columns:,} can be monitored",
            "send the features the model uses most",
        )


def _decode_one_by_one(
    body: bytes, row_type: RowType, limits: IngestLimits, rejections: Rejections, *, lines: bool
) -> Rows:
    rows: list[Any] = []
    numbers: list[int] = []
    extra: dict[str, None] = {}
    unknown: list[dict[str, Any]] = []
    parts = _split_lines(body) if lines else _split_envelope(body, row_type.envelope_key)
    for number, (raw, parsed) in enumerate(parts):
        _bound_rows(number + 1, limits)
        try:
            rows.append(row_type.lenient_row.decode(raw))
        except _DECODE_ERRORS as error:
            _explain(number, raw, parsed, error, row_type, rejections)
            continue
        numbers.append(number)
        unknown.append(_note_extra(parsed, row_type, extra))
        bound_columns(len(row_type.features) + len(extra), limits)
    return Rows(
        rows,
        np.array(numbers, dtype=np.int64),
        tuple(extra),
        unknown if any(unknown) else (),
    )


def _note_extra(parsed: object, row_type: RowType, extra: dict[str, None]) -> dict[str, Any]:
    """Add the names of a row's members nobody asked for to `extra`; the features among them."""
    if not isinstance(parsed, dict):
        return {}
    extra.update(dict.fromkeys(_text(key) for key in parsed if key not in row_type.fields))
    features = parsed.get("features")
    if row_type.feature_type is None or not isinstance(features, dict):
        return {}
    unknown = {_text(key): v for key, v in features.items() if key not in row_type.features}
    extra.update(dict.fromkeys(unknown))
    return unknown


def _text(name: str) -> str:
    """A name that a reply can hold, whatever bytes it came as."""
    return name.encode("utf-8", "replace").decode()


_RAW_MEMBERS: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(
    dict[str, msgspec.Raw]
)
_PLAIN_MEMBERS: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_RAW_BODY: msgspec.json.Decoder[dict[str, msgspec.Raw]] = _RAW_MEMBERS
_RAW_ROWS: msgspec.json.Decoder[list[dict[str, msgspec.Raw]]] = msgspec.json.Decoder(
    list[dict[str, msgspec.Raw]]
)


def _extra_members(
    body: bytes, row_type: RowType, limits: IngestLimits, *, lines: bool
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Members of a body that decodes, but not by the schema; the features among them, by row."""
    extra: dict[str, None] = {}
    unknown: list[dict[str, Any]] = []
    if lines:
        rows: list[dict[str, msgspec.Raw]] = list(_RAW_MEMBERS.decode_lines(body))
    else:
        envelope = _RAW_BODY.decode(body)
        known = {"model", row_type.envelope_key}
        extra.update(dict.fromkeys(key for key in envelope if key not in known))
        rows = _RAW_ROWS.decode(envelope[row_type.envelope_key])
    for row in rows:
        extra.update(dict.fromkeys(key for key in row if key not in row_type.fields))
        features = row.get("features")
        strange: dict[str, Any] = {}
        if (
            row_type.feature_type is not None
            and features is not None
            and bytes(features) != b"null"
        ):
            members = _members(features)
            strange = {key: value for key, value in members.items() if key not in row_type.features}
            extra.update(dict.fromkeys(strange))
        unknown.append(strange)
        bound_columns(len(row_type.features) + len(extra), limits)
    return tuple(extra), unknown if any(unknown) else []


def _members(features: msgspec.Raw) -> dict[str, Any]:
    """The features of a row; raw where a value is none that Python can hold."""
    try:
        return _PLAIN_MEMBERS.decode(features)
    except _DECODE_ERRORS:
        return _RAW_MEMBERS.decode(features)


# ---- walking a body that does not decode ---------------------------------------------------


def _as_text(body: bytes) -> str:
    """Bytes that are not UTF-8 survive as surrogates, so that only their row is refused."""
    return body.decode("utf-8", "surrogateescape")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _parse_float(text: str) -> object:
    number = float(text)
    return number if np.isfinite(number) else _Text(text)


def _parse_int(text: str) -> object:
    return int(text) if len(text) < 20 else float(text) if len(text) < 300 else _Text(text)


_PARSER = JSONDecoder(parse_float=_parse_float, parse_int=_parse_int, parse_constant=_Text)


class _Scanner:
    """Reads the members of one JSON object, and the elements of one array in it, one at a time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self) -> str:
        """Pass white space; the next character, or ''."""
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def malformed(self, why: str) -> RequestRefusedError:
        near = self.text[self.at : self.at + 20]
        hint = f"near character {self.at:,}" + (f": {near!a}" if near else ", where it ends")
        return RequestRefusedError(400, f"the body is not valid JSON: {why}", hint)

    def expect(self, character: str) -> None:
        if self.skip() != character:
            raise self.malformed(f"'{character}' was expected")
        self.at += 1

    def value(self) -> object:
        self.skip()
        try:
            value, self.at = _PARSER.raw_decode(self.text, self.at)
        except RecursionError:
            raise self.malformed("it is nested too deeply") from None
        except (ValueError, IndexError) as error:
            why = getattr(error, "msg", "a value was expected").lower()
            raise self.malformed(why) from None
        return value

    def members(self, *, array_key: str) -> Iterator[tuple[int, str, object]]:
        """(start, key, value) of each member; elements of `array_key` come one by one."""
        self.expect("{")
        if self.skip() == "}":
            self.at += 1
            return
        while True:
            if self.skip() != '"':
                raise self.malformed("a name in quotes was expected")
            key = str(self.value())
            self.expect(":")
            if key == array_key:
                yield from ((start, key, value) for start, value in self.elements())
            else:
                self.skip()
                start = self.at
                yield start, key, self.value()
            if self.skip() != ",":
                break
            self.at += 1
        self.expect("}")

    def elements(self) -> Iterator[tuple[int, object]]:
        self.expect("[")
        if self.skip() == "]":
            self.at += 1
            return
        while True:
            self.skip()
            start = self.at
            yield start, self.value()
            if self.skip() != ",":
                break
            self.at += 1
        self.expect("]")


def _split_envelope(body: bytes, key: str) -> Iterator[tuple[bytes, object]]:
    """The text of each element of the array `key` of the one object a body is, and its value."""
    scanner = _Scanner(_as_text(body))
    if scanner.skip() != "{":
        raise RequestRefusedError(400, "the body is no JSON object", _example(key, lines=False))
    seen = False
    for start, member, value in scanner.members(array_key=key):
        seen = seen or member == key
        if member == key:
            yield _as_bytes(scanner.text[start : scanner.at]), value
    if scanner.skip():
        raise scanner.malformed("there is more after its end")
    if not seen and f'"{key}"' not in scanner.text:
        raise RequestRefusedError(400, f"the body has no '{key}'", _example(key, lines=False))


def _split_lines(body: bytes) -> Iterator[tuple[bytes, object]]:
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line = body[start:end].strip()
        start = end + 1
        if not line:
            continue
        try:
            parsed: object = _PARSER.decode(_as_text(line))
        except (ValueError, RecursionError):
            parsed = None
        yield line, parsed


# ---- saying what is wrong with a row -------------------------------------------------------


def _explain(
    number: int,
    raw: bytes,
    parsed: object,
    error: Exception,
    row_type: RowType,
    rejections: Rejections,
) -> None:
    identifier = parsed.get("id", "") if isinstance(parsed, dict) else ""
    shown_id = identifier if isinstance(identifier, str) else ""
    field, value, reason, remedy = _cause(raw, parsed, error, row_type)
    rejections.add(refusal(number, shown_id, field, value, reason, remedy))


def _cause(
    raw: bytes, parsed: object, error: Exception, row_type: RowType
) -> tuple[str, object, str, str]:
    """(field, value, reason, remedy) of the error a decoder raised on this row."""
    shown = raw[:100].decode("utf-8", "backslashreplace")
    if isinstance(error, RecursionError):
        return "", shown, "nested too deeply", "send features as plain values"
    if isinstance(error, UnicodeDecodeError):
        field, value = _find(parsed, lambda v: isinstance(v, str) and not _is_utf8(v))
        return field, ascii(value), "not UTF-8", "encode text as UTF-8"
    if not isinstance(parsed, dict):
        return "", shown, "not a JSON object", _example(row_type.envelope_key, lines=True)
    if not isinstance(error, msgspec.ValidationError):
        field, value = _find(parsed, lambda v: isinstance(v, _Text))
        if isinstance(value, _Text):
            return field, value, "not a finite number", "send a finite number, or null if missing"
        why = f"{str(error).lower()}; escape text as JSON does"
        return field, value or shown, "not valid JSON", why
    message = str(error)
    missing = re.match(r"Object missing required field `(.+)`", message)
    if missing is not None:
        near = did_you_mean(missing[1], (key for key in parsed if key not in row_type.fields))
        return missing[1], "", "missing", f"every row needs '{missing[1]}'.{near}"
    place = _PLACE.search(message)
    field = place[1] if place is not None else ""
    field = re.sub(r"\[\d*(\.\.\.)?\]$", "", field)
    if field.startswith("features."):
        field = field.removeprefix("features.")
        features = parsed["features"]
        value = features.get(field) if isinstance(features, dict) else features
    else:
        value = parsed.get(field)
    if isinstance(value, _Text) or message.startswith("Number out of range"):
        return field, value, "not a finite number", "send a finite number, or null if missing"
    expected = _EXPECTED.match(message)
    wanted = expected[1] if expected is not None else message
    return (
        field,
        json.dumps(value, default=str)[:100],
        "wrong type",
        _WANTED.get(wanted, f"send {wanted}"),
    )


_WANTED = {
    "float": "send a number, not text, true or false",
    "float | null": "send a number, not text, true or false; null if missing",
    "str": "send text in quotes",
    "str | null": "send text in quotes; null if missing",
    "str | bool | int | float | null": "send text, a number, true or false; null if missing",
    "object | null": "send an object of feature names and values",
    "object": "send an object",
    "array | null": "send a list of numbers",
    "bool | int | float | str | null": "send text, a number, true or false; null if missing",
}


def _find(parsed: object, wrong: Any) -> tuple[str, object]:
    """The first member of a row, or of its features, whose value is wrong."""
    if not isinstance(parsed, dict):
        return "", parsed
    features = parsed.get("features")
    nested = features if isinstance(features, dict) else {}
    for key, value in [*parsed.items(), *nested.items()]:
        values = value if isinstance(value, list) else [value]
        for item in values:
            if wrong(item):
                return key, item
    return "", ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _example(key: str, *, lines: bool) -> str:
    row = (
        '{"id": "e1", "label": 1, "ts": "2026-01-01T00:00:00Z"}'
        if key == "labels"
        else '{"id": "e1", "ts": "2026-01-01T00:00:00Z", "features": {…}, "score": 0.37}'
    )
    return f"send {row}" if lines else f'send {{"model": "NAME", "{key}": [{row}]}}'
