"""What the other domains of a model show, day by day: what a domain is held against.

Only references that ended before a domain's first live row choose its peers, and only those of
their ticks that its own reference has; so event time alone decides, live and in a replay. A live
tick of a peer is read from its rows as its own evidence reads them: those that came in time, with
the labels known at the instant of whoever asks. A peer whose reference was replaced since, or that
has no rows, is missing; so is one that is ill by itself, from the tick after that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.evidence.peers import Series
from detectors.profile import Profile
from detectors.records import Deployment, FloatArray, Schema, Settings, StreamSpec, Window
from detectors.streams import statistics
from detectors.summary import merge_summaries
from monitor.rows.base import RowSource
from monitor.watching.lender import Lender
from monitor.watching.progress import Progress
from monitor.watching.reference_ticks import (
    SUMMARISE,
    ClockName,
    reference_summaries,
    reference_vectors,
)
from monitor.watching.watch import open_watch

TICKS_KEPT = 4_000
"""Ticks of domains held at a time: each is read once for all who compare themselves with it."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How one domain's rows are counted: frozen with its reference."""

    profile: Profile
    specs: Mapping[ClockName, tuple[StreamSpec, ...]]
    label_delay_us: int

    def places(self, name: ClockName) -> dict[str, int]:
        return {spec.stream.id: place for place, spec in enumerate(self.specs[name])}


@dataclass(slots=True, eq=False)
class Fleet:
    """The domains of one model that have references of their own, by name.

    `load` gives a reference's rows, `profile` what was fitted on it if that is stored, `rows` the
    live rows of a domain in the terms of its reference, `first_live_us` when they begin, `progress`
    where a domain stands.
    """

    model: str
    schema: Schema
    settings: Settings
    known: Mapping[str, Lender]
    load: Callable[[int | str], Window]
    rows: Callable[[str], RowSource | None]
    first_live_us: Callable[[str], int | None]
    progress: Callable[[str], Progress | None]
    profile: Callable[[int | str], Profile | None] = lambda _: None
    _views: dict[str, View] = field(default_factory=dict)
    _days: dict[tuple[str, ClockName, int], Series] = field(default_factory=dict)
    _ticks: dict[tuple[str, ClockName, int, int, int], tuple[FloatArray, FloatArray]] = field(
        default_factory=dict
    )

    def references(
        self, domain: str, name: ClockName, streams: tuple[str, ...], tick_us: int
    ) -> dict[str, Series]:
        """Reference ticks of the others, columns (K,) as `streams`, that may count for a domain.

        On the label clock those count whose labels come no later than the domain's own.
        """
        own = self._view(domain) if domain in self.known else None
        before_us = self.first_live_us(domain)
        found: dict[str, Series] = {}
        for other, lender in sorted(self.known.items()):
            if other == domain or before_us is None or lender.until_us >= before_us:
                continue
            view = self._view(other)
            if name == "label" and own is not None and view.label_delay_us > own.label_delay_us:
                continue
            series = self._reference(other, name, tick_us)
            places = view.places(name)
            at = [places.get(stream, -1) for stream in streams]
            found[other] = Series(series.starts_us, *_columns(series.y, series.v, at))
        return found

    def fingerprint(self, domain: str) -> str:
        """Which reference a domain's ticks are counted by now; "" where it has none."""
        return self._view(domain).profile.fingerprint if domain in self.known else ""

    def tick(
        self, domain: str, name: ClockName, start_us: int, end_us: int, instant_us: int
    ) -> tuple[dict[str, int], FloatArray, FloatArray] | None:
        """A domain's live tick: places by stream id, y and v (K,); None where it has no rows."""
        source = self.rows(domain) if domain in self.known else None
        if source is None:
            return None
        view = self._view(domain)
        labels_by_us = instant_us if name == "label" else 0
        key = (domain, name, start_us, end_us, labels_by_us)
        if key not in self._ticks:
            parts = [
                SUMMARISE[name](rows, view.profile, start_us=start_us, end_us=end_us)
                for rows in source.rows(start_us, end_us, labels_by_us=labels_by_us or None)
            ]
            specs = view.specs[name]
            if parts:
                merged = merge_summaries(parts, start_us=start_us, end_us=end_us)
                self._ticks[key] = statistics(specs, view.profile, merged)
            else:
                self._ticks[key] = np.zeros(len(specs)), np.full(len(specs), np.inf)
            while len(self._ticks) > TICKS_KEPT:
                del self._ticks[next(iter(self._ticks))]
        return view.places(name), *self._ticks[key]

    def is_ill(self, domain: str, stream: str, instant_us: int) -> bool:
        """Whether a domain was known to be ill by itself in a stream before this instant."""
        progress = self.progress(domain)
        return progress is not None and progress.was_ill(stream, instant_us)

    def _view(self, domain: str) -> View:
        if domain not in self._views:
            lender = self.known[domain]
            watch = open_watch(
                Deployment(self.model, domain),
                self.schema,
                self.settings,
                reference=self.load(lender.key),
                own_reference=True,
                profile=self.profile(lender.key),
            )
            specs: dict[ClockName, tuple[StreamSpec, ...]] = {
                "feature": watch.feature_specs,
                "label": watch.label_specs,
            }
            self._views[domain] = View(watch.profile, specs, watch.label_delay_us)
        return self._views[domain]

    def _reference(self, domain: str, name: ClockName, tick_us: int) -> Series:
        key = (domain, name, tick_us)
        if key not in self._days:
            view, lender = self._view(domain), self.known[domain]
            summaries = reference_summaries(view.profile, name, self.load(lender.key), tick_us)
            self._days[key] = Series(
                *reference_vectors(view.profile, view.specs[name], summaries, tick_us)
            )
        return self._days[key]


def fleet_of(known: Iterable[Lender]) -> dict[str, Lender]:
    """Of each domain the last reference that is known."""
    return {one.domain: one for one in known}


def _columns(y: FloatArray, v: FloatArray, at: list[int]) -> tuple[FloatArray, FloatArray]:
    """Columns of y and v (T, K) at places, empty where a place is -1."""
    place = np.array(at, np.int64)
    lacking = place < 0
    picked = np.where(lacking, 0, place)
    if not y.shape[1]:
        return np.zeros((len(y), len(at))), np.full((len(y), len(at)), np.inf)
    return np.where(lacking, 0.0, y[:, picked]), np.where(lacking, np.inf, v[:, picked])
