"""Anchors and a source probe from files: what a daemon has stored of versions, for a replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detectors.records import Task, Window
from monitor.errors import InputError, UsageError, did_you_mean, shortened
from monitor.files.roles import Roles
from monitor.files.tables import read_arrow
from monitor.files.version_rows import read_rows, segment_of
from monitor.watching.alignment import VersionFacts, compare_versions
from storage.segments import Segment
from storage.version_rows import (
    VersionKind,
    VersionRows,
    VersionRowsError,
    in_order,
    refuse_strangers,
)

ROLES = ("id", "embedding", "label", "score")


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """Anchors and scores as (version, path), the oldest version first; `probe` is a path."""

    anchors: tuple[tuple[str, str], ...] = ()
    probe: str | None = None
    scores: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.anchors or self.probe or self.scores)


def parse_version_files(
    anchors: Sequence[str], probe: str | None, scores: Sequence[str]
) -> VersionFiles:
    """`--anchors 1=a.parquet --probe p.parquet --probe-scores 1=s.parquet` as a record.

    Raises:
        UsageError: what is no VERSION=FILE, a version given twice, scores without a probe.
    """
    if scores and probe is None:
        msg = "--probe-scores are of the rows of a probe; give those by --probe FILE"
        raise UsageError(msg)
    return VersionFiles(_pairs("anchors", anchors), probe, _pairs("probe-scores", scores))


def _pairs(option: str, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for text in texts:
        version, _, path = (part.strip() for part in text.partition("="))
        if not version or not path:
            msg = f"--{option} {text}: write VERSION=FILE, as in 2={text or 'anchors.parquet'}"
            raise UsageError(msg)
        if version in found:
            msg = f"--{option} {text}: version {version} was given before, as {found[version]}"
            raise UsageError(msg)
        found[version] = path
    return tuple(found.items())


def read_version_files(
    files: VersionFiles, roles: Roles, *, model: str, task: Task
) -> VersionFacts:
    """What the versions did to their anchors and to the probe's loss.

    Columns are named as `roles` say, else id, embedding, label and score. InputError in one line
    with the file, where one cannot be read or is not what its kind needs.
    """

    def read(path: str, kind: VersionKind, probe: Segment | None = None) -> Segment:
        arrow = read_arrow(path)
        named = {role: getattr(roles, role) for role in ROLES}
        columns = {
            role: column if column in arrow.schema.names else role for role, column in named.items()
        }
        given = read_rows(arrow, kind, columns, source=path)
        try:
            rows = in_order(segment_of(model, kind, given, task=task))
            if probe is not None:
                refuse_strangers(rows, probe)
        except (InputError, VersionRowsError) as error:
            raise InputError(f"{path}: {error}") from error
        return rows

    anchors = [VersionRows(name, read(path, VersionKind.ANCHORS)) for name, path in files.anchors]
    if files.probe is None:
        return compare_versions(anchors, (), (), task)
    probe = read(files.probe, VersionKind.PROBE)
    scores = [
        VersionRows(name, read(path, VersionKind.PROBE_SCORES, probe))
        for name, path in files.scores
    ]
    return compare_versions(anchors, [VersionRows("", probe)], scores, task)


def version_notes(facts: VersionFacts, windows: Iterable[Window]) -> list[str]:
    """What rows and files say of versions that does not fit together."""
    changed = [one.now for one in facts.anchors] + [one.now for one in facts.probe]
    if not changed:
        return []
    columns = [window.version for window in windows if window.version is not None]
    named = sorted({one.values[code] for one in columns for code in set(one.codes[one.codes >= 0])})
    if not named:
        msg = "no row names its version (--version COLUMN): all are taken for the newest's"
        return [f"{msg}, {changed[-1]}"]
    has = shortened(named)
    return [
        f"no row names version {name}, which was compared; rows have {has}."
        f"{did_you_mean(name, named)}"
        for name in dict.fromkeys(changed)
        if name not in named
    ]
