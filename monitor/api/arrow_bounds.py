"""How much memory an Arrow IPC stream will take, read from its headers before it is decoded.

A compressed buffer of a few kilobytes may declare gigabytes, and the reader would allocate them.
Every compressed buffer starts with its plain length (8 bytes, little endian); the buffers of a
message are listed in its flatbuffer header (Message.fbs and Schema.fbs of the Arrow format,
version 1). Only those few fields are read here.
"""

from __future__ import annotations

import struct

import pyarrow as pa

_RECORD_BATCH = 3
_DICTIONARY_BATCH = 2
_HEADER_TYPE, _HEADER = 1, 2
_DICTIONARY_DATA = 1
_BUFFERS, _COMPRESSION = 2, 3


def plain_bytes(stream: bytes | pa.Buffer) -> int:
    """Bytes that all buffers of an IPC stream declare to hold once decompressed.

    Raises:
        pa.ArrowInvalid: if the stream or a header is damaged.
    """
    total = 0
    reader = pa.ipc.MessageReader.open_stream(stream)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return total
        try:
            total += _message_bytes(memoryview(message.metadata), message.body)
        except (struct.error, IndexError) as error:
            raise pa.ArrowInvalid(f"damaged message header: {error}") from None


def _message_bytes(header: memoryview, body: pa.Buffer | None) -> int:
    if body is None:
        return 0
    message = _follow(header, 0)
    kind = header[_slot(header, message, _HEADER_TYPE)]
    batch = _follow(header, _slot(header, message, _HEADER))
    if kind == _DICTIONARY_BATCH:
        batch = _follow(header, _slot(header, batch, _DICTIONARY_DATA))
    elif kind != _RECORD_BATCH:
        return 0
    compressed = _has(header, batch, _COMPRESSION)
    if not _has(header, batch, _BUFFERS):
        return 0
    vector = _follow(header, _slot(header, batch, _BUFFERS))
    (count,) = struct.unpack_from("<I", header, vector)
    data = memoryview(body)
    total = 0
    for number in range(count):
        offset, length = struct.unpack_from("<qq", header, vector + 4 + 16 * number)
        plain = length
        if compressed and length >= 8:
            (declared,) = struct.unpack_from("<q", data, offset)
            plain = length if declared < 0 else declared
        total += max(0, plain)
    return total


def _follow(buffer: memoryview, at: int) -> int:
    """Where the relative offset stored at `at` points."""
    return int(at + struct.unpack_from("<I", buffer, at)[0])


def _field(buffer: memoryview, table: int, number: int) -> int:
    """Offset of a field inside its table, 0 where it is absent."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if vtable < 0:
        raise IndexError("a table points before the message")
    (size,) = struct.unpack_from("<H", buffer, vtable)
    place = 4 + 2 * number
    return int(struct.unpack_from("<H", buffer, vtable + place)[0]) if place < size else 0


def _has(buffer: memoryview, table: int, number: int) -> bool:
    return _field(buffer, table, number) != 0


def _slot(buffer: memoryview, table: int, number: int) -> int:
    offset = _field(buffer, table, number)
    if offset == 0:
        raise IndexError("a required field is absent")
    return table + offset
