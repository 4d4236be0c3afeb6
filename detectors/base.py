"""What a detector is, and where to find them.

A detector follows one number a tick. Its settings are its fields and its memory is a value that
goes in and comes out, so that it can be saved between any two ticks, replayed and compared.
Detectors are found by import (every module of `detectors.drift.named`) and through the entry
point group `kedge.detectors`, each entry naming one decorated class.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import ClassVar, Protocol, Self, TypeVar, runtime_checkable

from detectors.records import FloatArray, NamedDetector

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

ENTRY_POINTS = "kedge.detectors"


class State(Protocol):
    """The memory of a detector: bounded, comparable, and equal after a trip through JSON."""

    def to_json(self) -> dict[str, JsonValue]: ...

    @classmethod
    def from_json(cls, saved: Mapping[str, JsonValue]) -> Self:
        """Raises KeyError, TypeError or ValueError if `saved` is no state of this kind."""
        ...


S = TypeVar("S", bound=State)


@runtime_checkable
class Detector(Protocol[S]):
    """One way to notice that a followed number no longer behaves as in its reference.

    `name` is what configuration calls it, `knob` the field that trades false alarms for delay,
    and `knob_range` the values between which a calibration may choose, quiet end first.
    """

    name: ClassVar[str]
    knob: ClassVar[str]
    knob_range: ClassVar[tuple[float, float]]
    state_type: ClassVar[type[State]]

    def start(self, reference: FloatArray) -> S:
        """The memory before the first tick, from the standardised `reference` (ticks,), no NaN."""
        ...

    def step(self, state: S, value: float) -> tuple[S, bool]:
        """Take in one standardised value; True if it fires, and memory then starts empty."""
        ...


class UnknownDetectorError(ValueError):
    """Configuration names a detector, or an option of one, that does not exist."""


D = TypeVar("D")

_REGISTERED: dict[str, type[Detector[State]]] = {}


def detector(cls: type[D]) -> type[D]:
    """Class decorator: put a detector in the catalog under its `name`.

    Raises ValueError if another class already has the name.
    """
    name = cls.name  # type: ignore[attr-defined]
    taken = _REGISTERED.get(name)
    if taken is not None and taken.__qualname__ != cls.__qualname__:
        raise ValueError(f"two detectors are called {name!r}: {taken.__module__}, {cls.__module__}")
    _REGISTERED[name] = cls  # type: ignore[assignment]
    return cls


@cache
def catalog() -> Mapping[str, type[Detector[State]]]:
    """All detectors by name: those shipped, then those installed by other packages.

    Raises ImportError, naming the entry point, if an installed one cannot be loaded.
    """
    package = importlib.import_module("detectors.drift.named")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            detector(entry.load())
        except Exception as error:
            raise ImportError(
                f"detector {entry.name!r} ({entry.value}) could not be loaded: {error}"
            ) from error
    return dict(sorted(_REGISTERED.items()))


def make_detector(named: NamedDetector) -> Detector[State]:
    """The detector that a setting asks for, with its options.

    Raises UnknownDetectorError for a method or option that does not exist, and ValueError for an
    option out of range.
    """
    known = catalog()
    if named.method not in known:
        raise UnknownDetectorError(
            f"no detector {named.method!r}; there are: {', '.join(known)}"
            + _hint(named.method, list(known))
        )
    cls = known[named.method]
    options = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for option in named.options:
        if option not in options:
            raise UnknownDetectorError(
                f"detector {named.method!r} has no option {option!r}; it has: "
                f"{', '.join(options)}" + _hint(option, options)
            )
    return cls(**named.options)


def _hint(word: str, choices: list[str]) -> str:
    close = get_close_matches(word.lower(), choices, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""
