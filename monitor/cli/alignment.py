"""`kedge anchors` and `kedge probe`: fixed rows that every version of a model embeds or scores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from detectors.records import FloatArray
    from storage.version_rows import VersionKind

_CONFIG = click.option("--config", "config_path", metavar="FILE", help="Default: ./kedge.toml")
_MODEL = click.option("--model", required=True)
_FILE = click.argument("file", metavar="FILE")
_ID = click.option("--id", "id_", default="id", show_default=True, help="Column of row ids.")
_LABEL = click.option("--label", default="label", show_default=True, help="Column of labels.")
_SCORE = click.option("--score", default="score", show_default=True, help="Column of scores.")
_OUT = click.option("-o", "form", type=click.Choice(["text", "json"]), default="text")


@click.group()
def anchors() -> None:
    """Compare the embeddings that versions of a model give to the same rows.

    500 to 2,000 rows, embedded again by every version, labels and the head's scores beside them
    where they are known. Works on the database directly; nothing stored is overwritten.
    """


@anchors.command("add")
@_FILE
@_MODEL
@click.option("--version", required=True, help="The version that made these embeddings.")
@_ID
@click.option("--embedding", default="embedding", show_default=True, help="Column of lists.")
@_LABEL
@_SCORE
@_CONFIG
def add_anchors(
    file: str,
    model: str,
    version: str,
    id_: str,
    embedding: str,
    label: str,
    score: str,
    config_path: str | None,
) -> None:
    """Store the embeddings of one version. Labels and scores are taken where the file has them."""
    from storage.version_rows import VersionKind

    _store(
        file,
        model,
        VersionKind.ANCHORS,
        version,
        id_,
        needed={"embedding": embedding},
        taken={"label": label, "score": score},
        config_path=config_path,
    )


@anchors.command("show")
@_MODEL
@_OUT
@_CONFIG
def show_anchors(model: str, form: str, config_path: str | None) -> None:
    """Each version against the one before."""
    _show(model, "anchors", form, config_path)


@click.group()
def probe() -> None:
    """See whether versions of a model forget their source: a frozen, labelled set they all score.

    2,000 to 5,000 labelled rows of the source domain. Works on the database directly.
    """


@probe.command("add")
@_FILE
@_MODEL
@_ID
@_LABEL
@_CONFIG
def add_probe(file: str, model: str, id_: str, label: str, config_path: str | None) -> None:
    """Store the labelled rows, once for a model."""
    from storage.version_rows import VersionKind

    _store(
        file,
        model,
        VersionKind.PROBE,
        "",
        id_,
        needed={"label": label},
        taken={},
        config_path=config_path,
    )


@probe.command("score")
@_FILE
@_MODEL
@click.option("--version", required=True, help="The version that made these scores.")
@_ID
@_SCORE
@_CONFIG
def score_probe(
    file: str, model: str, version: str, id_: str, score: str, config_path: str | None
) -> None:
    """Store the scores that one version gives to the probe's rows."""
    from storage.version_rows import VersionKind

    _store(
        file,
        model,
        VersionKind.PROBE_SCORES,
        version,
        id_,
        needed={"score": score},
        taken={},
        config_path=config_path,
    )


@probe.command("show")
@_MODEL
@_OUT
@_CONFIG
def show_probe(model: str, form: str, config_path: str | None) -> None:
    """The probe's loss at each version against the first."""
    _show(model, "probe", form, config_path)


def _store(
    file: str,
    model: str,
    kind: VersionKind,
    version: str,
    id_: str,
    *,
    needed: dict[str, str],
    taken: dict[str, str],
    config_path: str | None,
) -> None:
    import numpy as np

    from detectors.records import Window
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from monitor.errors import InputError, did_you_mean
    from monitor.files.tables import embedding_column, read_arrow
    from monitor.ids import hash_texts
    from storage.deployments import register_model
    from storage.segments import Segment
    from storage.version_rows import VersionRowsError, add_version_rows

    arrow = read_arrow(file)
    names = arrow.schema.names
    for role, column in {"id": id_, **needed}.items():
        if column not in names:
            has = ", ".join(names[:8])
            hint = did_you_mean(column, names)
            msg = f"{file}: no column '{column}' for --{role}; it has: {has}.{hint}"
            raise InputError(msg)
    present = {r: c for r, c in {**taken, **needed}.items() if c in names}

    def numbers(role: str) -> FloatArray | None:
        if role not in present:
            return None
        try:
            column = arrow.column(present[role]).cast("double").to_numpy()
        except Exception as error:
            msg = f"{file}: --{role} {present[role]} does not hold numbers ({error})"
            raise InputError(msg) from error
        found: FloatArray = np.asarray(column, np.float64)
        return found

    embedding = embedding_column(arrow, present.get("embedding"), file)
    if embedding is not None and not np.isfinite(embedding).all():
        msg = f"{file}: --embedding {present['embedding']} holds values that are not finite"
        raise InputError(msg)
    ids = [str(value) for value in arrow.column(id_).to_pylist()]
    hi, lo = hash_texts(model, ids)
    window = Window(
        rows=len(ids), label=numbers("label"), score=numbers("score"), embedding=embedding
    )
    rows = Segment(window, hi, lo, np.zeros(len(ids), np.bool_))
    now = SystemClock().now()
    with opened_session(config_path, write=True) as session:
        register_model(session, model, now)
        try:
            stored = add_version_rows(session, model, kind, version, rows, now)
        except VersionRowsError as error:
            raise InputError(f"{file}: {error}") from error
    what = f" of version {version}" if version else ""
    click.echo(f"{stored:,} rows of {kind.value.replace('_', ' ')}{what} of {model} are stored")


def _show(model: str, which: str, form: str, config_path: str | None) -> None:
    from monitor.cli.database import opened_session
    from monitor.watching.alignment import facts_json, task_of, version_facts

    with opened_session(config_path) as session:
        facts = version_facts(session, model, task_of(session, model))
    told: dict[str, Any] = facts_json(facts)
    if form == "json":
        click.echo(json.dumps({"words": told["words"], which: told[which]}, allow_nan=False))
        return
    for one in told[which]:
        click.echo(f"{one['before']} → {one['version']}  {one['state']}  {one['words']}")
    if not told[which] and told["words"]:
        click.echo(told["words"], err=True)
