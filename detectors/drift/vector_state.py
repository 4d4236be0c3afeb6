"""The memory of a detector as plain numbers: all that is saved, and all that is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from detectors.base import JsonValue


@dataclass(frozen=True, slots=True)
class VectorState:
    """What one side of a detector remembers; empty before its first tick and after an alarm."""

    values: tuple[float, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        return {"values": list(self.values)}

    @classmethod
    def from_json(cls, saved: Mapping[str, JsonValue]) -> VectorState:
        return cls(numbers(saved["values"]))


@dataclass(frozen=True, slots=True)
class TwinState:
    """The memories of a method that sees rises only, and of its twin that sees falls."""

    up: tuple[float, ...] = ()
    down: tuple[float, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        return {"up": list(self.up), "down": list(self.down)}

    @classmethod
    def from_json(cls, saved: Mapping[str, JsonValue]) -> TwinState:
        return cls(numbers(saved["up"]), numbers(saved["down"]))


def numbers(saved: JsonValue) -> tuple[float, ...]:
    """A saved list of finite numbers; TypeError or ValueError if it is none."""
    if not isinstance(saved, list):
        raise TypeError(f"the numbers of a detector's memory must be a list, not {saved!r}")
    found = tuple(float(value) for value in saved)  # type: ignore[arg-type]
    if not all(map(math.isfinite, found)):
        raise ValueError(f"a detector's memory holds a value that is no number: {saved!r}")
    return found
