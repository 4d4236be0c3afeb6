"""`kedge baseline`: what the from-scratch baselines were trained on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from storage.baselines import Baseline


@click.group()
def baseline() -> None:
    """Keep record of the from-scratch baselines: versions, rows, training windows.

    A verdict against a baseline that is too old or has seen too few rows is undetermined, and
    rows it was trained on are left out. Works on the database directly.
    """


_CONFIG = click.option("--config", "config_path", metavar="FILE", help="Default: ./kedge.toml")


@baseline.command()
@click.option("--model", required=True)
@click.option("--for-domain", metavar="NAME", help="Left out: one baseline for every domain.")
@click.option("--rows", type=click.IntRange(1), required=True, help="Rows it was trained on.")
@click.option("--since", metavar="TIME", help="First event it was trained on: 2026-01-01.")
@click.option("--until", metavar="TIME", help="Last event it was trained on.")
@click.option("--scores-from", metavar="TIME", help="First event it scores. Left out: all.")
@click.option(
    "--source", type=click.Choice(["imported", "shadow"]), default="imported", show_default=True
)
@click.option(
    "--curve",
    metavar="FILE",
    help='JSON: {"curve": [[trained, judged, loss, transferred], …], '
    '"fine_tuning": [[rows, training, validation], …]}.',
)
@click.option("--note", default="", help="A line people will read later.")
@_CONFIG
def add(
    model: str,
    for_domain: str | None,
    rows: int,
    since: str | None,
    until: str | None,
    scores_from: str | None,
    source: str,
    curve: str | None,
    note: str,
    config_path: str | None,
) -> None:
    """Put the next version of a baseline on record."""
    from monitor.cli.database import opened_session
    from monitor.clock import SystemClock
    from monitor.errors import InputError
    from storage.baselines import BaselineSource, add_baseline
    from storage.deployments import register_model

    points = _points(curve)
    now = SystemClock().now()
    with opened_session(config_path, write=True) as session:
        register_model(session, model, now)
        try:
            added = add_baseline(
                session,
                model,
                for_domain,
                source=BaselineSource(source),
                rows=rows,
                since_us=_instant("--since", since),
                until_us=_instant("--until", until),
                scores_from_us=_instant("--scores-from", scores_from),
                curve=points.get("curve", ()),
                fine_tuning=points.get("fine_tuning", ()),
                note=note,
                now=now,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
    click.echo(_line(added))


@baseline.command("list")
@click.option("--model")
@_CONFIG
def list_(model: str | None, config_path: str | None) -> None:
    """List baselines, the newest version last."""
    from monitor.cli.database import opened_session
    from storage.baselines import list_baselines

    with opened_session(config_path) as session:
        listed = list_baselines(session, model)
    for one in listed:
        click.echo(_line(one))
    if not listed:
        which = "" if model is None else f" for model '{model}'"
        click.echo(f"no baselines{which}; add one with `kedge baseline add`", err=True)


@baseline.command()
@click.argument("baseline_id", type=int)
@_CONFIG
def show(baseline_id: int, config_path: str | None) -> None:
    """Show one baseline: its training window, learning curve and what the curves say."""
    from monitor.baseline.baselines import curve_words
    from monitor.cli.database import opened_session
    from monitor.errors import InputError
    from storage.baselines import UnknownBaselineError, get_baseline

    with opened_session(config_path) as session:
        try:
            one = get_baseline(session, baseline_id)
        except UnknownBaselineError as error:
            raise InputError(str(error)) from error
    click.echo(_line(one))
    for words in curve_words(one):
        click.echo(words)
    if one.note:
        click.echo(one.note)


def _points(path: str | None) -> dict[str, list[list[float]]]:
    """The points of a curve file; InputError in one line for anything else."""
    from monitor.errors import InputError

    if path is None:
        return {}
    wanted = 'a JSON object with "curve" and "fine_tuning", lists of lists of numbers'
    try:
        found: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"--curve {path}: cannot be read ({error}); it should be {wanted}"
        raise InputError(msg) from error
    sound = isinstance(found, dict) and set(found) <= {"curve", "fine_tuning"}
    sound = sound and all(
        isinstance(points, list)
        and all(isinstance(p, list) and all(_is_number(x) for x in p) for p in points)
        for points in found.values()
    )
    if not sound:
        msg = f"--curve {path}: it should be {wanted}"
        raise InputError(msg)
    return dict(found)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _instant(option: str, text: str | None) -> int | None:
    """An ISO date or time as microseconds; without a zone it is UTC."""
    from detectors.records import to_us
    from monitor.errors import UsageError

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{option} {text}: not a time; write it as 2026-05-01 or 2026-05-01T12:00:00Z"
        raise UsageError(msg) from error
    return to_us(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def _line(one: Baseline) -> str:
    from detectors.records import to_datetime

    where = one.domain or "every domain"
    window = "times not on record"
    if one.since_us is not None and one.until_us is not None:
        since, until = to_datetime(one.since_us), to_datetime(one.until_us)
        window = f"from {since:%Y-%m-%d} to {until:%Y-%m-%d}"
    return (
        f"{one.id}  {one.model}/{where}  version {one.version}  {one.source.value}  "
        f"{one.rows:,} rows  {window}"
    )
