"""One history sent through many ways: what was measured of two windows is measured once.

Most of the time of a replay goes into `measure`, trees and bootstraps, and the daemon looks at an
open incident again and again. Whoever compares two ways through the same history pays for it twice
or ten times. The same windows always measure the same, which tests/detectors holds; so a way that
comes to other rows, another order or other values is measured by itself, and any difference between
the ways is still seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

import detectors.diagnosis
from detectors.findings.contrasts import Contrasts
from detectors.findings.contrasts import measure as genuine
from detectors.records import Schema, Window

_MEASURED: dict[bytes, Contrasts] = {}


@pytest.fixture(scope="module", autouse=True)
def measured_once() -> Iterator[None]:
    """For every test below the conftest that imports this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors.diagnosis, "measure", remembering(genuine, _MEASURED))
        yield


def remembering(
    measure: Callable[..., Contrasts], measured: dict[bytes, Contrasts]
) -> Callable[..., Contrasts]:
    """`measure`, which is not asked twice for the same content.

    The name of a domain is no part of it, and is not handed on: the daemon's rows carry theirs,
    those of a file that was split by it do not.
    """

    def once(reference: Window, current: Window, schema: Schema, **more: Any) -> Contrasts:
        windows = replace(reference, domain=None), replace(current, domain=None)
        key = digest(*windows, schema, more)
        if key not in measured:
            measured[key] = measure(*windows, schema, **more)
        return measured[key]

    return once


def digest(*values: object) -> bytes:
    """Of the content: two windows with equal columns have one, whoever made them."""
    found = hashlib.blake2b(digest_size=16)
    for value in values:
        _feed(found.update, value)
    return found.digest()


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    if is_dataclass(value) and not isinstance(value, type):
        update(type(value).__name__.encode())
        for field in fields(value):
            _feed(update, getattr(value, field.name))
    elif isinstance(value, np.ndarray):
        update(f"{value.dtype}{value.shape}".encode())
        update(repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes())
    elif isinstance(value, Mapping):
        _feed(update, list(value.items()))
    elif isinstance(value, list | tuple):
        update(f"{len(value)} of".encode())
        for one in value:
            _feed(update, one)
    else:
        update(f"{value!r};".encode())
