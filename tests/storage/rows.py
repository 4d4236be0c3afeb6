"""Events and labels for tests, and a plain reading of windows to compare with."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from detectors.records import Categories, Deployment, Window, to_us
from storage.deployments import register_model
from storage.engine import Database
from storage.identity import Identity
from storage.inbox import EventReceipt, append_events
from storage.labels import LabelReceipt, append_labels

START = datetime(2026, 3, 1, tzinfo=UTC)
START_US = to_us(START)
DAY = timedelta(days=1)
EVER = (-(2**62), 2**62)
VERMONT = Deployment("credit", "VT")

Ids = npt.NDArray[np.uint64]


def ids(*names: int) -> tuple[Ids, Ids]:
    """Two hash halves for small numbers. Neighbours share `hi`, so `lo` has to be looked at."""
    numbers = np.array(names, dtype=np.uint64)
    return (numbers // np.uint64(2)) * np.uint64(0x9E3779B97F4A7C15), numbers


def codes(*values: str | None) -> Categories:
    """A column of categories from its values."""
    known = tuple(dict.fromkeys(value for value in values if value is not None))
    found = [-1 if value is None else known.index(value) for value in values]
    return Categories(np.array(found, np.int32), known)


def events(ts_us: list[int], *, domain: str | list[str] = "VT", **columns: Any) -> Window:
    """A window of events `ts_us` microseconds after the start, with a number in column `x`."""
    domains = [domain] * len(ts_us) if isinstance(domain, str) else domain
    return Window(
        rows=len(ts_us),
        ts_us=START_US + np.array(ts_us, np.int64),
        domain=codes(*domains),
        **({"numeric": {"x": np.array(ts_us, float)}} | columns),
    )


def known_model(database: Database, model: str = "credit") -> Identity:
    """A registered model and its identity."""
    with database.write() as session:
        register_model(session, model, START)
    return Identity(database, model)


def send(
    identity: Identity,
    window: Window,
    hashes: tuple[Ids, Ids],
    late: list[bool] | None = None,
    at: datetime = START,
) -> EventReceipt:
    """One batch of events in a transaction of its own."""
    with identity.database.write() as session:
        return append_events(
            session,
            identity,
            window,
            *hashes,
            received_at=at,
            late=None if late is None else np.array(late),
        )


def tell(
    identity: Identity,
    hashes: tuple[Ids, Ids],
    labels: list[float],
    after_us: int = 0,
    at: datetime = START,
) -> LabelReceipt:
    """One batch of labels, known `after_us` the start, in a transaction of its own."""
    with identity.database.write() as session:
        came = np.full(len(labels), START_US + after_us, np.int64)
        return append_labels(session, identity, *hashes, np.array(labels), came, at)


def plain(window: Window) -> list[dict[str, Any]]:
    """Rows as dictionaries of Python values; NaN and null as None."""

    def number(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    rows: list[dict[str, Any]] = [{} for _ in range(window.rows)]
    for name in ("score", "baseline_score", "head_score", "full_score", "label", "weight"):
        column = getattr(window, name)
        if column is not None:
            for row, value in zip(rows, column, strict=True):
                row[name] = number(value)
    for name, numbers in window.numeric.items():
        for row, value in zip(rows, numbers, strict=True):
            row[f"numeric {name}"] = number(value)
    for name, categories in window.categorical.items():
        for row, text in zip(rows, categories.strings(), strict=True):
            row[f"categorical {name}"] = text
    for name in ("prediction", "domain", "version", "arm", "cluster"):
        category = getattr(window, name)
        if category is not None:
            for row, text in zip(rows, category.strings(), strict=True):
                row[name] = text
    if window.ts_us is not None:
        for row, ts_us in zip(rows, window.ts_us, strict=True):
            row["ts_us"] = int(ts_us) - START_US
    return rows


def assert_same_bits(left: Window, right: Window) -> None:
    """Every column equal to the last bit, NaN payloads included."""
    assert left.rows == right.rows
    scores = ("score", "baseline_score", "head_score", "full_score")
    names = ("ts_us", *scores, "label", "label_ts_us", "weight", "embedding")
    for name in names:
        _same_array(getattr(left, name), getattr(right, name), name)
    assert list(left.numeric) == list(right.numeric)
    for name in left.numeric:
        _same_array(left.numeric[name], right.numeric[name], name)
    assert list(left.categorical) == list(right.categorical)
    for name in left.categorical:
        _same_codes(left.categorical[name], right.categorical[name], name)
    for name in ("prediction", "domain", "version", "arm", "cluster"):
        _same_codes(getattr(left, name), getattr(right, name), name)


def _same_array(left: Any, right: Any, name: str) -> None:
    if left is None or right is None:
        assert left is right, name
        return
    assert left.dtype == right.dtype, name
    assert left.shape == right.shape, name
    assert left.tobytes() == right.tobytes(), name


def _same_codes(left: Categories | None, right: Categories | None, name: str) -> None:
    if left is None or right is None:
        assert left is right, name
        return
    assert left.values == right.values, name
    _same_array(left.codes, right.codes, name)


@contextmanager
def undone(database: Database) -> Iterator[Session]:
    """A transaction in which everything goes well until just before its end."""
    with suppress(InterruptedError), database.write() as session:
        yield session
        raise InterruptedError
