"""What each version of a model did to its anchors and to what it knew of the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from detectors.alignment.anchors import AnchorChange, Anchors, compare_anchors
from detectors.alignment.forgetting import Forgetting, probe_change
from detectors.alignment.heads import Gap
from detectors.alignment.staleness import MOST_ANCHORS, VersionMap, served_by_old, thinned
from detectors.records import FloatArray, State, Task, Window
from monitor.reports.forms import finite
from storage.deployments import learnt_schema
from storage.references import list_references
from storage.version_rows import VersionKind, VersionRows, in_common, read_version_rows

_Change = TypeVar("_Change", AnchorChange, Forgetting)

MOST_MAPS = 3
"""Of the newest versions: older ones are not served any more."""


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """Versions against the one before, oldest first; (): fewer than two are on record.

    `maps` are a few anchors of the newest versions, whatever rows name.
    """

    anchors: tuple[AnchorChange, ...] = ()
    probe: tuple[Forgetting, ...] = ()
    words: str = ""
    maps: tuple[VersionMap, ...] = ()

    def stale_in(self, current: Window) -> str:
        """Which rows carry embeddings of a version before the one they name, in words; else ""."""
        if current.embedding is None or current.version is None or len(self.maps) < 2:
            return ""
        found = served_by_old(current.embedding, current.version.strings(), self.maps)
        return "" if found is None else found.words

    def forgotten_by(self, served: frozenset[str] | None) -> str:
        """What a version served has forgotten of the source, in words; "" where nothing is known.

        Of several versions that have forgotten something the newest is told. `served` None: rows
        do not say their version, so the newest on record is taken, ill or not.
        """
        ill = (one for one in _served(self.probe, served) if one.state is State.DRIFT)
        return next((one.words for one in ill), "")

    def broken_by(self, served: frozenset[str] | None) -> str:
        """Why heads no longer fit the embedding of a version served, in words; else "".

        `served` as in `forgotten_by`.
        """
        ill = (one for one in _served(self.anchors, served) if one.incompatible)
        return next((f"version {one.now}: {one.words}" for one in ill), "")


def _served(changes: Sequence[_Change], served: frozenset[str] | None) -> tuple[_Change, ...]:
    """The changes to versions that serve, the newest first; of unnamed ones the newest alone."""
    if served is None:
        return tuple(changes[-1:])
    return tuple(one for one in reversed(changes) if one.now in served)


NOTHING_KNOWN = VersionFacts()


def version_facts(session: Session, model: str, task: Task) -> VersionFacts:
    """What is stored of a model's versions, compared."""
    return compare_versions(
        read_version_rows(session, model, VersionKind.ANCHORS),
        read_version_rows(session, model, VersionKind.PROBE),
        read_version_rows(session, model, VersionKind.PROBE_SCORES),
        task,
    )


def compare_versions(
    anchors: Sequence[VersionRows],
    probe: Sequence[VersionRows],
    scores: Sequence[VersionRows],
    task: Task,
) -> VersionFacts:
    """Every version's anchors against those of the version before, and its probe's loss.

    Versions come oldest first, of `probe` there is one or none. The probe is held against the first
    version scored: what the fine-tuning started from.
    """
    changes = tuple(_anchors(one, two) for one, two in pairwise(anchors))
    forgotten = tuple(
        _forgetting(probe[0], scores[0], later, task, at)
        for at, later in enumerate(scores[1:], start=1)
        if probe
    )
    said = []
    if not anchors:
        said.append("no anchors: `kedge anchors add` says whether a new version's embedding fits")
    elif len(anchors) == 1:
        said.append(f"anchors of version {anchors[0].version} only; a second one is compared")
    if not probe:
        said.append("no source probe: `kedge probe add` says whether a new version forgets")
    elif len(scores) < 2:
        said.append(f"the probe was scored by {len(scores)} version(s); two are compared")
    return VersionFacts(changes, forgotten, "; ".join(said), _maps(anchors))


def _maps(anchors: Sequence[VersionRows]) -> tuple[VersionMap, ...]:
    """A few anchors of the newest versions: what tells whose map a row lies on."""
    maps = []
    for one in anchors[-MOST_MAPS:]:
        embedding = one.segment.window.embedding
        if embedding is not None:
            rows = thinned(embedding, MOST_ANCHORS).astype(np.float32)
            maps.append(VersionMap(one.version, _shared(rows.tobytes(), rows.shape[1])))
    return tuple(maps)


@lru_cache(maxsize=64)
def _shared(body: bytes, width: int) -> NDArray[np.float32]:
    """The same rows are held once, however many deployments of a model are watched."""
    return np.frombuffer(body, np.float32).reshape(-1, width)


def task_of(session: Session, model: str) -> Task:
    """What a model predicts by its newest reference or its first rows; binary if nobody knows."""
    known = list_references(session, model)
    schema = known[-1].schema if known else learnt_schema(session, model)
    return Task.BINARY if schema is None else schema.task


def _anchors(before: VersionRows, now: VersionRows) -> AnchorChange:
    left, right = in_common(before.segment, now.segment)
    found = compare_anchors(_embedded(before.version, left), _embedded(now.version, right))
    missing = before.segment.window.rows - left.rows
    if missing and found.state is not State.UNDETERMINED:
        words = f"{found.words}; {missing} anchors of version {before.version} are missing"
        return replace(found, words=words)
    return found


def _embedded(version: str, rows: Window) -> Anchors:
    embedding = np.empty((0, 0)) if rows.embedding is None else rows.embedding.astype(np.float64)
    return Anchors(version, embedding, rows.label, rows.score)


def _forgetting(
    probe: VersionRows, first: VersionRows, later: VersionRows, task: Task, at: int
) -> Forgetting:
    told = [_scores(probe, one) for one in (first, later)]
    label = probe.segment.window.label
    assert label is not None
    return probe_change(
        first.version, told[0], later.version, told[1], label, task=task, version=at
    )


def _scores(probe: VersionRows, scored: VersionRows) -> FloatArray:
    """Scores in the order of the probe; a row that was not scored is NaN."""
    keys = zip(probe.segment.id_hi.tolist(), probe.segment.id_lo.tolist(), strict=True)
    place = {key: at for at, key in enumerate(keys)}
    found = np.full(probe.segment.window.rows, np.nan)
    mine = zip(scored.segment.id_hi.tolist(), scored.segment.id_lo.tolist(), strict=True)
    at = [place[key] for key in mine if key in place]
    assert scored.segment.window.score is not None
    found[at] = scored.segment.window.score[: len(at)]
    return found


def facts_json(facts: VersionFacts) -> dict[str, Any]:
    """The facts as plain JSON values."""
    return {
        "words": facts.words or None,
        "anchors": [
            {
                "before": one.before,
                "version": one.now,
                "rows": one.rows,
                "state": one.state.value,
                "words": one.words,
                "cka": finite(one.cka),
                "procrustes": finite(one.disparity),
                "neighbours_kept": finite(one.neighbours),
                "cosine": finite(one.cosine),
                "directions": [finite(value) for value in one.participation],
                "information_gap": _gap(one.information),
                "head_gap": _gap(one.head),
            }
            for one in facts.anchors
        ],
        "probe": [
            {
                "before": one.before,
                "version": one.now,
                "rows": one.rows,
                "state": one.state.value,
                "words": one.words,
                "loss_before": finite(one.loss_before),
                "change": finite(one.change),
                "lower": finite(one.lower),
                "upper": finite(one.upper),
                "alpha": finite(one.alpha),
            }
            for one in facts.probe
        ],
    }


def _gap(gap: Gap | None) -> dict[str, Any] | None:
    if gap is None:
        return None
    return {"difference": finite(gap.difference), "ci": [finite(bound) for bound in gap.ci]}
