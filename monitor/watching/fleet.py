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
from detectors.records import Design, FloatArray, Schema, Settings, StreamSpec, Window
from detectors.streams import feature_streams, label_streams, statistics
from detectors.summary import fit_profile, merge_summaries
from detectors.transfer.designs import paired_by
from detectors.transfer.losses import VerdictLoss, chosen_loss, own_loss
from monitor.rows.base import RowSource
from monitor.watching.lender import Lender
from monitor.watching.progress import Progress
from monitor.watching.reference_ticks import (
    SUMMARISE,
    ClockName,
    reference_summaries,
    reference_vectors,
)
from monitor.watching.watch import comparable_reference, label_delay_of

MOST_COUNTED = 50
"""A median of fifty domains knows what one of five hundred knows, at a tenth of its cost."""
TICKS_KEPT = 4_000
"""Ticks of domains held at a time: each is read once for all who compare themselves with it."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How one domain's rows are counted: frozen with its reference."""

    profile: Profile
    specs: Mapping[ClockName, tuple[StreamSpec, ...]]
    loss: VerdictLoss | None = None

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
    _delays: dict[str, int] = field(default_factory=dict)
    _days: dict[tuple[str, ClockName, int], Series] = field(default_factory=dict)
    _ticks: dict[tuple[str, ClockName, int, int, int], tuple[FloatArray, FloatArray]] = field(
        default_factory=dict
    )

    @property
    def counted(self) -> tuple[str, ...]:
        """The domains that a median over the fleet counts: of very many the first by name."""
        return tuple(sorted(self.known)[:MOST_COUNTED])

    def references(
        self, domain: str, name: ClockName, streams: tuple[str, ...], tick_us: int
    ) -> dict[str, Series]:
        """Reference ticks of the others, columns (K,) as `streams`, that may count for a domain.

        On the label clock those count whose labels come no later than the domain's own.
        """
        before_us = self.first_live_us(domain)
        found: dict[str, Series] = {}
        for other, lender in sorted(self.known.items()):
            if other == domain or before_us is None or lender.until_us >= before_us:
                continue
            if name == "label" and self._label_delay_us(other) > self._label_delay_us(domain):
                continue
            found[other] = self._reference(other, name, streams, tick_us)
        return found

    def every_reference(
        self, name: ClockName, streams: tuple[str, ...], tick_us: int
    ) -> dict[str, Series]:
        """Reference ticks of all domains, columns (K,) as `streams`."""
        return {other: self._reference(other, name, streams, tick_us) for other in self.counted}

    def specs(self, domain: str, name: ClockName) -> tuple[StreamSpec, ...]:
        """The streams of a domain by its reference."""
        return self._view(domain).specs[name]

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
                SUMMARISE[name](
                    paired_by(rows, view.loss), view.profile, start_us=start_us, end_us=end_us
                )
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
            key = self.known[domain].key
            profile, loss = self.profile(key), None
            if profile is None:
                rows = self.load(key)
                if self.settings.baseline.design in {None, Design.SHADOW}:
                    loss = chosen_loss(self.schema, own_loss(self.settings, self.schema), rows)
                rows = comparable_reference(rows, self.schema, self.settings)
                profile = fit_profile(rows, self.schema)
            labels = label_streams(profile, self.settings) if self.schema.has_label else ()
            specs: dict[ClockName, tuple[StreamSpec, ...]] = {
                "feature": feature_streams(profile, self.settings),
                "label": labels,
            }
            self._views[domain] = View(profile, specs, loss)
        return self._views[domain]

    def _label_delay_us(self, domain: str) -> int:
        if self.settings.label_delay_us is not None or domain not in self.known:
            return self.settings.label_delay_us or 0
        if domain not in self._delays:
            self._delays[domain] = label_delay_of(self.load(self.known[domain].key), self.settings)
        return self._delays[domain]

    def _reference(
        self, domain: str, name: ClockName, streams: tuple[str, ...], tick_us: int
    ) -> Series:
        """A domain's reference ticks, columns (K,) as `streams`, empty where it has no such."""
        key = (domain, name, tick_us)
        view = self._view(domain)
        if key not in self._days:
            lender = self.known[domain]
            rows = comparable_reference(self.load(lender.key), self.schema, self.settings)
            summaries = reference_summaries(view.profile, name, rows, tick_us)
            self._days[key] = Series(
                *reference_vectors(view.profile, view.specs[name], summaries, tick_us)
            )
        series, places = self._days[key], view.places(name)
        at = [places.get(stream, -1) for stream in streams]
        return Series(series.starts_us, *_columns(series.y, series.v, at))


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
