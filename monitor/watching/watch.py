"""What stays fixed while a deployment is watched: its reference, its streams, its settings.

`Watch` is rebuilt from the reference whenever that changes; `Progress` (progress.py) is what
moves. The fingerprint says which Watch a stored Progress belongs to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from detectors.alignment.staleness import KnownVectors, known_vectors
from detectors.calibration.over_time import Null, null_of
from detectors.counts import count_rules
from detectors.drift.follow import FOLLOW_VERSION
from detectors.evidence.bank import ENGINE_VERSION
from detectors.evidence.counted import CountRules
from detectors.profile import Profile
from detectors.records import (
    DAY_US,
    HOUR_US,
    AppliedMapping,
    CalibratedTo,
    Deployment,
    IntArray,
    Schema,
    Settings,
    StreamSpec,
    Window,
)
from detectors.streams import by_cluster, feature_streams, forecast_streams, label_streams
from detectors.summary import fit_profile
from detectors.transfer.designs import with_contrast
from detectors.transfer.loss import loss_of
from detectors.transfer.losses import VerdictLoss, chosen_loss, own_loss
from monitor.watching.alignment import NOTHING_KNOWN, VersionFacts

BASE_TICK_US = HOUR_US
DIAGNOSIS_ROWS = 6_000
WEEK_US = 7 * DAY_US


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """One deployment's fixed side.

    `reference` holds the domain's own reference rows (a seeded sample of at most 6,000 for the
    diagnosis), or rows of all domains where it has none (`own_reference` False).
    `reference_span_us` is None where the reference has no time axis, and so is
    `reference_rows_per_day`, the rows a day of its quietest and its busiest week. By `mappings`
    rows are read in the terms of the reference. Rows before `live_since_us` are not judged: they
    came before the version that the reference is of, or are the reference. `versions` is what
    anchors and the source probe say of the model's versions, `vectors` which embeddings all of the
    reference has. `forecast_specs` are followed by cluster against `forecast_null`. The rules say
    what of the streams can be followed by counts.
    """

    deployment: Deployment
    schema: Schema
    settings: Settings
    profile: Profile
    feature_specs: tuple[StreamSpec, ...]
    label_specs: tuple[StreamSpec, ...]
    reference: Window
    own_reference: bool
    reference_span_us: tuple[int, int] | None
    reference_rows_per_day: tuple[float, float] | None
    label_delay_us: int
    base_tick_us: int
    fingerprint: str
    mappings: tuple[AppliedMapping, ...] = ()
    live_since_us: int | None = None
    versions: VersionFacts = NOTHING_KNOWN
    vectors: KnownVectors | None = None
    loss: VerdictLoss | None = None
    forecast_specs: tuple[StreamSpec, ...] = ()
    forecast_null: Null | None = None
    feature_rules: CountRules | None = None
    label_rules: CountRules | None = None

    @property
    def is_table(self) -> bool:
        """Whether the reference is a table without times, of which days and memory say nothing."""
        return self.reference.ts_us is None and self.settings.tick_rows is None

    @property
    def cohort_us(self) -> int:
        """How much event time one cohort of the transfer verdict spans."""
        return DAY_US if self.settings.tick_rows is None else self.base_tick_us


def open_watch(
    deployment: Deployment,
    schema: Schema,
    settings: Settings,
    *,
    reference: Window,
    own_reference: bool,
    profile: Profile | None = None,
    mappings: tuple[AppliedMapping, ...] = (),
    live_since_us: int | None = None,
) -> Watch:
    """Fit cells and streams on a reference window; `profile` skips the fit when it is stored."""
    settings = own_loss(settings, schema)
    loss = chosen_loss(schema, settings, reference)
    reference = comparable_reference(reference, schema, settings)
    fitted = profile if profile is not None else fit_profile(reference, schema)
    ts = reference.ts_us if own_reference else None
    span = None if ts is None or not len(ts) else (int(ts.min()), int(ts.max()))
    feature_specs = feature_streams(fitted, settings)
    label_specs = label_streams(fitted, settings) if schema.has_label else ()
    timed = span is not None
    return Watch(
        deployment=deployment,
        schema=schema,
        settings=settings,
        profile=fitted,
        feature_specs=feature_specs,
        label_specs=label_specs,
        reference=sample_rows(reference, DIAGNOSIS_ROWS, seed=0),
        own_reference=own_reference,
        reference_span_us=span,
        reference_rows_per_day=None if ts is None or not len(ts) else weekly_rows(ts),
        label_delay_us=label_delay_of(reference, settings),
        base_tick_us=settings.tick_us or BASE_TICK_US,
        fingerprint=_fingerprint(
            deployment, schema, settings, fitted, mappings, timeless=reference.ts_us is None
        ),
        mappings=mappings,
        live_since_us=live_since_us,
        vectors=known_vectors(reference) if own_reference else None,
        loss=loss,
        forecast_specs=forecast_streams(fitted, settings),
        forecast_null=_forecast_null(reference, fitted, settings),
        feature_rules=count_rules(feature_specs, fitted, own_reference=timed),
        label_rules=count_rules(label_specs, fitted, own_reference=timed),
    )


def _forecast_null(reference: Window, profile: Profile, settings: Settings) -> Null | None:
    """What scores are held to by cluster; None where they are not followed so."""
    if not by_cluster(profile, settings) or reference.score is None:
        return None
    relative = settings.calibration is CalibratedTo.REFERENCE
    drawn = sample_rows(reference, DIAGNOSIS_ROWS, seed=0)
    assert drawn.score is not None
    scatter = 1.0 if profile.clusters else profile.dispersion or 1.0
    known = profile.clusters or profile.labelled / scatter
    return null_of(drawn.score, profile.ruler.curve if relative else None, known, scatter)


def comparable_reference(reference: Window, schema: Schema, settings: Settings) -> Window:
    """The reference as the design of the baseline and the loss of the verdict read it."""
    loss = chosen_loss(schema, own_loss(settings, schema), reference)
    centre = mean_loss(reference, schema)
    return with_contrast(reference, settings.baseline, task=schema.task, centre=centre, loss=loss)


def mean_loss(window: Window, schema: Schema) -> float:
    """Mean loss of the rows that have a score and a label; 0 where none has."""
    if window.score is None or window.label is None:
        return 0.0
    loss = loss_of(schema.task, window.score, window.label)
    known = np.isfinite(loss)
    return float(loss[known].mean()) if known.any() else 0.0


def onboarding_level(watch: Watch) -> tuple[float, float] | None:
    """Mean difference in the domain's own reference and its variance; None where not recorded."""
    scale = watch.profile.difference
    if scale is None or not watch.own_reference or watch.profile.rows < 2:
        return None
    return scale.mean, scale.sd**2 / watch.profile.rows


def weekly_rows(ts_us: IntArray) -> tuple[float, float]:
    """Rows a day in the quietest and the busiest whole week; over all time if there is none."""
    first_us, span_us = int(ts_us.min()), int(np.ptp(ts_us))
    weeks = span_us // WEEK_US
    if not weeks:
        a_day = len(ts_us) / max(span_us / DAY_US, 1 / 24)
        return a_day, a_day
    counts = np.bincount((ts_us - first_us) // WEEK_US, minlength=weeks)[:weeks] / 7
    return max(float(counts.min()), 1 / 7), float(counts.max())


def label_delay_of(reference: Window, settings: Settings) -> int:
    """The configured label delay, else the .95 quantile of it in the reference, else none."""
    if settings.label_delay_us is not None:
        return settings.label_delay_us
    if reference.label is None or reference.label_ts_us is None or reference.ts_us is None:
        return 0
    known = ~np.isnan(reference.label) & (reference.label_ts_us < np.iinfo(np.int64).max)
    if not known.any():
        return 0
    delays = (reference.label_ts_us - reference.ts_us)[known]
    return max(0, int(np.quantile(delays, 0.95)))


def sample_rows(window: Window, most: int, *, seed: int) -> Window:
    """At most `most` rows, drawn evenly and kept in order."""
    if window.rows <= most:
        return window
    chosen = np.random.default_rng(seed).choice(window.rows, most, replace=False)
    return window.take(np.sort(chosen))


def ticks_of(window: Window, tick_us: int) -> Iterator[tuple[int, Window]]:
    """The rows of each tick that has any, in time order, as (start_us, rows)."""
    if window.ts_us is None or not window.rows:
        return
    order = np.argsort(window.ts_us, kind="stable")
    ordered = window.take(order)
    starts, firsts = tick_bounds(ordered.ts_us, tick_us)
    ends = [*firsts[1:], ordered.rows]
    for start, first, last in zip(starts, firsts, ends, strict=True):
        yield int(start), ordered.take(slice(int(first), int(last)))


def tick_bounds(ts_us: IntArray | None, tick_us: int) -> tuple[IntArray, IntArray]:
    """Start of each tick that has rows, and the index of its first row; ts_us (n,) sorted."""
    assert ts_us is not None
    floor = ts_us // tick_us * tick_us
    return np.unique(floor, return_index=True)


def _fingerprint(
    deployment: Deployment,
    schema: Schema,
    settings: Settings,
    profile: Profile,
    mappings: tuple[AppliedMapping, ...],
    *,
    timeless: bool,
) -> str:
    """Changes whenever stored evidence no longer means what it meant."""
    relevant = asdict(replace(settings, review_us=None, lateness_us=0))
    if not settings.loss:  # the task's own: evidence means what it did before there was a choice
        relevant = {k: v for k, v in relevant.items() if k not in {"loss", "quantile"}}
    text = json.dumps(
        [
            str(deployment),
            asdict(schema),
            relevant,
            profile.fingerprint,
            ENGINE_VERSION,
            *([FOLLOW_VERSION] if settings.named else []),
            *[asdict(one) for one in mappings],
            *(["first days"] if timeless else []),
        ],
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]
