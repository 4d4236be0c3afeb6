"""`kedge alignment`, `anchors` and `probe`: rows that every version of a model embeds or scores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from storage.version_rows import VersionKind

_CONFIG = click.option("--config", "config_path", metavar="FILE", help="Default: ./kedge.toml")
_MODEL = click.option("--model", required=True)
_FILE = click.argument("file", metavar="FILE")
_ID = click.option("--id", "id_", default="id", show_default=True, help="Column of row ids.")
_LABEL = click.option("--label", default="label", show_default=True, help="Column of labels.")
_SCORE = click.option("--score", default="score", show_default=True, help="Column of scores.")
_OUT = click.option("-o", "form", type=click.Choice(["text", "json"]), default="text")


@click.group()
def alignment() -> None:
    """What each version of a model did to its embeddings and to what it knew of its source.

    \b
    Embeddings:  kedge anchors add FILE --model M --version V   at each release
    The source:  kedge probe add FILE --model M                 once
                 kedge probe score FILE --model M --version V   at each release

    The same over HTTP, and as curves on the page /models/M/versions of the daemon.
    """  # noqa: D301  # click reads the backspace as "keep these lines"


@alignment.command("show")
@_MODEL
@_OUT
@_CONFIG
def show_alignment(model: str, form: str, config_path: str | None) -> None:
    """Each version: its anchors against the one before, its probe's loss against the first."""
    _show(model, ("anchors", "probe"), form, config_path)


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

    columns = {"id": id_, "embedding": embedding, "label": label, "score": score}
    _store(file, model, VersionKind.ANCHORS, version, columns, config_path)


@anchors.command("show")
@_MODEL
@_OUT
@_CONFIG
def show_anchors(model: str, form: str, config_path: str | None) -> None:
    """Each version against the one before."""
    _show(model, ("anchors",), form, config_path)


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

    _store(file, model, VersionKind.PROBE, "", {"id": id_, "label": label}, config_path)


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

    columns = {"id": id_, "score": score}
    _store(file, model, VersionKind.PROBE_SCORES, version, columns, config_path)


@probe.command("show")
@_MODEL
@_OUT
@_CONFIG
def show_probe(model: str, form: str, config_path: str | None) -> None:
    """The probe's loss at each version against the first."""
    _show(model, ("probe",), form, config_path)


def _store(
    file: str,
    model: str,
    kind: VersionKind,
    version: str,
    columns: dict[str, str],
    config_path: str | None,
) -> None:
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from monitor.errors import InputError
    from monitor.files.tables import read_arrow
    from monitor.files.version_rows import read_rows, store_rows
    from monitor.watching.alignment import task_of
    from storage.version_rows import VersionRowsError

    rows = read_rows(read_arrow(file), kind, columns, source=file)
    now = SystemClock().now()
    with opened_session(config_path, write=True) as session:
        task = task_of(session, model)
        try:
            stored = store_rows(session, model, kind, version, rows, task=task, now=now)
        except (InputError, VersionRowsError) as error:
            raise InputError(f"{file}: {error}") from error
    what = f" of version {version}" if version else ""
    click.echo(f"{stored:,} rows of {kind.value.replace('_', ' ')}{what} of {model} are stored")


def _show(model: str, which: tuple[str, ...], form: str, config_path: str | None) -> None:
    from monitor.cli.database import opened_session
    from monitor.watching.alignment import facts_json, task_of, version_facts

    with opened_session(config_path) as session:
        facts = version_facts(session, model, task_of(session, model))
    told: dict[str, Any] = facts_json(facts)
    if form == "json":
        shown = {"words": told["words"], **{part: told[part] for part in which}}
        click.echo(json.dumps(shown, allow_nan=False))
        return
    for part in which:
        lead = f"{part}  " if len(which) > 1 else ""
        for one in told[part]:
            click.echo(f"{lead}{one['before']} → {one['version']}  {one['state']}  {one['words']}")
    if told["words"] and not all(told[part] for part in which):
        click.echo(told["words"], err=True)
